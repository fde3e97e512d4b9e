//! What is remembered for each destination, and who works on it: the latest caller.
//!
//! ```text
//! agent/files/<destination>.list     the last list of files, as it came
//! agent/files/<destination>.parts/   large files that have not arrived whole
//! agent/files/<destination>.stage/   files that are being written
//! agent/files/<destination>.git/     what a repository needs while it is brought here
//! ```

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest as _, Sha256};
use tokio::sync::OwnedMutexGuard;
use tokio_util::sync::CancellationToken;

use crate::api::manifest::{Body, Entry, Hash, Manifest};
use crate::base::{Error, Kind, Result};
use crate::sys::fs::private_dir;

/// The longest list of files, unpacked.
const LONGEST_LIST: u64 = 2 << 30;

/// The desk of a node.
pub(crate) struct Desk {
    /// Where things are kept.
    dir: PathBuf,
    /// Destinations that are or were worked on.
    places: Mutex<HashMap<PathBuf, Place>>,
}

/// One destination.
#[derive(Default)]
struct Place {
    /// Held by who works on it.
    lock: Arc<tokio::sync::Mutex<()>>,
    /// Fires when another one wants to.
    stop: CancellationToken,
}

/// The right to work on one destination.
pub(crate) struct Turn {
    /// Fires when a later caller takes over: the connection of this one is dead, whether it knows or not.
    pub(crate) stop: CancellationToken,
    /// The common beginning of what is kept.
    base: PathBuf,
    /// Nobody else works on it.
    _held: OwnedMutexGuard<()>,
}

impl Desk {
    /// Keeps things in this directory.
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            places: Mutex::default(),
        }
    }

    /// Takes over a destination; who works on it stops at the next file or piece.
    pub(crate) async fn turn(&self, dest: &Path) -> Result<Turn> {
        let (stop, lock) = {
            let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
            let place = places.entry(dest.to_path_buf()).or_default();
            place.stop.cancel();
            place.stop = CancellationToken::new();
            (place.stop.clone(), Arc::clone(&place.lock))
        };
        let held = lock.lock_owned().await;
        if stop.is_cancelled() {
            return Err(taken_over());
        }
        private_dir(&self.dir)?;
        let key = hex::encode(&Sha256::digest(dest.as_os_str().as_encoded_bytes())[..12]);
        Ok(Turn {
            stop,
            base: self.dir.join(key),
            _held: held,
        })
    }
}

impl Turn {
    /// Fails when somebody else has taken over.
    pub(crate) fn check(&self) -> Result<()> {
        if self.stop.is_cancelled() {
            return Err(taken_over());
        }
        Ok(())
    }

    /// Returns the list of files of last time.
    pub(crate) fn remembered(&self) -> Option<(Hash, Manifest)> {
        let packed = std::fs::read(self.list()).ok()?;
        let list = unpack(&packed).ok()?;
        Some((digest(&list), Manifest::decode(&list).ok()?))
    }

    /// Returns the list of files of this name, if it is the last one.
    pub(crate) fn known(&self, digest: &Hash) -> Result<Manifest> {
        self.remembered()
            .filter(|(known, _)| known == digest)
            .map(|(_, manifest)| manifest)
            .ok_or_else(|| Error::new(Kind::Conflict, "the list of these files is not known"))
    }

    /// Reads a list of files as it came over the wire, and remembers it.
    pub(crate) fn remember(&self, packed: &[u8], expected: &Hash) -> Result<Manifest> {
        let list = unpack(packed)?;
        if digest(&list) != *expected {
            return Err(Error::new(
                Kind::Invalid,
                "the list of files is not the one that was announced",
            ));
        }
        let manifest = Manifest::decode(&list)?;
        // It only spares work: what a crash makes of it is found out by its hash.
        let beside = self.base.with_extension("new");
        std::fs::write(&beside, packed)
            .and_then(|()| std::fs::rename(&beside, self.list()))
            .map_err(|e| Error::io("remember the list of files", &e))?;
        Ok(manifest)
    }

    /// Returns where the list is.
    fn list(&self) -> PathBuf {
        self.base.with_extension("list")
    }

    /// Returns where the part of a large file is, or will be.
    pub(super) fn part(&self, entry: &Entry) -> PathBuf {
        let mut name = Sha256::new();
        name.update(&entry.path);
        if let Body::File { size, mtime, .. } = entry.body {
            name.update([0]);
            name.update(size.to_le_bytes());
            name.update(mtime.to_le_bytes());
        }
        self.parts().join(hex::encode(&name.finalize()[..16]))
    }

    /// Returns an empty private directory for what a repository needs while it is brought here.
    pub(crate) fn for_git(&self) -> Result<PathBuf> {
        let directory = self.base.with_extension("git");
        remove(&directory)?;
        private_dir(&directory)?;
        Ok(directory)
    }

    /// Returns the directory of parts.
    pub(super) fn parts(&self) -> PathBuf {
        self.base.with_extension("parts")
    }

    /// Returns an empty directory for files that are being written.
    pub(super) fn stage(&self) -> Result<PathBuf> {
        let stage = self.base.with_extension("stage");
        remove(&stage)?;
        private_dir(&stage)?;
        Ok(stage)
    }

    /// Removes the parts that `keep` does not want.
    pub(super) fn clear_parts(&self, keep: impl Fn(&Path) -> bool) -> Result<()> {
        let found = std::fs::read_dir(self.parts()).into_iter().flatten();
        for part in found.flatten() {
            if !keep(&part.path()) {
                remove(&part.path())?;
            }
        }
        Ok(())
    }
}

/// Removes a file or a directory that may be there.
pub(crate) fn remove(path: &Path) -> Result<()> {
    let removed = match path.symlink_metadata() {
        Ok(meta) if meta.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(e) => Err(e),
    };
    match removed {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io(format!("remove `{}`", path.display()), &e))
        }
        _ => Ok(()),
    }
}

/// Unpacks a list.
fn unpack(packed: &[u8]) -> Result<Vec<u8>> {
    let mut list = Vec::new();
    zstd::Decoder::new(packed)
        .and_then(|decoder| decoder.take(LONGEST_LIST).read_to_end(&mut list))
        .map_err(|e| Error::new(Kind::Invalid, "the list of files cannot be read").caused_by(&e))?;
    Ok(list)
}

/// Names a list.
fn digest(list: &[u8]) -> Hash {
    Sha256::digest(list).into()
}

/// The error of who was too late.
fn taken_over() -> Error {
    Error::new(
        Kind::Conflict,
        "another sync to the same place has taken over",
    )
}
