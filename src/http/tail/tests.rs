use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::*;

/// A log in a directory of its own, with a writer and an owner.
struct Log {
    _home: tempfile::TempDir,
    path: PathBuf,
    finished: Arc<AtomicBool>,
    tails: Tails,
}

impl Log {
    fn new() -> Self {
        let home = tempfile::tempdir().expect("a directory");
        Self {
            path: home.path().join("run.log"),
            _home: home,
            finished: Arc::default(),
            tails: Tails::start().expect("inotify"),
        }
    }

    fn append(&self, text: &str) {
        let mut file = crate::sys::fs::open_append(&self.path).expect("writable");
        file.write_all(text.as_bytes()).expect("written");
    }

    fn finish(&self) {
        self.finished.store(true, Ordering::SeqCst);
        self.tails.poke(&self.path);
    }

    fn follow(&self) -> FileTail {
        let finished = Arc::clone(&self.finished);
        let standing = move || {
            if finished.load(Ordering::SeqCst) {
                Standing::Finished(Outcome::File)
            } else {
                Standing::Open(Outcome::File)
            }
        };
        self.tails.follow(&self.path, Arc::new(standing))
    }
}

async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), work)
        .await
        .expect("it happens soon")
}

async fn all(source: &mut dyn Source) -> String {
    let mut text = Vec::new();
    while let Piece::Bytes(bytes) = soon(source.read(text.len() as u64, true))
        .await
        .expect("readable")
    {
        text.extend_from_slice(&bytes);
    }
    String::from_utf8(text).expect("text")
}

#[tokio::test]
async fn a_follower_sees_growth_and_end() {
    let log = Log::new();
    log.append("one\n");
    let mut tail = log.follow();
    let first = soon(tail.read(0, true)).await.expect("readable");
    assert_eq!(first, Piece::Bytes(Bytes::from_static(b"one\n")));
    let quiet = soon(tail.read(4, false)).await.expect("readable");
    assert_eq!(quiet, Piece::Quiet(Outcome::File));
    let (next, ()) = tokio::join!(soon(tail.read(4, true)), async { log.append("two\n") });
    assert_eq!(
        next.expect("readable"),
        Piece::Bytes(Bytes::from_static(b"two\n"))
    );
    let (end, ()) = tokio::join!(soon(tail.read(8, true)), async { log.finish() });
    assert_eq!(end.expect("readable"), Piece::End(Outcome::File));
}

#[tokio::test]
async fn a_file_that_does_not_exist_yet_is_followed() {
    let log = Log::new();
    let mut tail = log.follow();
    assert_eq!(soon(tail.tail_offset(5)).await.expect("none"), 0);
    let (text, ()) = tokio::join!(all(&mut tail), async {
        log.append("made\n");
        log.tails.poke(&log.path);
        tokio::task::yield_now().await;
        log.append("more\n");
        log.finish();
    });
    assert_eq!(text, "made\nmore\n");
}

#[tokio::test]
async fn many_followers_share_one_watch_and_its_end() {
    let log = Log::new();
    log.append("start\n");
    let mut followers: Vec<_> = (0..500).map(|_| log.follow()).collect();
    let reads = followers.iter_mut().map(|tail| all(tail));
    let (texts, ()) = tokio::join!(futures_util::future::join_all(reads), async {
        for n in 0..50 {
            log.append(&format!("line {n}\n"));
            tokio::task::yield_now().await;
        }
        log.finish();
    });
    let whole = std::fs::read_to_string(&log.path).expect("there");
    assert!(texts.iter().all(|text| *text == whole));
    assert_eq!(lock(&log.tails.hub.files).by_watch.len(), 1);
    drop(followers);
    let files = lock(&log.tails.hub.files);
    assert!(
        files.by_watch.is_empty() && files.by_path.is_empty(),
        "the watch is gone"
    );
}
