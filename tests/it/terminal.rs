//! What happens before a person's eyes: Ctrl-C at different moments, a terminal's looks, the URL of the hint.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::world::{World, kill, sky_binary, wait_until};

/// Agents that do not answer, so that what is asked of them stays asked. Wakes them in the end.
struct Asleep(Vec<u32>);

impl Asleep {
    /// Stops all agents of a world.
    fn new(world: &World) -> Self {
        let agents: Vec<u32> = world
            .processes()
            .into_iter()
            .filter(|(_, line)| line.contains("__agent"))
            .map(|(pid, _)| pid)
            .collect();
        assert!(!agents.is_empty(), "an agent runs");
        for pid in &agents {
            kill(*pid, "STOP");
        }
        Self(agents)
    }
}

impl Drop for Asleep {
    fn drop(&mut self) {
        for pid in &self.0 {
            kill(*pid, "CONT");
        }
    }
}

/// A world with a cluster `demo`.
fn with_demo() -> World {
    let world = World::new();
    world
        .sky(&["launch", "-y", "-c", "demo", "--cpus", "1", "true"])
        .ok();
    world
}

/// Sends Ctrl-C.
fn interrupt(child: &Child) {
    kill(child.id(), "INT");
}

/// Waits for the one unfinished request of a name and returns its id.
fn unfinished(world: &World, name: &str) -> String {
    wait_until("the request is there", || {
        let found = world.sky(&["api", "status", "-o", "json"]).json();
        found
            .as_array()
            .and_then(|all| all.iter().find(|record| record["name"] == name))
            .and_then(|record| record["request_id"].as_str().map(str::to_owned))
            .ok_or_else(|| found.to_string())
    })
}

#[test]
fn ctrl_c_leaves_a_waiting_request_running_and_says_how_to_come_back() {
    let world = with_demo();
    for (args, name) in [
        (
            vec!["launch", "-y", "-c", "demo", "echo once"],
            "sky.launch",
        ),
        (vec!["exec", "demo", "echo once"], "sky.exec"),
    ] {
        let asleep = Asleep::new(&world);
        let child = world.spawn(&args);
        let id = unfinished(&world, name);
        interrupt(&child);
        let ran = world.finish(child).expect_code(1);
        let short = &id[..8];
        assert_eq!(
            ran.stderr,
            format!(
                "⚙︎ Request will continue running asynchronously.\n\
                 ├── View logs: sky api logs {short}\n\
                 ├── Or, visit: {}/api/stream?request_id={short}\n\
                 └── To cancel the request, run: sky api cancel {short}\n",
                world.url()
            )
        );
        // Others who wait for it are told the same.
        for verb in ["get", "logs"] {
            let child = world.spawn(&["api", verb, short]);
            watched(&child);
            interrupt(&child);
            world
                .finish(child)
                .expect_code(1)
                .shows(&format!("sky api cancel {short}"));
        }
        drop(asleep);
        world.sky(&["api", "get", short]).ok();
    }
    let jobs = world.sky(&["queue", "demo", "-o", "json"]).ok().json();
    assert_eq!(jobs.as_array().map(Vec::len), Some(3), "{jobs}");
}

/// Waits until a process handles SIGINT itself.
fn watched(child: &Child) {
    const SIGINT: u64 = 1 << (2 - 1);
    wait_until("it watches signals", || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()))
            .map_err(|e| e.to_string())?;
        let caught = status
            .lines()
            .find_map(|line| line.strip_prefix("SigCgt:"))
            .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
            .unwrap_or(0);
        (caught & SIGINT != 0).then_some(()).ok_or(status)
    });
}

#[test]
fn ctrl_c_leaves_a_followed_job_running_and_says_how_to_come_back() {
    let world = with_demo();
    let commands = [
        vec!["exec", "demo", "echo begun; sleep 300"],
        vec!["launch", "-y", "-c", "demo", "echo begun; sleep 300"],
        vec!["logs", "demo", "2"],
    ];
    for (args, job) in commands.iter().zip([2, 3, 2]) {
        let mut child = world.spawn(args);
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        assert!(
            lines.any(|line| line.expect("text").ends_with(") begun")),
            "the job began"
        );
        interrupt(&child);
        let ran = world.finish(child).expect_code(1);
        let said: Vec<&str> = ran
            .stderr
            .lines()
            .filter(|line| !line.starts_with("Tailing") && !line.starts_with("Showing"))
            .collect();
        assert_eq!(
            said,
            [
                format!("⚙︎ Job {job} continues to run on cluster 'demo'."),
                format!("├── To stream its logs again: sky logs demo {job}"),
                format!("└── To cancel it:             sky cancel demo {job}"),
            ],
            "{args:?}"
        );
        world
            .sky(&["logs", "demo", &job.to_string(), "--status"])
            .expect_code(101)
            .shows("RUNNING");
        if job == 3 {
            // The words are true.
            world.sky(&["cancel", "-y", "demo", "3"]).ok().shows("3");
        }
    }
}

/// Starts a shell command in a terminal of its own; what it draws goes to stdout.
fn on_terminal(world: &World, envs: &[(&str, &str)], shell: &str) -> Command {
    let mut command = Command::new("script");
    command
        .args([
            "-qec",
            &shell.replace("sky ", &format!("{} ", sky_binary().display())),
        ])
        .arg("/dev/null")
        .env_clear()
        .envs(
            world
                .command(&[])
                .get_envs()
                .filter_map(|(k, v)| Some((k, v?))),
        )
        .env("TERM", "xterm")
        .env("SHELL", "/bin/sh")
        .envs(envs.iter().copied())
        .current_dir(world.cwd())
        .stdin(Stdio::null());
    command
}

