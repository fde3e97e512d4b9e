//! Runs one job: all nodes together, first failure stops the others, then the end is recorded.
//!
//! A driver can be dropped and started again at any point: what it starts is idempotent, what runs is adopted, what
//! is in the log is not written again.

mod parts;
mod words;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::parts::{Part, PartEnd, start_part, wait_part};
pub(crate) use self::words::{WAITING, waiting_line};
use super::environment;
use super::head::Head;
use super::logs::{Combined, Growth};
use super::member::Member;
use super::queue::Placement;
use super::runner::RankKey;
use super::state::{Event, STOPPED_CODE, State};
use super::store::JobRecord;
use crate::api::agent::{NodeConfig, Phase, StartRank};
use crate::base::ids::NodeRank;
use crate::base::{Error, Result};

/// How long the rest of a worker's output may take to arrive after its processes are gone.
const LAST_OUTPUT: Duration = Duration::from_secs(10);

/// What runs one job.
pub(crate) struct Driver {
    /// The job table.
    head: Head,
    /// The job as it was when this driver began.
    job: Arc<JobRecord>,
    /// The cluster.
    config: Arc<NodeConfig>,
    /// News of the log.
    growth: watch::Sender<Growth>,
    /// Fires when what runs must be ended.
    cut: CancellationToken,
    /// The nodes as this job knows them: what one call learns of a node that is lost the next one knows.
    members: Mutex<HashMap<NodeRank, Member>>,
}

/// What a phase has come to: by part, process id and exit code.
type PhaseEnd = Vec<Option<(u32, i32)>>;

impl Driver {
    /// Makes the driver of a job.
    pub(crate) fn new(
        head: Head,
        job: JobRecord,
        config: NodeConfig,
        growth: watch::Sender<Growth>,
        cut: CancellationToken,
    ) -> Self {
        Self {
            head,
            job: Arc::new(job),
            config: Arc::new(config),
            growth,
            cut,
            members: Mutex::default(),
        }
    }

