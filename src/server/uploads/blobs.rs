//! Takes chunks, makes blobs, removes what is old.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use axum::body::{Body, Bytes};
use http_body_util::BodyExt;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{Notify, OwnedMutexGuard};

use super::parts::{self, Joined};
use super::unpack::unpack;
use crate::base::clock::Moment;
use crate::base::ids::{BlobId, UserId};
use crate::base::units;
use crate::base::{Error, Kind, Result};
use crate::sys::fs::private_dir;

/// How long a blob is kept after its last use.
const KEPT: Duration = Duration::from_secs(3600);
/// How long chunks wait for those that are missing.
const PARTS_KEPT: Duration = Duration::from_secs(24 * 3600);
/// How long a connection may say nothing in the middle of a chunk.
const SILENCE: Duration = Duration::from_secs(60);
/// The most chunks of an upload.
const MOST_CHUNKS: u32 = 10_000;
/// Disk space that uploads leave alone.
const RESERVE: u64 = 256 << 20;

/// How much is accepted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Bytes of one archive.
    pub(crate) archive: u64,
    /// Bytes of its content.
    pub(crate) content: u64,
}

/// Whether the address that a client gives to its upload is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Our own client: it must be right.
    Verify,
    /// Others: it names the upload of this one user, who alone is hurt by a wrong one.
    Believe,
}

/// One chunk on its way.
pub(crate) struct Chunk {
    /// Whose.
    pub(crate) user: UserId,
    /// Of which upload.
    pub(crate) blob: BlobId,
    /// Which, from 0.
    pub(crate) index: u32,
    /// Of how many.
    pub(crate) total: u32,
    /// Whether the address is checked.
    pub(crate) trust: Trust,
}

/// How an upload stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Progress {
    /// These chunks are missing.
    Missing(Vec<String>),
    /// It is there.
    Complete,
}

/// One writer for each blob.
type Locks = Mutex<BTreeMap<PathBuf, Arc<tokio::sync::Mutex<()>>>>;

/// The uploads of all users.
pub(crate) struct Blobs {
    /// `clients` in the state directory.
    root: PathBuf,
    /// How much is accepted.
    limits: Limits,
    /// One writer for each blob.
    locks: Locks,
    /// Told when there is something new that has to be removed one day.
    changed: Notify,
}

