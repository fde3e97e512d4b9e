//! Where files may go: under the node's home, whatever links lie on the way; on a machine that is the node's alone
//! anywhere, by a link that leads into the home.

use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use crate::base::ids::clip;
use crate::base::{Error, Kind, Result};
use crate::sys::process::as_root;

/// Where files are that belong outside of the home, below it.
const OUTSIDE: &str = ".sky/file_mounts";

/// Makes a link as root: what is in its way gives way only if it is an empty directory.
const LINK: &str = r#"if [ -d "$1" ] && [ ! -L "$1" ]; then rmdir "$1" || exit; fi
mkdir -p "$(dirname "$1")" && ln -sT "$2" "$1""#;

/// A place for files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Destination {
    /// Where they are: always under the home.
    pub(crate) path: PathBuf,
    /// Where jobs look for them, if not there.
    pub(crate) link: Option<PathBuf>,
}

/// Returns where `dest` is: relative to the home (`~/` permitted), or absolute where the machine is the node's alone.
pub(crate) fn destination(home: &Path, owns_machine: bool, dest: &str) -> Result<Destination> {
    let refuse = |why: &str| {
        Error::new(
            Kind::Invalid,
            format!("destination `{}` is not valid: {why}", clip(dest)),
        )
    };
    let relative = match dest.strip_prefix("~/") {
        Some(relative) => relative,
        None if dest == "~" => "",
        None => dest,
    };
    if relative.contains('\0') {
        return Err(refuse("it holds a zero byte"));
    }
    let mut names = PathBuf::new();
    for component in Path::new(relative).components() {
        match component {
            Component::Normal(name) => names.push(name),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir => return Err(refuse("it must not contain `..`")),
            Component::Prefix(_) => return Err(refuse("it is not a path")),
        }
    }
    if !Path::new(relative).is_absolute() {
        return Ok(Destination {
            path: home.join(names),
            link: None,
        });
    }
    let absolute = Path::new("/").join(&names);
    if absolute.starts_with(home) {
        return Ok(Destination {
            path: absolute,
            link: None,
        });
    }
    if !owns_machine {
        let why = "this node shares its machine, so it must be under the home directory";
        return Err(refuse(why).hint(format!("mount it at `~{}`", clip(dest))));
    }
    Ok(Destination {
        path: home.join(OUTSIDE).join(names),
        link: Some(absolute),
    })
}

impl Destination {
    /// Makes the link by which jobs find the files; as root if need be. Blocks.
    pub(crate) fn open(&self) -> Result<()> {
        let Some(link) = &self.link else {
            return Ok(());
        };
        if self.is_open(link) || real(link).is_some_and(|real| real == self.path) {
            return Ok(());
        }
        let complaint = match self.make(link) {
            Err(e) if e.kind() == ErrorKind::PermissionDenied => {
                let arguments = [link.as_os_str(), self.path.as_os_str()];
                as_root(LINK, &arguments).map_err(|e| failed(link, &e))?
            }
            made => return made.map_err(|e| failed(link, &e)),
        };
        if self.is_open(link) {
            return Ok(());
        }
        Err(Error::new(
            Kind::Conflict,
            format!("cannot make `{}` on the node: {complaint}", link.display()),
        )
        .hint("remove what is there, or choose another destination"))
    }

    /// Whether the link is there and leads to the files.
    fn is_open(&self, link: &Path) -> bool {
        std::fs::read_link(link).is_ok_and(|to| to == self.path)
    }

    /// Makes the link with the rights of the node's account.
    fn make(&self, link: &Path) -> std::io::Result<()> {
        if link.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
            std::fs::remove_dir(link)?;
        }
        std::fs::create_dir_all(link.parent().unwrap_or(link))?;
        std::os::unix::fs::symlink(&self.path, link)
    }
}