/// Runs a shell command in a terminal of its own and returns everything that it drew.
fn drawn(world: &World, envs: &[(&str, &str)], shell: &str) -> String {
    let output = on_terminal(world, envs, shell)
        .output()
        .expect("script(1) runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn looks_are_for_terminals_only() {
    const GREEN: &str = "\u{1b}[32m";
    const SPINNER: &[char] = &['⠁', '⠂', '⠄', '⡀', '⢀', '⠠', '⠐', '⠈', '⠤', '⠴'];
    let world = with_demo();
    let status = drawn(&world, &[], "sky status");
    assert!(status.contains(&format!("{GREEN}UP")), "{status:?}");
    for quiet in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let status = drawn(&world, &[quiet], "sky status");
        assert!(
            status.contains("UP") && !status.contains('\u{1b}'),
            "{status:?}"
        );
    }
    let exec = drawn(&world, &[], "sky exec demo 'echo hi'");
    assert!(exec.contains("\u{1b}[36m(sky-cmd, pid="), "{exec:?}");
    assert!(
        exec.contains(&format!("{GREEN}✓\u{1b}[0m Job finished")),
        "{exec:?}"
    );

    // A request that waits shows a spinner, but not beside a pipe, where it would run into the other's lines.
    for (shell, spins) in [
        ("sky exec demo 'echo hi'", true),
        ("sky exec demo 'echo hi' | cat", false),
    ] {
        let asleep = Asleep::new(&world);
        let file = world.file("drawn", "");
        let drawn_to = std::fs::File::create(&file).expect("a file");
        let child = on_terminal(&world, &[], shell).stdout(drawn_to).spawn();
        unfinished(&world, "sky.exec");
        let text = || String::from_utf8_lossy(&std::fs::read(&file).expect("a file")).into_owned();
        if spins {
            wait_until("it turns", || {
                text().contains(SPINNER).then_some(()).ok_or_else(text)
            });
        } else {
            // Time in which one would turn.
            std::thread::sleep(Duration::from_millis(300));
        }
        drop(asleep);
        child.and_then(|mut child| child.wait()).expect("it ends");
        let text = text();
        assert_eq!(text.contains(SPINNER), spins, "{shell}: {text:?}");
        assert_eq!(text.contains('\u{1b}'), spins, "{shell}: {text:?}");
        assert!(
            text.contains("Job finished (status: SUCCEEDED)."),
            "{text:?}"
        );
    }
}

/// Sends a request of a client with this name; the answer can be read line by line.
fn asked(world: &World, agent: &str, head: &str, body: &str) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", world.port())).expect("it listens");
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .expect("a limit");
    let length = body.len();
    write!(
        stream,
        "{head} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nUser-Agent: {agent}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}",
        world.port()
    )
    .expect("it takes a request");
    BufReader::new(stream)
}

/// Reads to a line that contains a text; returns everything read.
fn read_to(answer: &mut BufReader<TcpStream>, text: &str) -> String {
    let mut all = String::new();
    while !all.contains(text) {
        let n = answer.read_line(&mut all).expect("it comes in time");
        assert!(n > 0, "`{text}` is not in\n{all}");
    }
    all
}

#[test]
fn the_url_of_the_hint_follows_live_in_curl_and_in_a_browser() {
    let world = with_demo();
    let asleep = Asleep::new(&world);
    world
        .sky(&["launch", "-y", "--async", "-c", "demo", "echo hi"])
        .ok();
    let id = unfinished(&world, "sky.launch");
    let get = format!("GET /api/stream?request_id={}", &id[..8]);
    let mut live = asked(&world, "curl/8.5.0", &get, "");
    let early = read_to(&mut live, "Running on cluster: demo");
    assert!(early.contains("content-type: text/plain"), "{early}");
    assert!(!early.contains("Job submitted"), "{early}");

    let mut page = String::new();
    asked(
        &world,
        "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0",
        &get,
        "",
    )
    .read_to_string(&mut page)
    .expect("a page");
    assert!(page.contains("content-type: text/html"), "{page}");
    // The page fetches the same address as text.
    let plain = format!("{get}&format=plain");
    let mut fetched = asked(
        &world,
        "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0",
        &plain,
        "",
    );
    read_to(&mut fetched, "Running on cluster: demo");

    drop(asleep);
    for stream in [&mut live, &mut fetched] {
        let mut rest = String::new();
        stream.read_to_string(&mut rest).expect("it ends");
        assert!(rest.contains("Job submitted, ID: 2"), "{rest}");
        assert!(
            !rest.contains("<sky-payload") && !rest.contains('\u{1b}'),
            "{rest}"
        );
    }
}

#[test]
fn a_plain_stream_of_a_job_says_how_it_ended() {
    let world = with_demo();
    world
        .sky(&["exec", "demo", "printf 'no line feed'; exit 4"])
        .expect_code(100);
    for (agent, tail, follow) in [("curl/8.5.0", 0, true), ("python-requests", 1, false)] {
        for (job, end) in [
            (1, "✓ Job finished (status: SUCCEEDED).\n"),
            (2, "\n⨯ Job finished (status: FAILED).\n"),
        ] {
            let body = format!(
                r#"{{"cluster_name":"demo","job_id":{job},"follow":{follow},"tail":{tail}}}"#
            );
            let mut answer = String::new();
            asked(&world, agent, "POST /logs", &body)
                .read_to_string(&mut answer)
                .expect("it ends");
            // The body comes in chunks, each with its length before it.
            assert!(answer.contains(end), "{agent} {job}: {answer}");
            assert_eq!(answer.matches("Job finished").count(), 1, "{answer}");
        }
    }
}
