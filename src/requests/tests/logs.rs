//! Logs: cursors, tails, restarts, crowds.

use std::fmt::Write as _;
use std::time::Duration;

use super::*;
use crate::api::frames::Outcome;
use crate::api::status::RequestStatus;
use crate::base::clock::Moment;
use crate::http::stream::{Piece, Source};

/// Reads from `offset` to the end; returns the bytes and the outcome.
async fn read_all(log: &mut RequestLog, mut offset: u64) -> (Vec<u8>, Outcome) {
    let mut text = Vec::new();
    loop {
        match log.read(offset, true).await.expect("it reads") {
            Piece::Bytes(bytes) => {
                offset += bytes.len() as u64;
                text.extend_from_slice(&bytes);
            }
            Piece::End(outcome) => return (text, outcome),
            Piece::Quiet(_) => panic!("it was told to wait"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_cursor_sees_every_byte_once_while_the_log_grows() {
    const LINES: usize = 6000;
    let dir = tempfile::tempdir().expect("a directory");
    let go = Signal::new();
    let wait = go.clone();
    let fake = Fake::new(move |cx, _| {
        let wait = wait.clone();
        async move {
            wait.wait().await;
            // More than the tail in memory holds, so that slow followers need the file.
            for n in 0..LINES {
                cx.line(format!("{n} {}", "x".repeat(n % 200)));
                if n % 64 == 0 {
                    tokio::task::yield_now().await;
                }
            }
            Ok(Verdict::Done(Value::Null))
        }
    });
    let requests = start(dir.path(), fake, Options::default()).await;
    let id = submit(&requests, long("launch")).await;
    let mut expected = String::new();
    for n in 0..LINES {
        writeln!(expected, "{n} {}", "x".repeat(n % 200)).expect("it writes");
    }
    let mut readers = tokio::task::JoinSet::new();
    for from in [0_usize, 1, 7, 1000] {
        let requests = requests.clone();
        readers.spawn(async move {
            let mut log = requests.log(id).await.expect("a log");
            (from, read_all(&mut log, from as u64).await)
        });
    }
    go.fire();
    while let Some(read) = readers.join_next().await {
        let (from, (text, outcome)) = read.expect("it ends");
        assert!(
            text == expected.as_bytes()[from..],
            "the cursor from {from} differs"
        );
        assert_eq!(
            outcome,
            Outcome::Request {
                status: RequestStatus::Succeeded
            }
        );
    }
    let mut log = requests.log(id).await.expect("a log");
    let (text, _) = read_all(&mut log, 0).await;
    assert!(text == expected.as_bytes(), "the finished log differs");
    for lines in [1_usize, 2, 500, LINES, LINES * 2] {
        let offset = log.tail_offset(lines as u64).await.expect("it finds it");
        let tail = &expected[usize::try_from(offset).expect("small")..];
        assert_eq!(tail.lines().count(), lines.min(LINES));
    }
    assert_eq!(
        log.tail_offset(0).await.expect("the end"),
        expected.len() as u64
    );
}

#[tokio::test]
async fn tails_do_not_count_control_lines() {
    let dir = tempfile::tempdir().expect("a directory");
    let fake = Fake::new(|cx, _| async move {
        cx.line("one");
        cx.spinner("a");
        cx.line("two");
        cx.spinner("b");
        cx.spinner("b");
        Ok(Verdict::Done(Value::Null))
    });
    let requests = start(dir.path(), fake, Options::default()).await;
    let id = submit(&requests, long("launch")).await;
    requests.wait(id).await.expect("it ends");
    let mut log = requests.log(id).await.expect("a log");
    let offset = log.tail_offset(1).await.expect("it finds it");
    let (text, _) = read_all(&mut log, offset).await;
    let text = String::from_utf8(text).expect("text");
    assert!(text.starts_with("two\n"), "{text}");
    assert_eq!(
        text.lines().count(),
        3,
        "the line, one update, the exit: {text}"
    );
}

#[tokio::test]
async fn not_following_returns_in_every_state() {
    let dir = tempfile::tempdir().expect("a directory");
    let fake = Fake::new(|_, record| async move {
        match record.name.as_str() {
            "park" => Ok(Verdict::Park {
                until: Moment::now().after(Duration::from_secs(3600)),
                reason: "later".into(),
            }),
            "fail" => Err(crate::base::Error::new(crate::base::Kind::Internal, "x")),
            "done" => Ok(Verdict::Done(Value::Null)),
            _ => std::future::pending().await,
        }
    });
    let options = Options {
        long: 5,
        ..Options::default()
    };
    let requests = start(dir.path(), fake, options).await;
    let running = submit(&requests, on("run", "a")).await;
    let cases = [
        (
            submit(&requests, long("park")).await,
            RequestStatus::Waiting,
        ),
        (submit(&requests, long("fail")).await, RequestStatus::Failed),
        (
            submit(&requests, long("done")).await,
            RequestStatus::Succeeded,
        ),
        (running, RequestStatus::Running),
        (
            submit(&requests, on("run", "a")).await,
            RequestStatus::Pending,
        ),
    ];
    for (id, status) in cases {
        reaches(&requests, id, status).await;
        let mut log = requests.log(id).await.expect("a log");
        let mut offset = 0;
        let outcome = loop {
            match log.read(offset, false).await.expect("it reads") {
                Piece::Bytes(bytes) => offset += bytes.len() as u64,
                Piece::Quiet(outcome) | Piece::End(outcome) => break outcome,
            }
        };
        assert_eq!(outcome, Outcome::Request { status });
    }
}

#[test]
fn a_log_goes_on_in_the_same_file_after_a_kill() {
    let dir = tempfile::tempdir().expect("a directory");
    let runs = Signal::new();
    let fired = runs.clone();
    let fake = Fake::new(move |cx, _| {
        let fired = fired.clone();
        async move {
            cx.line("before");
            fired.fire();
            std::future::pending().await
        }
    });
    let id = life(dir.path(), fake, Options::default(), async |requests| {
        let id = submit(&requests, long("launch")).await;
        runs.wait().await;
        id
    });
    // The kill may cut a line.
    let name = id.to_string();
    let path = dir
        .path()
        .join("logs")
        .join(&name[..2])
        .join(format!("{name}.log"));
    let mut file = std::fs::File::options()
        .append(true)
        .open(&path)
        .expect("it exists");
    std::io::Write::write_all(&mut file, b"half").expect("it writes");
    let fake = Fake::new(|cx, _| async move {
        cx.line("after");
        Ok(Verdict::Done(Value::Null))
    });
    life(dir.path(), fake, Options::default(), async |requests| {
        let mut log = requests.log(id).await.expect("a log");
        let (text, _) = read_all(&mut log, 0).await;
        assert_eq!(
            String::from_utf8(text).expect("text"),
            "before\nhalf\nafter\n"
        );
    });
}

#[tokio::test]
async fn a_crowd_is_woken_by_one_line_and_a_stop_sends_it_away() {
    const CROWD: usize = 2000;
    let dir = tempfile::tempdir().expect("a directory");
    let go = Signal::new();
    let wait = go.clone();
    let fake = Fake::new(move |cx, _| {
        let wait = wait.clone();
        async move {
            wait.wait().await;
            cx.line("hello");
            std::future::pending().await
        }
    });
    let requests = start(dir.path(), fake, Options::default()).await;
    let id = submit(&requests, long("launch")).await;
    let mut crowd = tokio::task::JoinSet::new();
    for _ in 0..CROWD {
        let mut log = requests.log(id).await.expect("a log");
        crowd.spawn(async move {
            let first = log.read(0, true).await.expect("it reads");
            assert_eq!(first, Piece::Bytes(bytes::Bytes::from_static(b"hello\n")));
            log.read(6, true).await.expect("it reads")
        });
    }
    go.fire();
    reaches(&requests, id, RequestStatus::Running).await;
    requests.drain(Duration::from_millis(200)).await;
    while let Some(read) = crowd.join_next().await {
        let piece = read.expect("it ends");
        assert!(
            matches!(piece, Piece::End(Outcome::Interrupted { .. })),
            "{piece:?}"
        );
    }
}

#[tokio::test]
async fn who_follows_a_blocked_request_sees_what_blocks_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let go = Signal::new();
    let wait = go.clone();
    let fake = Fake::new(move |cx, record| {
        let wait = wait.clone();
        async move {
            if record.name == "launch" {
                wait.wait().await;
            }
            cx.line("hello");
            Ok(Verdict::Done(Value::Null))
        }
    });
    let requests = start(dir.path(), fake, Options::default()).await;
    let launch = submit(&requests, on("launch", "a")).await;
    let exec = submit(&requests, on("exec", "a")).await;
    let mut log = requests.log(exec).await.expect("a log");
    requests
        .log(exec)
        .await
        .expect("a second follower changes nothing");
    go.fire();
    let (text, _) = read_all(&mut log, 0).await;
    let text = String::from_utf8(text).expect("text");
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 4, "{text}");
    assert!(
        lines[0].contains("rich_init") && lines[0].contains(&launch.short()),
        "{text}"
    );
    assert!(
        lines[1].contains("rich_start") && lines[2].contains("rich_exit"),
        "{text}"
    );
    assert_eq!(lines[3], "hello");
}
