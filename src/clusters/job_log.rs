//! The logs of jobs, as followers read them.
//!
//! All followers of one job share a [`Hub`]; each has a cursor of its own and nothing else, unless it is behind.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use tokio_util::task::TaskTracker;

use super::job_hub::{Hub, Look, Origin};
use super::{Cluster, Clusters};
use crate::api::agent::JobInfo;
use crate::api::frames::{Frame, MAX_PAYLOAD};
use crate::base::ids::JobId;
use crate::base::{Error, Kind, Result};
use crate::http::logfile;
use crate::http::stream::{Piece, Source};
use crate::transport::agent_log::Start;

/// A log by the life of its cluster and the number of its job.
type Key = (String, JobId);

/// The logs that somebody follows.
#[derive(Default)]
pub(super) struct Hubs {
    /// Those that somebody holds.
    hubs: Mutex<HashMap<Key, Weak<Hub>>>,
}

impl Hubs {
    /// Returns the hub of a log, if followers can join it.
    fn find(&self, key: &Key) -> Option<Arc<Hub>> {
        let hubs = self.hubs.lock().unwrap_or_else(PoisonError::into_inner);
        let hub = hubs.get(key)?.upgrade()?;
        hub.is_open().then_some(hub)
    }

    /// Returns the hub of a log, made when there is none that can be joined.
    fn get(&self, key: Key, make: impl FnOnce() -> Hub) -> Arc<Hub> {
        let mut hubs = self.hubs.lock().unwrap_or_else(PoisonError::into_inner);
        let known = hubs.get(&key).and_then(Weak::upgrade);
        if let Some(hub) = known.filter(|hub| hub.is_open()) {
            return hub;
        }
        if hubs.len() >= 64 && hubs.len().is_power_of_two() {
            hubs.retain(|_, hub| hub.strong_count() > 0);
        }
        let hub = Arc::new(make());
        hubs.insert(key, Arc::downgrade(&hub));
        hub
    }
}

impl Clusters {
    /// Returns the log of a job as a source that outlives the agent.
    pub(crate) fn job_log(&self, cluster: &Cluster, job: &JobInfo) -> Box<dyn Source> {
        let key = (cluster.hash.clone(), job.job_id);
        let hub = self.inner.logs.get(key, || {
            let origin = Node {
                clusters: self.clone(),
                cluster: cluster.clone(),
                job: job.job_id,
                file: self.log_file(cluster, &job.log_dir),
            };
            Hub::new(Box::new(origin), &self.inner.stop)
        });
        Box::new(JobLog::new(hub, self.inner.tasks.clone()))
    }

    /// Returns the log of a job that somebody follows already: nobody has to ask the agent whether it exists.
    pub(crate) fn followed_log(&self, cluster: &Cluster, job: JobId) -> Option<Box<dyn Source>> {
        let hub = self.inner.logs.find(&(cluster.hash.clone(), job))?;
        Some(Box::new(JobLog::new(hub, self.inner.tasks.clone())))
    }

    /// Returns the file of a job's log, when it lies on this machine.
    fn log_file(&self, cluster: &Cluster, log_dir: &str) -> Option<LogFile> {
        let head = self.head(cluster).ok()?;
        LogFile::of(head.home()?, log_dir)
    }
}

/// The log on the head node of a cluster. When its agent is gone it is started again: the log did not go.
struct Node {
    /// For reaching the agent.
    clusters: Clusters,
    /// The cluster.
    cluster: Cluster,
    /// The job.
    job: JobId,
    /// The log itself, when it can be read by path.
    file: Option<LogFile>,
}

impl Node {
    /// Returns the cluster as it is now, if it is the same and up.
    async fn cluster(&self) -> Result<Cluster> {
        let cluster = self.clusters.get(&self.cluster.name).await?;
        if cluster.hash != self.cluster.hash {
            let name = &cluster.name;
            return Err(Error::new(
                Kind::ClusterNotFound,
                format!("the cluster `{name}` of this log is gone"),
            ));
        }
        cluster.require_up()?;
        Ok(cluster)
    }

    /// Asks the agent for a piece.
    async fn ask(&self, offset: u64) -> Result<Piece> {
        let job = self.job;
        match self
            .clusters
            .head(&self.cluster)?
            .log_piece(job, offset)
            .await
        {
            Err(error) if error.kind() == Kind::Unreachable => {
                let cluster = self.cluster().await?;
                self.clusters
                    .on_head(&cluster, |agent| async move {
                        agent.log_piece(job, offset).await
                    })
                    .await
            }
            result => result,
        }
    }
}

impl Origin for Node {
    fn piece(&self, offset: u64) -> BoxFuture<'_, Result<Piece>> {
        Box::pin(async move {
            if let Some(file) = &self.file
                && let Some(bytes) = file.read(offset).await
            {
                return Ok(Piece::Bytes(bytes));
            }
            self.ask(offset).await
        })
    }

    fn tail_offset(&self, lines: u64) -> BoxFuture<'_, Result<u64>> {
        Box::pin(async move {
            if let Some(file) = &self.file
                && let Some(offset) = file.tail_offset(lines).await
            {
                return Ok(offset);
            }
            let (cluster, job) = (self.cluster().await?, self.job);
            self.clusters
                .on_head(
                    &cluster,
                    |agent| async move { agent.log_tail(job, lines).await },
                )
                .await
        })
    }

    fn follow(&self, start: Start) -> BoxFuture<'_, Result<BoxStream<'static, Result<Frame>>>> {
        Box::pin(async move {
            let cluster = self.cluster().await?;
            let agent = self
                .clusters
                .on_head(&cluster, |agent| async move {
                    agent.info().await.map(|_| agent)
                })
                .await?;
            Ok(agent.log(Some(self.job), start, true).into_frames())
        })
    }
}

