//! Unpacks an uploaded archive into a fresh directory, believing nothing that it says.
//!
//! - Names are relative, without `..`; no name twice; nothing below a name that is a link.
//! - Links are made last, so no file is ever written through one. A target may climb only at its beginning and
//!   not above the directory: then no chain of links leads out either.
//! - Bytes are counted as they come out, whatever sizes the archive claims.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{DirBuilder, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use sha2::{Digest, Sha256};
use zip::ZipArchive;
use zip::read::ZipFile;

use crate::base::ids::clip;
use crate::base::{Error, Kind, Result};

/// The most entries of an archive.
const MOST_ENTRIES: usize = 1_000_000;
/// The longest target of a link.
const LONGEST_TARGET: u64 = 4096;
/// Bytes copied at a time.
const BUFFER: usize = 128 * 1024;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    /// A directory.
    Dir,
    /// A file.
    File,
    /// A symbolic link.
    Link,
}

/// Unpacks `archive` into `dest`, which exists and is empty; returns the content's address.
///
/// Blocks. Fails with `Invalid` for an archive that is damaged or tries tricks, `TooLarge` beyond `most_bytes`.
pub(super) fn unpack(archive: impl Read + Seek, dest: &Path, most_bytes: u64) -> Result<String> {
    let mut zip = ZipArchive::new(archive).map_err(|e| damaged(&e))?;
    if zip.len() > MOST_ENTRIES {
        return Err(refused(&format!("it has more than {MOST_ENTRIES} entries")));
    }
    let paths = check_names(&mut zip)?;
    let mut digests = BTreeMap::new();
    let mut links = Vec::new();
    let mut left = most_bytes;
    for (index, (path, sort)) in paths.iter().enumerate() {
        let mut entry = zip.by_index(index).map_err(|e| damaged(&e))?;
        let name = entry.name().to_owned();
        let digest = match sort {
            Sort::Dir => {
                make_dirs(&dest.join(path))?;
                Sha256::digest(b"")
            }
            Sort::Link => {
                let target = read_target(&mut entry, path)?;
                let digest = Sha256::digest(target.as_bytes());
                links.push((path, target));
                digest
            }
            Sort::File => write_file(&mut entry, &dest.join(path), &mut left)?,
        };
        digests.insert(name, digest);
    }
    for (path, target) in links {
        make_link(&dest.join(path), &target)?;
    }
    Ok(address(&digests))
}

/// The address of a content: the hash over its sorted names and the hashes of what they hold.
fn address(digests: &BTreeMap<String, impl AsRef<[u8]>>) -> String {
    let mut all = Sha256::new();
    for (name, digest) in digests {
        all.update(name.as_bytes());
        all.update(digest);
    }
    hex::encode(all.finalize())
}

/// Returns the path of every entry, in order, or refuses the archive before anything is written.
fn check_names(zip: &mut ZipArchive<impl Read + Seek>) -> Result<Vec<(PathBuf, Sort)>> {
    let mut paths = Vec::with_capacity(zip.len());
    let mut seen = BTreeSet::new();
    for index in 0..zip.len() {
        let entry = zip.by_index_raw(index).map_err(|e| damaged(&e))?;
        let path = safe_path(entry.name())?;
        let sort = match (entry.is_symlink(), entry.is_dir()) {
            (true, _) => Sort::Link,
            (false, true) => Sort::Dir,
            (false, false) => Sort::File,
        };
        if !seen.insert(path.clone()) && sort != Sort::Dir {
            return Err(refused(&format!("`{}` is in it twice", clip(entry.name()))));
        }
        paths.push((path, sort));
    }
    let links: BTreeSet<&Path> = paths
        .iter()
        .filter(|(_, sort)| *sort == Sort::Link)
        .map(|(path, _)| path.as_path())
        .collect();
    for (path, _) in &paths {
        if path.ancestors().skip(1).any(|above| links.contains(above)) {
            let name = path.display().to_string();
            return Err(refused(&format!("`{}` lies below a link", clip(&name))));
        }
    }
    Ok(paths)
}

