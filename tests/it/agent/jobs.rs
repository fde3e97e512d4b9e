//! Jobs from submission to end.

use serde_json::json;

use super::node::{Node, spec};
use crate::world::{sky_binary, wait_for};

#[test]
fn a_job_runs_and_its_log_is_followed() {
    let root = tempfile::tempdir().expect("a directory");
    let node = Node::start(root.path(), "n");
    node.configure_alone(1.0);
    let mut job = spec(
        "echo out; echo err >&2; echo \"$HELLO:$SKYPILOT_NODE_RANK:${SKY_SECRET-none}:$PWD\"; read x; echo \"stdin $?\"",
    );
    job["envs"] = json!({"HELLO": "a 'b' \"c\"\n$d"});
    let id = node.submit(&job);
    assert_eq!(id, 1);
    let (text, status) = node.follow(id);
    assert_eq!(status, "SUCCEEDED", "{text}");
    let pid = text
        .split("pid=")
        .nth(1)
        .expect("a prefix")
        .split(')')
        .next()
        .expect("a pid");
    let home = node.dir.join("home");
    let expected = format!(
        "├── Waiting for task resources on 1 node.\n\
         └── Job started. Streaming logs... (Ctrl-C to exit log streaming; job will not be killed)\n\
         (t, pid={pid}) out\n(t, pid={pid}) err\n(t, pid={pid}) a 'b' \"c\"\n(t, pid={pid}) $d:0:none:{}\n(t, pid={pid}) stdin 1\n",
        home.display()
    );
    assert_eq!(text, expected);
    let stored = std::fs::read_to_string(home.join("sky_logs/1-t/run.log")).expect("it is there");
    assert_eq!(stored, expected);
    let part = |query| node.log(id, query);
    assert_eq!(part("offset=10&limit=7").0, expected[10..17]);
    assert_eq!(part("tail=1&limit=1").0, "(");
    let (end, outcome) = part("back=8");
    assert_eq!(
        (end.as_str(), &outcome["status"]),
        ("stdin 1\n", &json!("SUCCEEDED"))
    );
    assert!(home.join("sky_logs/1-t/tasks/run.log").exists());
}

#[test]
fn setup_comes_first_and_failures_name_their_codes() {
    let root = tempfile::tempdir().expect("a directory");
    let node = Node::start(root.path(), "n");
    node.configure_alone(1.0);
    let mut job = spec("cat ~/made; exit 7");
    job["setup"] = json!("echo setting up; echo made > ~/made");
    let (text, status) = node.follow(node.submit(&job));
    assert_eq!(status, "FAILED", "{text}");
    assert!(
        text.contains(") setting up\n") && text.contains("(setup pid="),
        "{text}"
    );
    assert!(
        text.ends_with("ERROR: Job 1 failed with return code list: [7]\n"),
        "{text}"
    );
    job["setup"] = json!("exit 3");
    let (text, status) = node.follow(node.submit(&job));
    assert_eq!(status, "FAILED_SETUP", "{text}");
    assert!(
        text.contains("ERROR: Job 2's setup failed. Failed workers: (pid="),
        "{text}"
    );
    let info = node.get("/v1/jobs/2");
    assert_eq!(info["exit_codes"], json!([3]));
}

