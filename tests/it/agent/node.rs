//! A node directory with a real agent, and a minimal HTTP client for its socket.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::world::{sky_binary, wait_for};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// One node.
pub(crate) struct Node {
    pub(crate) dir: PathBuf,
    pub(crate) agent: Option<Child>,
}

impl Node {
    /// Makes a node under `root` and starts its agent.
    pub(crate) fn start(root: &Path, name: &str) -> Self {
        let mut node = Self {
            dir: root.join(name),
            agent: None,
        };
        node.start_agent();
        node
    }

    /// Starts the agent and waits until it is ready.
    pub(crate) fn start_agent(&mut self) {
        std::fs::create_dir_all(&self.dir).expect("made");
        let log = std::fs::File::options()
            .append(true)
            .create(true)
            .open(self.dir.join("agent.log"))
            .expect("it opens");
        let mut child = Command::new(sky_binary())
            .args(["__agent", "--dir"])
            .arg(&self.dir)
            .args(["--ready-fd", "1"])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").expect("set"))
            .env("SKY_SECRET", "not for jobs")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("it starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped"))
            .read_line(&mut line)
            .expect("it reports");
        assert!(line.starts_with("ok"), "the agent says: {line}");
        self.agent = Some(child);
    }

    /// Kills the agent without warning.
    pub(crate) fn kill_agent(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            agent.kill().expect("it lives");
            agent.wait().expect("it ended");
        }
    }

    /// Sends a request to an agent that may die before it answers.
    pub(crate) fn try_call(&self, method: &str, path: &str, body: &[u8]) {
        let Ok(mut stream) = UnixStream::connect(self.dir.join("agent.sock")) else {
            return;
        };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: agent\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let sent = stream
            .write_all(head.as_bytes())
            .and_then(|()| stream.write_all(body));
        if sent.is_ok() {
            let _answer = stream.read_to_end(&mut Vec::new());
        }
    }

    /// Sends a request; returns status and body.
    pub(crate) fn call(&self, method: &str, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let mut stream = UnixStream::connect(self.dir.join("agent.sock")).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nhost: agent\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        // At once: the agent may answer and hang up before it has read a body that it does not want.
        stream.write_all(&request).expect("sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("answered");
        parse(&answer)
    }

    /// Sends JSON and expects JSON.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.call(method, path, body.to_string().as_bytes());
        let text = String::from_utf8_lossy(&answer);
        assert_eq!(status, 200, "{method} {path}: {text}");
        serde_json::from_slice(&answer).expect("JSON")
    }

    /// Gets JSON.
    pub(crate) fn get(&self, path: &str) -> Value {
        let (status, answer) = self.call("GET", path, b"");
        let text = String::from_utf8_lossy(&answer);
        assert_eq!(status, 200, "GET {path}: {text}");
        serde_json::from_slice(&answer).expect("JSON")
    }

    /// Tells the node that it is a cluster of its own.
    pub(crate) fn configure_alone(&self, grace: f64) {
        configure(&[self], grace);
    }

    /// Submits a job.
    pub(crate) fn submit(&self, spec: &Value) -> u64 {
        self.submit_as(&uuid::Uuid::new_v4().to_string(), spec)
    }

    /// Submits a job under a key.
    pub(crate) fn submit_as(&self, key: &str, spec: &Value) -> u64 {
        let answer = self.ask("POST", "/v1/jobs", &json!({"key": key, "spec": spec}));
        answer["job_id"].as_u64().expect("a number")
    }

    /// Follows a job's log to its end; returns text and status.
    pub(crate) fn follow(&self, job: u64) -> (String, String) {
        let (text, end) = self.log(job, "follow=true&offset=0");
        let status = end["status"].as_str().expect("a status").to_owned();
        (text, status)
    }

    /// Reads a part of a job's log; returns text and end.
    pub(crate) fn log(&self, job: u64, query: &str) -> (String, Value) {
        let (status, body) = self.call("GET", &format!("/v1/jobs/{job}/log?{query}"), b"");
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
        frames(&body)
    }

    /// Waits until a job is in one of these states.
    pub(crate) fn wait_for(&self, job: u64, wanted: &[&str]) -> Value {
        let mut last = Value::Null;
        wait_for(&format!("job {job} is {wanted:?}"), || {
            last = self.get(&format!("/v1/jobs/{job}"));
            wanted.contains(&last["status"].as_str().expect("a status"))
        });
        last
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(agent) = &mut self.agent {
            if let Ok(mut stream) = UnixStream::connect(self.dir.join("agent.sock")) {
                let _gone = write!(
                    stream,
                    "POST /v1/shutdown HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
                );
                let _gone = stream.set_read_timeout(Some(PATIENCE));
                let _gone = stream.read_to_end(&mut Vec::new());
            }
            let _gone = agent.kill();
            let _gone = agent.wait();
        }
    }
}

