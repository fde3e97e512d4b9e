//! The user's files on their way to the nodes: a tar stream per tree and node, made while it is sent.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::Stream;
use futures_util::future::try_join_all;
use tokio::sync::mpsc;

use super::{Cluster, Clusters};
use crate::base::{Error, Kind, Result};
use crate::sys::walk::{EntryKind, walk};
use crate::transport::agent_client::PutMode;

/// How long one tree may take to reach a node.
const SHIP_DEADLINE: Duration = Duration::from_hours(6);
/// Pieces of the stream that wait to be sent.
const QUEUE: usize = 16;
/// The size of a piece.
const PIECE: usize = 64 * 1024;

/// A file or a tree to be put on every node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shipment {
    /// Where it is on this machine.
    pub(crate) source: PathBuf,
    /// Where it goes on the node: absolute under `~`, or relative to it.
    pub(crate) dest: String,
}

impl Clusters {
    /// Puts a file or tree on every node of a cluster.
    pub(crate) async fn ship(&self, cluster: &Cluster, shipment: &Shipment) -> Result<()> {
        let metadata = std::fs::metadata(&shipment.source).map_err(|e| {
            Error::new(
                Kind::InvalidTask,
                format!("cannot read `{}`", shipment.source.display()),
            )
            .caused_by(&e)
        })?;
        let is_dir = metadata.is_dir();
        let sends = cluster.instances.iter().map(|instance| {
            let client = self.agent(cluster, instance);
            async move {
                let mode = if is_dir { PutMode::Dir } else { PutMode::File };
                let (pieces, receiver) = mpsc::channel(QUEUE);
                let source = shipment.source.clone();
                let pack = tokio::task::spawn_blocking(move || pack(&source, &pieces));
                let sent = client
                    .put_files(
                        &shipment.dest,
                        mode,
                        Body::from_stream(stream(receiver)),
                        SHIP_DEADLINE,
                    )
                    .await;
                let packed = pack.await.map_err(|e| Error::internal("pack files", &e))?;
                // A failed packing breaks the stream: its own reason comes first.
                packed.and(sent)
            }
        });
        try_join_all(sends).await.map(drop)
    }
}

/// The pieces as a stream.
fn stream(receiver: mpsc::Receiver<io::Result<Bytes>>) -> impl Stream<Item = io::Result<Bytes>> {
    futures_util::stream::unfold(receiver, async |mut receiver| {
        Some((receiver.recv().await?, receiver))
    })
}

/// Writes a tar of a file or tree into the channel. Ends the stream with an error when something cannot be read.
fn pack(source: &Path, pieces: &mpsc::Sender<io::Result<Bytes>>) -> Result<()> {
    let doing = || format!("pack `{}`", source.display());
    let mut tar = tar::Builder::new(Pieces {
        pieces: pieces.clone(),
        buffer: Vec::with_capacity(PIECE),
    });
    tar.follow_symlinks(false);
    let packed = pack_into(&mut tar, source).and_then(|()| {
        tar.into_inner()
            .and_then(|mut pieces| pieces.flush())
            .map_err(|e| Error::io(doing(), &e))
    });
    if let Err(error) = &packed {
        // The receiver must not take a cut stream for a whole one.
        drop(pieces.blocking_send(Err(io::Error::other(error.one_line()))));
    }
    packed
}

/// Adds everything to the tar.
fn pack_into(tar: &mut tar::Builder<Pieces>, source: &Path) -> Result<()> {
    let metadata = std::fs::metadata(source)
        .map_err(|e| Error::io(format!("read `{}`", source.display()), &e))?;
    if !metadata.is_dir() {
        let name = source.file_name().unwrap_or_default();
        let mut file = std::fs::File::open(source)
            .map_err(|e| Error::io(format!("open `{}`", source.display()), &e))?;
        return tar
            .append_file(name, &mut file)
            .map_err(|e| Error::io(format!("read `{}`", source.display()), &e));
    }
    for entry in walk(source) {
        let entry = entry?;
        let added = match entry.kind {
            EntryKind::Directory => tar.append_dir(&entry.relative, &entry.path),
            EntryKind::File | EntryKind::Link => {
                tar.append_path_with_name(&entry.path, &entry.relative)
            }
        };
        // What is gone since it was listed counts as gone before.
        if let Err(e) = added
            && e.kind() != io::ErrorKind::NotFound
        {
            return Err(Error::io(format!("read `{}`", entry.path.display()), &e));
        }
    }
    Ok(())
}

/// Collects what is written into pieces and sends them; waits while the receiver is slow.
struct Pieces {
    /// Where they go.
    pieces: mpsc::Sender<io::Result<Bytes>>,
    /// The piece that is being filled.
    buffer: Vec<u8>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.buffer, Vec::with_capacity(PIECE));
        self.pieces
            .blocking_send(Ok(piece.into()))
            .map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}