/// Returns where a path would really be, whatever it is itself: below the link of another mount, that is in the home.
fn real(path: &Path) -> Option<PathBuf> {
    let mut rest = vec![path.file_name()?];
    let mut above = path.parent()?;
    loop {
        match above.canonicalize() {
            Ok(real) => return Some(rest.iter().rev().fold(real, |real, name| real.join(name))),
            Err(e) if e.kind() == ErrorKind::NotFound => {
                rest.push(above.file_name()?);
                above = above.parent()?;
            }
            Err(_) => return None,
        }
    }
}

/// An error about a link.
fn failed(link: &Path, e: &std::io::Error) -> Error {
    let doing = format!("make `{}` on the node", link.display());
    let hint = "remove what is there, or choose another destination";
    Error::io(doing, e).hint(hint)
}

/// Refuses a destination that a symbolic link leads out of the home.
pub(crate) fn guard(home: &Path, dest: &Path) -> Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_stay_under_the_home() {
        let home = Path::new("/node/home");
        for (dest, expected) in [
            ("~/a/b", "/node/home/a/b"),
            ("a", "/node/home/a"),
            ("~", "/node/home"),
            ("./a/.", "/node/home/a"),
            ("/node/home/a", "/node/home/a"),
        ] {
            let found = destination(home, false, dest).expect("it is permitted");
            assert_eq!(found.path, Path::new(expected));
            assert_eq!(found.link, None);
        }
        for dest in ["/etc", "..", "a/../../b", "~/../x", "a\0b"] {
            assert!(destination(home, false, dest).is_err(), "{dest}");
        }
    }

    #[test]
    fn a_machine_of_its_own_has_all_destinations() {
        let home = Path::new("/home/me");
        let found = destination(home, true, "/data/x").expect("it is permitted");
        assert_eq!(found.path, home.join(".sky/file_mounts/data/x"));
        assert_eq!(found.link.as_deref(), Some(Path::new("/data/x")));
        assert!(destination(home, true, "/data/../etc").is_err());
    }

    #[test]
    fn a_link_takes_the_place_of_nothing_and_of_an_empty_directory() {
        let dir = tempfile::tempdir().expect("a directory");
        let home = dir.path().join("home");
        let open = |name: &str| {
            let wanted = dir.path().join(name);
            let dest = destination(&home, true, &wanted.to_string_lossy()).expect("permitted");
            let opened = dest.open();
            (opened, std::fs::read_link(wanted).ok() == Some(dest.path))
        };
        assert!(matches!(open("a/b"), (Ok(()), true)));
        assert!(matches!(open("a/b"), (Ok(()), true)), "again");
        std::fs::create_dir(dir.path().join("empty")).expect("made");
        assert!(matches!(open("empty"), (Ok(()), true)));
        std::fs::create_dir_all(dir.path().join("full/of")).expect("made");
        assert!(matches!(open("full"), (Err(_), false)));
        assert!(dir.path().join("full/of").is_dir());
        // A mount below another one is where that one leads.
        std::fs::create_dir_all(home.join(OUTSIDE)).expect("made");
        let inner = format!("{}/a/b/sub/x", dir.path().display());
        let inner = destination(&home, true, &inner).expect("permitted");
        std::fs::create_dir_all(inner.path.ancestors().nth(2).expect("the outer one"))
            .expect("made");
        for _ in 0..2 {
            inner.open().expect("it is there already");
            std::fs::create_dir_all(&inner.path).expect("a directory, not a link to itself");
        }
        std::os::unix::fs::symlink("/elsewhere", dir.path().join("link")).expect("made");
        assert!(matches!(open("link"), (Err(_), false)));
    }

    #[test]
    fn a_destination_behind_a_link_is_refused() {
        let home = tempfile::tempdir().expect("a directory");
        std::os::unix::fs::symlink("/tmp", home.path().join("out")).expect("made");
        guard(home.path(), &home.path().join("out/sky-evil")).expect_err("it leads out");
        guard(home.path(), &home.path().join("in/deep")).expect("it stays inside");
    }
}