    /// Drives the job to its rest.
    pub(crate) async fn run(self) {
        let Some(log) = self.open_log().await else {
            return;
        };
        let (log, merging) = log;
        let mut merging_task = JoinSet::new();
        merging_task.spawn(merging);
        let mut left = Vec::new();
        while let Some(state) = self.head.state_of(self.job.id).await {
            match state {
                // Not placed yet, or at rest but not stored yet.
                State::Pending | State::Ended { held: None, .. } => return,
                State::SettingUp { held, .. } => self.drive(&log, Phase::Setup, &held).await,
                State::Running { held, .. } => self.drive(&log, Phase::Run, &held).await,
                State::Ended {
                    held: Some(held),
                    reason,
                    ..
                } => {
                    left = self.clear(&log, &held).await;
                    if let Some(reason) = reason {
                        log.say("lost", &words::lost_line(self.job.id, &reason));
                    }
                    log.settle().await;
                    self.head.transition(self.job.id, Event::Cleared).await;
                }
            }
        }
        // At rest and stored: the log is complete, its index has served.
        drop(log);
        let directory = self.head.merge_directory(self.job.id);
        let removed = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(directory)).await;
        if let Ok(Err(e)) = removed {
            tracing::debug!(job = %self.job.id, error = %e, "the index of a log stays");
        }
        end_left(left).await;
    }

    /// Opens the combined log; waits for the disk as long as it takes.
    async fn open_log(&self) -> Option<(Combined, impl Future<Output = ()> + Send + use<>)> {
        let path = self.head.log_path(&self.job);
        let tasks = self.head.log_directory(&self.job).join("tasks");
        loop {
            let ready = crate::sys::fs::private_dir(&tasks)
                .and_then(|()| self.head.watcher().listen(&tasks));
            match ready {
                Ok(changes) => {
                    return Some(Combined::new(
                        self.head.merge_directory(self.job.id),
                        path,
                        changes,
                        self.growth.clone(),
                    ));
                }
                Err(error) => {
                    tracing::error!(job = %self.job.id, error = %error.one_line(), "a job's log cannot be opened");
                    self.head.state_of(self.job.id).await?;
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }

    /// Drives a phase and records its end, unless the job is cut off first.
    async fn drive(&self, log: &Combined, phase: Phase, held: &Placement) {
        log.say(WAITING, &waiting_line(self.job.spec.num_nodes));
        log.say("started", words::STARTED);
        let event = tokio::select! {
            biased;
            () = self.cut.cancelled() => return,
            event = self.phase(log, phase, held) => event,
        };
        log.settle().await;
        self.head.transition(self.job.id, event).await;
    }

    /// Runs a phase to its end; returns what to record.
    async fn phase(&self, log: &Combined, phase: Phase, held: &Placement) -> Event {
        let spec = &self.job.spec;
        let script = match phase {
            Phase::Setup => &spec.setup,
            Phase::Run => &spec.run,
        };
        let Some(script) = script else {
            return match phase {
                Phase::Setup => Event::SetupDone,
                Phase::Run => Event::RunEnded { codes: Vec::new() },
            };
        };
        let parts = match self.parts(phase, held) {
            Ok(parts) => parts,
            Err(error) => return lost(&error),
        };
        let ends = match self.all(log, script, held, &parts).await {
            Ok(ends) => ends,
            Err(error) => {
                return lost(&error);
            }
        };
        let failed = ends.iter().any(|end| end.is_none_or(|(_, code)| code != 0));
        let codes: Vec<Option<i32>> = ends.iter().map(|e| e.map(|(_, code)| code)).collect();
        match phase {
            Phase::Setup if !failed => Event::SetupDone,
            Phase::Setup => {
                let ranks = parts.iter().zip(&ends).map(|(part, end)| (part.node, *end));
                log.say(
                    "failed",
                    &words::setup_failed_line(self.job.id, &self.config, ranks),
                );
                Event::SetupFailed { codes }
            }
            Phase::Run => {
                if failed {
                    log.say("failed", &words::failed_line(self.job.id, &codes));
                }
                Event::RunEnded { codes }
            }
        }
    }

    /// The processes of a phase: setup on every node of the cluster, run on the job's own.
    fn parts(&self, phase: Phase, held: &Placement) -> Result<Vec<Part>> {
        let nodes: Vec<(NodeRank, NodeRank)> = match phase {
            Phase::Setup => self.config.nodes.iter().map(|p| (p.rank, p.rank)).collect(),
            Phase::Run => (0..)
                .zip(&held.slots)
                .map(|(rank, slot)| (NodeRank(rank), slot.node))
                .collect(),
        };
        let tasks = self.head.log_directory(&self.job).join("tasks");
        nodes
            .into_iter()
            .map(|(rank, node)| {
                let member = self.member(node)?;
                let file = match (&member, phase) {
                    (Member::There(_), Phase::Setup) => format!("setup-{}.log", node.label()),
                    (Member::Here(_) | Member::There(_), _) => self.log_name(phase, rank, node),
                };
                let phase_name = match phase {
                    Phase::Setup => "setup",
                    Phase::Run => "run",
                };
                Ok(Part {
                    key: RankKey {
                        job: self.job.id,
                        rank,
                        phase,
                    },
                    node,
                    member,
                    log: tasks.join(file),
                    label: format!("{phase_name}-{rank}"),
                })
            })
            .collect()
    }

    /// The way to a node.
    fn member(&self, node: NodeRank) -> Result<Member> {
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = members.get(&node) {
            return Ok(known.clone());
        }
        let member = Member::of(self.head.runner(), &self.config, node)?;
        members.insert(node, member.clone());
        Ok(member)
    }

    /// Name of the raw log on the node where a process runs.
    fn log_name(&self, phase: Phase, rank: NodeRank, node: NodeRank) -> String {
        match phase {
            Phase::Setup => "setup.log".to_owned(),
            Phase::Run if self.config.nodes.len() == 1 => "run.log".to_owned(),
            Phase::Run => format!("{rank}-{}.log", node.label()),
        }
    }

    /// Runs all processes of a phase together. When one fails the others are stopped; when one is lost, all.
    async fn all(
        &self,
        log: &Combined,
        script: &str,
        held: &Placement,
        parts: &[Part],
    ) -> Result<PhaseEnd> {
        let mut running = JoinSet::new();
        for (index, part) in parts.iter().enumerate() {
            let start = self.start_of(part, script, held);
            running.spawn(start_part(index, part.clone(), start));
        }
        // All are started before any is waited for, and their lines come in once each has a process id.
        let mut pids = vec![0; parts.len()];
        while let Some(started) = running.join_next().await {
            let (index, pid) = joined(started)?;
            pids[index] = pid;
            let part = &parts[index];
            let prefix = words::prefix(&self.config, &self.job.spec, part.key, part.node, pid);
            log.add_file(&part.label, part.log.clone(), prefix);
        }
        let mut waiting = JoinSet::new();
        for (index, part) in parts.iter().enumerate() {
            waiting.spawn(wait_part(index, pids[index], part.clone()));
        }
        let mut ends: Vec<Option<(u32, i32)>> = vec![None; parts.len()];
        let mut failed = false;
        let mut stopped = HashSet::new();
        let mut stops = JoinSet::new();
        while let Some(ended) = waiting.join_next().await {
            let PartEnd { index, pid, code } = joined(ended)?;
            log.end(&parts[index].label);
            let code = if stopped.contains(&index) {
                STOPPED_CODE
            } else {
                code
            };
            ends[index] = Some((pid, code));
            if code != 0 && !failed {
                failed = true;
                for (other, part) in parts.iter().enumerate().filter(|(i, _)| ends[*i].is_none()) {
                    stopped.insert(other);
                    let part = part.clone();
                    stops.spawn(async move { part.member.stop(part.key.job, part.key.rank).await });
                }
            }
        }
        while let Some(done) = stops.join_next().await {
            joined(done)?;
        }
        Ok(ends)
    }

    /// What a node is told to start.
    fn start_of(&self, part: &Part, script: &str, held: &Placement) -> StartRank {
        StartRank {
            job_id: self.job.id,
            rank: part.key.rank,
            phase: part.key.phase,
            script: script.to_owned(),
            envs: environment::of_rank(
                self.job.id,
                &self.job.spec,
                &self.config,
                held,
                (part.key.phase, part.key.rank),
            ),
            log_dir: self.job.log_dir(),
            log_name: self.log_name(part.key.phase, part.key.rank, part.node),
        }
    }

    /// Ends all processes that a job may have, on all nodes it may have them on, and takes in their last output. Returns what may
    /// be left on nodes that are away.
    async fn clear(&self, log: &Combined, held: &Placement) -> Vec<Part> {
        let mut clearing = JoinSet::new();
        let setup = self.job.spec.setup.as_ref().map(|_| Phase::Setup);
        for phase in setup.into_iter().chain([Phase::Run]) {
            match self.parts(phase, held) {
                Ok(parts) => {
                    for part in parts {
                        clearing.spawn(async move {
                            let stopped = part.member.stop(part.key.job, part.key.rank).await;
                            let copy = part.member.copy_log(part.key, &part.log);
                            let copied = tokio::time::timeout(LAST_OUTPUT, copy).await;
                            drop(copied);
                            Ok((part, stopped))
                        });
                    }
                }
                Err(error) => {
                    tracing::error!(job = %self.job.id, error = %error.one_line(), "a job's nodes are unknown");
                }
            }
        }
        let mut left = Vec::new();
        while let Some(cleared) = clearing.join_next().await {
            match joined(cleared) {
                Ok((part, Ok(()))) => log.end(&part.label),
                Ok((part, Err(error))) => {
                    tracing::error!(job = %self.job.id, error = %error.one_line(), "processes of a job may be left");
                    left.extend(Some(part).filter(|part| part.member.is_elsewhere()));
                }
                Err(error) => {
                    tracing::error!(job = %self.job.id, error = %error.one_line(), "cannot end a job");
                }
            }
        }
        left
    }
}

/// Ends what was left on nodes that were away, as soon as they are back. Nobody waits for it: the job is over.
async fn end_left(left: Vec<Part>) {
    let mut ending = JoinSet::new();
    for part in left {
        ending.spawn(async move {
            let (job, rank) = (part.key.job, part.key.rank);
            match part.member.stop_later(job, rank).await {
                Ok(()) => tracing::info!(%job, %rank, "what was left of a job is ended"),
                Err(error) => {
                    tracing::warn!(%job, %rank, error = %error.one_line(), "processes of a job may be left for good");
                }
            }
        });
    }
    while ending.join_next().await.is_some() {}
}

/// The event for a job that cannot be run or followed any more.
fn lost(error: &Error) -> Event {
    Event::Lost {
        reason: error.one_line(),
    }
}

/// Unwraps the result of a task of ours.
fn joined<T>(result: Result<Result<T>, tokio::task::JoinError>) -> Result<T> {
    result
        .map_err(|e| Error::internal("drive a job", &e))
        .flatten()
}
