//! A server of a few lines that says what a test tells it to.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

/// A call as the server sees it.
#[derive(Debug)]
pub(super) struct Call {
    /// Path without query.
    pub(super) path: String,
    /// Query.
    pub(super) query: String,
    /// Header lines, in lower case.
    pub(super) head: String,
    /// Body.
    pub(super) body: String,
}

/// What is answered.
pub(super) struct Answer {
    /// Status.
    pub(super) status: u16,
    /// Further header lines, each with its line break.
    pub(super) head: String,
    /// Body.
    pub(super) body: String,
}

impl Answer {
    /// JSON with a status.
    pub(super) fn json(status: u16, body: &serde_json::Value) -> Self {
        Self {
            status,
            head: "content-type: application/json\r\n".to_owned(),
            body: body.to_string(),
        }
    }

    /// Text as a stream.
    pub(super) fn text(body: &str) -> Self {
        Self {
            status: 200,
            head: "content-type: text/plain; charset=utf-8\r\n".to_owned(),
            body: body.to_owned(),
        }
    }

    /// Adds a header.
    pub(super) fn header(mut self, name: &str, value: &str) -> Self {
        self.head = format!("{}{name}: {value}\r\n", self.head);
        self
    }
}

/// Serves on a free port until the test program ends; returns the address.
pub(super) fn serve(answer: impl Fn(&Call) -> Answer + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || converse(stream, answer.as_ref()));
        }
    });
    format!("http://{address}")
}

/// Answers one call. A caller that goes away is no failure.
fn converse(mut stream: TcpStream, answer: &dyn Fn(&Call) -> Answer) {
    let Some(call) = read(&stream) else {
        return;
    };
    let Answer { status, head, body } = answer(&call);
    let head = format!(
        "HTTP/1.1 {status} -\r\n{head}content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).ok();
}

/// Reads a call.
fn read(stream: &TcpStream) -> Option<Call> {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let target = first.split(' ').nth(1)?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") && head != "\r\n" {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let head = head.to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Call {
        path: path.to_owned(),
        query: query.to_owned(),
        head,
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}
