//! The store under its promises: isolation of closures, order of hooks, crashes, full disks, damage, locks.

use std::sync::{Arc, Mutex};

use super::testing::{Disk, Survivors};
use super::*;
use crate::base::{Error, Kind, Result};

const A: Table<Raw> = Table::new("a");
const B: Table<Raw> = Table::new("b");

fn raw(text: &str) -> Raw {
    Raw(text.as_bytes().to_vec())
}

fn refusal() -> Error {
    Error::new(Kind::Conflict, "no")
}

#[tokio::test]
async fn a_failing_closure_takes_back_its_own_changes_only() {
    let db = Disk::default().open().expect("it opens");
    db.write(|tx| tx.put(&A, b"kept", &raw("1")))
        .await
        .expect("it writes");
    let good = db.write(|tx| tx.put(&A, b"good", &raw("2")));
    let bad = db.write(|tx| {
        tx.put(&A, b"kept", &raw("overwritten"))?;
        tx.put(&A, b"kept", &raw("twice"))?;
        tx.delete(&A, b"good")?;
        tx.put(&B, b"new", &raw("3"))?;
        Err::<(), _>(refusal())
    });
    let panics = db.write(|tx| {
        tx.put(&B, b"half", &raw("4"))?;
        panic!("boom");
        #[expect(unreachable_code, reason = "gives the closure its type")]
        Ok(())
    });
    let last = db.write(|tx| tx.put(&B, b"last", &raw("5")));
    let (good, bad, panics, last) = tokio::join!(good, bad, panics, last);
    good.expect("it writes");
    assert_eq!(bad.expect_err("it fails").kind(), Kind::Conflict);
    assert_eq!(panics.expect_err("it fails").kind(), Kind::Internal);
    last.expect("it writes");
    db.read(|tx| {
        assert_eq!(tx.get(&A, b"kept")?, Some(raw("1")));
        assert_eq!(tx.get(&A, b"good")?, Some(raw("2")));
        assert_eq!(tx.range(&B, &Span::all())?, [(b"last".to_vec(), raw("5"))]);
        Ok(())
    })
    .await
    .expect("it reads");
}

#[tokio::test]
async fn hooks_run_in_commit_order_and_only_after_a_commit() {
    let db = Disk::default().open().expect("it opens");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let write = |n: u32, fails: bool| {
        let seen = Arc::clone(&seen);
        db.write(move |tx| {
            tx.put(&A, &n.to_be_bytes(), &raw("x"))?;
            tx.on_commit(move || seen.lock().expect("a lock").push(n));
            if fails { Err(refusal()) } else { Ok(()) }
        })
    };
    let (a, b, c) = tokio::join!(write(1, false), write(2, true), write(3, false));
    assert!(a.is_ok() && b.is_err() && c.is_ok());
    assert_eq!(*seen.lock().expect("a lock"), [1, 3]);
}

#[tokio::test]
async fn walks_go_both_ways_and_stop() {
    let db = Disk::default().open().expect("it opens");
    db.write(|tx| {
        for key in ["a1", "a2", "a3", "b1"] {
            tx.put(&A, key.as_bytes(), &raw(key))?;
        }
        Ok(())
    })
    .await
    .expect("it writes");
    db.read(|tx| {
        let mut found = Vec::new();
        tx.walk(&A, &Span::prefix(*b"a"), Walk::Down, |_, Raw(value)| {
            found.push(value);
            Ok(if found.len() == 2 {
                std::ops::ControlFlow::Break(())
            } else {
                std::ops::ControlFlow::Continue(())
            })
        })?;
        assert_eq!(found, [b"a3", b"a2"]);
        Ok(())
    })
    .await
    .expect("it reads");
}

/// Writes pairs until the power goes; returns the number of the last one that was acknowledged.
async fn write_pairs(db: &Db) -> Option<u32> {
    let mut acknowledged = None;
    for n in 0_u32..12 {
        // Large enough to touch several pages, so that torn transactions would show.
        let text = format!("{n}").repeat(700);
        let written = db
            .write(move |tx| {
                tx.put(&A, &n.to_be_bytes(), &raw(&text))?;
                tx.put(&B, &n.to_be_bytes(), &raw(&text))
            })
            .await;
        if written.is_err() {
            return acknowledged;
        }
        acknowledged = Some(n);
    }
    acknowledged
}

