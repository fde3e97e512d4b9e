//! Bad input: command lines, task files, names, bytes on the wire, callers who have no business here.
//!
//! Each row gets one clear error with the right exit code or status, never a trace, and the server stays as it was.

use std::io::Write as _;
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::world::{Ran, World};

mod callers;
mod commands;
mod files;
mod wire;

/// What no answer and no output contains.
const TRACES: [&str; 4] = ["panicked at", "stack backtrace", "RUST_BACKTRACE", "src/"];

/// Panics when a text shows the inside of the program.
#[track_caller]
fn no_trace(row: &str, text: &str) {
    for trace in TRACES {
        assert!(!text.contains(trace), "{row}: `{trace}` in\n{text}");
    }
}

/// Panics unless a command failed with a code and one error line that names the thing.
#[track_caller]
fn refused(row: &str, ran: &Ran, code: i32, needle: &str) {
    assert_eq!(ran.code, code, "{row}: another exit code\n{}", ran.all());
    no_trace(row, &ran.all());
    assert!(
        ran.stderr.contains(needle),
        "{row}: `{needle}` is not in\n{}",
        ran.all()
    );
    let errors = ran.stderr.lines().filter(|line| {
        let line = line.to_ascii_lowercase();
        line.starts_with("error:") || line.starts_with("not cancelled:") || line.contains("[y/n]")
    });
    assert_eq!(errors.count(), 1, "{row}: one error\n{}", ran.all());
    assert!(
        ran.all().chars().all(|c| c == '\n' || !c.is_control()),
        "{row}: control characters in {:?}",
        ran.all()
    );
}

/// A world with a cluster, and what its server looked like before the rows.
struct Target {
    world: World,
    pid: u32,
}

impl Target {
    fn new() -> Self {
        let world = World::new();
        world.sky(&["launch", "-y", "-c", "demo", "true"]).ok();
        let pid = world.server_pid().expect("a server");
        Self { world, pid }
    }

    /// Panics unless the server is healthy, the same as before, and still runs jobs.
    #[track_caller]
    fn unharmed(&self) {
        assert_eq!(self.world.server_pid(), Some(self.pid), "the same server");
        let health = self.tcp(&get("/api/health", self.world.port()));
        assert_eq!(health.status, 200, "{health:?}");
        assert!(health.body.contains("\"healthy\""), "{health:?}");
        self.world
            .sky(&["exec", "demo", "echo", "still", "here"])
            .ok()
            .shows(") still here");
    }

    /// Sends bytes to the port.
    #[track_caller]
    fn tcp(&self, bytes: &[u8]) -> Answer {
        tcp(self.world.port(), bytes)
    }

    /// Sends bytes to the socket.
    #[track_caller]
    fn unix(&self, bytes: &[u8]) -> Answer {
        let path = self.world.state().join("api.sock");
        let mut stream = UnixStream::connect(path).expect("it connects");
        let limit = Some(Duration::from_secs(15));
        stream.set_read_timeout(limit).expect("a time-out");
        // The server may answer and close before it has read all.
        drop(stream.write_all(bytes));
        if ends_early(bytes) {
            drop(stream.shutdown(Shutdown::Write));
        }
        Answer::read(&mut stream)
    }
}

/// Sends bytes to a port of this machine.
#[track_caller]
fn tcp(port: u16, bytes: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it connects");
    let limit = Some(Duration::from_secs(15));
    stream.set_read_timeout(limit).expect("a time-out");
    drop(stream.write_all(bytes));
    if ends_early(bytes) {
        drop(stream.shutdown(Shutdown::Write));
    }
    Answer::read(&mut stream)
}

/// Whether the body is announced longer than it is: only then the sender hangs up first, since the server takes a
/// caller who hangs up for one who does not want the answer.
fn ends_early(bytes: &[u8]) -> bool {
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
    head.contains("Content-Length: 500\r\n")
}

/// A GET.
fn get(path: &str, port: u16) -> Vec<u8> {
    call("GET", path, port, "", b"")
}

/// A call with a correct head; `more` are complete header lines.
fn call(method: &str, path: &str, port: u16, more: &str, body: &[u8]) -> Vec<u8> {
    let more = format!("Content-Length: {}\r\n{more}", body.len());
    raw(method, path, port, &more, body)
}

/// A call without `Content-Length`.
fn raw(method: &str, path: &str, port: u16, more: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n{more}\r\n"
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// What came back.
#[derive(Debug)]
struct Answer {
    /// 0 when the connection was closed without a word.
    status: u16,
    body: String,
}

impl Answer {
    fn read(stream: &mut impl std::io::Read) -> Self {
        let mut bytes = Vec::new();
        // A reset after the answer takes nothing away from it.
        let mut buffer = [0; 4096];
        while let Ok(n) = stream.read(&mut buffer) {
            bytes.extend_from_slice(&buffer[..n]);
            if n == 0 || bytes.len() > 256 * 1024 {
                break;
            }
        }
        let text = String::from_utf8_lossy(&bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok());
        Self {
            status: status.unwrap_or(0),
            body: body.to_owned(),
        }
    }
}