impl Blobs {
    /// Takes care of uploads below `root`.
    pub(crate) fn new(root: PathBuf, limits: Limits) -> Self {
        Self {
            root,
            limits,
            locks: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// Returns where a blob is, or will be.
    fn blob(&self, user: &UserId, blob: &BlobId) -> PathBuf {
        self.of_user(user).join("blobs").join(blob.as_str())
    }

    /// Returns where chunks wait.
    fn parts(&self, chunk: &Chunk) -> PathBuf {
        let name = format!("{}-{}", chunk.blob, chunk.total);
        self.of_user(&chunk.user).join("uploads").join(name)
    }

    /// Returns a user's part of the directory.
    fn of_user(&self, user: &UserId) -> PathBuf {
        self.root.join(user.as_str()).join("file_mounts")
    }

    /// Returns whether a blob is there, and counts that as a use. Refuses one that will be too large.
    pub(crate) fn exists(&self, user: &UserId, blob: &BlobId, bytes: Option<u64>) -> Result<bool> {
        if self.touch(user, blob) {
            return Ok(true);
        }
        self.check_size(bytes.unwrap_or(0))?;
        self.check_space(bytes.unwrap_or(0))?;
        Ok(false)
    }

    /// Counts a use of a blob; returns whether it is there.
    pub(crate) fn touch(&self, user: &UserId, blob: &BlobId) -> bool {
        let now = rustix::fs::Timespec {
            tv_sec: 0,
            tv_nsec: rustix::fs::UTIME_NOW,
        };
        let times = rustix::fs::Timestamps {
            last_access: now,
            last_modification: now,
        };
        let flags = rustix::fs::AtFlags::empty();
        let path = self.blob(user, blob);
        rustix::fs::utimensat(rustix::fs::CWD, &path, &times, flags).is_ok()
    }

    /// Takes a chunk; makes the blob when it was the last one.
    pub(crate) async fn receive(&self, chunk: Chunk, body: Body) -> Result<Progress> {
        check_numbers(&chunk)?;
        if self.touch(&chunk.user, &chunk.blob) {
            return Ok(Progress::Complete);
        }
        let dir = self.parts(&chunk);
        private_dir(&dir)?;
        let before = parts::bytes(&dir, chunk.total, chunk.index);
        self.write_part(&dir, chunk.index, before, body).await?;
        self.changed.notify_one();
        let missing = parts::missing(&dir, chunk.total);
        if !missing.is_empty() {
            return Ok(Progress::Missing(missing));
        }
        self.complete(chunk, dir).await
    }

    /// Writes a chunk beside its place and moves it there.
    async fn write_part(&self, dir: &Path, index: u32, before: u64, body: Body) -> Result<()> {
        let scratch = Scratch::new(dir)?;
        let file = File::create_new(&scratch.path).map_err(|e| on_disk(&e))?;
        let mut file = tokio::io::BufWriter::with_capacity(1 << 20, tokio::fs::File::from(file));
        let mut body = body;
        let mut bytes = before;
        while let Some(piece) = next_piece(&mut body).await? {
            bytes += piece.len() as u64;
            self.check_size(bytes)?;
            file.write_all(&piece).await.map_err(|e| on_disk(&e))?;
        }
        file.flush().await.map_err(|e| on_disk(&e))?;
        std::fs::rename(&scratch.path, parts::path(dir, index)).map_err(|e| on_disk(&e))
    }

    /// Makes the blob of an upload that is whole. Goes on when the caller goes away.
    async fn complete(&self, chunk: Chunk, dir: PathBuf) -> Result<Progress> {
        let path = self.blob(&chunk.user, &chunk.blob);
        let lock = self.lock(&path).await;
        if self.touch(&chunk.user, &chunk.blob) {
            return Ok(Progress::Complete);
        }
        self.check_space(parts::bytes(&dir, chunk.total, u32::MAX))?;
        let most = self.limits.content;
        let work = move || {
            let _lock = lock;
            let made = make_blob(&dir, &chunk, &path, most);
            // Chunks that do not make an archive are of no use; a full disk is no fault of theirs.
            if made
                .as_ref()
                .err()
                .is_none_or(|e| e.kind() != Kind::StorageFull)
            {
                remove(&dir);
            }
            made
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|e| Error::internal("unpack an upload", &e))??;
        Ok(Progress::Complete)
    }

    /// Waits until nobody else makes this blob.
    async fn lock(&self, path: &Path) -> OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
            locks.retain(|_, lock| Arc::strong_count(lock) > 1);
            Arc::clone(locks.entry(path.to_path_buf()).or_default())
        };
        lock.lock_owned().await
    }

    /// Refuses an archive that is too large.
    fn check_size(&self, bytes: u64) -> Result<()> {
        if bytes > self.limits.archive {
            let limit = units::Bytes(self.limits.archive);
            return Err(Error::new(
                Kind::TooLarge,
                format!("the upload is larger than the {limit} that this server accepts"),
            )
            .hint("exclude what the task does not need by a `.skyignore` file"));
        }
        Ok(())
    }

    /// Refuses an archive that would fill the disk.
    fn check_space(&self, bytes: u64) -> Result<()> {
        let free = rustix::fs::statvfs(&self.root)
            .map_or(u64::MAX, |fs| fs.f_bavail.saturating_mul(fs.f_frsize));
        if free < bytes.saturating_add(RESERVE) {
            return Err(Error::new(
                Kind::StorageFull,
                format!("the server's disk has only {} left", units::Bytes(free)),
            ));
        }
        Ok(())
    }

    /// Waits until there is something new.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Removes blobs and chunks that were not used for long; returns when the next one will be due.
    ///
    /// `in_use` holds the blobs that unfinished requests refer to. Blocks.
    pub(crate) fn collect(&self, in_use: &BTreeSet<BlobId>) -> Option<Moment> {
        let mut next = None;
        for user in children(&self.root) {
            let files = user.join("file_mounts");
            for blob in children(&files.join("blobs")) {
                let name = blob.file_name().unwrap_or_default().to_string_lossy();
                let used = name.parse().is_ok_and(|id| in_use.contains(&id));
                sweep(&blob, if used { None } else { Some(KEPT) }, KEPT, &mut next);
            }
            for upload in children(&files.join("uploads")) {
                sweep(&upload, Some(PARTS_KEPT), PARTS_KEPT, &mut next);
            }
        }
        next
    }
}

