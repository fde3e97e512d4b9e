//! A destination whose files come from elsewhere, several at a time.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use super::compare::{LARGE, failed, place};
use super::desk::Turn;
use super::destination::guard;
use super::receive::{finish, open, put};
use crate::api::manifest::{Body, Entry, Manifest};
use crate::base::{Error, Kind, Result};
use crate::sys::fs::private_dir;

/// Bytes that are read at once.
const READ: usize = 128 * 1024;

/// An open destination.
pub(crate) struct Place {
    /// The right to work on it.
    pub(crate) turn: Turn,
    /// Where the tree goes.
    dest: PathBuf,
    /// What is to be in it.
    manifest: Manifest,
    /// Where small files are written.
    stage: PathBuf,
}

/// A file that is about to arrive.
pub(crate) struct Arrival {
    /// Where it is written.
    scratch: PathBuf,
    /// Where it goes.
    path: PathBuf,
    /// Its length.
    pub(crate) size: u64,
    /// Its permissions.
    mode: u32,
    /// Its time.
    mtime: i64,
}

impl Place {
    /// Opens a destination. Blocks.
    pub(crate) fn open(turn: Turn, home: &Path, dest: &Path, manifest: Manifest) -> Result<Self> {
        guard(home, dest)?;
        let stage = turn.stage()?;
        private_dir(&turn.parts())?;
        Ok(Self {
            turn,
            dest: dest.to_path_buf(),
            manifest,
            stage,
        })
    }

    /// Returns where a file of the list arrives.
    pub(crate) fn arrival(&self, index: usize) -> Result<Arrival> {
        let Some((entry, size, mtime)) = self.manifest.entries.get(index).and_then(file) else {
            return Err(Error::new(Kind::Invalid, "the list has no such file"));
        };
        let scratch = if size >= LARGE {
            self.turn.part(entry)
        } else {
            self.stage.join(index.to_string())
        };
        Ok(Arrival {
            scratch,
            path: place(&self.dest, entry),
            size,
            mode: entry.mode,
            mtime,
        })
    }
}

/// What matters of an entry that is a file.
fn file(entry: &Entry) -> Option<(&Entry, u64, i64)> {
    match entry.body {
        Body::File { size, mtime, .. } => Some((entry, size, mtime)),
        Body::Directory | Body::Link { .. } => None,
    }
}

impl Arrival {
    /// Returns how many bytes of a large file are there.
    pub(crate) fn have(&self) -> u64 {
        let there = self.scratch.metadata().map_or(0, |meta| meta.len());
        if self.size >= LARGE && there <= self.size {
            there
        } else {
            0
        }
    }

    /// Writes what arrives from byte `from` on, and puts the file in its place when it is whole. Blocks.
    pub(crate) fn take(&self, mut stream: impl Read, from: u64) -> Result<u64> {
        let path = &self.path;
        let mut file = open(&self.scratch, from).map_err(|e| failed("write", path, &e))?;
        let mut buffer = vec![0; READ];
        let mut bytes = from;
        loop {
            let read = stream
                .read(&mut buffer)
                .map_err(|e| Error::new(Kind::Unreachable, "a download broke off").caused_by(&e))?;
            if read == 0 {
                break;
            }
            file.write_all(&buffer[..read])
                .map_err(|e| failed("write", path, &e))?;
            bytes += read as u64;
        }
        if bytes != self.size {
            return Err(Error::new(
                Kind::Unreachable,
                format!("a download ended after {bytes} of {} bytes", self.size),
            ));
        }
        finish(&file, self.mode, self.mtime).map_err(|e| failed("write", path, &e))?;
        drop(file);
        put(&self.scratch, path).map_err(|e| failed("replace", path, &e))?;
        Ok(bytes - from)
    }
}
