//! Followers of logs: many of a live one, one of a finished one.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::commands::resident_mb;
use super::submits::with_server;
use super::{Report, percentile};
use crate::world::World;

/// How many follow.
const FOLLOWERS: usize = 10_000;
/// Size of the finished log.
const LOG_BYTES: usize = 200_000_000;

/// Asks for the plain stream of a job's log.
fn follow(socket: &Path, body: &str) -> UnixStream {
    let mut stream = UnixStream::connect(socket).unwrap();
    let request = format!(
        "POST /logs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

/// Body of `/logs` for the first job of a cluster.
fn logs_body(cluster: &str) -> String {
    format!(
        "{{{},\"cluster_name\":\"{cluster}\",\"job_id\":1,\"follow\":true}}",
        super::submits::COMMON
    )
}

/// Nanoseconds since the epoch.
fn now() -> u128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_nanos()
}

/// Launches a detached job.
fn launch(world: &World, command: &str) {
    let status = world
        .command(&["launch", "-y", "-d", "-c", "demo", command])
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
}

/// Ten thousand followers of one live log: memory, and the time from a line to its arrival.
pub(super) fn followers(report: &mut Report) {
    // Before the server starts, which inherits it.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    let (world, pid) = with_server();
    let go = world.cwd().join("go");
    let line = world.cwd().join("line");
    launch(
        &world,
        &format!(
            "while [ ! -e {} ]; do sleep 0.05; done; date +%s%N > {}; echo the-line; sleep 600",
            go.display(),
            line.display()
        ),
    );
    let before = resident_mb(pid);
    let socket = world.state().join("api.sock");
    let mut streams: Vec<UnixStream> = (0..FOLLOWERS)
        .map(|_| follow(&socket, &logs_body("demo")))
        .collect();
    drain(&mut streams, "Streaming logs");
    let more = resident_mb(pid) - before;
    std::fs::write(&go, "").unwrap();
    let arrivals = drain(&mut streams, "the-line");
    let written: u128 = std::fs::read_to_string(&line)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let mut times: Vec<f64> = arrivals
        .iter()
        .map(|at| at.saturating_sub(written) as f64 / 1e6)
        .collect();
    let p99 = percentile(&mut times, 0.99);
    report.add(
        "10,000 followers, more RSS",
        format!("{more:.0} MB"),
        "≤ 200 MB",
        more <= 200.0,
    );
    report.add(
        "10,000 followers, line → client p99",
        format!("{p99:.0} ms"),
        "≤ 250 ms",
        p99 <= 250.0,
    );
}

/// Reads from all until each has seen the text; returns when each did.
fn drain(streams: &mut [UnixStream], text: &str) -> Vec<u128> {
    let mut seen: Vec<Option<u128>> = vec![None; streams.len()];
    let mut tails: Vec<String> = vec![String::new(); streams.len()];
    let deadline = Instant::now() + Duration::from_secs(120);
    let mut buffer = [0; 8192];
    while seen.iter().any(Option::is_none) {
        assert!(
            Instant::now() < deadline,
            "{} never saw `{text}`",
            seen.iter().filter(|s| s.is_none()).count()
        );
        let waiting: Vec<usize> = (0..streams.len()).filter(|i| seen[*i].is_none()).collect();
        let ready: Vec<usize> = {
            let mut fds: Vec<PollFd> = waiting
                .iter()
                .map(|i| PollFd::new(streams[*i].as_fd(), PollFlags::POLLIN))
                .collect();
            poll(&mut fds, PollTimeout::from(1000_u16)).unwrap();
            waiting
                .iter()
                .zip(&fds)
                .filter(|(_, fd)| fd.any() == Some(true))
                .map(|(i, _)| *i)
                .collect()
        };
        for i in ready {
            let n = streams[i].read(&mut buffer).unwrap();
            assert!(n > 0, "a follower was cut off");
            tails[i].push_str(&String::from_utf8_lossy(&buffer[..n]));
            if tails[i].contains(text) {
                seen[i] = Some(now());
                tails[i].clear();
            }
        }
    }
    seen.into_iter().flatten().collect()
}

/// A finished log, against `cat` through a socket.
pub(super) fn finished_log(report: &mut Report) {
    let (world, _) = with_server();
    let output = world
        .command(&[
            "launch",
            "-y",
            "-c",
            "demo",
            &format!("yes 0123456789012345678901234567890123456789 | head -c {LOG_BYTES}"),
        ])
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(output.success());
    let socket = world.state().join("api.sock");
    let start = Instant::now();
    let mut stream = follow(&socket, &logs_body("demo"));
    let mut bytes = 0;
    let mut buffer = vec![0; 1 << 18];
    let mut tail = Vec::new();
    while !tail.ends_with(b"0\r\n\r\n") {
        let n = stream.read(&mut buffer).unwrap();
        assert!(n > 0, "the stream was cut");
        bytes += n;
        tail.extend_from_slice(&buffer[n.saturating_sub(8)..n]);
        let excess = tail.len().saturating_sub(8);
        tail.drain(..excess);
    }
    let ours = start.elapsed().as_secs_f64();
    let cat = cat_through_a_socket(&world, bytes);
    let ratio = ours / cat;
    let figure = format!(
        "{:.0} MB/s, {ratio:.1}× the time of cat",
        bytes as f64 / ours / 1e6
    );
    report.add(
        "finished log of a job, one client",
        figure,
        "≤ 2× cat",
        ratio <= 2.0,
    );
}

/// Seconds that `cat` of a file of this size takes through a Unix socket.
fn cat_through_a_socket(world: &World, bytes: usize) -> f64 {
    let path = world.cwd().join("plain");
    std::fs::write(&path, vec![b'x'; bytes]).unwrap();
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let start = Instant::now();
    let mut cat = std::process::Command::new("cat")
        .arg(&path)
        .stdout(std::os::fd::OwnedFd::from(theirs))
        .spawn()
        .unwrap();
    let mut buffer = vec![0; 1 << 18];
    let mut left = bytes;
    while left > 0 {
        left -= ours.read(&mut buffer).unwrap();
    }
    let seconds = start.elapsed().as_secs_f64();
    cat.wait().unwrap();
    seconds
}