/// Removes a directory that is older than `most`, or notes when it will be. One in use is looked at again later.
fn sweep(path: &Path, most: Option<Duration>, again: Duration, next: &mut Option<Moment>) {
    let modified = std::fs::metadata(path).and_then(|meta| meta.modified());
    let modified = modified.unwrap_or(SystemTime::UNIX_EPOCH);
    let since = modified
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let micros = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
    let due = match most {
        Some(most) => Moment::from_micros(micros).after(most),
        None => Moment::now().after(again),
    };
    if due <= Moment::now() {
        tracing::info!(path = %path.display(), "removes an upload that nobody needs");
        remove(path);
    } else {
        *next = Some(next.map_or(due, |next: Moment| next.min(due)));
    }
}

/// Unpacks chunks beside the blob's place and moves the result there.
fn make_blob(parts: &Path, chunk: &Chunk, path: &Path, most: u64) -> Result<()> {
    let parent = path.parent().unwrap_or_else(|| Path::new("."));
    private_dir(parent)?;
    let scratch = Scratch::new(parent)?;
    private_dir(&scratch.path)?;
    let archive = Joined::open(parts, chunk.total).map_err(|e| on_disk(&e))?;
    let address = unpack(archive, &scratch.path, most)?;
    if chunk.trust == Trust::Verify && address != chunk.blob.as_str() {
        return Err(Error::new(
            Kind::Invalid,
            "the upload's content does not have the address that it was sent with",
        ));
    }
    let place = || -> std::io::Result<()> {
        let dir = File::open(&scratch.path)?;
        // One call for all files of the blob: it is on disk before anybody is told that it is there.
        rustix::fs::syncfs(&dir)?;
        std::fs::rename(&scratch.path, path)?;
        File::open(parent)?.sync_all()
    };
    place().map_err(|e| on_disk(&e))
}

/// A name for something unfinished; whatever is there when this is dropped goes.
struct Scratch {
    /// The path.
    path: PathBuf,
}

impl Scratch {
    /// A new name in `dir`.
    fn new(dir: &Path) -> Result<Self> {
        let name = crate::server::accounts::token::random_hex::<8>()?;
        Ok(Self {
            path: dir.join(format!(".{name}.tmp")),
        })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.path.symlink_metadata().is_ok() {
            remove(&self.path);
        }
    }
}

/// Removes a file or a directory; what cannot be removed is tried again by the next collection.
fn remove(path: &Path) {
    let removed = if path.is_dir() {
        std::fs::remove_dir_all(path)
    } else {
        std::fs::remove_file(path)
    };
    if let Err(e) = removed {
        tracing::warn!(path = %path.display(), error = %e, "cannot remove an upload");
    }
}

/// The entries of a directory; none when it is not there.
fn children(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

/// Refuses numbers that make no sense.
fn check_numbers(chunk: &Chunk) -> Result<()> {
    if chunk.total == 0 || chunk.total > MOST_CHUNKS || chunk.index >= chunk.total {
        return Err(Error::new(
            Kind::Invalid,
            format!("chunk {} of {} makes no sense", chunk.index, chunk.total),
        ));
    }
    Ok(())
}

/// Returns the next bytes of a body.
async fn next_piece(body: &mut Body) -> Result<Option<Bytes>> {
    loop {
        let frame = tokio::time::timeout(SILENCE, body.frame()).await;
        let frame = frame.map_err(|_| Error::new(Kind::Timeout, "the upload came to a halt"))?;
        match frame {
            None => return Ok(None),
            Some(Err(e)) => {
                return Err(Error::new(Kind::Invalid, "the upload broke off").caused_by(&e));
            }
            Some(Ok(frame)) => {
                if let Ok(bytes) = frame.into_data() {
                    return Ok(Some(bytes));
                }
            }
        }
    }
}

/// A fault of the disk.
fn on_disk(error: &std::io::Error) -> Error {
    Error::io("store an upload", error)
}
