//! The content of files as a stream, made while it is sent, once for all nodes that need the same.

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use super::list::{List, unreadable};
use crate::api::manifest::{Body, Entry, Hash, LARGEST_PIECE, Lacking, Need, Record, write_piece};
use crate::base::{Error, Result};
use crate::sys::fs::{hash_file, mtime_of};

/// How much time is spent on compression: about a second for half a gigabyte.
const LEVEL: i32 = 1;
/// Bytes of a file that are read at once.
const READ: usize = 128 * 1024;
/// Files up to this size are read as a whole, and read again when they change meanwhile.
const SMALL: u64 = READ as u64;
/// How often a file that changes while it is read is read.
const TRIES: u32 = 3;
/// The size of a piece of the stream.
const PIECE: usize = 64 * 1024;

/// How far a sync is. Shared by who sends and who shows it.
#[derive(Default)]
pub(super) struct Progress {
    /// Files that were sent.
    pub(super) files: AtomicU64,
    /// Bytes of files that were sent.
    pub(super) bytes: AtomicU64,
    /// Files that changed while they were read.
    pub(super) torn: AtomicU64,
}

/// What is sent.
pub(super) struct Load {
    /// The list.
    pub(super) list: Arc<List>,
    /// Where the files are.
    pub(super) source: PathBuf,
    /// Which of them are lacking.
    pub(super) lacking: Lacking,
    /// Whether the stream is compressed.
    pub(super) packed: bool,
    /// Told how far it is.
    pub(super) progress: Arc<Progress>,
}

/// Where the stream of one node goes.
pub(super) type Pieces = mpsc::Sender<io::Result<Bytes>>;

impl Load {
    /// Reads and sends everything; when that fails, the streams break off, so that nobody takes them for whole. Blocks.
    pub(super) fn send(&self, to: Vec<Pieces>) -> Result<()> {
        let tee = Tee {
            to,
            piece: Vec::with_capacity(PIECE),
        };
        let (sent, tee) = if self.packed {
            match zstd::Encoder::new(tee, LEVEL) {
                Err(e) => return Err(Error::internal("compress files", &e)),
                Ok(mut encoder) => {
                    let sent = self.records(&mut encoder);
                    match encoder.finish() {
                        Ok(tee) => (sent, Some(tee)),
                        Err(_) => (sent, None),
                    }
                }
            }
        } else {
            let mut tee = tee;
            (self.records(&mut tee), Some(tee))
        };
        match (sent, tee) {
            (Ok(()), Some(mut tee)) => {
                // Nobody listens any more: each node's own answer says why.
                drop(tee.flush());
                Ok(())
            }
            (Err(error), Some(mut tee)) => {
                tee.break_off(&error);
                Err(error)
            }
            (sent, None) => sent,
        }
    }

    /// Writes all records.
    fn records(&self, to: &mut impl Write) -> Result<()> {
        let mut buffer = Vec::new();
        for (index, need) in &self.lacking.files {
            let entry = &self.list.manifest.entries[*index];
            let path = place(&self.source, entry);
            match self.file(to, *index, (entry, &path), *need, &mut buffer) {
                Ok(()) => {}
                Err(Failure::Gone) => {
                    if Record::Gone(*index).write(to).is_err() {
                        return Ok(());
                    }
                }
                Err(Failure::Unreadable(e)) => return Err(unreadable(&path, &e)),
                // Nobody listens any more: each node's own answer says why.
                Err(Failure::Deaf) => return Ok(()),
            }
            self.progress.files.fetch_add(1, Ordering::Relaxed);
        }
        drop(Record::End.write(to));
        Ok(())
    }

