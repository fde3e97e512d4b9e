//! Log files as sources: one that still grows, watched by inotify, and one that is finished.
//!
//! ```text
//! writer ─ append ─► file ─ inotify ─► one task ─ notify ─► all followers of the file
//! owner  ─ poke ────────────────────────────────┘           each: ask standing, read, else wait
//! ```
//!
//! A process has one [`Tails`]; a file has one watch however many follow it. A follower asks its owner how the log
//! stands *before* it reads, so what was written before the end is never missed.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use inotify::{EventMask, EventStream, Inotify, WatchDescriptor, WatchMask, Watches};
use tokio::sync::Notify;

use super::exec::Tasks;
use super::logfile;
use super::stream::{Piece, Source};
use crate::api::frames::Outcome;
use crate::base::{Error, Kind, Result};

/// How a log stands, as its owner knows.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Standing {
    /// More may come.
    Open(Outcome),
    /// All that will ever be written is in the file.
    Finished(Outcome),
}

/// Asks the owner of a log how it stands; must be quick and must not block.
pub(crate) type AskStanding = Arc<dyn Fn() -> Standing + Send + Sync>;

/// The growing files of this process. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Tails {
    /// Files and watches.
    hub: Arc<Hub>,
    /// The task that reads events; ends with the last clone.
    _tasks: Arc<Tasks>,
}

/// Files and watches.
struct Hub {
    /// Adds and removes watches.
    watches: Mutex<Watches>,
    /// Who is followed. Locked for look-ups only.
    files: Mutex<Files>,
}

/// Who is followed.
#[derive(Default)]
struct Files {
    /// By path.
    by_path: HashMap<PathBuf, Weak<Tailed>>,
    /// By watch.
    by_watch: HashMap<WatchDescriptor, Weak<Tailed>>,
}

/// A file that is followed.
struct Tailed {
    /// Where it is.
    path: PathBuf,
    /// Wakes all followers.
    changed: Notify,
    /// The file, once it exists.
    opened: Mutex<Option<Opened>>,
    /// The bytes read last, which the other followers want too.
    recent: Mutex<(u64, Bytes)>,
    /// To which it belongs.
    hub: Weak<Hub>,
}

/// An open, watched file.
struct Opened {
    /// For reading.
    file: Arc<File>,
    /// Its watch.
    watch: WatchDescriptor,
}

/// Longer pieces are not kept for other followers.
const RECENT_MAX: usize = 64 * 1024;

/// Locks; a panic elsewhere does not spoil plain data.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tails {
    /// Starts the task that reads inotify events.
    pub(crate) fn start() -> Result<Self> {
        let fail = |e: &io::Error| {
            Error::io("watch log files", e).hint(
                "the limit on inotify instances is in /proc/sys/fs/inotify/max_user_instances",
            )
        };
        let inotify = Inotify::init().map_err(|e| fail(&e))?;
        let hub = Arc::new(Hub {
            watches: Mutex::new(inotify.watches()),
            files: Mutex::default(),
        });
        let events = inotify
            .into_event_stream(vec![0; 16 * 1024])
            .map_err(|e| fail(&e))?;
        let tasks = Tasks::default();
        tasks.spawner().spawn(pump(events, Arc::downgrade(&hub)));
        Ok(Self {
            hub,
            _tasks: Arc::new(tasks),
        })
    }

    /// Follows the file at `path`, which need not exist yet: whoever makes it pokes afterwards.
    pub(crate) fn follow(&self, path: &Path, standing: AskStanding) -> FileTail {
        let mut files = lock(&self.hub.files);
        let known = files.by_path.get(path).and_then(Weak::upgrade);
        let known = known.filter(|tailed| tailed.is_current());
        let tailed = known.unwrap_or_else(|| {
            let tailed = Arc::new(Tailed {
                path: path.to_path_buf(),
                changed: Notify::new(),
                opened: Mutex::new(None),
                recent: Mutex::default(),
                hub: Arc::downgrade(&self.hub),
            });
            files
                .by_path
                .insert(path.to_path_buf(), Arc::downgrade(&tailed));
            tailed
        });
        drop(files);
        FileTail { tailed, standing }
    }

    /// Wakes the followers of a file: it was made, or how its log stands has changed.
    #[cfg(test)]
    pub(crate) fn poke(&self, path: &Path) {
        let known = lock(&self.hub.files)
            .by_path
            .get(path)
            .and_then(Weak::upgrade);
        if let Some(tailed) = known {
            tailed.changed.notify_waiters();
        }
    }
}

/// Reads events and wakes followers until the hub is gone.
async fn pump(mut events: EventStream<Vec<u8>>, hub: Weak<Hub>) {
    while let Some(event) = events.next().await {
        let Some(hub) = hub.upgrade() else { return };
        match event {
            Ok(event) => wake(&event.wd, event.mask, &hub),
            Err(error) => {
                tracing::error!(%error, "log files are no longer watched");
                return;
            }
        }
    }
}

/// Wakes the followers of what an event is about.
fn wake(watch: &WatchDescriptor, mask: EventMask, hub: &Hub) {
    let woken: Vec<_> = {
        let files = lock(&hub.files);
        if mask.contains(EventMask::Q_OVERFLOW) {
            // Events were lost: everybody looks.
            files.by_path.values().filter_map(Weak::upgrade).collect()
        } else {
            files
                .by_watch
                .get(watch)
                .and_then(Weak::upgrade)
                .into_iter()
                .collect()
        }
    };
    // Without the lock, which dropping the last handle of a file takes.
    for tailed in woken {
        tailed.changed.notify_waiters();
    }
}

