//! Uploads as clients send them, and as attackers would.

use std::collections::BTreeSet;
use std::io::{Cursor, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use axum::body::Body;
use sha2::{Digest, Sha256};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::{Blobs, Chunk, Limits, Progress, Trust};
use crate::base::ids::{BlobId, UserId};
use crate::base::{Kind, Result};

/// One entry: name, content, and whether it is a link (then the content is its target).
type Entry<'a> = (&'a str, &'a str, bool);

fn archive(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().unix_permissions(0o755);
    for (name, content, is_link) in entries {
        if *is_link {
            zip.add_symlink(*name, *content, options).expect("it fits");
        } else if name.ends_with('/') {
            zip.add_directory(*name, options).expect("it fits");
        } else {
            zip.start_file(*name, options).expect("it fits");
            zip.write_all(content.as_bytes()).expect("it fits");
        }
    }
    zip.finish().expect("it ends").into_inner()
}

fn address(entries: &[Entry<'_>]) -> BlobId {
    let mut sorted = entries.to_vec();
    sorted.sort_unstable();
    let mut hash = Sha256::new();
    for (name, content, _) in sorted {
        hash.update(name);
        hash.update(Sha256::digest(content));
    }
    hex::encode(hash.finalize())
        .parse()
        .expect("a hash is an address")
}

fn user() -> UserId {
    "ann".parse().expect("a valid id")
}

fn blobs(root: &Path, archive: u64) -> Blobs {
    let limits = Limits {
        archive,
        content: 1 << 20,
    };
    Blobs::new(root.to_path_buf(), limits)
}

async fn send(blobs: &Blobs, blob: &BlobId, part: (u32, u32), bytes: &[u8]) -> Result<Progress> {
    let chunk = Chunk {
        user: user(),
        blob: blob.clone(),
        index: part.0,
        total: part.1,
        trust: Trust::Verify,
    };
    blobs.receive(chunk, Body::from(bytes.to_vec())).await
}

/// Nothing but the finished blob is left of an upload.
fn assert_tidy(root: &Path) {
    let mut pending = vec![root.to_path_buf()];
    while let Some(dir) = pending.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let kind = entry.file_type().expect("it has one");
            assert!(
                !name.contains(".tmp") && !name.starts_with("part"),
                "{name} is left"
            );
            if kind.is_dir() {
                pending.push(entry.path());
            }
        }
    }
}

#[tokio::test]
async fn chunks_arrive_in_any_order_and_may_be_repeated() {
    let dir = tempfile::tempdir().expect("a directory");
    let blobs = blobs(dir.path(), 1 << 20);
    let entries = [
        ("home/ann/w/", "", false),
        ("home/ann/w/a.sh", "echo hi", false),
        ("home/ann/w/link", "a.sh", true),
        ("home/ann/empty/", "", false),
    ];
    let (zip, blob) = (archive(&entries), address(&entries));
    let third = zip.len() / 3;
    let part = |i: usize| &zip[i * third..if i == 2 { zip.len() } else { (i + 1) * third }];
    assert!(
        !blobs
            .exists(&user(), &blob, Some(zip.len() as u64))
            .expect("it fits")
    );
    let missing =
        |names: &[&str]| Progress::Missing(names.iter().map(ToString::to_string).collect());
    let send = |i: u32, bytes| send(&blobs, &blob, (i, 3), bytes);
    assert_eq!(
        send(2, part(2)).await.expect("taken"),
        missing(&["part0", "part1"])
    );
    assert_eq!(send(0, part(0)).await.expect("taken"), missing(&["part1"]));
    assert_eq!(
        send(2, part(2)).await.expect("taken again"),
        missing(&["part1"])
    );
    assert_eq!(send(1, part(1)).await.expect("taken"), Progress::Complete);
    assert_eq!(
        send(1, part(1)).await.expect("too late"),
        Progress::Complete
    );
    assert!(blobs.exists(&user(), &blob, None).expect("it is there"));
    let root = dir.path().join("ann/file_mounts/blobs").join(blob.as_str());
    let script = root.join("home/ann/w/link");
    assert_eq!(
        std::fs::read_to_string(&script).expect("the link leads there"),
        "echo hi"
    );
    let mode = std::fs::metadata(&script)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o100, 0o100, "it can be executed");
    assert!(root.join("home/ann/empty").is_dir());
    assert_tidy(dir.path());
    let other: UserId = "bob".parse().expect("a valid id");
    assert!(
        !blobs.exists(&other, &blob, None).expect("it fits"),
        "others have their own"
    );
}

