//! A directory tree as it is to be copied elsewhere: what the user excluded is left out.
//!
//! `.skyignore` at the root decides, in the syntax of `.gitignore`; without one the `.gitignore` files of the
//! tree do. `.git` itself goes along unless excluded. Symbolic links are not followed.

use std::path::{Path, PathBuf};

use ignore::WalkBuilder;

use crate::base::{Error, Kind, Result};

/// The user's own list of what not to copy.
const SKYIGNORE: &str = ".skyignore";

/// Something in the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Where it is, seen from the root.
    pub(crate) relative: PathBuf,
    /// What it is.
    pub(crate) kind: EntryKind,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
}

/// Lists the tree under `root` in a stable order, without `root` itself. Sockets, pipes and devices are left out.
pub(crate) fn walk(root: &Path) -> impl Iterator<Item = Result<Entry>> + use<> {
    let own_rules = root.join(SKYIGNORE).is_file();
    let mut builder = WalkBuilder::new(root);
    builder
        .standard_filters(false)
        .hidden(false)
        .parents(false)
        .require_git(false)
        .git_ignore(!own_rules)
        .git_exclude(!own_rules)
        .follow_links(false)
        .sort_by_file_name(std::cmp::Ord::cmp);
    if own_rules {
        builder.add_custom_ignore_filename(SKYIGNORE);
    }
    let root = root.to_path_buf();
    builder
        .build()
        .filter_map(move |item| entry(&root, item).transpose())
}

/// Turns what the walker found into an entry; `None` for what is not copied.
fn entry(root: &Path, item: Result<ignore::DirEntry, ignore::Error>) -> Result<Option<Entry>> {
    let item = item.map_err(|e| {
        Error::new(
            Kind::Invalid,
            format!("failed to list `{}`", root.display()),
        )
        .caused_by(&e)
    })?;
    let relative = item
        .path()
        .strip_prefix(root)
        .unwrap_or(item.path())
        .to_path_buf();
    if relative.as_os_str().is_empty() {
        return Ok(None);
    }
    let Some(file_type) = item.file_type() else {
        return Ok(None);
    };
    let kind = if file_type.is_symlink() {
        EntryKind::Link
    } else if file_type.is_dir() {
        EntryKind::Directory
    } else if file_type.is_file() {
        EntryKind::File
    } else {
        return Ok(None);
    };
    Ok(Some(Entry {
        path: item.into_path(),
        relative,
        kind,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(files: &[(&str, &str)]) -> Vec<String> {
        let dir = tempfile::tempdir().expect("a directory");
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            std::fs::write(path, text).expect("written");
        }
        walk(dir.path())
            .map(|e| e.expect("an entry").relative.to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn gitignore_decides_without_a_skyignore() {
        let found = names(&[
            (".gitignore", "*.log\n/build\n"),
            ("a.log", ""),
            ("build/x", ""),
            ("src/b.log", ""),
            ("src/c.rs", ""),
            (".git/HEAD", ""),
            (".hidden", ""),
        ]);
        assert_eq!(
            found,
            [
                ".git",
                ".git/HEAD",
                ".gitignore",
                ".hidden",
                "src",
                "src/c.rs"
            ]
        );
    }

    #[test]
    fn skyignore_replaces_gitignore() {
        let found = names(&[
            (".gitignore", "*.log\n"),
            (".skyignore", "*.tmp\n.git\n"),
            ("a.log", ""),
            ("b.tmp", ""),
            (".git/HEAD", ""),
        ]);
        assert_eq!(found, [".gitignore", ".skyignore", "a.log"]);
    }
}
