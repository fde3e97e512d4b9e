//! The job table of a cluster, on its head node: submission, queue, cancel, what followers and the server see.
//!
//! All transitions go through one place ([`Head::transition`]), one at a time, stored before they take effect. When
//! the disk is full, jobs go on: their transitions take effect in memory and are stored as soon as there is room.

mod cancel;
mod recover;
mod schedule;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard, Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::events::News;
use super::logs::Growth;
use super::merge::{Merger, Origin, Source};
use super::runner::Runner;
use super::state::{Event, State};
use super::store::{self, Facts, JobRecord, KeyRecord};
use super::watch::Watcher;
use super::{drive, environment, queue};
use crate::api::agent::{AgentEvent, AutostopSetting, NodeConfig, Peer, SubmitJob, Submitted};
use crate::base::clock::Moment;
use crate::base::ids::{JobId, NodeRank};
use crate::base::{Error, Kind, Result};
use crate::store::Db;

/// Pause before records are stored again on a disk that was full.
const RETRY: Duration = Duration::from_secs(1);
/// The longest task name: it is part of file names.
const LONGEST_NAME: usize = 200;

/// The job table. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Head {
    /// Shared parts.
    inner: Arc<Inner>,
}

/// What all clones share.
struct Inner {
    /// Where everything is stored.
    db: Db,
    /// The processes on this node.
    runner: Runner,
    /// Wakes mergers.
    watcher: Watcher,
    /// The table; also the order of transitions.
    table: Mutex<Table>,
    /// Tells the server.
    news: News,
    /// Drivers of jobs.
    tasks: TaskTracker,
    /// Wakes the task that stores what could not be stored.
    unsaved: Notify,
    /// Counts what the idle timer depends on.
    activity: watch::Sender<u64>,
    /// When this process began.
    started: Moment,
}

/// What is not at rest, and what the node was told.
struct Table {
    /// Jobs by number.
    jobs: BTreeMap<JobId, Open>,
    /// What the node was told.
    facts: Facts,
    /// Nothing is accepted any more: the node stops.
    closing: bool,
}

/// A job that is not at rest.
struct Open {
    /// The job.
    record: JobRecord,
    /// Its log.
    growth: watch::Sender<Growth>,
    /// Fires when the driver must stop driving and end what runs.
    cut: CancellationToken,
    /// The record is newer than the store.
    unsaved: bool,
}

impl Head {
    /// Returns the processes on this node.
    pub(crate) fn runner(&self) -> &Runner {
        &self.inner.runner
    }

    /// Returns what wakes mergers.
    pub(crate) fn watcher(&self) -> &Watcher {
        &self.inner.watcher
    }

    /// Returns the news for the server.
    pub(crate) fn news(&self) -> &News {
        &self.inner.news
    }

    /// Sets what the node must know of its cluster.
    pub(crate) async fn configure(&self, config: NodeConfig) -> Result<()> {
        let mut table = self.inner.table.lock().await;
        self.inner.runner.set_grace(config.kill_grace_secs);
        let stored = config.clone();
        self.inner
            .db
            .write(move |tx| store::change_facts(tx, |facts| facts.config = Some(stored)))
            .await?;
        table.facts.config = Some(config);
        self.schedule(&mut table).await;
        Ok(())
    }

    /// Sets when the node stops itself.
    pub(crate) async fn set_autostop(&self, setting: Option<AutostopSetting>) -> Result<()> {
        let mut table = self.inner.table.lock().await;
        let now = Moment::now();
        let stored = setting.clone();
        self.inner
            .db
            .write(move |tx| {
                store::change_facts(tx, |facts| {
                    facts.autostop = stored;
                    facts.autostop_since = Some(now);
                })
            })
            .await?;
        table.facts.autostop = setting;
        table.facts.autostop_since = Some(now);
        self.touch();
        Ok(())
    }

