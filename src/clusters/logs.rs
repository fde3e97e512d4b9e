//! Log directories of jobs, copied to this machine.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bytes::{Buf, Bytes};
use http_body_util::BodyExt;
use tokio::sync::mpsc;

use super::{Cluster, Clusters};
use crate::base::ids::JobId;
use crate::base::{Error, Kind, Result};

/// Pieces of a download that wait to be unpacked.
const QUEUE: usize = 16;

impl Clusters {
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