#[test]
fn the_bashrc_is_read_and_does_not_win() {
    let root = tempfile::tempdir().expect("a directory");
    let node = Node::start(root.path(), "n");
    node.configure_alone(1.0);
    std::fs::write(
        node.dir.join("home/.bashrc"),
        "export A=rc B=rc\nf() { echo function; }\n",
    )
    .expect("it writes");
    let mut job = spec("echo $A $B; f; bash -c 'echo ${BASH_ENV-clean}'; false; nosuchcommand");
    job["envs"] = json!({"A": "task"});
    let (text, status) = node.follow(node.submit(&job));
    assert_eq!(status, "FAILED");
    for part in [
        ") task rc\n",
        ") function\n",
        ") clean\n",
        "line 1: nosuchcommand",
        "[127]",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn the_same_key_gives_the_same_job_and_a_cancelled_key_none() {
    let root = tempfile::tempdir().expect("a directory");
    let node = Node::start(root.path(), "n");
    node.configure_alone(1.0);
    let job = spec("echo once >> ~/count");
    assert_eq!(node.submit_as("k", &job), 1);
    assert_eq!(node.submit_as("k", &job), 1);
    node.follow(1);
    assert_eq!(node.submit_as("k", &job), 1);
    let count = std::fs::read_to_string(node.dir.join("home/count")).expect("it ran");
    assert_eq!(count, "once\n");
    node.ask(
        "POST",
        "/v1/jobs/cancel",
        &json!({"which": "key", "key": "later"}),
    );
    let body = json!({"key": "later", "spec": job}).to_string();
    let (status, answer) = node.call("POST", "/v1/jobs", body.as_bytes());
    assert_eq!(status, 409, "{}", String::from_utf8_lossy(&answer));
}

#[test]
fn the_queue_is_first_come_first_served() {
    let root = tempfile::tempdir().expect("a directory");
    let node = Node::start(root.path(), "n");
    node.configure_alone(1.0);
    let mut big = spec("while [ ! -e ~/go ]; do sleep 0.05; done");
    big["cpus"] = json!(3.0);
    let first = node.submit(&big);
    let second = node.submit(&big);
    // It would fit, but it must not overtake.
    let third = node.submit(&spec("true"));
    node.wait_for(first, &["RUNNING"]);
    for waiting in [second, third] {
        assert_eq!(
            node.get(&format!("/v1/jobs/{waiting}"))["status"],
            "PENDING"
        );
    }
    std::fs::write(node.dir.join("home/go"), "").expect("it writes");
    for job in [first, second, third] {
        assert_eq!(node.follow(job).1, "SUCCEEDED");
    }
    let body = json!({"key": "x", "spec": {"cpus": 100.0}}).to_string();
    assert_eq!(node.call("POST", "/v1/jobs", body.as_bytes()).0, 400);
}

#[test]
fn autostop_with_zero_minutes_fires_after_the_last_job() {
    use std::io::{BufRead, BufReader, Write};
    let root = tempfile::tempdir().expect("a directory");
    let node = Node::start(root.path(), "n");
    node.configure_alone(1.0);
    node.ask(
        "PUT",
        "/v1/autostop",
        &json!({"idle_minutes": 0, "down": true, "wait_for": "jobs"}),
    );
    for _ in 0..2 {
        node.follow(node.submit(&spec("true")));
        // Repeated at each connection until it happens.
        for _ in 0..2 {
            let mut stream = std::os::unix::net::UnixStream::connect(node.dir.join("agent.sock"))
                .expect("it listens");
            stream
                .write_all(b"GET /v1/events HTTP/1.1\r\nhost: a\r\n\r\n")
                .expect("sent");
            let mut lines = BufReader::new(stream).lines();
            let idle = lines
                .find(|line| line.as_ref().is_ok_and(|l| l.contains("\"idle\"")))
                .expect("an event")
                .expect("a line");
            assert!(idle.contains("\"down\":true"), "{idle}");
        }
    }
}

#[test]
fn a_second_agent_on_the_same_directory_says_who_is_there() {
    let root = tempfile::tempdir().expect("a directory");
    let node = Node::start(root.path(), "n");
    let second = std::process::Command::new(sky_binary())
        .args(["__agent", "--ready-fd", "1", "--dir"])
        .arg(&node.dir)
        .output()
        .expect("it runs");
    assert!(!second.status.success());
    assert!(String::from_utf8_lossy(&second.stdout).contains("another agent works in"));
}

#[test]
fn files_arrive_and_logs_leave_as_tar() {
    let root = tempfile::tempdir().expect("a directory");
    let node = Node::start(root.path(), "n");
    node.configure_alone(1.0);
    let work = node.dir.join("home/sky_workdir/a");
    std::fs::create_dir_all(&work).expect("made");
    std::fs::write(work.join("b.txt"), "hey\n").expect("written");
    let (text, _) = node.follow(node.submit(&spec("cat a/b.txt")));
    assert!(text.contains(") hey\n"), "{text}");
    let digest = "0".repeat(64);
    for (query, status) in [
        (format!("dest=~/sky_workdir&digest={digest}"), 200),
        (format!("dest=../x&digest={digest}"), 400),
        ("dest=x&digest=zz".to_owned(), 400),
    ] {
        let path = format!("/v1/files/compare?{query}");
        let (got, answer) = node.call("POST", &path, b"");
        assert_eq!(got, status, "{query}");
        assert!(status != 200 || answer.is_empty(), "an unknown digest");
    }
    let nonsense = format!("/v1/files/compare?dest=x&digest={digest}");
    assert_eq!(node.call("POST", &nonsense, b"nonsense").0, 400);
    let (status, packed) = node.call("GET", "/v1/jobs/1/files", b"");
    assert_eq!(status, 200);
    let names: Vec<String> = tar::Archive::new(packed.as_slice())
        .entries()
        .expect("it reads")
        .map(|entry| {
            entry
                .expect("it reads")
                .path()
                .expect("a name")
                .display()
                .to_string()
        })
        .collect();
    assert!(
        names.iter().any(|name| name.ends_with("tasks/run.log")),
        "{names:?}"
    );
}

#[test]
fn an_idle_agent_is_small() {
    let root = tempfile::tempdir().expect("a directory");
    let node = Node::start(root.path(), "n");
    node.configure_alone(1.0);
    node.follow(node.submit(&spec("true")));
    let pid = node.agent.as_ref().expect("it runs").id();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    let line = status
        .lines()
        .find(|l| l.starts_with("VmRSS"))
        .expect("a line");
    let kib: u64 = line
        .split_whitespace()
        .nth(1)
        .expect("a number")
        .parse()
        .expect("a number");
    println!("agent: {kib} KiB resident");
    wait_for("the agent is small", || kib < 30 * 1024);
}
