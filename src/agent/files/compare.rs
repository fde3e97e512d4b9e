//! Looks at what is there, makes what needs no content, and says what is lacking.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{Metadata, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::desk::{Turn, remove};
use super::destination::guard;
use crate::api::manifest::{Body, Entry, Lacking, Manifest, Need, Root};
use crate::base::units::Bytes;
use crate::base::{Error, Kind, Result};
use crate::sys::fs::{hash_file, mtime_of};

/// Files of this size and more go on where they broke off.
pub(super) const LARGE: u64 = 4 << 20;
/// Permissions that are taken over.
const PERMISSIONS: u32 = 0o777;
/// What the owner must be permitted in a directory while files are put there.
const OWNER: u32 = 0o700;

/// A comparison under way.
struct Comparison<'a> {
    /// Where the tree goes.
    dest: &'a Path,
    /// Where parts are.
    turn: &'a Turn,
    /// Files that may have changed after they were listed last time, with the time that they had.
    doubted: HashSet<(&'a [u8], i64)>,
    /// Directories that were just made: nothing is in them.
    made: HashSet<&'a [u8]>,
    /// The result.
    lacking: Lacking,
    /// Bytes that the disk will hold more.
    growth: u64,
    /// The largest file that replaces another: both are there for a moment.
    largest: u64,
}

/// Compares a tree with what is at `dest` under `home`; `before` is what was listed last time. Blocks.
pub(crate) fn compare(
    turn: &Turn,
    home: &Path,
    dest: &Path,
    manifest: &Manifest,
    before: Option<&Manifest>,
) -> Result<Lacking> {
    guard(home, dest)?;
    let mut comparison = Comparison {
        dest,
        turn,
        doubted: before.map(fresh).unwrap_or_default(),
        made: HashSet::new(),
        lacking: Lacking::default(),
        growth: 0,
        largest: 0,
    };
    comparison.root(manifest.root)?;
    for (index, entry) in manifest.entries.iter().enumerate() {
        turn.check()?;
        comparison.entry(index, entry)?;
    }
    comparison.check_space()?;
    let wanted = comparison.lacking.files.iter();
    let wanted: HashSet<PathBuf> = wanted
        .map(|(index, _)| turn.part(&manifest.entries[*index]))
        .collect();
    turn.clear_parts(|part| wanted.contains(part))?;
    let lacking = comparison.lacking;
    if lacking.files.is_empty() {
        close_directories(dest, manifest)?;
    }
    Ok(lacking)
}

/// Files whose time of change was so near that it may hide another change.
fn fresh(manifest: &Manifest) -> HashSet<(&[u8], i64)> {
    let entries = manifest.entries.iter();
    entries
        .filter_map(|entry| match entry.body {
            Body::File {
                mtime, fresh: true, ..
            } => Some((entry.path.as_slice(), mtime)),
            _ => None,
        })
        .collect()
}

/// Returns where an entry is.
pub(super) fn place(dest: &Path, entry: &Entry) -> PathBuf {
    if entry.path.is_empty() {
        dest.to_path_buf()
    } else {
        dest.join(OsStr::from_bytes(&entry.path))
    }
}

/// Gives directories that their owner may not change the permissions of the source, after all is in them.
pub(super) fn close_directories(dest: &Path, manifest: &Manifest) -> Result<()> {
    for entry in manifest.entries.iter().rev() {
        if entry.body == Body::Directory && entry.mode & OWNER != OWNER {
            set_mode(&place(dest, entry), entry.mode)?;
        }
    }
    Ok(())
}

/// Sets permissions.
fn set_mode(path: &Path, mode: u32) -> Result<()> {
    std::fs::set_permissions(path, Permissions::from_mode(mode & PERMISSIONS))
        .map_err(|e| failed("set the permissions of", path, &e))
}