/// Tells nodes that they are one cluster.
pub(crate) fn configure(nodes: &[&Node], grace: f64) {
    let peers: Vec<Value> = nodes
        .iter()
        .enumerate()
        .map(|(rank, node)| {
            json!({
                "rank": rank,
                "ip": format!("127.0.0.{}", rank + 1),
                "address": {"kind": "unix", "path": node.dir.join("agent.sock")},
            })
        })
        .collect();
    for (rank, node) in nodes.iter().enumerate() {
        node.ask(
            "PUT",
            "/v1/config",
            &json!({
                "cluster": "demo", "rank": rank, "nodes": peers,
                "cluster_info": "{}", "cpus": 4.0, "kill_grace_secs": grace,
            }),
        );
    }
}

/// A job that runs a script.
pub(crate) fn spec(run: &str) -> Value {
    json!({
        "name": "t", "user": "u1", "user_name": "me", "setup": null, "run": run,
        "num_nodes": 1, "envs": {}, "cpus": 0.5, "resources_text": "1x[CPU:1+]",
        "task_id_prefix": "sky-x_demo_",
    })
}

/// Takes an answer apart.
fn parse(answer: &[u8]) -> (u16, Vec<u8>) {
    let split = answer
        .windows(4)
        .position(|w| w == b"\r\n\r\n")
        .expect("a header");
    let header = String::from_utf8_lossy(&answer[..split]).to_lowercase();
    let status = header[9..12].parse().expect("a status");
    let mut rest = &answer[split + 4..];
    if !header.contains("transfer-encoding: chunked") {
        return (status, rest.to_vec());
    }
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|w| w == b"\r\n") {
        let size = std::str::from_utf8(&rest[..end]).expect("a size");
        let size = usize::from_str_radix(size, 16).expect("a size");
        if size == 0 {
            break;
        }
        body.extend_from_slice(&rest[end + 2..end + 2 + size]);
        rest = &rest[end + 2 + size + 2..];
    }
    (status, body)
}

/// Takes a framed stream apart: the text, which must be without gaps, and the outcome.
pub(crate) fn frames(mut stream: &[u8]) -> (String, Value) {
    let mut text = Vec::new();
    let mut next = None;
    while stream.len() >= 13 {
        let offset = u64::from_be_bytes(stream[1..9].try_into().expect("8"));
        let length = u32::from_be_bytes(stream[9..13].try_into().expect("4")) as usize;
        let payload = &stream[13..13 + length];
        match stream[0] {
            1 => {
                assert_eq!(*next.get_or_insert(offset), offset, "a gap or a repeat");
                text.extend_from_slice(payload);
                next = Some(offset + length as u64);
            }
            2 => {}
            3 => {
                let end = serde_json::from_slice(payload).expect("JSON");
                return (String::from_utf8_lossy(&text).into_owned(), end);
            }
            kind => panic!("frame of kind {kind}"),
        }
        stream = &stream[13 + length..];
    }
    panic!("the stream ended without an end");
}