/// Returns a name as a relative path without tricks.
fn safe_path(name: &str) -> Result<PathBuf> {
    let bad = || {
        refused(&format!(
            "`{}` is not a relative path without `..`",
            clip(name)
        ))
    };
    if name.contains('\0') {
        return Err(bad());
    }
    let mut path = PathBuf::new();
    for component in Path::new(name).components() {
        match component {
            Component::Normal(part) => path.push(part),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return Err(bad()),
        }
    }
    if path.as_os_str().is_empty() {
        return Err(bad());
    }
    Ok(path)
}

/// Reads the target of the link at `path` and refuses one that leads out of the directory.
fn read_target(entry: &mut ZipFile<'_, impl Read>, path: &Path) -> Result<String> {
    let mut target = String::new();
    entry
        .take(LONGEST_TARGET + 1)
        .read_to_string(&mut target)
        .map_err(|e| damaged(&e))?;
    let depth = path.components().count() - 1;
    if target.len() as u64 > LONGEST_TARGET || !stays_inside(&target, depth) {
        let name = path.display().to_string();
        return Err(refused(&format!(
            "link `{}` leads out of the upload",
            clip(&name)
        )));
    }
    Ok(target)
}

/// Whether a link `depth` directories below the top stays below it.
///
/// `..` is permitted only at the beginning: there it starts from a real directory; after a name it would start from
/// wherever that name, perhaps a link, leads to.
fn stays_inside(target: &str, depth: usize) -> bool {
    if target.is_empty() || target.contains('\0') {
        return false;
    }
    let mut climbed = 0;
    let mut named = false;
    for component in Path::new(target).components() {
        match component {
            Component::CurDir => {}
            Component::Normal(_) => named = true,
            Component::ParentDir if named => return false,
            Component::ParentDir => climbed += 1,
            Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    climbed <= depth
}

/// Makes a directory and those above it.
fn make_dirs(path: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|e| on_disk(&e))
}

/// Makes the directory that a path lies in.
fn make_parent(path: &Path) -> Result<()> {
    path.parent().map_or(Ok(()), make_dirs)
}

/// Writes a file and returns the hash of its content.
fn write_file(
    entry: &mut ZipFile<'_, impl Read>,
    path: &Path,
    left: &mut u64,
) -> Result<sha2::digest::Output<Sha256>> {
    make_parent(path)?;
    let mode = entry.unix_mode().unwrap_or(0o600) & 0o777 | 0o600;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .map_err(|e| on_disk(&e))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = entry.read(&mut buffer).map_err(|e| damaged(&e))?;
        if read == 0 {
            return Ok(hash.finalize());
        }
        *left = left.checked_sub(read as u64).ok_or_else(|| {
            Error::new(
                Kind::TooLarge,
                "the upload is too large when it is unpacked",
            )
        })?;
        hash.update(&buffer[..read]);
        file.write_all(&buffer[..read]).map_err(|e| on_disk(&e))?;
    }
}

/// Makes a link.
fn make_link(path: &Path, target: &str) -> Result<()> {
    make_parent(path)?;
    symlink(target, path).map_err(|e| on_disk(&e))
}

/// A fault while writing: an entry in the way of another is the archive's fault, all else the disk's.
fn on_disk(error: &std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::AlreadyExists
        | std::io::ErrorKind::NotADirectory
        | std::io::ErrorKind::IsADirectory
        | std::io::ErrorKind::InvalidFilename => {
            refused("two entries are in each other's way").caused_by(error)
        }
        _ => Error::io("unpack an upload", error),
    }
}

/// An archive that cannot be read.
fn damaged(error: &dyn std::error::Error) -> Error {
    Error::new(
        Kind::Invalid,
        "the upload is not a zip archive that can be read",
    )
    .caused_by(error)
}

/// An archive that is refused.
fn refused(why: &str) -> Error {
    Error::new(Kind::Invalid, format!("the upload is refused: {why}"))
}
