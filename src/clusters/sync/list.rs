//! What is to be on the nodes: a file or tree of this machine as a list.

use std::fs::Metadata;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::api::manifest::{Body, Entry, Manifest, Root};
use crate::base::clock::Moment;
use crate::base::{Error, Kind, Result};
use crate::sys::fs::mtime_of;
use crate::sys::walk::{EntryKind, walk};

/// A file that was changed so short a time ago may change again within the same tick of its file system's clock: two
/// seconds on the coarsest.
const FRESH_MICROS: i64 = 2_000_000;
/// How much time is spent on making the list small.
const LEVEL: i32 = 1;

/// A list as it travels.
pub(super) struct List {
    /// What is in it.
    pub(super) manifest: Manifest,
    /// Its bytes, compressed.
    pub(super) packed: Bytes,
    /// Its name: the SHA-256 of its bytes in hexadecimal.
    pub(super) digest: String,
}

impl List {
    /// Lists a file or tree. Blocks.
    pub(super) fn of(source: &Path) -> Result<Self> {
        Self::from(scan(source)?)
    }

    /// Makes a list of what is known already.
    pub(super) fn from(manifest: Manifest) -> Result<Self> {
        let bytes = manifest.encode();
        let packed = zstd::encode_all(bytes.as_slice(), LEVEL)
            .map_err(|e| Error::internal("pack a list of files", &e))?;
        Ok(Self {
            manifest,
            packed: packed.into(),
            digest: hex::encode(Sha256::digest(&bytes)),
        })
    }
}

/// Walks through the source.
fn scan(source: &Path) -> Result<Manifest> {
    let since = (Moment::now().micros() - FRESH_MICROS).saturating_mul(1000);
    let meta = std::fs::metadata(source).map_err(|e| unreadable(source, &e))?;
    if !meta.is_dir() {
        if !meta.is_file() {
            return Err(Error::new(
                Kind::InvalidTask,
                format!("`{}` is neither a file nor a directory", source.display()),
            ));
        }
        return Ok(Manifest {
            root: Root::File,
            entries: vec![entry(Vec::new(), &meta, file(&meta, since))],
        });
    }
    // The walk says what it cannot read below; that it finds nothing at all here would pass for an empty directory.
    std::fs::read_dir(source).map_err(|e| unreadable(source, &e))?;
    let mut entries = Vec::new();
    for found in walk(source) {
        let found = found
            .map_err(|e| e.hint("make it readable, or exclude it by a line in `.skyignore`"))?;
        // What is gone since it was listed counts as gone before.
        let meta = match found.path.symlink_metadata() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            looked => looked.map_err(|e| unreadable(&found.path, &e))?,
        };
        let body = match found.kind {
            EntryKind::Directory if meta.is_dir() => Body::Directory,
            EntryKind::File if meta.is_file() => file(&meta, since),
            EntryKind::Link if meta.is_symlink() => Body::Link {
                target: std::fs::read_link(&found.path)
                    .map_err(|e| unreadable(&found.path, &e))?
                    .into_os_string()
                    .as_bytes()
                    .to_vec(),
            },
            // It became something else since: as a whole it is what it is next time.
            EntryKind::Directory | EntryKind::File | EntryKind::Link => continue,
        };
        let path = found.relative.into_os_string();
        entries.push(entry(path.as_bytes().to_vec(), &meta, body));
    }
    entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(Manifest {
        root: Root::Directory,
        entries: housed(entries),
    })
}

/// Leaves out what is below something that vanished or changed its kind while the tree was walked through.
fn housed(mut entries: Vec<Entry>) -> Vec<Entry> {
    let mut directories = std::collections::HashSet::new();
    entries.retain(|entry| {
        let parent = entry.path.iter().rposition(|byte| *byte == b'/');
        let stays = parent.is_none_or(|at| directories.contains(&entry.path[..at]));
        if stays && entry.body == Body::Directory {
            directories.insert(entry.path.clone());
        }
        stays
    });
    entries
}

/// Makes an entry.
fn entry(path: Vec<u8>, meta: &Metadata, body: Body) -> Entry {
    Entry {
        path,
        mode: meta.mode() & 0o777,
        body,
    }
}

/// Describes a file.
fn file(meta: &Metadata, since: i64) -> Body {
    let mtime = mtime_of(meta);
    Body::File {
        size: meta.len(),
        mtime,
        fresh: mtime >= since,
    }
}

/// The error for what cannot be read here.
pub(super) fn unreadable(path: &Path, e: &io::Error) -> Error {
    let error = Error::new(
        Kind::InvalidTask,
        format!("cannot read `{}`", path.display()),
    )
    .caused_by(e);
    match e.kind() {
        io::ErrorKind::PermissionDenied => {
            error.hint("make it readable, or exclude it by a line in `.skyignore`")
        }
        _ => error,
    }
}
