//! The writer thread: runs what has gathered, commits once, answers all.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::{mpsc, oneshot};

use super::fault::{fault, guarded};
use super::migrate::Migration;
use super::opening::Place;
use super::tx::{Hook, WriteTx};
use crate::base::{Error, Kind, Result};

/// The most closures in one commit: bounds the delay of the first.
const MOST_IN_GROUP: usize = 512;
/// Less free space than this counts as a full disk when a write has failed before.
const LEAST_FREE: u64 = 4 << 20;

/// How sure a write must be before it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durability {
    /// On disk.
    OnDisk,
    /// Visible to everybody in this process; on disk with the next write that asks for it.
    Visible,
}

/// One closure on its way to the writer.
pub(super) trait Job: Send {
    /// Returns how sure it must be.
    fn durability(&self) -> Durability;
    /// Runs the closure; returns whether its changes count.
    fn run(&mut self, tx: &mut WriteTx<'_>) -> bool;
    /// Answers: with what the closure returned, or with why the commit failed.
    fn answer(self: Box<Self>, committed: Result<()>);
}

/// A closure with the place for its answer.
pub(super) struct Call<T, F> {
    /// What to do.
    pub(super) work: Option<F>,
    /// What it returned.
    pub(super) outcome: Option<Result<T>>,
    /// Who waits.
    pub(super) reply: oneshot::Sender<Result<T>>,
    /// How sure it must be.
    pub(super) durability: Durability,
}

impl<T, F> Job for Call<T, F>
where
    T: Send,
    F: FnOnce(&mut WriteTx<'_>) -> Result<T> + Send,
{
    fn durability(&self) -> Durability {
        self.durability
    }

    fn run(&mut self, tx: &mut WriteTx<'_>) -> bool {
        let Some(work) = self.work.take() else {
            return false;
        };
        let outcome = guarded("run a change of the store", || work(tx));
        let counts = outcome.is_ok();
        self.outcome = Some(outcome);
        counts
    }

    fn answer(self: Box<Self>, committed: Result<()>) {
        let answer = match (self.outcome, committed) {
            (Some(Ok(value)), Ok(())) => Ok(value),
            (Some(Err(own)), _) => Err(own),
            (Some(Ok(_)) | None, Err(error)) => Err(error),
            (None, Ok(())) => Err(Error::new(
                Kind::Internal,
                "a change of the store did not run",
            )),
        };
        // Whoever asked may have gone away; the change stands all the same.
        drop(self.reply.send(answer));
    }
}

/// The engine's handle, or why there is none at the moment.
pub(super) enum Slot {
    /// Usable.
    Open(redb::Database),
    /// An I/O error closed it; the next write tries again.
    Closed(Error),
}

/// The state of the writer thread.
pub(super) struct Writer {
    /// Work.
    pub(super) jobs: mpsc::Receiver<Box<dyn Job>>,
    /// The engine, shared with readers.
    pub(super) slot: Arc<RwLock<Slot>>,
    /// Where the bytes are.
    pub(super) place: Place,
    /// Cache of the engine.
    pub(super) cache_bytes: usize,
    /// The way to today's layout.
    pub(super) migrations: &'static [Migration],
    /// The error of the last commit, when it was that the disk is full.
    pub(super) full: Option<Error>,
}

impl Writer {
    /// Serves until every handle is gone.
    pub(super) fn run(mut self) {
        while let Some(first) = self.jobs.blocking_recv() {
            let mut group = vec![first];
            while group.len() < MOST_IN_GROUP {
                let Ok(job) = self.jobs.try_recv() else { break };
                group.push(job);
            }
            self.serve(group);
        }
    }

    /// Runs, commits and answers one group.
    fn serve(&mut self, mut group: Vec<Box<dyn Job>>) {
        let committed = self.make_usable().and_then(|()| self.commit(&mut group));
        match committed {
            Ok(hooks) => {
                for hook in hooks {
                    if let Err(error) = guarded("do what follows a commit", || {
                        hook();
                        Ok(())
                    }) {
                        tracing::error!(error = error.one_line(), "a hook of the store panicked");
                    }
                }
                for job in group {
                    job.answer(Ok(()));
                }
            }
            Err(error) => {
                for job in group {
                    job.answer(Err(error.clone()));
                }
            }
        }
    }

    /// Runs the group in one transaction; on a failure of the engine nothing of it stands.
    fn commit(&mut self, group: &mut [Box<dyn Job>]) -> Result<Vec<Hook>> {
        let result = {
            let slot = self.slot.read().unwrap_or_else(PoisonError::into_inner);
            match &*slot {
                Slot::Open(db) => guarded("commit to the store", || attempt(db, group)),
                Slot::Closed(error) => return Err(error.clone()),
            }
        };
        if let Err(error) = &result {
            tracing::error!(error = error.one_line(), "a commit of the store failed");
            // The engine refuses everything after an I/O error, reads too, until it is opened again.
            let mut slot = self.slot.write().unwrap_or_else(PoisonError::into_inner);
            *slot = Slot::Closed(error.clone());
            self.open_again(&mut slot);
        }
        self.full = result
            .as_ref()
            .err()
            .filter(|error| error.kind() == Kind::StorageFull)
            .cloned();
        result
    }

    /// Refuses while the disk is still full; otherwise makes sure that the engine is open.
    fn make_usable(&self) -> Result<()> {
        // Each failed commit costs the opening of the file: not before there is some space again.
        if let Some(full) = &self.full
            && self.place.path().is_some_and(is_full)
        {
            return Err(full.clone());
        }
        let mut slot = self.slot.write().unwrap_or_else(PoisonError::into_inner);
        match &*slot {
            Slot::Open(_) => return Ok(()),
            Slot::Closed(_) => self.open_again(&mut slot),
        }
        match &*slot {
            Slot::Open(_) => Ok(()),
            Slot::Closed(error) => Err(error.clone()),
        }
    }

    /// Tries to open the engine after an I/O error.
    fn open_again(&self, slot: &mut Slot) {
        match self.place.open(self.cache_bytes, self.migrations) {
            Ok(db) => {
                tracing::info!("the store is open again");
                *slot = Slot::Open(db);
            }
            Err(error) => {
                tracing::error!(error = error.one_line(), "the store cannot be opened again");
                *slot = Slot::Closed(error);
            }
        }
    }
}

/// Returns whether the disk under `path` has next to no space left.
fn is_full(path: &Path) -> bool {
    let parent = path.parent().unwrap_or(path);
    rustix::fs::statvfs(parent)
        .is_ok_and(|stat| stat.f_bavail.saturating_mul(stat.f_frsize) < LEAST_FREE)
}

/// Runs every closure and commits.
fn attempt(db: &redb::Database, group: &mut [Box<dyn Job>]) -> Result<Vec<Hook>> {
    let doing = "commit to the store";
    let mut txn = db.begin_write().map_err(|e| fault(doing, e))?;
    if group
        .iter()
        .all(|job| job.durability() == Durability::Visible)
    {
        txn.set_durability(redb::Durability::None)
            .map_err(|e| fault(doing, e))?;
    } else {
        // A saved allocator state: opening after a crash then needs no walk over the whole file.
        txn.set_quick_repair(true);
    }
    let mut tx = WriteTx::new(&txn);
    for job in group {
        if job.run(&mut tx) {
            tx.keep();
        } else {
            tx.roll_back();
        }
        if tx.is_broken() {
            break;
        }
    }
    let (changed, hooks) = tx.finish()?;
    if changed {
        txn.commit().map_err(|e| fault(doing, e))?;
    } else {
        txn.abort().map_err(|e| fault(doing, e))?;
    }
    Ok(hooks)
}
