//! Objects as files: keys become paths.

use std::collections::BTreeMap;

use super::Place;
use crate::api::manifest::{Body, Entry, Manifest, Root};
use crate::aws::Object;
use crate::base::clock::Moment;
use crate::base::ids::clip;
use crate::base::{Error, Kind, Result};

/// Permissions of files.
const FILE_MODE: u32 = 0o644;
/// Permissions of directories.
const DIRECTORY_MODE: u32 = 0o755;
/// Objects that were written so short a time ago may be replaced within the same second.
const FRESH_MICROS: i64 = 2_000_000;

/// Makes files of objects; returns which entry is which object.
pub(super) fn manifest(
    place: &Place,
    found: Vec<Object>,
) -> Result<(Manifest, BTreeMap<usize, Object>)> {
    if let Some(archived) = found.iter().find(|object| object.archived) {
        return Err(Error::new(
            Kind::Conflict,
            format!(
                "`s3://{}/{}` is archived",
                place.bucket,
                clip(&archived.key)
            ),
        )
        .hint("restore it first, or copy a prefix without it"));
    }
    let since = Moment::now().micros() - FRESH_MICROS;
    if let [one] = found.as_slice()
        && one.key == place.prefix
    {
        let entry = file(Vec::new(), one, since);
        let manifest = Manifest {
            root: Root::File,
            entries: vec![entry],
        };
        return Ok((manifest, found.into_iter().enumerate().collect()));
    }
    let entries = tree(place, found, since)?;
    let mut objects = BTreeMap::new();
    let entries = entries
        .into_values()
        .enumerate()
        .map(|(index, (entry, object))| {
            objects.extend(object.map(|object| (index, object)));
            entry
        });
    let manifest = Manifest {
        root: Root::Directory,
        entries: entries.collect(),
    };
    Ok((manifest, objects))
}

/// What stands at a path: an entry, and the object that it is made of, unless it is a directory.
type Tree = BTreeMap<Vec<u8>, (Entry, Option<Object>)>;

/// Makes paths of keys, with the directories above them.
fn tree(place: &Place, found: Vec<Object>, since: i64) -> Result<Tree> {
    let mut entries = Tree::new();
    for object in found {
        let skip = if place.prefix.is_empty() {
            0
        } else {
            place.prefix.len() + 1
        };
        let path = object.key.get(skip..).unwrap_or_default().to_owned();
        let name = path.strip_suffix('/').unwrap_or(&path);
        let parts = || name.split('/');
        let odd = |part: &str| matches!(part, "" | "." | "..") || part.len() > 255;
        if !name.is_empty() && (parts().any(odd) || name.contains('\0')) {
            return Err(no_file(
                place,
                &object.key,
                "it is no path that a file can have",
            ));
        }
        let is_marker = path.is_empty() || path.ends_with('/');
        let above = name.match_indices('/').map(|(at, _)| &name[..at]);
        let whole = (is_marker && !name.is_empty()).then_some(name);
        for directory in above.chain(whole) {
            let entry = || (self::directory(directory), None);
            let there = entries.entry(directory.into()).or_insert_with(entry);
            if there.1.is_some() {
                return Err(no_file(
                    place,
                    directory,
                    "it is an object and a directory of others",
                ));
            }
        }
        if is_marker {
            continue;
        }
        let entry = file(name.into(), &object, since);
        let key = object.key.clone();
        if entries.insert(name.into(), (entry, Some(object))).is_some() {
            return Err(no_file(
                place,
                &key,
                "it is an object and a directory of others",
            ));
        }
    }
    Ok(entries)
}

/// The error of an object that cannot be a file.
fn no_file(place: &Place, key: &str, why: &str) -> Error {
    Error::new(
        Kind::NotSupported,
        format!(
            "`{}` in bucket `{}` cannot be copied: {why}",
            clip(key),
            place.bucket
        ),
    )
    .hint("rename it, or copy a prefix without it")
}

/// Makes a directory.
fn directory(path: &str) -> Entry {
    Entry {
        path: path.into(),
        mode: DIRECTORY_MODE,
        body: Body::Directory,
    }
}

/// Makes a file.
fn file(path: Vec<u8>, object: &Object, since: i64) -> Entry {
    let modified = object.modified.micros();
    Entry {
        path,
        mode: FILE_MODE,
        body: Body::File {
            size: object.size,
            mtime: modified.saturating_mul(1000),
            fresh: modified >= since,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(uri: &str) -> Place {
        Place::parse(uri, "~/x").expect("a place")
    }

    fn objects(keys: &[&str]) -> Vec<Object> {
        let object = |key: &&str| Object {
            key: (*key).to_owned(),
            size: 1,
            modified: Moment::from_micros(7_000_000),
            etag: "\"e\"".to_owned(),
            archived: key.ends_with("ice"),
        };
        keys.iter().map(object).collect()
    }

    #[test]
    fn keys_become_paths() {
        let found = objects(&["p/", "p/a/b", "p/a/c/d", "p/empty/", "p/x"]);
        let (manifest, objects) = manifest(&place("s3://abc/p"), found).expect("files");
        let paths: Vec<_> = manifest
            .entries
            .iter()
            .map(|entry| String::from_utf8_lossy(&entry.path).into_owned())
            .collect();
        assert_eq!(paths, ["a", "a/b", "a/c", "a/c/d", "empty", "x"]);
        let keys: Vec<_> = objects
            .iter()
            .map(|(index, object)| (*index, &object.key[..]))
            .collect();
        assert_eq!(keys, [(1, "p/a/b"), (3, "p/a/c/d"), (5, "p/x")]);
        Manifest::decode(&manifest.encode()).expect("it is valid");
    }

    #[test]
    fn one_object_becomes_one_file() {
        let (manifest, objects) =
            manifest(&place("s3://abc/p/x.bin"), objects(&["p/x.bin"])).expect("a file");
        assert_eq!((manifest.root, objects.len()), (Root::File, 1));
        Manifest::decode(&manifest.encode()).expect("it is valid");
    }

    #[test]
    fn what_cannot_be_a_file_is_named() {
        for (keys, why) in [
            (&["p/a", "p/a/b"][..], "an object and a directory"),
            (&["p/a//b"], "no path"),
            (&["p/../b"], "no path"),
            (&["p/ice"], "archived"),
        ] {
            let error = manifest(&place("s3://abc/p"), objects(keys)).expect_err(why);
            assert!(error.message().contains(why), "{error:?}");
        }
    }
}