    /// Accepts a job; the same key gives the same job.
    pub(crate) async fn submit(&self, submission: SubmitJob) -> Result<Submitted> {
        let SubmitJob { key, spec } = submission;
        check_name(spec.name.as_deref())?;
        environment::check(&spec.envs)?;
        let mut table = self.inner.table.lock().await;
        let Some(config) = &table.facts.config else {
            return Err(Error::new(
                Kind::Conflict,
                "the node has not been told its cluster yet",
            ));
        };
        if table.closing {
            return Err(Error::new(Kind::Conflict, "the node is being stopped"));
        }
        let fits = queue::check(&spec, config);
        let now = Moment::now();
        let stored = self
            .inner
            .db
            .write(move |tx| match store::key(tx, &key)? {
                Some(KeyRecord::Job(id)) => Ok(Err(id)),
                Some(KeyRecord::Refused) => Err(Error::new(
                    Kind::Cancelled,
                    "the job was cancelled before it was submitted",
                )),
                None => fits
                    .and_then(|()| store::insert(tx, key, spec, now))
                    .map(Ok),
            })
            .await?;
        let record = match stored {
            Ok(record) => record,
            Err(job_id) => return Ok(Submitted { job_id, new: false }),
        };
        let job_id = record.id;
        table.facts.last_activity = Some(now);
        let length = self.open_log(&record).await;
        self.inner.news.send(AgentEvent::Job {
            job: record.info(length),
        });
        table.jobs.insert(job_id, Open::new(record, length));
        self.touch();
        self.schedule(&mut table).await;
        Ok(Submitted { job_id, new: true })
    }

    /// Writes the first line of a job's log, for those who follow while it waits. Returns the log's length.
    async fn open_log(&self, record: &JobRecord) -> u64 {
        let log = self.log_path(record);
        let directory = self.merge_directory(record.id);
        let line = drive::waiting_line(record.spec.num_nodes);
        let open = move || -> Result<u64> {
            if let Some(parent) = log.parent() {
                crate::sys::fs::private_dir(parent)?;
            }
            let mut merger = Merger::open(&directory, &log)?;
            merger.add(Source {
                label: drive::WAITING.to_owned(),
                origin: Origin::Text(format!("{line}\n")),
                prefix: String::new(),
            })?;
            merger.pass()?;
            Ok(merger.length())
        };
        let opened = tokio::task::spawn_blocking(open).await;
        // The driver writes the line again where this did not succeed.
        opened
            .map_err(|e| Error::internal("open a job's log", &e))
            .flatten()
            .unwrap_or_else(|error| {
                tracing::warn!(job = %record.id, error = %error.one_line(), "a job's log waits");
                0
            })
    }

    /// Where a job's combined log lies.
    pub(crate) fn log_path(&self, record: &JobRecord) -> std::path::PathBuf {
        self.log_directory(record).join("run.log")
    }

    /// Where a job's logs lie.
    pub(crate) fn log_directory(&self, record: &JobRecord) -> std::path::PathBuf {
        self.inner
            .runner
            .home()
            .join("sky_logs")
            .join(record.log_dir())
    }

    /// Where the side files of a job's combined log lie.
    pub(crate) fn merge_directory(&self, job: JobId) -> std::path::PathBuf {
        self.inner.runner.job_directory(job).join("merge")
    }

    /// Moves a job on. Does nothing for one that is at rest.
    pub(crate) async fn transition(&self, id: JobId, event: Event) {
        let mut table = self.inner.table.lock().await;
        self.step(&mut table, id, event).await;
    }

    /// Moves a job on, stores it, and sees to what follows.
    async fn step(&self, table: &mut MutexGuard<'_, Table>, id: JobId, event: Event) {
        let Some(open) = table.jobs.get_mut(&id) else {
            return;
        };
        let now = Moment::now();
        let (next, effects) = match open.record.state.clone().apply(event, now) {
            Ok(moved) => moved,
            Err(illegal) => {
                tracing::error!(job = %id, error = %illegal, "a transition does not exist");
                return;
            }
        };
        if next == open.record.state {
            return;
        }
        let ended = next.status().is_final() && !open.record.state.status().is_final();
        open.record.state = next;
        if ended {
            open.record.forget_secrets();
        }
        let record = open.record.clone();
        let saved = self.save(record, ended.then_some(now)).await;
        self.after(table, id, ended.then_some(now), saved);
        self.follow_up(table, id, &effects).await;
    }

