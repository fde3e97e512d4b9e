//! Both sides of the conversation in one process, with lists and streams made by hand.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::compare::LARGE;
use super::{Desk, compare, receive};
use crate::api::manifest::{Body, Entry, Lacking, Manifest, Need, Record, Root, write_piece};
use crate::base::{Kind, Result};

/// A node and a destination on it.
struct Node {
    dir: tempfile::TempDir,
    desk: Desk,
}

impl Node {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(dir.path().join("home")).expect("made");
        let desk = Desk::new(dir.path().join("files"));
        Self { dir, desk }
    }

    fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    fn dest(&self) -> PathBuf {
        self.home().join("work")
    }

    async fn compare(&self, manifest: &Manifest, before: Option<&Manifest>) -> Result<Lacking> {
        let turn = self.desk.turn(&self.dest()).await.expect("a turn");
        compare(&turn, &self.home(), &self.dest(), manifest, before)
    }

    async fn receive(&self, manifest: &Manifest, stream: &[u8]) -> Result<()> {
        let turn = self.desk.turn(&self.dest()).await.expect("a turn");
        receive(stream, &turn, &self.home(), &self.dest(), manifest).map(drop)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.dest().join(name)).expect("it is there")
    }
}

fn file(path: &str, size: usize, mtime: i64) -> Entry {
    Entry {
        path: path.into(),
        mode: 0o644,
        body: Body::File {
            size: size as u64,
            mtime,
            fresh: false,
        },
    }
}

fn directory(path: &str, mode: u32) -> Entry {
    Entry {
        path: path.into(),
        mode,
        body: Body::Directory,
    }
}

fn link(path: &str, target: &str) -> Entry {
    Entry {
        path: path.into(),
        mode: 0o777,
        body: Body::Link {
            target: target.into(),
        },
    }
}

fn tree(entries: Vec<Entry>) -> Manifest {
    Manifest {
        root: Root::Directory,
        entries,
    }
}

