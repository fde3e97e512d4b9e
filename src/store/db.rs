//! The handle of the store.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;

use redb::ReadableDatabase;
use tokio::sync::{mpsc, oneshot};

use super::fault::{fault, guarded};
use super::holder;
use super::migrate::Migration;
use super::opening::Place;
use super::tx::{ReadTx, WriteTx};
use super::writer::{Call, Durability, Job, Slot, Writer};
use crate::base::{Error, Kind, Result};

/// Closures that may wait for the writer before those who bring more have to wait.
const QUEUE: usize = 1024;

/// How to open a store.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    /// Memory for pages.
    pub(crate) cache_bytes: usize,
    /// The way from older layouts to today's; today's version is their number plus one.
    pub(crate) migrations: &'static [Migration],
}

impl Default for Options {
    fn default() -> Self {
        Self {
            // An idle server stays below 20 MB; the kernel caches the rest of the file.
            cache_bytes: 8 << 20,
            migrations: &[],
        }
    }
}

/// A handle of an open store. Cheap to clone; the store closes with the last one.
#[derive(Clone)]
pub(crate) struct Db {
    /// Shared parts.
    shared: Arc<Shared>,
}

/// What all handles share.
struct Shared {
    /// The way to the writer; taken when the store closes.
    jobs: Option<mpsc::Sender<Box<dyn Job>>>,
    /// The engine.
    slot: Arc<RwLock<Slot>>,
    /// The writer.
    thread: Option<JoinHandle<()>>,
    /// The file, where there is one.
    path: Option<PathBuf>,
}

impl Db {
    /// Opens the store at `path`, or makes it. Blocks.
    ///
    /// Fails with `Conflict` when another process holds it, `VersionMismatch` when a newer program wrote it, and
    /// refuses a damaged file: it is never replaced by an empty one.
    pub(crate) fn open(path: &Path, options: Options) -> Result<Self> {
        let db = Self::open_place(Place::File(path.to_path_buf()), options)?;
        if let Err(error) = holder::announce(path, &[]) {
            // The side file is a courtesy: a full disk must not keep the server from starting because of it.
            tracing::warn!(
                error = error.one_line(),
                "the store's holder is not announced"
            );
        }
        Ok(db)
    }

    /// Opens a store wherever it is.
    pub(super) fn open_place(place: Place, options: Options) -> Result<Self> {
        let engine = place.open(options.cache_bytes, options.migrations)?;
        let slot = Arc::new(RwLock::new(Slot::Open(engine)));
        let (jobs, receiver) = mpsc::channel(QUEUE);
        let path = place.path().map(Path::to_path_buf);
        let writer = Writer {
            jobs: receiver,
            slot: Arc::clone(&slot),
            place,
            cache_bytes: options.cache_bytes,
            migrations: options.migrations,
            full: None,
        };
        let thread = std::thread::Builder::new()
            .name("sky-store".into())
            .spawn(move || writer.run())
            .map_err(|e| Error::io("start the writer of the store", &e))?;
        Ok(Self {
            shared: Arc::new(Shared {
                jobs: Some(jobs),
                slot,
                thread: Some(thread),
                path,
            }),
        })
    }

    /// Says in the side file where the holder of this store listens.
    pub(crate) fn announce(&self, endpoints: &[String]) -> Result<()> {
        match &self.shared.path {
            Some(path) => holder::announce(path, endpoints),
            None => Ok(()),
        }
    }

    /// Changes the store; answers when the change is on disk.
    ///
    /// Closures that gather while the disk is busy share one commit, in the order of their calls. One that fails
    /// takes back its own changes only. The change happens even when this future is dropped.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut WriteTx<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.call(work, Durability::OnDisk).await
    }

    /// Changes the store; answers when everybody in this process sees it. It is on disk with the next
    /// [`Db::write`]: for marks that recovery can do without.
    pub(crate) async fn write_soon<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut WriteTx<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.call(work, Durability::Visible).await
    }

    /// Sends a closure to the writer and waits for its answer.
    async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut WriteTx<'_>) -> Result<T> + Send + 'static,
        durability: Durability,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let call: Box<dyn Job> = Box::new(Call {
            work: Some(work),
            outcome: None,
            reply,
            durability,
        });
        let Some(jobs) = &self.shared.jobs else {
            return Err(closed());
        };
        jobs.send(call).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    /// Reads a consistent view, on the blocking pool: a cold page waits for the disk.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&ReadTx) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        if self.is_closed() {
            // An I/O error closed the engine: only the writer may open it, and an empty change makes it try.
            self.write(|_| Ok(())).await?;
        }
        let slot = Arc::clone(&self.shared.slot);
        tokio::task::spawn_blocking(move || read_slot(&slot, work))
            .await
            .map_err(|e| Error::internal("read the store", &e))?
    }

    /// Returns whether an I/O error has closed the engine.
    fn is_closed(&self) -> bool {
        // A writer that holds the lock is opening it.
        let slot = self.shared.slot.try_read();
        slot.is_ok_and(|slot| matches!(&*slot, Slot::Closed(_)))
    }

    /// Reads a consistent view on this thread: only where blocking is permitted.
    pub(crate) fn read_blocking<T>(&self, work: impl FnOnce(&ReadTx) -> Result<T>) -> Result<T> {
        read_slot(&self.shared.slot, work)
    }
}

/// Reads through the engine, if it is open.
fn read_slot<T>(slot: &RwLock<Slot>, work: impl FnOnce(&ReadTx) -> Result<T>) -> Result<T> {
    // Held while the transaction lives: the engine cannot be opened again before its readers are done.
    let slot = slot.read().unwrap_or_else(PoisonError::into_inner);
    match &*slot {
        Slot::Open(db) => guarded("read the store", || {
            let tx = db.begin_read().map_err(|e| fault("read the store", e))?;
            work(&ReadTx::new(tx))
        }),
        Slot::Closed(error) => Err(error.clone()),
    }
}

/// The answer when the writer is gone.
fn closed() -> Error {
    Error::new(Kind::Internal, "the store is closed")
}

impl Drop for Shared {
    fn drop(&mut self) {
        drop(self.jobs.take());
        let Some(thread) = self.thread.take() else {
            return;
        };
        // The last handle can be one that a hook held: then this is the writer, which ends by itself.
        if thread.thread().id() != std::thread::current().id() && thread.join().is_err() {
            tracing::error!("the writer of the store panicked");
        }
        if let Some(path) = &self.path {
            holder::withdraw(path);
        }
    }
}
