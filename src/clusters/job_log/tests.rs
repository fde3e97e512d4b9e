use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::stream;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::api::frames::Outcome;
use crate::api::status::JobStatus;
use crate::http::window::WINDOW;

/// A job that is said to run.
const RUNNING: Outcome = Outcome::Job {
    status: Some(JobStatus::Running),
    job_id: Some(JobId(1)),
};
/// A job that has ended.
const DONE: Outcome = Outcome::Job {
    status: Some(JobStatus::Succeeded),
    job_id: Some(JobId(1)),
};

/// A log that the test writes.
#[derive(Default)]
struct Fake {
    /// The log.
    bytes: Mutex<Vec<u8>>,
    /// It is complete.
    ended: Mutex<bool>,
    /// What happens to the live stream next, or to the attempt to open one.
    faults: Mutex<VecDeque<Error>>,
    /// Something of these has changed.
    changed: Notify,
    /// Live streams made.
    made: AtomicUsize,
    /// Live streams that are open.
    open: AtomicUsize,
    /// Pieces that followers fetched by themselves.
    pieces: AtomicUsize,
}

impl Fake {
    /// Appends.
    fn write(&self, bytes: &[u8]) {
        self.bytes.lock().expect("whole").extend_from_slice(bytes);
        self.changed.notify_waiters();
    }

    /// Completes the log.
    fn end(&self) {
        *self.ended.lock().expect("whole") = true;
        self.changed.notify_waiters();
    }

    /// Breaks the live stream.
    fn fail(&self, kind: Kind) {
        let mut faults = self.faults.lock().expect("whole");
        faults.push_back(Error::new(kind, "as planned"));
        self.changed.notify_waiters();
    }

    /// What the next item of a live stream at `at` is.
    fn item(&self, at: u64) -> Option<Result<Frame>> {
        if let Some(error) = self.faults.lock().expect("whole").pop_front() {
            return Some(Err(error));
        }
        let bytes = self.bytes.lock().expect("whole");
        let rest = &bytes[usize::try_from(at).expect("small").min(bytes.len())..];
        if !rest.is_empty() {
            let bytes = Bytes::copy_from_slice(&rest[..rest.len().min(40_000)]);
            return Some(Ok(Frame::Data { offset: at, bytes }));
        }
        (*self.ended.lock().expect("whole")).then_some(Ok(Frame::End {
            offset: at,
            outcome: DONE,
        }))
    }

    /// The length of the log.
    fn length(&self) -> u64 {
        self.bytes.lock().expect("whole").len() as u64
    }
}

/// Counts a live stream that is open.
struct Open(Arc<Fake>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Origin for Arc<Fake> {
    fn piece(&self, offset: u64) -> BoxFuture<'_, Result<Piece>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            self.pieces.fetch_add(1, Ordering::SeqCst);
            let bytes = self.bytes.lock().expect("whole");
            let from = usize::try_from(offset).expect("small").min(bytes.len());
            let piece = &bytes[from..bytes.len().min(from + 700_000)];
            Ok(match (piece, *self.ended.lock().expect("whole")) {
                ([], true) => Piece::End(DONE),
                ([], false) => Piece::Quiet(RUNNING),
                (piece, _) => Piece::Bytes(Bytes::copy_from_slice(piece)),
            })
        })
    }

    fn tail_offset(&self, _lines: u64) -> BoxFuture<'_, Result<u64>> {
        Box::pin(std::future::ready(Ok(self.length())))
    }

    fn follow(&self, start: Start) -> BoxFuture<'_, Result<BoxStream<'static, Result<Frame>>>> {
        let at = match start {
            Start::At(at) => at,
            Start::Back(bytes) => self.length().saturating_sub(bytes),
            Start::Lines(_) => unreachable!("hubs ask for bytes"),
        };
        self.made.fetch_add(1, Ordering::SeqCst);
        self.open.fetch_add(1, Ordering::SeqCst);
        let state = (Open(Arc::clone(self)), at, false);
        let frames = stream::unfold(state, async |(open, at, over)| {
            if over {
                return None;
            }
            loop {
                let fake = Arc::clone(&open.0);
                let changed = fake.changed.notified();
                let mut changed = std::pin::pin!(changed);
                changed.as_mut().enable();
                match open.0.item(at) {
                    Some(Ok(Frame::Data { offset, bytes })) => {
                        let next = at + bytes.len() as u64;
                        return Some((Ok(Frame::Data { offset, bytes }), (open, next, false)));
                    }
                    Some(other) => return Some((other, (open, at, true))),
                    None => changed.await,
                }
            }
        });
        let frames: BoxStream<'static, _> = Box::pin(frames);
        Box::pin(std::future::ready(Ok(frames)))
    }
}

