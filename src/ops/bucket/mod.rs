//! Buckets in file mounts: what is in them is listed here, and the nodes fetch it by URLs that permit just that.

mod tree;

use std::sync::Arc;

use serde_json::Value;

use super::Ops;
use crate::aws::{Bucket, Object};
use crate::base::cx::Cx;
use crate::base::ids::clip;
use crate::base::{Error, Kind, Result};
use crate::clusters::{Cluster, Haul, Shipped, Spot};
use crate::task::MountSource;

use tree::manifest;

/// How often a bucket is listed anew when it changes meanwhile.
const ROUNDS: u32 = 4;

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

#[cfg(test)]
mod tests {
    use super::*;

    fn place(uri: &str) -> Place {
        Place::parse(uri, "~/x").expect("a place")
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
}
