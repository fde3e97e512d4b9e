//! Submissions and look-ups over plain HTTP on the Unix socket: what the server costs.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::{Report, percentile};
use crate::world::{World, wait_until};

/// A connection that is kept.
pub(super) struct Connection {
    stream: UnixStream,
    buffer: Vec<u8>,
}

/// An answer.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Connection {
    pub(super) fn open(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(120)))
            .unwrap();
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    /// Sends a request and reads the whole answer.
    pub(super) fn call(&mut self, method: &str, path: &str, body: &str) -> Answer {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nAccept: application/vnd.sky+json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.write_all(request.as_bytes()).unwrap();
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            self.fill();
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).to_ascii_lowercase();
        self.buffer.drain(..end);
        let status = head.split_whitespace().nth(1).unwrap().parse().unwrap();
        let length = head.lines().find_map(|l| {
            l.strip_prefix("content-length:")?
                .trim()
                .parse::<usize>()
                .ok()
        });
        let body = match length {
            Some(length) => self.take(length),
            None => self.chunked(),
        };
        Answer {
            status,
            head,
            body: String::from_utf8_lossy(&body).into_owned(),
        }
    }

    fn fill(&mut self) {
        let mut bytes = [0; 16384];
        let n = self.stream.read(&mut bytes).unwrap();
        assert!(n > 0, "the server closed the connection");
        self.buffer.extend_from_slice(&bytes[..n]);
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        while self.buffer.len() < length {
            self.fill();
        }
        self.buffer.drain(..length).collect()
    }

    fn chunked(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let end = loop {
                if let Some(at) = self.buffer.windows(2).position(|w| w == b"\r\n") {
                    break at;
                }
                self.fill();
            };
            let line = self.take(end + 2);
            let size = usize::from_str_radix(String::from_utf8_lossy(&line).trim(), 16).unwrap();
            body.extend(self.take(size));
            self.take(2);
            if size == 0 {
                return body;
            }
        }
    }
}

/// The fields of every body.
pub(super) const COMMON: &str =
    r#""env_vars":{"SKYPILOT_USER_ID":"bench000","SKYPILOT_USER":"bench"}"#;

/// The id in the header of an accepted request.
pub(super) fn request_id(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}{}", answer.head, answer.body);
    answer
        .head
        .lines()
        .find_map(|l| l.strip_prefix("x-skypilot-request-id:"))
        .unwrap()
        .trim()
        .to_owned()
}

/// CPU seconds that a process has used.
fn cpu_seconds(pid: u32) -> f64 {
    let mut nanos = 0.0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten() {
        let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        nanos += text
            .split_whitespace()
            .next()
            .and_then(|n| n.parse::<f64>().ok())
            .unwrap_or(0.0);
    }
    nanos / 1e9
}

/// A world with a server; its pid.
pub(super) fn with_server() -> (World, u32) {
    let world = World::new();
    let status = world
        .command(&["api", "status"])
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    let pid = world.server_pid().unwrap();
    (world, pid)
}

/// Waits until no request is unfinished: a backlog takes what it takes, as long as it gets shorter.
fn all_ended(socket: &Path) {
    let mut least = u64::MAX;
    while least > 0 {
        least = wait_until("requests end", || {
            let metrics = Connection::open(socket).call("GET", "/metrics", "").body;
            let unfinished = metrics
                .lines()
                .find_map(|line| line.strip_prefix("sky_requests_unfinished "))
                .unwrap()
                .parse()
                .unwrap();
            if unfinished < least {
                Ok(unfinished)
            } else {
                Err(format!("{unfinished} are unfinished"))
            }
        });
    }
}

/// Durable submissions from 64 connections at once.
pub(super) fn durable(report: &mut Report) {
    const CONNECTIONS: usize = 64;
    const EACH: usize = 200;
    let (world, pid) = with_server();
    let socket = world.state().join("api.sock");
    let body = format!("{{{COMMON}}}");
    let cpu = cpu_seconds(pid);
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                let mut connection = Connection::open(&socket);
                for _ in 0..EACH {
                    request_id(&connection.call("POST", "/cost_report", &body));
                }
            });
        }
    });
    let total = (CONNECTIONS * EACH) as f64;
    let rate = total / start.elapsed().as_secs_f64();
    all_ended(&socket);
    let cpu = (cpu_seconds(pid) - cpu) / total * 1e3;
    report.add(
        "durable submit, 64 connections (they also run meanwhile)",
        format!("{rate:.0}/s"),
        "≥ 5,000/s",
        rate >= 5000.0,
    );
    report.add(
        "server CPU per submit (running it included)",
        format!("{cpu:.3} ms"),
        "≤ 0.3 ms",
        cpu <= 0.3,
    );
}

/// One connection: submit, wait for the result.
pub(super) fn short_request(report: &mut Report) {
    let (world, _) = with_server();
    let mut connection = Connection::open(&world.state().join("api.sock"));
    let median = short_latency(&mut connection);
    report.add(
        "short request, submit → result, 1 connection (median of 200)",
        format!("{median:.2} ms"),
        "≤ 5 ms",
        median <= 5.0,
    );
}

