//! The append-only list of what was merged in which order: records of forty bytes.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use crate::base::{Error, Result};
use crate::sys::fs;

/// Bytes of a record: source and flags, from, to, at, check sum.
const RECORD: usize = 40;
/// Flag: a line feed was added.
const CLOSE: u64 = 1 << 32;

/// A piece of a source that stands in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// Number of the source.
    pub(super) source: u32,
    /// A line feed was added at its end.
    pub(super) close: bool,
    /// First byte in the source.
    pub(super) from: u64,
    /// The byte after the last.
    pub(super) to: u64,
    /// Where its rendered form begins in the log.
    pub(super) at: u64,
}

/// The list.
pub(super) struct Index {
    /// The file.
    file: File,
    /// Its length: whole records only.
    length: u64,
    /// Where it lies, for messages and repair.
    path: std::path::PathBuf,
}

impl Index {
    /// Opens the list, without a torn record at its end.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = fs::open_append(path)?;
        let mut index = Self {
            file,
            length: 0,
            path: path.to_path_buf(),
        };
        index.length = (index.entries()?.len() * RECORD) as u64;
        index.trim()?;
        Ok(index)
    }

    /// Appends an entry, as a whole or not at all.
    pub(super) fn append(&mut self, entry: Entry) -> Result<()> {
        match self.file.write_all(&encode(entry)) {
            Ok(()) => {
                self.length += RECORD as u64;
                Ok(())
            }
            Err(e) => {
                self.trim()?;
                Err(Error::io("append to the index of a job's log", &e))
            }
        }
    }

    /// Returns all whole entries.
    pub(super) fn entries(&self) -> Result<Vec<Entry>> {
        let mut bytes = Vec::new();
        File::open(&self.path)
            .and_then(|mut file| file.read_to_end(&mut bytes))
            .map_err(|e| Error::io(format!("read `{}`", self.path.display()), &e))?;
        Ok(bytes.chunks(RECORD).map_while(decode).collect())
    }

    /// Cuts off what is not a whole record.
    fn trim(&self) -> Result<()> {
        self.file
            .set_len(self.length)
            .map_err(|e| Error::io(format!("repair `{}`", self.path.display()), &e))
    }
}

/// Returns the bytes of an entry.
fn encode(entry: Entry) -> [u8; RECORD] {
    let first = u64::from(entry.source) | if entry.close { CLOSE } else { 0 };
    let mut bytes = [0; RECORD];
    let words = [
        first,
        entry.from,
        entry.to,
        entry.at,
        check(first, entry.from, entry.to, entry.at),
    ];
    for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

/// Reads an entry; `None` when it is torn.
fn decode(bytes: &[u8]) -> Option<Entry> {
    let mut words = bytes
        .chunks_exact(8)
        .map(|word| word.try_into().map(u64::from_le_bytes).unwrap_or_default());
    let (first, from, to, at) = (words.next()?, words.next()?, words.next()?, words.next()?);
    (words.next()? == check(first, from, to, at)).then_some(Entry {
        source: u32::try_from(first & u64::from(u32::MAX)).ok()?,
        close: first & CLOSE != 0,
        from,
        to,
        at,
    })
}

/// A check sum against torn writes: not against malice.
fn check(first: u64, from: u64, to: u64, at: u64) -> u64 {
    [first, from, to, at]
        .into_iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, word| {
            (hash.rotate_left(23) ^ word).wrapping_mul(0x0000_0100_0000_01b3)
        })
}
