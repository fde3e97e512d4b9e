//! The processes of jobs on this node: start, watch, stop. Their directories are the only memory (see `place`).

mod attend;

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::Signal;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use super::devices::Devices;
use super::environment;
use super::place::{Ended, MARK, Place, Spec, Standing, Started};
use super::watch::Watcher;
use crate::api::agent::{AGENT_DEVICES, Phase, RankInfo, StartRank};
use crate::base::ids::{JobId, NodeRank};
use crate::base::{Error, Kind, Result};
use crate::sys::fs;
use crate::sys::process::{self, Identity};

/// How long a supervisor may take beyond the grace before the agent ends the tree itself.
const BEYOND_GRACE: Duration = Duration::from_secs(15);
/// Exit code of what was stopped before it started: 128 + TERM.
const NEVER_STARTED: i32 = 143;

/// One process of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct RankKey {
    /// The job.
    pub(crate) job: JobId,
    /// The rank.
    pub(crate) rank: NodeRank,
    /// Setup or run.
    pub(crate) phase: Phase,
}

/// The processes of jobs on this node. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Runner {
    /// Shared parts.
    inner: Arc<Inner>,
}

/// What all clones share.
struct Inner {
    /// Home directory of jobs.
    home: PathBuf,
    /// Where the directories of processes are.
    jobs: PathBuf,
    /// Where supervisors complain.
    log: PathBuf,
    /// Environment of every job.
    base: Vec<(OsString, OsString)>,
    /// The machine's GPUs that are this node's, where it shares them with others.
    devices: Option<Devices>,
    /// Wakes who waits for a file.
    watcher: Watcher,
    /// Time between TERM and KILL.
    grace: Mutex<Duration>,
    /// Held while a process is started.
    starting: Mutex<()>,
    /// What is watched.
    ranks: Mutex<HashMap<RankKey, watch::Receiver<RankInfo>>>,
    /// The tasks that watch; they end with the processes.
    tasks: TaskTracker,
}

impl Runner {
    /// Makes the runner of a node directory.
    pub(crate) fn new(node: &std::path::Path, watcher: Watcher) -> Self {
        let home = node.join("home");
        // A node that has its machine alone has the home of who logs in; jobs see its own name.
        let home = home.canonicalize().unwrap_or(home);
        Self {
            inner: Arc::new(Inner {
                base: environment::base(crate::sys::env::all(), &home),
                devices: crate::sys::env::exact(AGENT_DEVICES).map(|list| Devices::read(&list)),
                home,
                jobs: node.join("jobs"),
                log: node.join("agent.log"),
                watcher,
                grace: Mutex::new(Duration::from_secs(30)),
                starting: Mutex::default(),
                ranks: Mutex::default(),
                tasks: TaskTracker::new(),
            }),
        }
    }

    /// Home directory of jobs.
    pub(crate) fn home(&self) -> &std::path::Path {
        &self.inner.home
    }

    /// Where the directory of a job's processes is.
    pub(crate) fn job_directory(&self, job: JobId) -> PathBuf {
        self.inner.jobs.join(job.to_string())
    }

    /// Sets the time between TERM and KILL for what starts from now on.
    pub(crate) fn set_grace(&self, seconds: f64) {
        *lock(&self.inner.grace) =
            Duration::try_from_secs_f64(seconds).unwrap_or(Duration::from_secs(30));
    }

    /// Returns the time between TERM and KILL.
    pub(crate) fn grace(&self) -> Duration {
        *lock(&self.inner.grace)
    }

    /// Starts a process, unless it was started before; refuses when it was stopped before.
    pub(crate) async fn start(&self, what: StartRank) -> Result<()> {
        let runner = self.clone();
        // Its files are made durable before the process starts.
        tokio::task::spawn_blocking(move || runner.start_blocking(&what))
            .await
            .map_err(|e| Error::internal("start a process", &e))?
    }

