//! Files that the server brings to a node: a tar stream, unpacked under the node's home as it arrives.

use std::io::Read;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use crate::base::{Error, Kind, Result};

/// What the stream holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mode {
    /// The content of a directory, merged into `dest`.
    Dir,
    /// One file, which becomes `dest`.
    File,
}

/// Returns where `dest` is: relative to the home, `~/` permitted, never outside of it.
pub(crate) fn destination(home: &Path, dest: &str) -> Result<PathBuf> {
    let refuse = |why: &str| {
        Err(Error::new(
            Kind::Invalid,
            format!(
                "destination `{}` is not valid: {why}",
                crate::base::ids::clip(dest)
            ),
        ))
    };
    let relative = match dest.strip_prefix("~/") {
        Some(relative) => relative,
        None if dest == "~" => "",
        None => dest,
    };
    if relative.contains('\0') {
        return refuse("it holds a zero byte");
    }
    let mut path = home.to_path_buf();
    for component in Path::new(relative).components() {
        match component {
            Component::Normal(name) => path.push(name),
            Component::CurDir => {}
            Component::ParentDir => return refuse("it must not contain `..`"),
            Component::RootDir | Component::Prefix(_) => {
                return refuse("it must be under the home directory");
            }
        }
    }
    Ok(path)
}

/// Unpacks a tar stream into `dest`, which lies under `home`. Blocks; holds one block of the stream in memory.
///
/// Refuses names that lead out of `dest`: absolute ones, `..`, and paths through symbolic links.
pub(crate) fn unpack(stream: impl Read, home: &Path, dest: &Path, mode: Mode) -> Result<()> {
    let fail = |e: &std::io::Error| Error::io(format!("unpack into `{}`", dest.display()), e);
    guard(home, dest)?;
    let mut archive = tar::Archive::new(stream);
    archive.set_preserve_mtime(true);
    archive.set_overwrite(true);
    archive.set_unpack_xattrs(false);
    match mode {
        Mode::Dir => {
            std::fs::create_dir_all(dest).map_err(|e| fail(&e))?;
            for entry in archive.entries().map_err(|e| fail(&e))? {
                let mut entry = entry.map_err(|e| fail(&e))?;
                let unpacked = entry.unpack_in(dest).map_err(|e| fail(&e))?;
                if !unpacked {
                    return Err(refused(&entry.path_bytes()));
                }
            }
        }
        Mode::File => {
            let parent = dest.parent().unwrap_or(home);
            std::fs::create_dir_all(parent).map_err(|e| fail(&e))?;
            let mut entries = archive.entries().map_err(|e| fail(&e))?;
            let Some(entry) = entries.next() else {
                return Err(Error::new(Kind::Invalid, "the upload holds no file"));
            };
            let mut entry = entry.map_err(|e| fail(&e))?;
            if entry.header().entry_type() != tar::EntryType::Regular {
                return Err(refused(&entry.path_bytes()));
            }
            // Whole or not at all, and never through a link that stands there.
            let temporary = parent.join(format!(".sky-{}", uuid::Uuid::new_v4().simple()));
            let placed = entry
                .unpack(&temporary)
                .and_then(|_| std::fs::rename(&temporary, dest));
            if let Err(e) = placed {
                drop(std::fs::remove_file(&temporary));
                return Err(fail(&e));
            }
        }
    }
    Ok(())
}

/// Refuses a destination that a symbolic link leads out of the home.
fn guard(home: &Path, dest: &Path) -> Result<()> {
    let home = std::fs::canonicalize(home)
        .map_err(|e| Error::io(format!("find `{}`", home.display()), &e))?;
    let nearest = dest
        .ancestors()
        .find_map(|ancestor| std::fs::canonicalize(ancestor).ok());
    match nearest {
        Some(real) if real.starts_with(&home) => Ok(()),
        Some(_) | None => Err(Error::new(
            Kind::Invalid,
            format!(
                "destination `{}` leads out of the home directory through a link",
                dest.display()
            ),
        )),
    }
}

/// The error for a name in the stream that is not permitted.
fn refused(name: &[u8]) -> Error {
    let name = String::from_utf8_lossy(name);
    Error::new(
        Kind::Invalid,
        format!(
            "the upload holds a name that is not permitted: `{}`",
            crate::base::ids::clip(&name)
        ),
    )
}

