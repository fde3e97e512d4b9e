//! A disk that loses power, or fills up, at a chosen moment.
//!
//! Writes go to a volatile image; `sync_data` makes it durable. A power loss keeps the durable image, plus any subset
//! of the writes since the last sync: real disks reorder them.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use super::db::{Db, Options};
use super::opening::Place;
use crate::base::Result;

/// What survives of the writes that were not synced.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Survivors {
    /// None.
    None,
    /// All.
    All,
    /// Each one by the toss of a coin with this seed.
    Some(u64),
}

/// One write that is not synced yet.
#[derive(Debug, Clone)]
enum Change {
    /// Bytes at an offset.
    Bytes(usize, Vec<u8>),
    /// A new length.
    Length(usize),
}

impl Change {
    /// Does it to an image.
    fn apply(&self, image: &mut Vec<u8>) {
        match self {
            Self::Length(length) => image.resize(*length, 0),
            Self::Bytes(offset, bytes) => {
                let end = offset + bytes.len();
                if image.len() < end {
                    image.resize(end, 0);
                }
                image[*offset..end].copy_from_slice(bytes);
            }
        }
    }
}

/// What a disk holds.
#[derive(Debug, Default)]
struct State {
    /// What the program sees.
    seen: Vec<u8>,
    /// What is certain.
    durable: Vec<u8>,
    /// What is between the two, in order.
    pending: Vec<Change>,
    /// So many more changes until the power goes; then every call fails.
    power_left: Option<u64>,
    /// The most bytes the disk can hold.
    capacity: Option<usize>,
}

/// A disk in memory. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    /// What it holds.
    state: Arc<Mutex<State>>,
}

impl Disk {
    /// Locks the state.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("no test panics while it holds the disk")
    }

    /// Lets the power go after `changes` more changes.
    pub(crate) fn cut_after(&self, changes: u64) {
        self.lock().power_left = Some(changes);
    }

    /// Returns whether the power is gone.
    pub(crate) fn is_dead(&self) -> bool {
        self.lock().power_left == Some(0)
    }

    /// Limits what the disk holds; `None` frees it.
    pub(crate) fn limit(&self, capacity: Option<usize>) {
        self.lock().capacity = capacity;
    }

    /// Returns how many bytes it holds.
    pub(crate) fn used(&self) -> usize {
        self.lock().seen.len()
    }

    /// Returns the disk as the next boot finds it.
    pub(crate) fn after_power_loss(&self, survivors: Survivors) -> Self {
        let state = self.lock();
        let mut image = state.durable.clone();
        let mut dice = match survivors {
            Survivors::None | Survivors::All => 0,
            Survivors::Some(seed) => seed | 1,
        };
        for change in &state.pending {
            // A linear congruential generator: enough to pick subsets, and the seed tells everything.
            dice = dice
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let keep = match survivors {
                Survivors::None => false,
                Survivors::All => true,
                Survivors::Some(_) => dice >> 63 == 1,
            };
            if keep {
                change.apply(&mut image);
            }
        }
        Self {
            state: Arc::new(Mutex::new(State {
                seen: image.clone(),
                durable: image,
                ..State::default()
            })),
        }
    }

    /// Opens the store on this disk.
    pub(crate) fn open(&self) -> Result<Db> {
        let disk = self.clone();
        let place = Place::Backend(Arc::new(move || Box::new(disk.clone())));
        Db::open_place(place, Options::default())
    }
}

impl State {
    /// Takes a change, unless the power is gone or the disk is full.
    fn change(&mut self, change: Change) -> io::Result<()> {
        self.check_power()?;
        if let Some(left) = &mut self.power_left {
            *left -= 1;
        }
        let end = match &change {
            Change::Bytes(offset, bytes) => offset + bytes.len(),
            Change::Length(length) => *length,
        };
        if end > self.seen.len() && self.capacity.is_some_and(|most| end > most) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        change.apply(&mut self.seen);
        self.pending.push(change);
        Ok(())
    }

    /// Fails when the power is gone.
    fn check_power(&self) -> io::Result<()> {
        if self.power_left == Some(0) {
            return Err(io::Error::other("the power is gone"));
        }
        Ok(())
    }
}

impl redb::StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        let state = self.lock();
        state.check_power()?;
        Ok(state.seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.lock();
        state.check_power()?;
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let bytes = state
            .seen
            .get(offset..offset + out.len())
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let length = usize::try_from(len).map_err(io::Error::other)?;
        self.lock().change(Change::Length(length))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.lock();
        state.check_power()?;
        // The sync counts as a change: the power can go before it as well as after it.
        if let Some(left) = &mut state.power_left {
            *left -= 1;
            if *left == 0 {
                return Err(io::Error::other("the power is gone"));
            }
        }
        state.durable = state.seen.clone();
        state.pending.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        self.lock().change(Change::Bytes(offset, data.to_vec()))
    }
}