#[tokio::test]
async fn no_acknowledged_commit_is_lost_wherever_the_power_goes() {
    for cut in 1.. {
        let disk = Disk::default();
        let db = disk.open().expect("it opens");
        disk.cut_after(cut);
        let acknowledged = write_pairs(&db).await;
        let survived = !disk.is_dead();
        drop(db);
        for survivors in [
            Survivors::None,
            Survivors::All,
            Survivors::Some(cut),
            Survivors::Some(cut.wrapping_mul(7919)),
        ] {
            let next = disk.after_power_loss(survivors).open();
            let db = next.unwrap_or_else(|e| panic!("cut {cut} {survivors:?}: {}", e.one_line()));
            db.read(move |tx| {
                let a = tx.range(&A, &Span::all())?;
                let b = tx.range(&B, &Span::all())?;
                assert_eq!(a, b, "cut {cut} {survivors:?}: half a transaction");
                let count = acknowledged.map_or(0, |n| n as usize + 1);
                assert!(
                    a.len() >= count,
                    "cut {cut} {survivors:?}: {} of {count}",
                    a.len()
                );
                Ok(())
            })
            .await
            .expect("it reads");
            db.write(|tx| tx.put(&A, b"goes on", &raw("x")))
                .await
                .expect("it goes on");
        }
        if survived {
            assert!(cut > 50, "the workload is too small to mean anything");
            return;
        }
    }
}

#[tokio::test]
async fn a_full_disk_is_refused_with_the_reason_and_recovers_by_itself() {
    let disk = Disk::default();
    let db = disk.open().expect("it opens");
    db.write(|tx| tx.put(&A, b"before", &raw("1")))
        .await
        .expect("it writes");
    disk.limit(Some(disk.used()));
    let big = "x".repeat(4 << 20);
    for _ in 0..3 {
        let big = big.clone();
        let error = db
            .write(move |tx| tx.put(&A, b"big", &raw(&big)))
            .await
            .expect_err("the disk is full");
        assert_eq!(error.kind(), Kind::StorageFull, "{}", error.one_line());
        assert!(!error.hints().is_empty());
        let before = db.read(|tx| tx.get(&A, b"before")).await;
        assert_eq!(before.expect("reads go on"), Some(raw("1")));
    }
    disk.limit(None);
    db.write(move |tx| tx.put(&A, b"big", &raw(&big)))
        .await
        .expect("there is space again");
    let before = db.read(|tx| tx.get(&A, b"before")).await.expect("it reads");
    assert_eq!(before, Some(raw("1")));
}

#[tokio::test]
async fn a_lost_soon_write_loses_no_sure_one() {
    let disk = Disk::default();
    let db = disk.open().expect("it opens");
    db.write(|tx| tx.put(&A, b"sure", &raw("1")))
        .await
        .expect("it writes");
    db.write_soon(|tx| tx.put(&A, b"soon", &raw("2")))
        .await
        .expect("it writes");
    let seen = db.read(|tx| tx.get(&A, b"soon")).await.expect("it reads");
    assert_eq!(seen, Some(raw("2")), "everybody in this process sees it");
    let next = disk
        .after_power_loss(Survivors::All)
        .open()
        .expect("it opens");
    let (sure, soon) = next
        .read(|tx| Ok((tx.get(&A, b"sure")?, tx.get(&A, b"soon")?)))
        .await
        .expect("it reads");
    assert_eq!((sure, soon), (Some(raw("1")), None));
    db.write(|tx| tx.put(&B, b"sure too", &raw("3")))
        .await
        .expect("it writes");
    let next = disk
        .after_power_loss(Survivors::None)
        .open()
        .expect("it opens");
    let soon = next.read(|tx| tx.get(&A, b"soon")).await.expect("it reads");
    assert_eq!(soon, Some(raw("2")), "a later sure write carries it");
}

#[tokio::test]
async fn a_newer_store_that_a_crash_left_is_refused_without_a_repair() {
    const TWO: Options = Options {
        cache_bytes: 1 << 20,
        migrations: &[upper_case],
    };
    let dir = tempfile::tempdir().expect("a directory");
    let (live, crashed) = (
        dir.path().join("live.redb"),
        dir.path().join("crashed.redb"),
    );
    let db = Db::open(&live, TWO).expect("it opens");
    db.write(|tx| tx.put(&A, b"k", &raw("abc")))
        .await
        .expect("it writes");
    // The file as `kill -9` would leave it: marked as in use.
    let bytes = std::fs::read(&live).expect("it reads");
    std::fs::write(&crashed, &bytes).expect("it writes");
    let error = refused(Db::open(&crashed, Options::default()));
    assert_eq!(error.kind(), Kind::VersionMismatch, "{}", error.one_line());
    assert!(
        std::fs::read(&crashed).expect("it reads") == bytes,
        "a store that is refused is left as it is"
    );
    let db = Db::open(&crashed, TWO).expect("the newer program opens it");
    let value = db.read(|tx| tx.get(&A, b"k")).await.expect("it reads");
    assert_eq!(value, Some(raw("abc")));
}