/// Returns what is at a path, links not followed.
fn look(path: &Path) -> Result<Option<Metadata>> {
    match path.symlink_metadata() {
        Ok(meta) => Ok(Some(meta)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(failed("look at", path, &e)),
    }
}

/// An error about a path of the node.
pub(super) fn failed(doing: &str, path: &Path, e: &io::Error) -> Error {
    Error::io(format!("{doing} `{}` on the node", path.display()), e)
}

impl<'a> Comparison<'a> {
    /// Makes the place where everything goes.
    fn root(&mut self, root: Root) -> Result<()> {
        let make = |path: &Path| {
            std::fs::create_dir_all(path).map_err(|e| match e.kind() {
                io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => in_the_way(path),
                _ => failed("create", path, &e),
            })
        };
        match root {
            Root::File => make(self.dest.parent().unwrap_or(self.dest)),
            Root::Directory => {
                if look(self.dest)?.is_none() {
                    self.made.insert(b"");
                }
                make(self.dest)
            }
        }
    }

    /// Looks at one entry.
    fn entry(&mut self, index: usize, entry: &'a Entry) -> Result<()> {
        let path = place(self.dest, entry);
        let parent = entry.path.iter().rposition(|byte| *byte == b'/');
        let parent = &entry.path[..parent.unwrap_or(0)];
        let is_root = entry.path.is_empty();
        let there = if !is_root && self.made.contains(parent) {
            None
        } else {
            look(&path)?
        };
        match &entry.body {
            Body::Directory => self.directory(entry, &path, there),
            Body::Link { target } => link(&path, OsStr::from_bytes(target), there),
            Body::File { size, mtime, .. } => {
                let need = self.file(entry, &path, there.as_ref(), (*size, *mtime))?;
                if let Some(need) = need {
                    self.lacking.files.push((index, need));
                }
                Ok(())
            }
        }
    }

    /// Makes a directory, or gives it its permissions.
    fn directory(&mut self, entry: &'a Entry, path: &Path, there: Option<Metadata>) -> Result<()> {
        let mode = (entry.mode & PERMISSIONS) | OWNER;
        match there {
            Some(meta) if meta.is_dir() => {
                if meta.mode() & PERMISSIONS == mode {
                    return Ok(());
                }
                return set_mode(path, mode);
            }
            // As rsync does: a file or link gives way.
            Some(_) => remove(path)?,
            None => {}
        }
        std::fs::create_dir(path).map_err(|e| failed("create", path, &e))?;
        self.made.insert(&entry.path);
        set_mode(path, mode)
    }

    /// Says what is lacking of a file.
    fn file(
        &mut self,
        entry: &Entry,
        path: &Path,
        there: Option<&Metadata>,
        (size, mtime): (u64, i64),
    ) -> Result<Option<Need>> {
        let mut replaces = 0;
        if let Some(meta) = there {
            if meta.is_dir() {
                std::fs::remove_dir(path).map_err(|_| in_the_way(path))?;
            } else if meta.is_file() {
                let same_time = mtime_of(meta) == mtime;
                let doubted = self.doubted.contains(&(entry.path.as_slice(), mtime));
                if meta.len() == size {
                    if meta.mode() & PERMISSIONS != entry.mode & PERMISSIONS {
                        set_mode(path, entry.mode)?;
                    }
                    if same_time && !doubted {
                        return Ok(None);
                    }
                    // One that cannot be read is replaced.
                    if let Ok((_, hash)) = hash_file(path, u64::MAX) {
                        return Ok(Some(Need::Doubt(hash)));
                    }
                }
                replaces = meta.len();
            }
        }
        let rest = self.rest(entry, size);
        let have = match rest {
            Some(Need::Rest { have, .. }) => have,
            _ => 0,
        };
        self.growth += (size - have).saturating_sub(replaces);
        self.largest = self.largest.max(replaces.min(size));
        Ok(Some(rest.unwrap_or(Need::Whole)))
    }

    /// Finds a part that arrived earlier.
    fn rest(&self, entry: &Entry, size: u64) -> Option<Need> {
        if size < LARGE {
            return None;
        }
        let (have, hash) = hash_file(&self.turn.part(entry), u64::MAX).ok()?;
        (have > 0 && have <= size).then_some(Need::Rest { have, hash })
    }

    /// Refuses what the disk has no room for.
    fn check_space(&self) -> Result<()> {
        let needed = self.growth.saturating_add(self.largest);
        let at = self.dest.ancestors().find(|path| path.exists());
        let free = at
            .and_then(|path| rustix::fs::statvfs(path).ok())
            .map_or(u64::MAX, |fs| fs.f_bavail.saturating_mul(fs.f_frsize));
        if needed <= free {
            return Ok(());
        }
        Err(Error::new(
            Kind::StorageFull,
            format!(
                "the disk of the node has {} left at `{}`, and {} more are to be put there",
                Bytes(free),
                self.dest.display(),
                Bytes(needed)
            ),
        )
        .hint("free some space there, exclude files by a `.skyignore`, or ask for a larger `disk_size`"))
    }
}

/// Makes a link, unless it is there.
fn link(path: &Path, target: &OsStr, there: Option<Metadata>) -> Result<()> {
    let make = |path: &Path| symlink(target, path).map_err(|e| failed("create the link", path, &e));
    match there {
        None => make(path),
        Some(meta) if meta.is_dir() => {
            std::fs::remove_dir(path).map_err(|_| in_the_way(path))?;
            make(path)
        }
        Some(_) => {
            if std::fs::read_link(path).is_ok_and(|old| old.as_os_str() == target) {
                return Ok(());
            }
            let beside = beside(path);
            remove(&beside)?;
            make(&beside)?;
            std::fs::rename(&beside, path).map_err(|e| failed("replace the link", path, &e))
        }
    }
}

/// Returns a name in the same directory for something that is about to replace a path.
pub(super) fn beside(path: &Path) -> PathBuf {
    let mut name = OsStr::new(".").to_os_string();
    name.push(path.file_name().unwrap_or_default());
    name.push(".sky-new");
    path.with_file_name(name)
}

/// The error when a directory and a file would take each other's place.
fn in_the_way(path: &Path) -> Error {
    let shown = path.display();
    Error::new(
        Kind::Conflict,
        format!(
            "`{shown}` on the node is in the way: one side has a directory there, the other a file"
        ),
    )
    .hint(format!("remove it there: rm -r '{shown}'"))
}