    /// Writes one file, as far as it is needed.
    fn file(
        &self,
        to: &mut impl Write,
        index: usize,
        (entry, path): (&Entry, &Path),
        need: Need,
        buffer: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let mut file = open(path)?;
        let meta = file.metadata().map_err(Failure::Unreadable)?;
        if meta.len() <= SMALL {
            let settled = read_small(&mut file, path, meta, buffer)?;
            self.note(settled, buffer.len() as u64);
            return match need {
                Need::Doubt(hash) if Hash::from(Sha256::digest(&buffer)) == hash => {
                    Record::Same(index).write(to).map_err(deaf)
                }
                _ => {
                    Record::File(index, 0).write(to).map_err(deaf)?;
                    if !buffer.is_empty() {
                        write_piece(to, buffer).map_err(deaf)?;
                    }
                    write_piece(to, &[]).map_err(deaf)
                }
            };
        }
        let from = match need {
            Need::Whole => 0,
            Need::Rest { have, hash } => match hash_file(path, have) {
                Ok((bytes, mine)) if bytes == have && mine == hash => have,
                Ok(_) => 0,
                Err(e) => return Err(Failure::Unreadable(e)),
            },
            Need::Doubt(hash) => match hash_file(path, u64::MAX) {
                Ok((bytes, mine)) if mine == hash => {
                    self.note(Settled::Yes, bytes);
                    return Record::Same(index).write(to).map_err(deaf);
                }
                Ok(_) => 0,
                Err(e) => return Err(Failure::Unreadable(e)),
            },
        };
        file.seek(SeekFrom::Start(from))
            .map_err(Failure::Unreadable)?;
        self.note(Settled::Yes, from);
        Record::File(index, from).write(to).map_err(deaf)?;
        buffer.resize(READ.min(LARGEST_PIECE), 0);
        loop {
            let read = file.read(buffer).map_err(Failure::Unreadable)?;
            write_piece(to, &buffer[..read]).map_err(deaf)?;
            if read == 0 {
                break;
            }
            self.progress
                .bytes
                .fetch_add(read as u64, Ordering::Relaxed);
        }
        let after = file.metadata().map_err(Failure::Unreadable)?;
        let same = matches!(entry.body, Body::File { size, mtime, .. }
            if after.len() == size && mtime_of(&after) == mtime);
        self.note(if same { Settled::Yes } else { Settled::No }, 0);
        Ok(())
    }

    /// Counts.
    fn note(&self, settled: Settled, bytes: u64) {
        self.progress.bytes.fetch_add(bytes, Ordering::Relaxed);
        if settled == Settled::No {
            self.progress.torn.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Whether a file stayed as it was while it was read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Settled {
    /// It did.
    Yes,
    /// Its content may be a mixture. Its time on the node is the listed one, so the next sync looks at it again.
    No,
}

/// Why a file was not sent.
enum Failure {
    /// It vanished.
    Gone,
    /// It cannot be read.
    Unreadable(io::Error),
    /// Nobody listens.
    Deaf,
}

/// Nobody listens.
fn deaf(_: io::Error) -> Failure {
    Failure::Deaf
}

/// Opens a file.
fn open(path: &Path) -> Result<File, Failure> {
    File::open(path).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => Failure::Gone,
        _ => Failure::Unreadable(e),
    })
}

/// Reads a small file as it is at one moment, if it lets us.
fn read_small(
    file: &mut File,
    path: &Path,
    mut meta: Metadata,
    buffer: &mut Vec<u8>,
) -> Result<Settled, Failure> {
    for attempt in 0..TRIES {
        if attempt > 0 {
            *file = open(path)?;
            meta = file.metadata().map_err(Failure::Unreadable)?;
        }
        buffer.clear();
        Read::take(&mut *file, LARGEST_PIECE as u64)
            .read_to_end(buffer)
            .map_err(Failure::Unreadable)?;
        let after = file.metadata().map_err(Failure::Unreadable)?;
        if after.len() == buffer.len() as u64 && mtime_of(&after) == mtime_of(&meta) {
            return Ok(Settled::Yes);
        }
    }
    Ok(Settled::No)
}

/// Returns where an entry is.
fn place(source: &Path, entry: &Entry) -> PathBuf {
    if entry.path.is_empty() {
        source.to_path_buf()
    } else {
        source.join(std::ffi::OsStr::from_bytes(&entry.path))
    }
}

/// Collects what is written into pieces and sends them to all who listen; waits while one of them is slow.
struct Tee {
    /// Who listens.
    to: Vec<Pieces>,
    /// The piece that is being filled.
    piece: Vec<u8>,
}

impl Tee {
    /// Ends the streams with an error.
    fn break_off(&mut self, error: &Error) {
        for to in &self.to {
            drop(to.blocking_send(Err(io::Error::other(error.one_line()))));
        }
    }
}

impl Write for Tee {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.piece.is_empty() {
            let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
            let piece = Bytes::from(piece);
            // A node that is gone is told of by its own call; the others go on.
            self.to
                .retain(|to| to.blocking_send(Ok(piece.clone())).is_ok());
        }
        if self.to.is_empty() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(())
    }
}