/// The result of opening must be this error.
fn refused(opened: Result<Db>) -> Error {
    match opened {
        Ok(_) => panic!("it opened"),
        Err(error) => error,
    }
}

#[test]
fn a_held_store_names_its_holder() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("store.redb");
    let db = Db::open(&path, Options::default()).expect("it opens");
    db.announce(&["unix:/run/x.sock".to_owned()])
        .expect("it announces");
    let error = refused(Db::open(&path, Options::default()));
    assert_eq!(error.kind(), Kind::Conflict);
    assert!(error.message().contains("another server uses"), "{error}");
    assert!(
        error.message().contains(&std::process::id().to_string()),
        "{error}"
    );
    assert!(error.message().contains("unix:/run/x.sock"), "{error}");
    drop(db);
    Db::open(&path, Options::default()).expect("it is free again");
}

#[test]
fn a_damaged_store_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("store.redb");
    drop(Db::open(&path, Options::default()).expect("it opens"));
    let whole = std::fs::read(&path).expect("it reads");
    let mut scrambled = whole.clone();
    for byte in scrambled.iter_mut().skip(64).step_by(3) {
        *byte ^= 0x5a;
    }
    for bytes in [
        Vec::new(),
        b"not a store at all".to_vec(),
        whole[..whole.len() / 2].to_vec(),
        vec![0; whole.len()],
        scrambled,
    ] {
        std::fs::write(&path, &bytes).expect("it writes");
        let error = refused(Db::open(&path, Options::default()));
        assert!(
            error.message().contains("is damaged"),
            "{}",
            error.one_line()
        );
        assert!(error.hints().iter().any(|hint| hint.contains(".damaged")));
        assert_eq!(
            std::fs::read(&path).expect("it reads"),
            bytes,
            "it was touched"
        );
    }
    std::fs::write(&path, &whole).expect("it writes");
    Db::open(&path, Options::default()).expect("the copy that was put back opens");
}

fn upper_case(tx: &mut WriteTx<'_>) -> Result<()> {
    for (key, Raw(value)) in tx.range(&A, &Span::all())? {
        tx.put(&A, &key, &Raw(value.to_ascii_uppercase()))?;
    }
    Ok(())
}

fn fails(_tx: &mut WriteTx<'_>) -> Result<()> {
    Err(refusal())
}

#[tokio::test]
async fn layouts_are_migrated_in_one_go_and_newer_ones_refused() {
    const TWO: Options = Options {
        cache_bytes: 1 << 20,
        migrations: &[upper_case],
    };
    const BROKEN: Options = Options {
        cache_bytes: 1 << 20,
        migrations: &[upper_case, fails],
    };
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("store.redb");
    let db = Db::open(&path, Options::default()).expect("it opens");
    db.write(|tx| tx.put(&A, b"k", &raw("abc")))
        .await
        .expect("it writes");
    drop(db);
    refused(Db::open(&path, BROKEN));
    let db = Db::open(&path, Options::default()).expect("a failed migration changed nothing");
    let value = db.read(|tx| tx.get(&A, b"k")).await.expect("it reads");
    assert_eq!(value, Some(raw("abc")));
    drop(db);
    let db = Db::open(&path, TWO).expect("it migrates");
    let value = db.read(|tx| tx.get(&A, b"k")).await.expect("it reads");
    assert_eq!(value, Some(raw("ABC")));
    drop(db);
    assert!(
        dir.path().join("store.redb.layout1").exists(),
        "a copy was made"
    );
    let before = std::fs::read(&path).expect("it reads");
    let error = refused(Db::open(&path, Options::default()));
    assert_eq!(error.kind(), Kind::VersionMismatch);
    assert!(error.one_line().contains("newer sky"), "{error}");
    let after = std::fs::read(&path).expect("it reads");
    assert!(before == after, "a store that is refused is left as it is");
}