    /// Stores a job; false when there is no room now.
    async fn save(&self, record: JobRecord, activity: Option<Moment>) -> bool {
        let id = record.id;
        let write = self.inner.db.write(move |tx| {
            if let Some(activity) = activity {
                store::change_facts(tx, |facts| facts.last_activity = Some(activity))?;
            }
            store::put(tx, &record)
        });
        match write.await {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(job = %id, error = %error.one_line(), "cannot store a job now");
                false
            }
        }
    }

    /// Tells everybody that a job changed, and lets go of it when it is at rest.
    fn after(&self, table: &mut Table, id: JobId, ended: Option<Moment>, saved: bool) {
        if let Some(now) = ended {
            table.facts.last_activity = Some(now);
            self.touch();
        }
        let Some(open) = table.jobs.get_mut(&id) else {
            return;
        };
        open.unsaved = !saved;
        if !saved {
            self.inner.unsaved.notify_one();
        }
        self.inner.news.send(AgentEvent::Job {
            job: open.record.info(open.growth.borrow().length),
        });
        if open.record.state.is_at_rest() {
            open.growth.send_modify(|growth| growth.open = false);
            if saved {
                table.jobs.remove(&id);
            }
        }
    }

    /// Returns where an unfinished job stands; `None` when it is at rest.
    pub(crate) async fn state_of(&self, id: JobId) -> Option<State> {
        let table = self.inner.table.lock().await;
        table.jobs.get(&id).map(|open| open.record.state.clone())
    }

    /// Stores what could not be stored, for ever. To be run as long as the head is used.
    pub(crate) async fn keep_saving(&self) {
        loop {
            self.inner.unsaved.notified().await;
            tokio::time::sleep(RETRY).await;
            let mut table = self.inner.table.lock().await;
            let unsaved: Vec<JobRecord> = table
                .jobs
                .values()
                .filter(|open| open.unsaved)
                .map(|open| open.record.clone())
                .collect();
            for record in unsaved {
                let id = record.id;
                let saved = self.save(record, None).await;
                self.after(&mut table, id, None, saved);
            }
            self.schedule(&mut table).await;
        }
    }

    /// Returns whether the machine is this node's alone, so that it may switch it off.
    pub(crate) async fn owns_machine(&self) -> bool {
        let table = self.inner.table.lock().await;
        let config = table.facts.config.as_ref();
        config.is_some_and(|config| config.owns_machine)
    }

    /// Returns the other nodes of the cluster.
    pub(crate) async fn other_nodes(&self) -> Vec<Peer> {
        let table = self.inner.table.lock().await;
        let own = Self::rank(&table);
        let nodes = table.facts.config.iter().flat_map(|config| &config.nodes);
        nodes.filter(|peer| peer.rank != own).cloned().collect()
    }

    /// Notes that the idle timer must be computed anew.
    fn touch(&self) {
        self.inner.activity.send_modify(|count| *count += 1);
        self.inner.news.set_idle(None);
    }

    /// Returns this node's rank, as far as it was told.
    fn rank(table: &Table) -> NodeRank {
        table
            .facts
            .config
            .as_ref()
            .map_or(NodeRank::HEAD, |config| config.rank)
    }
}

impl Open {
    /// Makes the entry of a job.
    fn new(record: JobRecord, length: u64) -> Self {
        let growth = Growth { length, open: true };
        Self {
            record,
            growth: watch::channel(growth).0,
            cut: CancellationToken::new(),
            unsaved: false,
        }
    }
}

/// Refuses names that cannot be part of a path.
fn check_name(name: Option<&str>) -> Result<()> {
    let Some(name) = name else { return Ok(()) };
    if name.is_empty() || name.len() > LONGEST_NAME || name.contains(['/', '\0', '\n', '\r']) {
        return Err(Error::new(
            Kind::InvalidName,
            format!("task name `{}` is not valid", crate::base::ids::clip(name)),
        ));
    }
    Ok(())
}
