//! Files: private directories, atomic replacement.

use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::base::{Error, Result};

/// Makes a directory (and its parents) that only its owner may enter.
pub(crate) fn private_dir(path: &Path) -> Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|e| Error::io(format!("create directory `{}`", path.display()), &e))
}

/// Makes a directory private that may exist with other permissions.
pub(crate) fn ensure_private_dir(path: &Path) -> Result<()> {
    private_dir(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o700))
        .map_err(|e| Error::io(format!("make directory `{}` private", path.display()), &e))
}

/// Replaces a file as a whole: after a crash it holds the old bytes or the new ones, never a mixture.
pub(crate) fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let doing = || format!("write `{}`", path.display());
    let parent = path.parent().unwrap_or_else(|| Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = parent.join(format!(".{name}.{}.tmp", uuid::Uuid::new_v4().simple()));
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        File::open(parent)?.sync_all()
    };
    write().map_err(|e| {
        drop(std::fs::remove_file(&temporary));
        Error::io(doing(), &e)
    })
}

/// Writes a file, readable by its owner only, that nobody misses when a crash cuts it.
pub(crate) fn write_in_place(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?
        .write_all(bytes)
}

/// Opens a log for appending, readable by its owner only.
pub(crate) fn open_append(path: &Path) -> Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map_err(|e| Error::io(format!("open `{}` for appending", path.display()), &e))
}

/// Reads the first `limit` bytes of a file at most: a device or pipe may have no end.
pub(crate) fn read_at_most(path: &Path, limit: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(limit as u64)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Opens a file for reading; `None` when it does not exist.
pub(crate) fn open_optional(path: &Path) -> Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io(format!("open `{}`", path.display()), &e)),
    }
}

/// Reads a file as text; `None` when it does not exist.
pub(crate) fn read_optional(path: &Path) -> Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io(format!("read `{}`", path.display()), &e)),
    }
}

/// Returns the time of change in nanoseconds since 1970.
pub(crate) fn mtime_of(meta: &Metadata) -> i64 {
    meta.mtime()
        .saturating_mul(1_000_000_000)
        .saturating_add(meta.mtime_nsec())
}

/// Hashes the first `limit` bytes of a file; returns how many there were.
pub(crate) fn hash_file(path: &Path, limit: u64) -> std::io::Result<(u64, [u8; 32])> {
    let mut file = File::open(path)?.take(limit);
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    let mut bytes = 0;
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok((bytes, hash.finalize().into()));
        }
        hash.update(&buffer[..read]);
        bytes += read as u64;
    }
}