/// A log on this machine. Agents only ever append to it, so its bytes are the log's; whether more will come only the
/// agent knows. What cannot be read here is asked of the agent.
struct LogFile {
    /// Where it is.
    path: PathBuf,
    /// The file, once it was opened: all followers share it.
    file: OnceLock<Arc<File>>,
}

impl LogFile {
    /// Names the log in a directory of a node's home, which the agent writes with a `~`.
    fn of(home: &Path, log_dir: &str) -> Option<Self> {
        let below = Path::new(log_dir.strip_prefix("~/")?);
        let is_plain = |part| matches!(part, Component::Normal(_));
        below.components().all(is_plain).then(|| Self {
            path: home.join(below).join("run.log"),
            file: OnceLock::new(),
        })
    }

    /// Returns the file.
    fn file(&self) -> Option<&Arc<File>> {
        if self.file.get().is_none() {
            // The job can write where its log is: a link that it left there is not followed.
            let flags = rustix::fs::OFlags::NOFOLLOW.bits();
            let opened = File::options()
                .read(true)
                .custom_flags(flags.cast_signed())
                .open(&self.path);
            match opened {
                Ok(file) if file.metadata().is_ok_and(|m| m.is_file()) => {
                    // Somebody else may have been faster.
                    drop(self.file.set(Arc::new(file)));
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(%error, path = %self.path.display(), "a log is asked of its agent");
                }
            }
        }
        self.file.get()
    }

    /// Returns what is at an offset; nothing when that is nothing, or cannot be read.
    async fn read(&self, offset: u64) -> Option<Bytes> {
        let bytes = logfile::read_at(self.file()?, offset).await.ok()?;
        (!bytes.is_empty()).then_some(bytes)
    }

    /// Returns where the last lines begin.
    async fn tail_offset(&self, lines: u64) -> Option<u64> {
        let file = Arc::clone(self.file()?);
        logfile::tail_offset(file, lines).await.ok()
    }
}

/// A follower of a job's log.
struct JobLog {
    /// The log.
    hub: Arc<Hub>,
    /// For its reader.
    tasks: TaskTracker,
    /// What is left of the last piece that it fetched by itself, and where that begins.
    held: (u64, Bytes),
}

impl JobLog {
    /// Joins a hub.
    fn new(hub: Arc<Hub>, tasks: TaskTracker) -> Self {
        Self {
            hub,
            tasks,
            held: (0, Bytes::new()),
        }
    }

    /// Reads on.
    async fn next(&mut self, offset: u64, wait: bool) -> Result<Piece> {
        loop {
            let look = self.hub.look(offset);
            match look {
                Look::Bytes(bytes) => {
                    self.held.1.clear();
                    return Ok(Piece::Bytes(bytes));
                }
                Look::End(outcome) => return Ok(Piece::End(outcome)),
                Look::Failed(error) => return Err(error),
                Look::Wait if wait => {
                    self.hub.wait(offset).await;
                    continue;
                }
                // How the job stands its agent says; the hub knows only that nothing has come yet.
                Look::Wait | Look::Unknown | Look::Behind => {}
            }
            let piece = self.fetch(offset).await?;
            match (&piece, look) {
                (Piece::Quiet(_), Look::Unknown) if wait => self.hub.start(&self.tasks),
                (Piece::Quiet(_), Look::Behind) => {
                    return Err(Error::new(
                        Kind::Interrupted,
                        "the log of the job is shorter than it was",
                    ));
                }
                _ => return Ok(piece),
            }
        }
    }

    /// Fetches by itself.
    async fn fetch(&mut self, offset: u64) -> Result<Piece> {
        let (start, bytes) = &mut self.held;
        let skip = usize::try_from(offset.wrapping_sub(*start)).unwrap_or(usize::MAX);
        if skip >= bytes.len() {
            bytes.clear();
            *bytes = match self.hub.origin().piece(offset).await? {
                Piece::Bytes(bytes) => bytes,
                end @ (Piece::End(_) | Piece::Quiet(_)) => return Ok(end),
            };
        } else {
            *bytes = bytes.slice(skip..);
        }
        let part = bytes.slice(..bytes.len().min(MAX_PAYLOAD));
        *start = offset;
        if part.len() == bytes.len() {
            bytes.clear();
        }
        Ok(Piece::Bytes(part))
    }
}

impl Source for JobLog {
    fn read(&mut self, offset: u64, wait: bool) -> BoxFuture<'_, Result<Piece>> {
        Box::pin(self.next(offset, wait))
    }

    fn tail_offset(&mut self, lines: u64) -> BoxFuture<'_, Result<u64>> {
        self.hub.origin().tail_offset(lines)
    }
}

#[cfg(test)]
mod tests;
