//! Changes in directories: one inotify instance for the whole agent, many listeners.
//!
//! A listener is woken when anything is created, renamed or written in its directory. It looks for itself what
//! changed, so a lost or merged event costs nothing.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use inotify::{EventMask, Inotify, WatchDescriptor, WatchMask};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

use crate::base::{Error, Result};

/// What wakes a listener.
const CHANGES: WatchMask = WatchMask::MODIFY
    .union(WatchMask::CREATE)
    .union(WatchMask::MOVED_TO);

/// All watches of the agent. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Watcher {
    /// Shared parts.
    inner: Arc<Inner>,
}

/// What all clones share.
struct Inner {
    /// Adds and removes watches.
    watches: Mutex<inotify::Watches>,
    /// Who listens to what.
    listeners: Mutex<HashMap<WatchDescriptor, watch::Sender<u64>>>,
}

/// A directory that is listened to; ends with the last clone of its channel.
pub(crate) struct Changes {
    /// Counts changes.
    count: watch::Receiver<u64>,
    /// The directory's watch.
    descriptor: WatchDescriptor,
    /// To let go of it.
    watcher: Watcher,
}

impl Watcher {
    /// Starts watching; returns the watcher and the work that must be run as long as it is used.
    pub(crate) fn start() -> Result<(Self, impl Future<Output = ()> + Send + use<>)> {
        let inotify = Inotify::init().map_err(|e| {
            Error::io("start watching files", &e)
                .hint("raise fs.inotify.max_user_instances if it is used up")
        })?;
        let watcher = Self {
            inner: Arc::new(Inner {
                watches: Mutex::new(inotify.watches()),
                listeners: Mutex::default(),
            }),
        };
        #[expect(
            deprecated,
            reason = "its successor is an unsafe function; `Inotify` keeps its descriptor open as long as it lives"
        )]
        let descriptor = AsyncFd::with_interest(inotify, Interest::READABLE)
            .map_err(|e| Error::io("start watching files", &e))?;
        let work = Arc::clone(&watcher.inner).dispatch(descriptor);
        Ok((watcher, work))
    }

    /// Listens to a directory, which must exist.
    pub(crate) fn listen(&self, directory: &Path) -> Result<Changes> {
        let mut listeners = lock(&self.inner.listeners);
        let descriptor = lock(&self.inner.watches)
            .add(directory, CHANGES)
            .map_err(|e| Error::io(format!("watch `{}`", directory.display()), &e))?;
        let count = listeners
            .entry(descriptor.clone())
            .or_insert_with(|| watch::channel(0).0)
            .subscribe();
        Ok(Changes {
            count,
            descriptor,
            watcher: self.clone(),
        })
    }
}

impl Inner {
    /// Wakes listeners, for ever.
    async fn dispatch(self: Arc<Self>, mut descriptor: AsyncFd<Inotify>) {
        let mut buffer = vec![0; 4096];
        loop {
            let Ok(mut ready) = descriptor.readable_mut().await else {
                return;
            };
            let events = match ready.get_inner_mut().read_events(&mut buffer) {
                Ok(events) => events,
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                    ready.clear_ready();
                    continue;
                }
                Err(e) => {
                    tracing::error!(error = %e, "watching files failed");
                    return;
                }
            };
            let listeners = lock(&self.listeners);
            for event in events {
                if event.mask.contains(EventMask::Q_OVERFLOW) {
                    listeners.values().for_each(bump);
                } else if let Some(listener) = listeners.get(&event.wd) {
                    bump(listener);
                }
            }
        }
    }
}

/// Counts one change.
fn bump(listener: &watch::Sender<u64>) {
    listener.send_modify(|count| *count = count.wrapping_add(1));
}

impl Changes {
    /// Returns when something changed since the last return (or since the beginning). Cancel safe.
    pub(crate) async fn next(&mut self) {
        // The sender lives as long as this listener does.
        if self.count.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        let mut listeners = lock(&self.watcher.inner.listeners);
        let last = listeners
            .get(&self.descriptor)
            .is_some_and(|sender| sender.receiver_count() == 1);
        if last {
            listeners.remove(&self.descriptor);
            // Fails when the directory is gone, and then there is nothing to remove.
            drop(lock(&self.watcher.inner.watches).remove(self.descriptor.clone()));
        }
    }
}

/// Locks; a panic elsewhere does not spoil a map.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_wakes_every_listener_of_its_directory() {
        let dir = tempfile::tempdir().expect("a directory");
        let (watcher, work) = Watcher::start().expect("it starts");
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(work);
        let mut first = watcher.listen(dir.path()).expect("it listens");
        let mut second = watcher.listen(dir.path()).expect("it listens");
        std::fs::write(dir.path().join("a"), "x").expect("it writes");
        first.next().await;
        second.next().await;
        drop(first);
        std::fs::write(dir.path().join("b"), "x").expect("it writes");
        second.next().await;
    }
}
