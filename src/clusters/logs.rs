//! Logs of jobs as the server passes them on: read from the head's agent, at any byte.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bytes::{Buf, Bytes};
use futures_util::future::BoxFuture;
use http_body_util::BodyExt;
use tokio::sync::mpsc;

use super::{Cluster, Clusters};
use crate::base::ids::JobId;
use crate::base::{Error, Kind, Result};
use crate::http::stream::{Piece, Source};
use crate::transport::agent_log::AgentLog;

/// Pieces of a download that wait to be unpacked.
const QUEUE: usize = 16;

impl Clusters {
    /// Returns the log of a job as a source that outlives the agent.
    pub(crate) fn job_log(&self, cluster: &Cluster, job: JobId) -> Box<dyn Source> {
        Box::new(JobLog {
            clusters: self.clone(),
            cluster: cluster.clone(),
            job,
            log: None,
        })
    }

    /// Copies the log directory of a job into a directory of this machine.
    pub(crate) async fn fetch_logs(
        &self,
        cluster: &Cluster,
        job: JobId,
        into: &Path,
    ) -> Result<()> {
        let mut body = self
            .on_head(cluster, |agent| async move { agent.files(job).await })
            .await?;
        let (sender, receiver) = mpsc::channel(QUEUE);
        let dir: PathBuf = into.to_path_buf();
        let unpack = tokio::task::spawn_blocking(move || unpack(receiver, &dir));
        let mut transfer = Ok(());
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => {
                    let Ok(bytes) = frame.into_data() else {
                        continue;
                    };
                    // A receiver that is gone has failed: its own reason comes back below.
                    if sender.send(Ok(bytes)).await.is_err() {
                        break;
                    }
                }
                Err(e) => {
                    transfer =
                        Err(Error::new(Kind::Unreachable, "the agent's files broke off")
                            .caused_by(&e));
                    drop(sender.send(Err(io::ErrorKind::UnexpectedEof.into())).await);
                    break;
                }
            }
        }
        drop(sender);
        let outcome = unpack
            .await
            .map_err(|e| Error::internal("unpack logs", &e))?;
        transfer.and(outcome)
    }
}

/// Unpacks a tar that arrives in pieces.
fn unpack(receiver: mpsc::Receiver<io::Result<Bytes>>, dir: &Path) -> Result<()> {
    crate::sys::fs::private_dir(dir)?;
    tar::Archive::new(Received {
        receiver,
        piece: Bytes::new(),
    })
    .unpack(dir)
    .map_err(|e| Error::io(format!("unpack logs into `{}`", dir.display()), &e))
}

/// Reads the pieces as one stream.
struct Received {
    /// Where they come from.
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    /// The piece that is being read.
    piece: Bytes,
}

impl Read for Received {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.receiver.blocking_recv() {
                Some(piece) => self.piece = piece?,
                None => return Ok(0),
            }
        }
        let n = buffer.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut buffer[..n]);
        Ok(n)
    }
}

/// The log of one job. When its agent is gone it is started again: the log did not go.
struct JobLog {
    /// For reaching the agent.
    clusters: Clusters,
    /// The cluster.
    cluster: Cluster,
    /// The job.
    job: JobId,
    /// The log on the agent that was reached last.
    log: Option<AgentLog>,
}

impl JobLog {
    /// Returns the log on an agent that answers.
    async fn reach(&mut self) -> Result<&mut AgentLog> {
        if let Some(log) = self.log.take() {
            return Ok(self.log.insert(log));
        }
        let clusters = &self.clusters;
        let cluster = clusters.get(&self.cluster.name).await?;
        if cluster.hash != self.cluster.hash {
            let name = &cluster.name;
            return Err(Error::new(
                Kind::ClusterNotFound,
                format!("the cluster `{name}` of this log is gone"),
            ));
        }
        cluster.require_up()?;
        let client = clusters
            .on_head(&cluster, |c| async move { c.info().await.map(|_| c) })
            .await?;
        Ok(self.log.insert(AgentLog::new(client, Some(self.job))))
    }
}

impl Source for JobLog {
    fn read(&mut self, offset: u64, wait: bool) -> BoxFuture<'_, Result<Piece>> {
        Box::pin(async move {
            let first = self.reach().await?.read(offset, wait).await;
            match first {
                Err(error) if error.kind() == Kind::Unreachable => {
                    self.log = None;
                    self.reach().await?.read(offset, wait).await
                }
                result => result,
            }
        })
    }

    fn tail_offset(&mut self, lines: u64) -> BoxFuture<'_, Result<u64>> {
        Box::pin(async move { self.reach().await?.tail_offset(lines).await })
    }
}
