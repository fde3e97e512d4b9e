//! Where files may go: under the node's home, whatever links lie on the way.

use std::path::{Component, Path, PathBuf};

use crate::base::{Error, Kind, Result};

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
    fn a_destination_behind_a_link_is_refused() {
        let home = tempfile::tempdir().expect("a directory");
        std::os::unix::fs::symlink("/tmp", home.path().join("out")).expect("made");
        guard(home.path(), &home.path().join("out/sky-evil")).expect_err("it leads out");
        guard(home.path(), &home.path().join("in/deep")).expect("it stays inside");
    }
}