#[tokio::test]
async fn tricks_are_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let blobs = blobs(dir.path(), 1 << 20);
    let tricks: [&[Entry<'_>]; 12] = [
        &[("../x", "", false)],
        &[("a/../../x", "", false)],
        &[("/etc/x", "", false)],
        &[("a", "/etc", true)],
        &[("a", "..", true)],
        &[("a/b", "../../x", true)],
        &[("a", "b/../..", true)],
        &[("d/l", "..", true), ("x", "d/l/../etc", true)],
        &[("p/q/a", "../../t", true), ("p/q/a/b", "../../../x", true)],
        &[("a", "b", true), ("a/x", "through", false)],
        &[("a", "file", false), ("a/x", "below a file", false)],
        &[(".", "", false)],
    ];
    for entries in tricks {
        let error = send(&blobs, &address(entries), (0, 1), &archive(entries)).await;
        let error = error.expect_err("it is a trick");
        assert_eq!(
            error.kind(),
            Kind::Invalid,
            "{entries:?}: {}",
            error.one_line()
        );
    }
    assert_tidy(dir.path());
    let outside: Vec<_> = std::fs::read_dir(dir.path())
        .expect("ours")
        .flatten()
        .collect();
    assert_eq!(outside.len(), 1, "{outside:?}");
}

#[tokio::test]
async fn what_is_no_archive_or_has_another_address_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let blobs = blobs(dir.path(), 1 << 20);
    let entries = [("a", "x", false)];
    let blob = address(&entries);
    let error = send(&blobs, &blob, (0, 1), b"PK nonsense")
        .await
        .expect_err("no archive");
    assert_eq!(error.kind(), Kind::Invalid);
    let mut cut = archive(&entries);
    cut.truncate(cut.len() - 5);
    let error = send(&blobs, &blob, (0, 1), &cut)
        .await
        .expect_err("truncated");
    assert_eq!(error.kind(), Kind::Invalid);
    let other = archive(&[("a", "y", false)]);
    let error = send(&blobs, &blob, (0, 1), &other)
        .await
        .expect_err("another content");
    assert!(error.message().contains("address"), "{error}");
    assert_tidy(dir.path());
    assert_eq!(
        send(&blobs, &blob, (0, 1), &archive(&entries))
            .await
            .expect("the right one"),
        Progress::Complete
    );
}

#[tokio::test]
async fn sizes_are_bounded_packed_and_unpacked() {
    let dir = tempfile::tempdir().expect("a directory");
    let small = blobs(dir.path(), 100);
    let blob = address(&[]);
    let too_large = |result: Result<Progress>| {
        assert_eq!(result.expect_err("too large").kind(), Kind::TooLarge);
    };
    too_large(send(&small, &blob, (0, 2), &[0; 101]).await);
    assert!(send(&small, &blob, (0, 2), &[0; 60]).await.is_ok());
    too_large(send(&small, &blob, (1, 2), &[0; 60]).await);
    assert_eq!(
        small
            .exists(&user(), &blob, Some(101))
            .expect_err("too large")
            .kind(),
        Kind::TooLarge
    );
    let big = blobs(dir.path(), 1 << 20);
    let zeros = "0".repeat(2 << 20);
    let bomb = [("zeros", zeros.as_str(), false)];
    too_large(send(&big, &address(&bomb), (0, 1), &archive(&bomb)).await);
    for part in [(0, 0), (1, 1), (0, 100_000)] {
        let error = send(&big, &blob, part, b"")
            .await
            .expect_err("no such chunk");
        assert_eq!(error.kind(), Kind::Invalid, "{part:?}");
    }
}

#[tokio::test]
async fn what_nobody_needs_goes_and_what_is_in_use_stays() {
    let dir = tempfile::tempdir().expect("a directory");
    let blobs = blobs(dir.path(), 1 << 20);
    let sent = |text: &'static str| [("a", text, false)];
    let mut paths = Vec::new();
    for text in ["old", "used", "new"] {
        let entries = sent(text);
        let done = send(&blobs, &address(&entries), (0, 1), &archive(&entries)).await;
        assert_eq!(done.expect("taken"), Progress::Complete);
        paths.push(
            dir.path()
                .join("ann/file_mounts/blobs")
                .join(address(&entries).as_str()),
        );
    }
    send(&blobs, &address(&[]), (0, 2), b"half")
        .await
        .expect("taken");
    let long_ago = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1);
    let uploads = dir.path().join("ann/file_mounts/uploads");
    let half = std::fs::read_dir(&uploads)
        .expect("ours")
        .flatten()
        .next()
        .expect("one")
        .path();
    for path in [&paths[0], &paths[1], &half] {
        std::fs::File::open(path)
            .and_then(|f| f.set_modified(long_ago))
            .expect("it is ours");
    }
    let in_use = BTreeSet::from([address(&sent("used"))]);
    let due = blobs.collect(&in_use);
    assert!(due.is_some(), "the others will be due");
    assert!(!paths[0].exists() && paths[1].exists() && paths[2].exists() && !half.exists());
}
