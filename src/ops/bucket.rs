//! Buckets in file mounts: what is in them is listed here, and the nodes fetch it by URLs that permit just that.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::Ops;
use crate::api::manifest::{Body, Entry, Manifest, Root};
use crate::aws::{Bucket, Object};
use crate::base::clock::Moment;
use crate::base::cx::Cx;
use crate::base::ids::clip;
use crate::base::{Error, Kind, Result};
use crate::clusters::{Cluster, Haul, Shipped, Spot};
use crate::task::MountSource;

/// How often a bucket is listed anew when it changes meanwhile.
const ROUNDS: u32 = 4;
/// Permissions of files.
const FILE_MODE: u32 = 0o644;
/// Permissions of directories.
const DIRECTORY_MODE: u32 = 0o755;
/// Objects that were written so short a time ago may be replaced within the same second.
const FRESH_MICROS: i64 = 2_000_000;

/// A place in S3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// The bucket.
    bucket: String,
    /// What keys begin with; without a slash at the end, empty for the whole bucket.
    prefix: String,
}

impl Place {
    /// Reads `s3://bucket/prefix`; the error of other stores names what there is.
    fn parse(uri: &str, dest: &str) -> Result<Self> {
        let Some(rest) = uri.strip_prefix("s3://") else {
            return Err(Error::new(
                Kind::NotSupported,
                format!(
                    "this release cannot copy `{}` to `{dest}`: of buckets it knows s3:// only",
                    clip(uri)
                ),
            )
            .hint("fetch it in `setup`"));
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let valid = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._".contains(&b);
        if bucket.len() < 3 || bucket.len() > 63 || !bucket.bytes().all(valid) {
            return Err(Error::new(
                Kind::InvalidTask,
                format!("`{}` names no bucket: s3://<bucket>/<prefix>", clip(uri)),
            ));
        }
        Ok(Self {
            bucket: bucket.to_owned(),
            prefix: prefix.trim_end_matches('/').to_owned(),
        })
    }

    /// Reads where a mount comes from; none for what is no bucket.
    pub(super) fn of(source: &MountSource, dest: &str) -> Result<Option<Self>> {
        let map = match source {
            MountSource::Local(_) => return Ok(None),
            MountSource::Uri(uri) => return Self::parse(uri, dest).map(Some),
            MountSource::Storage(map) => map,
        };
        let text = |name: &str| map.get(name).and_then(Value::as_str);
        let mode = text("mode").unwrap_or("MOUNT").to_ascii_uppercase();
        if mode != "COPY" {
            return Err(Error::new(
                Kind::NotSupported,
                format!(
                    "this release cannot mount a bucket at `{dest}` (mode {mode}), only copy it"
                ),
            )
            .hint("say `mode: COPY`: its objects become files of the node at each launch"));
        }
        match (text("source"), text("name"), text("store")) {
            (Some(uri), _, _) if uri.contains("://") => Self::parse(uri, dest).map(Some),
            (None, Some(name), None | Some("s3" | "S3")) => {
                Self::parse(&format!("s3://{name}"), dest).map(Some)
            }
            _ => Err(Error::new(
                Kind::NotSupported,
                format!("the storage at `{dest}` is none that this release can copy"),
            )
            .hint("name what exists: {source: s3://<bucket>/<prefix>, mode: COPY}; local files need no storage")),
        }
    }

    /// Says what it is.
    pub(super) fn shown(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.prefix)
    }
}

/// Sees that there is something to copy, before anything is launched for it.
pub(super) async fn check(ops: &Ops, place: &Place) -> Result<()> {
    let mut bucket = ops.clusters.clouds().aws().bucket(&place.bucket)?;
    list(&mut bucket, place, Some(1)).await.map(drop)
}

/// Copies a place of a bucket to every node.
pub(super) async fn copy(
    ops: &Ops,
    cx: &Cx,
    cluster: &Cluster,
    place: &Place,
    dest: &str,
) -> Result<Shipped> {
    let aws = ops.clusters.clouds().aws();
    let mut round = 0;
    loop {
        let mut bucket = aws.bucket(&place.bucket)?;
        let found = list(&mut bucket, place, None).await?;
        let (manifest, objects) = manifest(place, found)?;
        let haul = Haul {
            dest: dest.to_owned(),
            manifest,
            doing: format!("Copying {}", place.shown()),
        };
        let bucket = Arc::new(bucket);
        let spots = |indexes: Vec<usize>| {
            let bucket = Arc::clone(&bucket);
            let wanted: Vec<Object> = indexes
                .into_iter()
                .filter_map(|index| objects.get(&index).cloned())
                .collect();
            async move {
                let signer = bucket.signer().await?;
                let spot = |object: Object| Spot {
                    url: signer.url(&object.key),
                    etag: object.etag,
                };
                Ok(wanted.into_iter().map(spot).collect())
            }
        };
        round += 1;
        match ops.clusters.fetch(cx, cluster, haul, spots).await {
            Err(error) if error.kind() == Kind::Conflict && round < ROUNDS => {
                tracing::info!(error = %error.one_line(), "listing a bucket again");
            }
            other => return other,
        }
    }
}

/// Lists the objects of a place: the object of that name, or those below it, at most so many.
async fn list(bucket: &mut Bucket, place: &Place, most: Option<usize>) -> Result<Vec<Object>> {
    if !place.prefix.is_empty() {
        let first = bucket.list(&place.prefix, Some(1)).await?;
        if first
            .first()
            .is_some_and(|object| object.key == place.prefix)
        {
            return Ok(first);
        }
    }
    let prefix = match place.prefix.as_str() {
        "" => String::new(),
        prefix => format!("{prefix}/"),
    };
    let found = bucket.list(&prefix, most).await?;
    if found.is_empty() && !prefix.is_empty() {
        return Err(nothing(place));
    }
    Ok(found)
}

/// The error of a place where nothing is.
fn nothing(place: &Place) -> Error {
    Error::new(
        Kind::NotFound,
        format!("there is nothing at `{}`", place.shown()),
    )
    .hint(format!(
        "see what there is: aws s3 ls s3://{}",
        place.bucket
    ))
}

/// Makes files of objects; returns which entry is which object.
fn manifest(place: &Place, found: Vec<Object>) -> Result<(Manifest, BTreeMap<usize, Object>)> {
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
    fn places_are_read() {
        assert_eq!(place("s3://my-bucket/a/b/").shown(), "s3://my-bucket/a/b");
        assert_eq!(place("s3://my-bucket").prefix, "");
        for uri in [
            "s3://",
            "s3://x",
            "s3://UPPER/a",
            "gs://bucket/a",
            "https://host/a",
        ] {
            assert!(Place::parse(uri, "~/x").is_err(), "{uri}");
        }
        let storage = |json: serde_json::Value| {
            let map = json.as_object().expect("a mapping").clone();
            Place::of(&MountSource::Storage(map), "~/x")
        };
        let copied = storage(serde_json::json!({"source": "s3://abc/d", "mode": "copy"}));
        assert_eq!(copied.expect("a place"), Some(place("s3://abc/d")));
        let named = storage(serde_json::json!({"name": "abc", "mode": "COPY"}));
        assert_eq!(named.expect("a place"), Some(place("s3://abc")));
        let mounted = storage(serde_json::json!({"source": "s3://abc/d"})).expect_err("a mount");
        assert!(mounted.hints()[0].contains("mode: COPY"), "{mounted:?}");
        storage(serde_json::json!({"source": "./here", "name": "abc", "mode": "COPY"}))
            .expect_err("an upload");
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