/// Writes a directory as a tar stream. Blocks.
pub(crate) fn pack(directory: &Path, to: impl std::io::Write) -> std::io::Result<()> {
    let mut builder = tar::Builder::new(to);
    builder.follow_symlinks(false);
    builder.append_dir_all(".", directory)?;
    builder.into_inner()?.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tar stream with one entry, whose name is not checked.
    fn tar_of(name: &str, kind: tar::EntryType, link: Option<&str>, data: &[u8]) -> Vec<u8> {
        let mut header = tar::Header::new_gnu();
        let bytes = &mut header.as_old_mut().name;
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        if let Some(link) = link {
            header.set_link_name(link).expect("a short name");
        }
        header.set_cksum();
        let mut builder = tar::Builder::new(Vec::new());
        builder.append(&header, data).expect("it is written");
        builder.into_inner().expect("it is written")
    }

    fn home() -> tempfile::TempDir {
        tempfile::tempdir().expect("a directory")
    }

    #[test]
    fn destinations_stay_under_the_home() {
        let home = Path::new("/node/home");
        for (dest, expected) in [
            ("~/a/b", "/node/home/a/b"),
            ("a", "/node/home/a"),
            ("~", "/node/home"),
            ("./a/.", "/node/home/a"),
        ] {
            assert_eq!(
                destination(home, dest).expect("it is permitted"),
                Path::new(expected)
            );
        }
        for dest in ["/etc", "..", "a/../../b", "~/../x", "a\0b"] {
            assert!(destination(home, dest).is_err(), "{dest}");
        }
    }

    #[test]
    fn a_directory_is_merged() {
        let home = home();
        let dest = home.path().join("work");
        std::fs::create_dir(&dest).expect("made");
        std::fs::write(dest.join("old"), "old").expect("it writes");
        let stream = tar_of("new", tar::EntryType::Regular, None, b"new");
        unpack(stream.as_slice(), home.path(), &dest, Mode::Dir).expect("it unpacks");
        assert_eq!(
            std::fs::read(dest.join("new")).expect("it is there"),
            b"new"
        );
        assert!(dest.join("old").exists());
    }

    #[test]
    fn a_file_replaces_what_is_there() {
        let home = home();
        let dest = home.path().join("deep/conf");
        for text in ["one", "two"] {
            let stream = tar_of("x", tar::EntryType::Regular, None, text.as_bytes());
            unpack(stream.as_slice(), home.path(), &dest, Mode::File).expect("it unpacks");
            assert_eq!(std::fs::read_to_string(&dest).expect("it is there"), text);
        }
    }

    #[test]
    fn names_that_lead_out_are_refused() {
        let home = home();
        let dest = home.path().join("work");
        for name in ["../evil", "a/../../evil"] {
            let stream = tar_of(name, tar::EntryType::Regular, None, b"x");
            assert!(
                unpack(stream.as_slice(), home.path(), &dest, Mode::Dir).is_err(),
                "{name}"
            );
        }
        // A link first, then a file through it.
        let mut stream = tar_of("out", tar::EntryType::Symlink, Some("/tmp"), b"");
        stream.truncate(512);
        stream.extend(tar_of("out/sky-evil", tar::EntryType::Regular, None, b"x"));
        assert!(unpack(stream.as_slice(), home.path(), &dest, Mode::Dir).is_err());
        assert!(!Path::new("/tmp/sky-evil").exists());
        assert!(!home.path().join("evil").exists());
    }

    #[test]
    fn a_destination_behind_a_link_is_refused() {
        let home = home();
        std::os::unix::fs::symlink("/tmp", home.path().join("out")).expect("made");
        let stream = tar_of("x", tar::EntryType::Regular, None, b"x");
        let dest = home.path().join("out/sky-evil-dir");
        assert!(unpack(stream.as_slice(), home.path(), &dest, Mode::Dir).is_err());
    }

    #[test]
    fn what_is_packed_unpacks() {
        let from = home();
        std::fs::create_dir(from.path().join("tasks")).expect("made");
        std::fs::write(from.path().join("tasks/run.log"), "hello").expect("it writes");
        let mut stream = Vec::new();
        pack(from.path(), &mut stream).expect("it packs");
        let to = home();
        let dest = to.path().join("logs");
        unpack(stream.as_slice(), to.path(), &dest, Mode::Dir).expect("it unpacks");
        assert_eq!(
            std::fs::read_to_string(dest.join("tasks/run.log")).expect("it is there"),
            "hello"
        );
    }
}