/// The median time in ms of a short request.
fn short_latency(connection: &mut Connection) -> f64 {
    let body = format!("{{{COMMON}}}");
    let mut times: Vec<f64> = (0..200)
        .map(|_| {
            let start = Instant::now();
            let id = request_id(&connection.call("POST", "/cost_report", &body));
            let answer = connection.call("GET", &format!("/api/get?request_id={id}"), "");
            assert_eq!(answer.status, 200, "{}", answer.body);
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    percentile(&mut times, 0.5)
}

/// A hundred thousand requests that wait for one cluster, and what goes past them.
///
/// The cluster's agent is asleep: whoever's turn it is waits for it, and the rest queues behind.
pub(super) fn pending(report: &mut Report) {
    const MANY: usize = 100_000;
    let (world, pid) = with_server();
    let socket = world.state().join("api.sock");
    let launched = world
        .command(&["launch", "-y", "-c", "busy", "true"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(launched.success());
    let (agent, _) = world
        .processes()
        .into_iter()
        .find(|(_, line)| line.contains("__agent"))
        .unwrap();
    crate::world::kill(agent, "STOP");
    let task = serde_json::to_string("name: x\n---\nname: x\nrun: 'true'\n").unwrap();
    let exec = format!("{{{COMMON},\"task\":{task},\"cluster_name\":\"busy\"}}");
    let start = Instant::now();
    let mut first = String::new();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..64)
            .map(|_| {
                scope.spawn(|| {
                    let mut connection = Connection::open(&socket);
                    (0..MANY / 64)
                        .map(|_| request_id(&connection.call("POST", "/exec", &exec)))
                        .last()
                        .unwrap()
                })
            })
            .collect();
        for worker in workers {
            first = worker.join().unwrap();
        }
    });
    println!(
        "{MANY} submitted at {:.0}/s, RSS {:.0} MB",
        MANY as f64 / start.elapsed().as_secs_f64(),
        super::commands::resident_mb(pid)
    );
    let mut connection = Connection::open(&socket);
    let start = Instant::now();
    let answer = connection.call(
        "POST",
        "/api/cancel",
        &format!("{{{COMMON},\"request_ids\":[\"{first}\"]}}"),
    );
    let cancel = start.elapsed().as_secs_f64() * 1e3;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.body.contains(&first), "{}", answer.body);
    report.add(
        "cancel with 100,000 pending",
        format!("{cancel:.1} ms"),
        "≤ 10 ms",
        cancel <= 10.0,
    );
    let short = short_latency(&mut connection);
    report.add(
        "short request with 100,000 pending (median)",
        format!("{short:.2} ms"),
        "≤ 5 ms",
        short <= 5.0,
    );
}

/// A store full of finished requests.
pub(super) fn finished(report: &mut Report) {
    let many: usize = std::env::var("SKY_BENCH_FINISHED")
        .ok()
        .and_then(|v| v.parse().ok())
        .unwrap_or(1_000_000);
    let (world, pid) = with_server();
    let socket = world.state().join("api.sock");
    let listing = |connection: &mut Connection| {
        let mut times: Vec<f64> = (0..50)
            .map(|_| {
                let start = Instant::now();
                assert_eq!(
                    connection
                        .call(
                            "GET",
                            "/api/status?all_status=true&all_users=true&limit=50",
                            ""
                        )
                        .status,
                    200
                );
                start.elapsed().as_secs_f64() * 1e3
            })
            .collect();
        percentile(&mut times, 0.5)
    };
    let body = format!("{{{COMMON}}}");
    let mut connection = Connection::open(&socket);
    for _ in 0..100 {
        request_id(&connection.call("POST", "/cost_report", &body));
    }
    let few = listing(&mut connection);
    std::thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| {
                let mut connection = Connection::open(&socket);
                for _ in 0..many / 64 {
                    let mut answer = connection.call("POST", "/cost_report", &body);
                    // More wait than the server takes: they are run more slowly than they are sent.
                    while answer.status == 429 {
                        std::thread::sleep(Duration::from_millis(500));
                        answer = connection.call("POST", "/cost_report", &body);
                    }
                    request_id(&answer);
                }
            });
        }
    });
    all_ended(&socket);
    // The first connection was closed meanwhile: it was idle for too long.
    let mut connection = Connection::open(&socket);
    let full = listing(&mut connection);
    report.add(
        &format!("`/api/status`, 50 of {many} finished (with 100: {few:.2} ms)"),
        format!("{full:.2} ms"),
        "as with 100",
        full <= few * 1.5 + 0.2,
    );
    drop(connection);
    crate::world::kill(pid, "KILL");
    wait_until("the server is gone", || {
        if Path::new(&format!("/proc/{pid}")).exists() {
            Err("it lives".to_owned())
        } else {
            Ok(())
        }
    });
    let start = Instant::now();
    let status = world
        .command(&["api", "status"])
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    let ms = start.elapsed().as_secs_f64() * 1e3;
    report.add(
        &format!("start with {many} finished, after kill -9"),
        format!("{ms:.0} ms"),
        "≤ 200 ms",
        ms <= 200.0,
    );
}
