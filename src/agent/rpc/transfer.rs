//! Between bodies, which are asynchronous, and tar, which blocks: channels of a few pieces.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use axum::body::Body;
use bytes::{Buf, Bytes};
use http_body_util::BodyExt;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::agent::files;
use crate::base::{Error, Kind, Result};

/// Pieces on their way.
const PIECES: usize = 4;
/// Size of a piece that we send.
const PIECE: usize = 64 * 1024;

/// A body as a reader that blocks.
pub(crate) struct Incoming {
    /// What has arrived.
    pieces: mpsc::Receiver<std::io::Result<Bytes>>,
    /// What is being read.
    piece: Bytes,
}

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.piece = piece?,
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

/// Reads a stream that may be compressed.
pub(super) fn unpacked(stream: Incoming, packed: bool) -> Result<Box<dyn BufRead>> {
    if !packed {
        return Ok(Box::new(BufReader::with_capacity(PIECE, stream)));
    }
    let decoder =
        zstd::Decoder::new(stream).map_err(|e| Error::internal("unpack a stream of files", &e))?;
    Ok(Box::new(BufReader::with_capacity(PIECE, decoder)))
}

/// Gives a body to `work` as it arrives. A body that breaks off is an error for `work`, not an end; so is one that says
/// nothing for longer than `silence`.
pub(crate) async fn receive<T: Send + 'static>(
    mut body: Body,
    stop: &CancellationToken,
    silence: Option<Duration>,
    work: impl FnOnce(Incoming) -> Result<T> + Send + 'static,
) -> Result<T> {
    let (sender, pieces) = mpsc::channel(PIECES);
    let reader = Incoming {
        pieces,
        piece: Bytes::new(),
    };
    let done = tokio::task::spawn_blocking(move || work(reader));
    let mut broken = None;
    let next = async |body: &mut Body| {
        let frame = stop.run_until_cancelled(body.frame());
        match silence {
            None => Ok(frame.await.flatten()),
            Some(limit) => tokio::time::timeout(limit, frame)
                .await
                .map(Option::flatten),
        }
    };
    loop {
        let Ok(frame) = next(&mut body).await else {
            broken = Some(Error::new(Kind::Timeout, "nothing more arrived in time"));
            break;
        };
        let Some(frame) = frame else {
            break;
        };
        let piece = match frame {
            Ok(frame) => match frame.into_data() {
                Ok(bytes) => Ok(bytes),
                Err(_trailers) => continue,
            },
            Err(e) => {
                broken = Some(Error::new(Kind::Unreachable, "the upload broke off").caused_by(&e));
                Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof))
            }
        };
        let over = piece.is_err();
        // The reader is gone when it has all it wants, or has failed: then its own result counts.
        if sender.send(piece).await.is_err() || over {
            break;
        }
    }
    drop(sender);
    let done = done
        .await
        .map_err(|e| Error::internal("take in files", &e))?;
    broken.map_or(done, Err)
}

/// A body that blocks the writer while it is full.
struct Outgoing {
    /// What is on its way.
    pieces: mpsc::Sender<std::io::Result<Bytes>>,
    /// What gathers.
    piece: Vec<u8>,
}

impl Write for Outgoing {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let piece = std::mem::take(&mut self.piece);
        if piece.is_empty() {
            return Ok(());
        }
        self.pieces
            .blocking_send(Ok(piece.into()))
            .map_err(|_| std::io::ErrorKind::BrokenPipe.into())
    }
}

/// Returns a directory as a tar stream that is made while it is read.
pub(super) fn tar_body(directory: PathBuf) -> Body {
    let (pieces, receiver) = mpsc::channel(PIECES);
    let errors = pieces.clone();
    let writer = Outgoing {
        pieces,
        piece: Vec::new(),
    };
    // Ends by itself: when the tree is packed, or when the reader is gone.
    tokio::task::spawn_blocking(move || {
        if let Err(e) = files::pack(&directory, writer) {
            drop(errors.blocking_send(Err(e)));
        }
    });
    Body::from_stream(futures_util::stream::unfold(
        receiver,
        async |mut receiver| receiver.recv().await.map(|piece| (piece, receiver)),
    ))
}