/// A log, its hub, and what they run on.
struct Set {
    fake: Arc<Fake>,
    hub: Arc<Hub>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Set {
    fn new() -> Self {
        let fake = Arc::<Fake>::default();
        let stop = CancellationToken::new();
        Self {
            hub: Arc::new(Hub::new(Box::new(Arc::clone(&fake)), &stop)),
            fake,
            tasks: TaskTracker::new(),
            stop,
        }
    }

    /// A follower that reads to the end from `offset`, yielding `rest` times after each piece.
    fn follow(&self, mut offset: u64, rest: usize) -> tokio::task::JoinHandle<Result<Vec<u8>>> {
        let mut log = JobLog::new(Arc::clone(&self.hub), self.tasks.clone());
        self.tasks.spawn(async move {
            let mut text = Vec::new();
            loop {
                match log.read(offset, true).await? {
                    Piece::Bytes(bytes) => {
                        assert!(bytes.len() <= MAX_PAYLOAD, "{} bytes", bytes.len());
                        offset += bytes.len() as u64;
                        text.extend_from_slice(&bytes);
                    }
                    Piece::End(outcome) => {
                        assert_eq!(outcome, DONE);
                        return Ok(text);
                    }
                    Piece::Quiet(_) => panic!("it was told to wait"),
                }
                for _ in 0..rest {
                    tokio::task::yield_now().await;
                }
            }
        })
    }

    /// Lets everything run that can.
    async fn settle() {
        for _ in 0..2000 {
            tokio::task::yield_now().await;
        }
    }

    /// All that was written.
    fn all(&self) -> Vec<u8> {
        self.fake.bytes.lock().expect("whole").clone()
    }
}

/// Numbered lines.
fn lines(from: usize, to: usize) -> Vec<u8> {
    (from..to)
        .flat_map(|n| format!("line {n} of this log\n").into_bytes())
        .collect()
}

#[tokio::test]
async fn followers_that_join_at_any_time_see_every_byte_once_over_one_stream() {
    let set = Set::new();
    set.fake.write(&lines(0, 100));
    let mut followers = vec![(0, set.follow(0, 0)), (7, set.follow(7, 0))];
    Set::settle().await;
    for round in 1..20 {
        set.fake.write(&lines(round * 100, round * 100 + 100));
        let length = set.fake.length();
        for from in [0, length / 2, length, length + 50] {
            let rest = round % 3;
            followers.push((from, set.follow(from, rest)));
        }
        Set::settle().await;
    }
    // The last ones began beyond the end of then: the log goes on behind them.
    set.fake.write(&lines(2000, 2100));
    set.fake.end();
    let all = set.all();
    for (from, follower) in followers {
        let text = follower.await.expect("no panic").expect("it reads");
        assert_eq!(text, all[usize::try_from(from).expect("small")..]);
    }
    assert_eq!(set.fake.made.load(Ordering::SeqCst), 1);
    let pieces = set.fake.pieces.load(Ordering::SeqCst);
    assert!(pieces <= 4, "only the first two ask themselves: {pieces}");
}

#[tokio::test]
async fn slow_and_stopped_followers_hold_up_nobody_and_miss_nothing() {
    let set = Set::new();
    set.fake.write(&lines(0, 10));
    let quick = set.follow(0, 0);
    let slow = set.follow(0, 500);
    // One that stops after its first piece, far longer than the window lasts.
    let mut stopped = JobLog::new(Arc::clone(&set.hub), set.tasks.clone());
    let Piece::Bytes(first) = stopped.read(0, true).await.expect("it reads") else {
        panic!("there is something");
    };
    Set::settle().await;
    for round in 1..40 {
        set.fake.write(&lines(round * 1000, round * 1000 + 1000));
        for _ in 0..40 {
            tokio::task::yield_now().await;
        }
    }
    assert!(set.fake.length() > 3 * WINDOW);
    Set::settle().await;
    let more = stopped
        .read(first.len() as u64, true)
        .await
        .expect("it reads");
    let Piece::Bytes(more) = more else {
        panic!("there is more");
    };
    let all = set.all();
    assert_eq!(&more[..], &all[first.len()..first.len() + more.len()]);
    set.fake.end();
    assert_eq!(quick.await.expect("no panic").expect("it reads"), all);
    assert_eq!(slow.await.expect("no panic").expect("it reads"), all);
}

#[tokio::test]
async fn the_stream_is_read_only_while_somebody_waits_and_closed_with_the_last() {
    let set = Set::new();
    set.fake.write(b"a\n");
    let mut log = JobLog::new(Arc::clone(&set.hub), set.tasks.clone());
    assert_eq!(
        log.read(0, true).await.expect("it reads"),
        Piece::Bytes(Bytes::from_static(b"a\n"))
    );
    assert_eq!(set.fake.made.load(Ordering::SeqCst), 0, "nobody waits yet");
    // A read that is dropped while it waits loses nothing.
    drop(tokio::time::timeout(Duration::from_millis(20), log.read(2, true)).await);
    assert_eq!(set.fake.open.load(Ordering::SeqCst), 1);
    for n in 0..50 {
        set.fake.write(&lines(n * 1000, n * 1000 + 1000));
        Set::settle().await;
    }
    let Piece::Bytes(bytes) = log.read(2, true).await.expect("it reads") else {
        panic!("there is more");
    };
    assert_eq!(&bytes[..], &set.all()[2..2 + bytes.len()]);
    let pieces = set.fake.pieces.load(Ordering::SeqCst);
    assert_eq!(
        pieces, 2,
        "what the reader did not read ahead is in its window"
    );
    drop(log);
    drop(set.hub);
    set.tasks.close();
    set.tasks.wait().await;
    assert_eq!(set.fake.open.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_broken_stream_is_made_anew_at_the_byte() {
    let set = Set::new();
    let followers: Vec<_> = (0..5).map(|_| set.follow(0, 0)).collect();
    for round in 0..10 {
        set.fake.write(&lines(round * 100, round * 100 + 100));
        Set::settle().await;
        set.fake.fail(Kind::Unreachable);
        Set::settle().await;
    }
    set.fake.write(b"the last line");
    set.fake.end();
    for follower in followers {
        assert_eq!(
            follower.await.expect("no panic").expect("it reads"),
            set.all()
        );
    }
    assert_eq!(set.fake.made.load(Ordering::SeqCst), 11);
}

#[tokio::test]
async fn what_cannot_be_cured_reaches_all_followers_and_the_next_one_begins_anew() {
    let set = Set::new();
    set.fake.write(b"a\n");
    let followers: Vec<_> = (0..5).map(|_| set.follow(0, 0)).collect();
    Set::settle().await;
    assert!(set.hub.is_open());
    set.fake.fail(Kind::ClusterNotUp);
    for follower in followers {
        let error = follower.await.expect("no panic").expect_err("it failed");
        assert_eq!(error.kind(), Kind::ClusterNotUp);
    }
    assert!(!set.hub.is_open(), "the next follower gets a new hub");
    // A node that breaks off twice in a row is given up, too.
    let set = Set::new();
    let follower = set.follow(0, 0);
    Set::settle().await;
    set.fake.fail(Kind::Unreachable);
    set.fake.fail(Kind::Unreachable);
    let error = follower.await.expect("no panic").expect_err("it failed");
    assert_eq!(error.kind(), Kind::Unreachable);
}

#[tokio::test]
async fn without_waiting_the_answer_is_how_the_job_stands() {
    let set = Set::new();
    set.fake.write(b"a\n");
    let follower = set.follow(0, 0);
    Set::settle().await;
    let mut log = JobLog::new(Arc::clone(&set.hub), set.tasks.clone());
    let first = log.read(0, false).await.expect("it reads");
    assert_eq!(first, Piece::Bytes(Bytes::from_static(b"a\n")));
    for offset in [2, 99] {
        let quiet = log.read(offset, false).await.expect("it reads");
        assert_eq!(quiet, Piece::Quiet(RUNNING));
    }
    set.fake.end();
    follower.await.expect("no panic").expect("it reads");
    for (offset, wait) in [(2, false), (2, true), (99, true)] {
        let end = log.read(offset, wait).await.expect("it reads");
        assert_eq!(end, Piece::End(DONE));
    }
}

#[tokio::test]
async fn a_server_that_stops_asks_followers_to_come_back() {
    let set = Set::new();
    set.fake.write(b"a\n");
    let mut log = JobLog::new(Arc::clone(&set.hub), set.tasks.clone());
    drop(tokio::time::timeout(Duration::from_millis(20), log.read(2, true)).await);
    set.stop.cancel();
    let end = log.read(2, true).await.expect("it reads");
    assert!(
        matches!(&end, Piece::End(Outcome::Interrupted { .. })),
        "{end:?}"
    );
}

#[test]
fn only_logs_below_the_home_are_read_by_path() {
    let home = Path::new("/n/home");
    let path = |dir| LogFile::of(home, dir).map(|file| file.path);
    assert_eq!(
        path("~/sky_logs/1-a b"),
        Some("/n/home/sky_logs/1-a b/run.log".into())
    );
    for dir in ["/etc", "~/../x", "sky_logs/1", "~/a/../../b", "~//etc"] {
        assert_eq!(path(dir), None, "{dir}");
    }
}

#[tokio::test]
async fn a_link_in_the_place_of_a_log_is_not_followed() {
    let home = tempfile::tempdir().expect("a directory");
    let dir = home.path().join("sky_logs/1-x");
    std::fs::create_dir_all(&dir).expect("made");
    std::fs::write(home.path().join("secret"), "s").expect("written");
    std::os::unix::fs::symlink(home.path().join("secret"), dir.join("run.log")).expect("linked");
    let file = LogFile::of(home.path(), "~/sky_logs/1-x").expect("a path");
    assert_eq!(file.read(0).await, None);
    std::fs::remove_file(dir.join("run.log")).expect("removed");
    std::fs::write(dir.join("run.log"), "one\ntwo\n").expect("written");
    assert_eq!(file.read(4).await.as_deref(), Some(&b"two\n"[..]));
    assert_eq!(file.tail_offset(1).await, Some(4));
    assert_eq!(file.read(8).await, None);
}