/// A stream of whole files.
fn content(files: &[(usize, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (index, bytes) in files {
        Record::File(*index, 0).write(&mut out).expect("memory");
        for piece in bytes.chunks(100_000) {
            write_piece(&mut out, piece).expect("memory");
        }
        write_piece(&mut out, &[]).expect("memory");
    }
    Record::End.write(&mut out).expect("memory");
    out
}

fn lacks(lacking: &Lacking) -> Vec<usize> {
    lacking.files.iter().map(|(index, _)| *index).collect()
}

#[tokio::test]
async fn what_is_lacking_arrives_and_then_nothing_is() {
    let node = Node::new();
    let manifest = tree(vec![
        file("a", 5, 1_700_000_000_123_456_789),
        directory("d", 0o755),
        file("d/b", 0, 5),
        directory("locked", 0o555),
        file("locked/c", 1, 7),
        link("to", "d/b"),
    ]);
    let lacking = node.compare(&manifest, None).await.expect("compared");
    assert_eq!(lacks(&lacking), [0, 2, 4]);
    let stream = content(&[(0, b"hello"), (2, b""), (4, b"c")]);
    node.receive(&manifest, &stream).await.expect("received");
    assert_eq!(node.read("a"), "hello");
    let meta = node.dest().join("a").metadata().expect("it is there");
    assert_eq!(
        (meta.mtime(), meta.mtime_nsec(), meta.mode() & 0o777),
        (1_700_000_000, 123_456_789, 0o644)
    );
    let locked = node.dest().join("locked").metadata().expect("it is there");
    assert_eq!(locked.permissions().mode() & 0o777, 0o555);
    assert_eq!(
        std::fs::read_link(node.dest().join("to")).expect("a link"),
        Path::new("d/b")
    );
    let lacking = node.compare(&manifest, None).await.expect("compared");
    assert_eq!(lacking, Lacking::default());
}

#[tokio::test]
async fn size_time_and_hash_decide_and_other_files_stay() {
    let node = Node::new();
    let manifest = tree(vec![file("a", 3, 1000), file("b", 3, 1000)]);
    node.compare(&manifest, None).await.expect("compared");
    let stream = content(&[(0, b"one"), (1, b"two")]);
    node.receive(&manifest, &stream).await.expect("received");
    std::fs::write(node.dest().join("of-a-job"), "kept").expect("written");

    // Another time, the same size: the content decides.
    let later = tree(vec![file("a", 3, 2000), file("b", 3, 1000)]);
    let lacking = node.compare(&later, None).await.expect("compared");
    let hash: [u8; 32] = Sha256::digest("one").into();
    assert_eq!(lacking.files, [(0, Need::Doubt(hash))]);
    let mut same = Vec::new();
    Record::Same(0).write(&mut same).expect("memory");
    Record::End.write(&mut same).expect("memory");
    node.receive(&later, &same).await.expect("received");
    let lacking = node.compare(&later, None).await.expect("compared");
    assert_eq!(lacking, Lacking::default());

    // The same size and time, but it was listed so near to its change that there may have been another one.
    let mut doubtful = later.clone();
    if let Body::File { fresh, .. } = &mut doubtful.entries[1].body {
        *fresh = true;
    }
    let lacking = node
        .compare(&later, Some(&doubtful))
        .await
        .expect("compared");
    assert_eq!(lacks(&lacking), [1]);
    // What a job made of a file of the user's is not kept.
    std::fs::write(node.dest().join("b"), "longer").expect("written");
    let lacking = node.compare(&later, None).await.expect("compared");
    assert_eq!(lacking.files, [(1, Need::Whole)]);
    assert_eq!(node.read("of-a-job"), "kept");
}

#[tokio::test]
async fn a_large_file_goes_on_where_it_broke_off() {
    let node = Node::new();
    let size = usize::try_from(LARGE).expect("small") + 12_345;
    let bytes: Vec<u8> = (0..=250).cycle().step_by(7).take(size).collect();
    let manifest = tree(vec![file("big", size, 9)]);
    node.compare(&manifest, None).await.expect("compared");
    let stream = content(&[(0, &bytes)]);
    let cut = &stream[..stream.len() / 2];
    let error = node.receive(&manifest, cut).await.expect_err("it is cut");
    assert_eq!(error.kind(), Kind::Unreachable);
    assert!(!node.dest().join("big").exists(), "whole or not at all");
    let lacking = node.compare(&manifest, None).await.expect("compared");
    let [(0, Need::Rest { have, hash })] = lacking.files[..] else {
        panic!("{lacking:?}");
    };
    let at = usize::try_from(have).expect("small");
    assert!(at > size / 3 && at < size, "{at}");
    assert_eq!(hash, <[u8; 32]>::from(Sha256::digest(&bytes[..at])));
    let mut rest = Vec::new();
    Record::File(0, have).write(&mut rest).expect("memory");
    for piece in bytes[at..].chunks(100_000) {
        write_piece(&mut rest, piece).expect("memory");
    }
    write_piece(&mut rest, &[]).expect("memory");
    Record::End.write(&mut rest).expect("memory");
    node.receive(&manifest, &rest).await.expect("received");
    assert!(std::fs::read(node.dest().join("big")).expect("it is there") == bytes);
    // Of a version that nobody wants any more nothing stays.
    let other = tree(vec![file("big", size, 10)]);
    let lacking = node.compare(&other, None).await.expect("compared");
    assert!(matches!(lacking.files[..], [(0, Need::Doubt(_))]));
    let parts: Vec<_> = walk(&node.dir.path().join("files"));
    assert_eq!(parts, Vec::<PathBuf>::new());
}

/// All files below a directory.
fn walk(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).expect("a directory").flatten();
    let below = |path: PathBuf| {
        if path.is_dir() {
            walk(&path)
        } else {
            vec![path]
        }
    };
    entries.flat_map(|entry| below(entry.path())).collect()
}

#[tokio::test]
async fn nothing_is_written_through_links() {
    let node = Node::new();
    let outside = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(node.dest()).expect("made");
    symlink(outside.path(), node.dest().join("d")).expect("made");
    symlink(outside.path().join("f"), node.dest().join("f")).expect("made");
    let manifest = tree(vec![
        directory("d", 0o755),
        file("d/x", 1, 1),
        file("f", 1, 1),
    ]);
    let lacking = node.compare(&manifest, None).await.expect("compared");
    assert_eq!(lacks(&lacking), [1, 2]);
    let stream = content(&[(1, b"x"), (2, b"f")]);
    node.receive(&manifest, &stream).await.expect("received");
    assert!(
        node.dest()
            .join("d")
            .symlink_metadata()
            .expect("it is there")
            .is_dir()
    );
    assert_eq!(
        std::fs::read_dir(outside.path())
            .expect("a directory")
            .count(),
        0
    );
    // A destination that leads out is refused as a whole.
    let turned = Node::new();
    symlink(outside.path(), turned.dest()).expect("made");
    turned
        .compare(&manifest, None)
        .await
        .expect_err("it leads out");
}

#[tokio::test]
async fn a_directory_with_something_in_it_does_not_give_way() {
    let node = Node::new();
    std::fs::create_dir_all(node.dest().join("a/full")).expect("made");
    let manifest = tree(vec![file("a", 1, 1)]);
    let error = node.compare(&manifest, None).await.expect_err("in the way");
    assert_eq!(error.kind(), Kind::Conflict);
    assert!(
        error.hints()[0].starts_with("remove it there: rm -r '"),
        "{error:?}"
    );
    std::fs::remove_dir(node.dest().join("a/full")).expect("removed");
    node.compare(&manifest, None)
        .await
        .expect("an empty one does");
    // The other way round, and for the whole.
    let manifest = tree(vec![directory("a", 0o700), file("a/b", 1, 1)]);
    node.compare(&manifest, None).await.expect("compared");
    node.receive(&manifest, &content(&[(1, b"b")]))
        .await
        .expect("received");
    let one = Manifest {
        root: Root::File,
        entries: vec![file("", 1, 1)],
    };
    let error = node.compare(&one, None).await.expect_err("in the way");
    assert_eq!(error.kind(), Kind::Conflict);
}

#[tokio::test]
async fn one_file_becomes_the_destination() {
    let node = Node::new();
    let one = Manifest {
        root: Root::File,
        entries: vec![file("", 3, 4000)],
    };
    assert_eq!(
        lacks(&node.compare(&one, None).await.expect("compared")),
        [0]
    );
    node.receive(&one, &content(&[(0, b"one")]))
        .await
        .expect("received");
    assert_eq!(
        std::fs::read_to_string(node.dest()).expect("it is there"),
        "one"
    );
    assert_eq!(
        node.compare(&one, None).await.expect("compared"),
        Lacking::default()
    );
}

#[tokio::test]
async fn what_has_no_room_is_refused_before_anything_is_sent() {
    let node = Node::new();
    let manifest = tree(vec![file("huge", usize::MAX >> 4, 1)]);
    let error = node.compare(&manifest, None).await.expect_err("no room");
    assert_eq!(error.kind(), Kind::StorageFull);
}

#[tokio::test]
async fn the_latest_caller_takes_over() {
    let node = Node::new();
    let first = node.desk.turn(&node.dest()).await.expect("a turn");
    let dest = node.dest();
    let second = node.desk.turn(&dest);
    tokio::pin!(second);
    tokio::select! {
        biased;
        _ = &mut second => panic!("the first one still works"),
        () = first.stop.cancelled() => {}
    }
    let list = tree(vec![file("a", 1, 1)]);
    let error = compare(&first, &node.home(), &node.dest(), &list, None).expect_err("too late");
    assert_eq!(error.kind(), Kind::Conflict);
    drop(first);
    second.await.expect("a turn");
}

#[tokio::test]
async fn a_list_is_remembered_until_it_is_damaged() {
    let node = Node::new();
    let list = tree(vec![file("a", 1, 1)]);
    let packed = zstd::encode_all(list.encode().as_slice(), 1).expect("packed");
    let digest = Sha256::digest(list.encode()).into();
    let turn = node.desk.turn(&node.dest()).await.expect("a turn");
    assert!(turn.remembered().is_none());
    turn.remember(&packed, &[0; 32])
        .expect_err("another digest");
    assert_eq!(turn.remember(&packed, &digest).expect("remembered"), list);
    assert_eq!(turn.remembered(), Some((digest, list)));
    let kept = walk(&node.dir.path().join("files"));
    std::fs::write(&kept[0], &packed[..packed.len() / 2]).expect("damaged");
    assert!(turn.remembered().is_none());
}