impl Tailed {
    /// Returns whether what is open is still what the path names: a log can be put aside for a new one.
    fn is_current(&self) -> bool {
        let opened = lock(&self.opened);
        let own = opened.as_ref().map(|opened| opened.file.metadata());
        let Some(Ok(own)) = own else { return true };
        std::fs::metadata(&self.path).is_ok_and(|there| is_same(&own, &there))
    }

    /// Returns the file, opened and watched at the first call at which it exists.
    fn file(self: &Arc<Self>) -> Result<Option<Arc<File>>> {
        let mut opened = lock(&self.opened);
        if let Some(opened) = &*opened {
            return Ok(Some(Arc::clone(&opened.file)));
        }
        let file = match File::open(&self.path) {
            Ok(file) => Arc::new(file),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io(format!("open `{}`", self.path.display()), &e)),
        };
        let hub = self.hub.upgrade().ok_or_else(stopped)?;
        // Under the lock, so that the first event finds the entry.
        let mut files = lock(&hub.files);
        let watch = lock(&hub.watches)
            .add(&self.path, WatchMask::MODIFY | WatchMask::CLOSE_WRITE)
            .map_err(|e| {
                Error::io(format!("watch `{}`", self.path.display()), &e).hint(
                    "the limit on inotify watches is in /proc/sys/fs/inotify/max_user_watches",
                )
            })?;
        files.by_watch.insert(watch.clone(), Arc::downgrade(self));
        *opened = Some(Opened {
            file: Arc::clone(&file),
            watch,
        });
        Ok(Some(file))
    }

    /// Reads at `offset`; empty at the end of what is there.
    async fn read(self: &Arc<Self>, offset: u64) -> Result<Bytes> {
        let (start, recent) = lock(&self.recent).clone();
        if offset >= start && offset < start + recent.len() as u64 {
            let skip = usize::try_from(offset - start).unwrap_or(recent.len());
            return Ok(recent.slice(skip..));
        }
        let Some(file) = self.file()? else {
            return Ok(Bytes::new());
        };
        let bytes = logfile::read_at(&file, offset)
            .await
            .map_err(|e| Error::io(format!("read `{}`", self.path.display()), &e))?;
        if !bytes.is_empty() && bytes.len() <= RECENT_MAX {
            *lock(&self.recent) = (offset, bytes.clone());
        }
        Ok(bytes)
    }
}

impl Drop for Tailed {
    fn drop(&mut self) {
        let Some(hub) = self.hub.upgrade() else {
            return;
        };
        let opened = lock(&self.opened).take();
        let mut files = lock(&hub.files);
        // Somebody may have begun to follow the same file again in the meantime: then the entries are theirs.
        if files
            .by_path
            .get(&self.path)
            .is_some_and(|f| f.strong_count() == 0)
        {
            files.by_path.remove(&self.path);
        }
        let Some(Opened { watch, .. }) = opened else {
            return;
        };
        if files
            .by_watch
            .get(&watch)
            .is_some_and(|f| f.strong_count() == 0)
        {
            files.by_watch.remove(&watch);
            // Fails when the file was deleted, which removed the watch already.
            drop(lock(&hub.watches).remove(watch));
        }
    }
}

/// Returns whether two descriptions are of one file.
pub(crate) fn is_same(a: &std::fs::Metadata, b: &std::fs::Metadata) -> bool {
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

/// The error of a follower that outlives its hub.
fn stopped() -> Error {
    Error::new(Kind::Interrupted, "the log files are no longer watched")
}

/// A follower of a growing file.
pub(crate) struct FileTail {
    /// The file.
    tailed: Arc<Tailed>,
    /// Asks how its log stands.
    standing: AskStanding,
}

impl Source for FileTail {
    fn read(&mut self, offset: u64, wait: bool) -> BoxFuture<'_, Result<Piece>> {
        Box::pin(async move {
            loop {
                let mut changed = std::pin::pin!(self.tailed.changed.notified());
                // Enrolled before looking: a change from here on is not missed.
                changed.as_mut().enable();
                let standing = (self.standing)();
                let bytes = self.tailed.read(offset).await?;
                if !bytes.is_empty() {
                    return Ok(Piece::Bytes(bytes));
                }
                match standing {
                    Standing::Finished(outcome) => return Ok(Piece::End(outcome)),
                    Standing::Open(outcome) if !wait => return Ok(Piece::Quiet(outcome)),
                    Standing::Open(_) => changed.await,
                }
            }
        })
    }

    fn tail_offset(&mut self, lines: u64) -> BoxFuture<'_, Result<u64>> {
        Box::pin(async move {
            match self.tailed.file()? {
                Some(file) => tail_of(&self.tailed.path, file, lines).await,
                None => Ok(0),
            }
        })
    }
}

/// Finds where the last lines begin.
async fn tail_of(path: &Path, file: Arc<File>, lines: u64) -> Result<u64> {
    logfile::tail_offset(file, lines)
        .await
        .map_err(|e| Error::io(format!("read `{}`", path.display()), &e))
}

#[cfg(test)]
mod tests;