    /// The same, on a thread that may block; one at a time, so that nobody sees half a directory.
    fn start_blocking(&self, what: &StartRank) -> Result<()> {
        let key = RankKey {
            job: what.job_id,
            rank: what.rank,
            phase: what.phase,
        };
        let _one_at_a_time = lock(&self.inner.starting);
        if self.tombstone(key.job, key.rank).exists() {
            return Err(Error::new(
                Kind::Cancelled,
                format!("rank {} of job {} was stopped", key.rank, key.job),
            ));
        }
        let tasks = self
            .inner
            .home
            .join("sky_logs")
            .join(&what.log_dir)
            .join("tasks");
        fs::private_dir(&tasks)?;
        let log = tasks.join(&what.log_name);
        drop(fs::open_append(&log)?);
        let place = self.place(key);
        let spec = place.prepare(
            &Spec {
                token: uuid::Uuid::new_v4().simple().to_string(),
                home: self.inner.home.clone(),
                log,
                grace_secs: self.grace().as_secs_f64(),
            },
            &environment::prologue(&what.envs),
            &what.script,
        )?;
        let spawned = match place.standing()? {
            Standing::Unclaimed => self.spawn(&place, &spec, what)?,
            Standing::Alive(_) | Standing::Ended(_) | Standing::Lost(_) => None,
        };
        self.attend(key, place, spawned);
        Ok(())
    }

    /// Starts a supervisor.
    fn spawn(&self, place: &Place, spec: &Spec, what: &StartRank) -> Result<Option<Identity>> {
        let mut environment = self.inner.base.clone();
        let mut envs = what.envs.clone();
        if let Some(devices) = &self.inner.devices {
            devices.show(&mut envs);
        }
        environment.extend(envs.iter().map(|(name, value)| (name.into(), value.into())));
        environment.push((MARK.into(), (&spec.token).into()));
        process::spawn_self(
            &process::Launch {
                arguments: vec!["__run".into(), "--dir".into(), place.path().into()],
                environment,
                directory: self.inner.home.clone(),
            },
            fs::open_append(&self.inner.log)?,
        )
    }

    /// Returns how a process stands, now.
    pub(crate) fn info(&self, key: RankKey) -> Result<RankInfo> {
        Ok(self.follow(key)?.map_or(RankInfo::Absent, |f| *f.borrow()))
    }

    /// Waits until a process has ended (or is not there).
    pub(crate) async fn ended(&self, key: RankKey) -> Result<RankInfo> {
        let Some(mut follow) = self.follow(key)? else {
            return Ok(RankInfo::Absent);
        };
        let ended = follow.wait_for(|info| is_over(*info)).await;
        Ok(ended.map_or(RankInfo::Lost, |info| *info))
    }

    /// Waits until a process has a process id (or has ended, or is not there).
    pub(crate) async fn running(&self, key: RankKey) -> Result<RankInfo> {
        let Some(mut follow) = self.follow(key)? else {
            return Ok(RankInfo::Absent);
        };
        let running = follow.wait_for(|info| *info != RankInfo::Absent).await;
        Ok(running.map_or(RankInfo::Lost, |info| *info))
    }

    /// Returns the live view of a process; `None` when it was never prepared here or has not been claimed.
    pub(crate) fn follow(&self, key: RankKey) -> Result<Option<watch::Receiver<RankInfo>>> {
        if let Some(known) = lock(&self.inner.ranks).get(&key) {
            return Ok(Some(known.clone()));
        }
        let place = self.place(key);
        match place.standing()? {
            Standing::Unclaimed => Ok(None),
            Standing::Alive(_) | Standing::Ended(_) | Standing::Lost(_) => {
                Ok(Some(self.attend(key, place, None)))
            }
        }
    }

    /// Returns the raw output of a process.
    pub(crate) fn log_path(&self, key: RankKey) -> Result<Option<PathBuf>> {
        Ok(self.place(key).spec()?.map(|spec| spec.log))
    }

    /// Ends a rank's processes and sees to it that none is started later. Returns when they are gone.
    pub(crate) async fn stop(&self, job: JobId, rank: NodeRank) -> Result<()> {
        // A full disk must not keep anybody from ending processes: it is reported when they are gone.
        let mut noted = self.note_stop(job, rank);
        for phase in [Phase::Setup, Phase::Run] {
            let key = RankKey { job, rank, phase };
            let place = self.place(key);
            if place.spec()?.is_none() {
                continue;
            }
            // A supervisor that is on its way finds the claim taken and goes.
            let claimed = place.claim(None).and_then(|won| {
                if won {
                    place.write_unstarted(Ended {
                        code: NEVER_STARTED,
                    })?;
                }
                Ok(())
            });
            noted = noted.and(claimed);
            self.stop_one(key, &place).await?;
        }
        noted
    }

