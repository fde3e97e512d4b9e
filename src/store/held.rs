//! A file whose changes wait in memory until the file is accepted.
//!
//! The engine writes while it opens a file: it repairs what a crash left, and marks the file as being in use. Whether
//! the file is one that this program may use is known only afterwards. So everything between the opening and
//! [`Held::accept`] is kept here and done in order then; of a file that is refused, no byte changes.

use std::io;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use redb::{BackendError, StorageBackend};

/// One thing the engine wanted to do.
#[derive(Debug)]
enum Change {
    /// Bytes at an offset.
    Bytes(u64, Vec<u8>),
    /// A new length.
    Length(u64),
    /// Everything before it is to be on disk.
    Sync,
}

/// What waits.
#[derive(Debug)]
struct Waiting {
    /// In order.
    changes: Vec<Change>,
    /// The length of the file as the engine sees it.
    length: u64,
}

/// A file that holds its changes back, at first. Clones are the same file.
#[derive(Debug, Clone)]
pub(super) struct Held {
    /// Shared parts.
    shared: Arc<Shared>,
}

/// What clones share.
#[derive(Debug)]
struct Shared {
    /// The file.
    file: Box<dyn StorageBackend>,
    /// What waits; nothing any more when the file is accepted.
    waiting: RwLock<Option<Waiting>>,
}

impl Held {
    /// Holds the changes of `file` back.
    pub(super) fn new(file: Box<dyn StorageBackend>) -> io::Result<Self> {
        let waiting = Waiting {
            changes: Vec::new(),
            length: file.len()?,
        };
        Ok(Self {
            shared: Arc::new(Shared {
                file,
                waiting: RwLock::new(Some(waiting)),
            }),
        })
    }

    /// Does what waits, in its order; from now on changes go to the file at once.
    ///
    /// When it fails half-way, the file is as after a crash at that moment, and stays so: the rest waits for ever.
    pub(super) fn accept(&self) -> io::Result<()> {
        let mut waiting = self.waiting_mut();
        for change in waiting.iter().flat_map(|waiting| &waiting.changes) {
            match change {
                Change::Bytes(offset, bytes) => self.shared.file.write(*offset, bytes)?,
                Change::Length(length) => self.shared.file.set_len(*length)?,
                Change::Sync => self.shared.file.sync_data()?,
            }
        }
        *waiting = None;
        Ok(())
    }

    /// Locks what waits, to look at it.
    fn waiting(&self) -> RwLockReadGuard<'_, Option<Waiting>> {
        self.shared
            .waiting
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks what waits, to add to it.
    fn waiting_mut(&self) -> RwLockWriteGuard<'_, Option<Waiting>> {
        self.shared
            .waiting
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds to what waits; returns whether anything waits at all.
    fn add(&self, change: impl FnOnce() -> Change) -> bool {
        // The common case, for the whole life of an accepted file, takes the shared lock only.
        if self.waiting().is_none() {
            return false;
        }
        match &mut *self.waiting_mut() {
            Some(waiting) => {
                waiting.add(change());
                true
            }
            None => false,
        }
    }
}

impl Waiting {
    /// Adds a change.
    fn add(&mut self, change: Change) {
        match &change {
            Change::Bytes(offset, bytes) => {
                self.length = self.length.max(offset + bytes.len() as u64);
            }
            Change::Length(length) => self.length = *length,
            Change::Sync => {}
        }
        self.changes.push(change);
    }

    /// Reads the file as it would be.
    fn read(&self, file: &dyn StorageBackend, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let end = offset + out.len() as u64;
        if end > self.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        out.fill(0);
        let size = out.len();
        let there = overlap(offset, size, 0, file.len()?);
        file.read(offset, &mut out[there])?;
        for change in &self.changes {
            match change {
                Change::Bytes(at, bytes) => {
                    let to = overlap(offset, size, *at, at + bytes.len() as u64);
                    if !to.is_empty() {
                        let from = as_index(offset + to.start as u64 - at);
                        out[to.clone()].copy_from_slice(&bytes[from..from + to.len()]);
                    }
                }
                // What is cut off and comes back later comes back as zeroes.
                Change::Length(length) => out[overlap(offset, size, *length, end)].fill(0),
                Change::Sync => {}
            }
        }
        Ok(())
    }
}

/// Returns which part of a buffer of `size` bytes that begins at `offset` lies between `from` and `to`.
fn overlap(offset: u64, size: usize, from: u64, to: u64) -> std::ops::Range<usize> {
    let end = offset + size as u64;
    let first = from.clamp(offset, end) - offset;
    let last = to.clamp(offset, end) - offset;
    as_index(first)..as_index(last.max(first))
}

/// Returns a distance inside of a buffer as an index.
fn as_index(distance: u64) -> usize {
    usize::try_from(distance).expect("a distance inside of a buffer is an index")
}

impl StorageBackend for Held {
    fn len(&self) -> io::Result<u64> {
        match &*self.waiting() {
            Some(waiting) => Ok(waiting.length),
            None => self.shared.file.len(),
        }
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        match &*self.waiting() {
            Some(waiting) => waiting.read(&*self.shared.file, offset, out),
            None => self.shared.file.read(offset, out),
        }
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        if self.add(|| Change::Length(length)) {
            return Ok(());
        }
        self.shared.file.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.add(|| Change::Sync) {
            return Ok(());
        }
        self.shared.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if self.add(|| Change::Bytes(offset, data.to_vec())) {
            return Ok(());
        }
        self.shared.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.shared.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.shared.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.shared.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.shared.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.shared.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.shared.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.shared.file.query_lock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use redb::backends::InMemoryBackend;

    #[test]
    fn what_waits_is_seen_but_not_done_until_the_file_is_accepted() {
        let file = InMemoryBackend::new();
        file.set_len(8).expect("it grows");
        file.write(0, b"original").expect("it writes");
        let held = Held::new(Box::new(file)).expect("it is held");
        held.write(2, b"XY").expect("it writes");
        held.set_len(6).expect("it shrinks");
        held.sync_data().expect("it syncs");
        held.set_len(10).expect("it grows");
        held.write(9, b"!").expect("it writes");
        let seen = |held: &Held| {
            let mut bytes = vec![0xff; 10];
            held.read(0, &mut bytes).expect("it reads");
            let mut part = [0xff; 3];
            held.read(3, &mut part).expect("it reads");
            assert_eq!(part, bytes[3..6], "a part reads like the whole");
            assert!(held.read(8, &mut part).is_err(), "behind the end");
            (held.len().expect("a length"), bytes)
        };
        let expected = (10, b"orXYin\0\0\0!".to_vec());
        assert_eq!(seen(&held), expected);
        let mut below = [0; 8];
        held.shared.file.read(0, &mut below).expect("it reads");
        assert_eq!(&below, b"original", "nothing is done yet");
        held.accept().expect("it is accepted");
        assert_eq!(seen(&held), expected);
        held.write(0, b"O").expect("it writes");
        let mut first = [0];
        held.shared.file.read(0, &mut first).expect("it reads");
        assert_eq!(&first, b"O", "at once, now");
    }
}