    /// Notes that a rank must not be started any more.
    fn note_stop(&self, job: JobId, rank: NodeRank) -> Result<()> {
        fs::private_dir(&self.job_directory(job))?;
        let tombstone = self.tombstone(job, rank);
        // A start that is under way ends first: then its process is seen here.
        let _nobody_starts = lock(&self.inner.starting);
        std::fs::write(&tombstone, b"")
            .map_err(|e| Error::io(format!("write `{}`", tombstone.display()), &e))
    }

    /// Ends one process tree.
    async fn stop_one(&self, key: RankKey, place: &Place) -> Result<()> {
        if let Standing::Alive(Started {
            supervisor: Some(supervisor),
            ..
        }) = place.standing()?
        {
            process::signal(supervisor, Signal::TERM);
        }
        let Some(mut follow) = self.follow(key)? else {
            return Ok(());
        };
        let limit = self.grace() + BEYOND_GRACE;
        if tokio::time::timeout(limit, follow.wait_for(|info| is_over(*info)))
            .await
            .is_ok()
        {
            return Ok(());
        }
        tracing::warn!(job = %key.job, rank = %key.rank, "a supervisor does not answer; ending its tree");
        let Standing::Alive(started) = place.standing()? else {
            return Ok(());
        };
        // With its supervisor gone the process counts as lost, and `attend` ends what is left.
        if let Some(supervisor) = started.supervisor {
            process::signal(supervisor, Signal::KILL);
        }
        match tokio::time::timeout(limit, follow.wait_for(|info| is_over(*info))).await {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::new(
                Kind::Timeout,
                format!("processes of job {} cannot be ended", key.job),
            )),
        }
    }

    /// Ends everything that runs on this node. Returns when it is gone.
    pub(crate) async fn stop_all(&self) -> Result<()> {
        let mut stops = tokio::task::JoinSet::new();
        for (job, rank) in self.alive()? {
            let runner = self.clone();
            stops.spawn(async move { runner.stop(job, rank).await });
        }
        let mut first = Ok(());
        while let Some(done) = stops.join_next().await {
            let done = done
                .map_err(|e| Error::internal("stop a job", &e))
                .flatten();
            if first.is_ok() {
                first = done;
            }
        }
        first
    }

    /// Returns the ranks that have processes.
    fn alive(&self) -> Result<Vec<(JobId, NodeRank)>> {
        let mut alive = Vec::new();
        for job in numbers(&self.inner.jobs, "")? {
            for (prefix, phase) in [("setup-", Phase::Setup), ("run-", Phase::Run)] {
                for rank in numbers(&self.job_directory(JobId(job)), prefix)? {
                    let Ok(rank) = u32::try_from(rank).map(NodeRank) else {
                        continue;
                    };
                    let key = RankKey {
                        job: JobId(job),
                        rank,
                        phase,
                    };
                    let standing = self.place(key).standing()?;
                    if !matches!(standing, Standing::Ended(_)) {
                        alive.push((key.job, key.rank));
                    }
                }
            }
        }
        alive.dedup();
        Ok(alive)
    }

    /// The directory of a process.
    fn place(&self, key: RankKey) -> Place {
        let phase = match key.phase {
            Phase::Setup => "setup",
            Phase::Run => "run",
        };
        Place::new(
            self.job_directory(key.job)
                .join(format!("{phase}-{}", key.rank)),
        )
    }

    /// The file that says that a rank must not be started any more.
    fn tombstone(&self, job: JobId, rank: NodeRank) -> PathBuf {
        self.job_directory(job).join(format!("stopped-{rank}"))
    }
}

/// Returns whether nothing will change any more.
pub(crate) const fn is_over(info: RankInfo) -> bool {
    match info {
        RankInfo::Absent | RankInfo::Running { .. } => false,
        RankInfo::Exited { .. } | RankInfo::Lost => true,
    }
}

/// Returns the numbers behind `prefix` in the names of a directory's entries; none when it does not exist.
fn numbers(directory: &std::path::Path, prefix: &str) -> Result<Vec<u64>> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io(format!("list `{}`", directory.display()), &e)),
    };
    Ok(entries
        .filter_map(|entry| {
            let name = entry.ok()?.file_name();
            name.to_str()?.strip_prefix(prefix)?.parse().ok()
        })
        .collect())
}

/// Locks; no invariant spans more than one statement under these locks.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
