//! Cancelling: at once, however much waits in front; and nothing half made is left, whatever was cancelled.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::world::{World, setting, wait_until};

/// More nodes than this machine gives to a cluster: a launch that wants them waits for ever.
const TOO_MANY_NODES: &str = "100000";

/// A keep-alive connection to the server's socket.
struct Line {
    stream: BufReader<UnixStream>,
}

impl Line {
    fn open(world: &World) -> Self {
        let stream = UnixStream::connect(world.state().join("api.sock")).expect("it listens");
        let timeout = Some(Duration::from_secs(30));
        stream.set_read_timeout(timeout).expect("a time-out");
        Self {
            stream: BufReader::new(stream),
        }
    }

    /// Posts a body; returns status, the id of the request and the body of the answer.
    fn post(&mut self, path: &str, body: &Value) -> (u16, Option<String>, String) {
        let body = body.to_string();
        let call = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nX-Sky-Version: 1\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let stream = self.stream.get_mut();
        stream.write_all(call.as_bytes()).expect("it is sent");
        let (mut status, mut id, mut length) = (0, None, 0);
        for n in 0.. {
            let mut line = String::new();
            self.stream.read_line(&mut line).expect("an answer");
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if n == 0 {
                status = line
                    .split(' ')
                    .nth(1)
                    .and_then(|s| s.parse().ok())
                    .expect("a status");
            }
            if let Some(value) = line.strip_prefix("x-skypilot-request-id: ") {
                id = Some(value.to_owned());
            }
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().expect("a length");
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).expect("a body");
        (status, id, String::from_utf8_lossy(&body).into_owned())
    }
}

/// The request id in what `--async` prints.
pub(crate) fn request_id(text: &str) -> Option<String> {
    text.split_whitespace()
        .map(|word| word.trim_matches(|c: char| !c.is_ascii_hexdigit() && c != '-'))
        .find(|word| word.len() == 36 && word.matches('-').count() == 4)
        .map(str::to_owned)
}

/// Runs a command with `--async` in it and returns the id of its request.
#[track_caller]
pub(crate) fn submitted(world: &World, args: &[&str]) -> String {
    let ran = world.sky(args).ok();
    request_id(&ran.all()).unwrap_or_else(|| panic!("no id in {ran:?}"))
}

/// A request as `sky api status` shows it.
pub(crate) fn request(world: &World, id: &str) -> Value {
    let ran = world.sky(&["api", "status", "-a", "-o", "json", id]);
    ran.json()[0].clone()
}

/// Waits until a request has one of these statuses; returns which.
#[track_caller]
pub(crate) fn wait_status(world: &World, id: &str, wanted: &[&str]) -> String {
    wait_until(&format!("request {id} is {wanted:?}"), || {
        let found = request(world, id);
        let status = found["status"].as_str().unwrap_or_default();
        if wanted.contains(&status) {
            Ok(status.to_owned())
        } else {
            Err(found.to_string())
        }
    })
}

/// Parks a launch that holds the cluster `stuck`; returns its id.
pub(crate) fn park(world: &World) -> String {
    let id = submitted(
        world,
        &[
            "launch",
            "-y",
            "--async",
            "-c",
            "stuck",
            "--retry-until-up",
            "--num-nodes",
            TOO_MANY_NODES,
            "true",
        ],
    );
    wait_status(world, &id, &["WAITING"]);
    id
}

/// Processes of the world beyond its server.
fn beyond_the_server(world: &World) -> Vec<(u32, String)> {
    let all = world.processes().into_iter();
    all.filter(|(_, line)| !line.contains("__serve")).collect()
}

/// Names under the directory of the nodes of this machine.
fn node_dirs(world: &World) -> BTreeSet<String> {
    let entries = fs::read_dir(world.state().join("local"));
    let entries = entries.into_iter().flatten().flatten();
    entries
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect()
}

/// Submits so many requests behind the parked launch, from several connections at once; returns their ids.
fn submit_many(world: &World, count: usize) -> Vec<String> {
    const THREADS: usize = 16;
    let body = json!({ "task": "run: echo never\n", "cluster_name": "stuck" });
    let ids: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| {
                    let mut line = Line::open(world);
                    let submit = |_| {
                        let (status, id, text) = line.post("/exec", &body);
                        assert_eq!(status, 200, "{text}");
                        id.expect("an id")
                    };
                    (0..count / THREADS).map(submit).collect::<Vec<_>>()
                })
            })
            .collect();
        let ended = threads
            .into_iter()
            .flat_map(|t| t.join().expect("it submits"));
        ended.collect()
    });
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), count);
    ids
}

#[test]
fn cancel_is_answered_at_once_with_ten_thousand_pending_in_front() {
    const PENDING: usize = 10_000;
    let world = World::new();
    let script = "setsid sh -c 'sleep 871 & sleep 872'";
    world
        .sky(&["launch", "-y", "-d", "-c", "demo", script])
        .ok();
    wait_until("the job's processes run", || {
        let found = beyond_the_server(&world);
        let sleepers = found
            .iter()
            .filter(|(_, l)| l.starts_with("sleep 87"))
            .count();
        if sleepers == 2 {
            Ok(())
        } else {
            Err(format!("{found:?}"))
        }
    });
    let parked = park(&world);
    let begun = Instant::now();
    let ids = submit_many(&world, PENDING);
    println!("{PENDING} requests accepted in {:?}", begun.elapsed());

    // One in the middle, the last, and the parked one which all of them wait for.
    let mut line = Line::open(&world);
    let mut figures = Vec::new();
    for id in [&ids[PENDING / 2], &ids[PENDING - 1], &ids[17]] {
        let begun = Instant::now();
        let (status, _, text) = line.post("/api/cancel", &json!({ "request_ids": [id] }));
        figures.push(begun.elapsed());
        assert!(
            status == 200 && text.contains(id.as_str()),
            "{status} {text}"
        );
        assert_eq!(request(&world, id)["status"], "CANCELLED");
    }
    println!("cancel answered in {figures:?} (budget 50 ms)");
    let best = figures.iter().min().expect("figures");
    assert!(*best < Duration::from_millis(50), "{figures:?}");

    // The job of another cluster dies with everything that descends from it, well within its grace.
    let begun = Instant::now();
    world.sky(&["cancel", "-y", "demo", "1"]).ok();
    let gone = begun.elapsed();
    println!("the job's processes were gone after {gone:?}");
    assert!(gone < Duration::from_secs(15), "{gone:?}");
    let left: Vec<_> = beyond_the_server(&world);
    assert!(
        !left.iter().any(|(_, l)| l.starts_with("sleep 87")),
        "{left:?}"
    );

    let begun = Instant::now();
    world.sky(&["api", "cancel", "-y", "-a"]).ok();
    println!("all of them cancelled in {:?}", begun.elapsed());
    wait_until("nothing is open", || {
        let open = world.sky(&["api", "status", "-o", "json", "-l", "3"]).ok();
        let empty = open.json().as_array().is_some_and(Vec::is_empty);
        if empty { Ok(()) } else { Err(open.stdout) }
    });
    assert_eq!(request(&world, &parked)["status"], "CANCELLED");
}

#[test]
fn a_launch_cancelled_at_any_step_leaves_no_cluster_or_a_usable_one() {
    let rounds = setting("SKY_CANCEL_ROUNDS", 40);
    let seed = setting("SKY_CANCEL_SEED", u64::from(std::process::id()));
    println!("seed {seed}, {rounds} rounds");
    let mut state = seed;
    let world = World::new();
    world.sky(&["api", "start"]).ok();
    // Straight to the server: a client that starts takes longer than a launch.
    let mut line = Line::open(&world);
    let body = json!({ "task": "setup: echo ready\nrun: sleep 873\n", "cluster_name": "demo" });
    let (mut none, mut usable) = (0, 0);
    for round in 0..rounds {
        let (code, id, text) = line.post("/launch", &body);
        assert_eq!(code, 200, "{text}");
        let id = id.expect("an id");
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        // Most of the steps are at the beginning.
        std::thread::sleep(Duration::from_micros(((state >> 33) % 180).pow(2)));
        let cancel = json!({ "request_ids": [id] });
        assert_eq!(line.post("/api/cancel", &cancel).0, 200);
        let status = wait_status(&world, &id, &["CANCELLED", "SUCCEEDED", "FAILED"]);
        let log = world.sky(&["api", "logs", &id]).all();
        let told = format!("seed {seed}, round {round}: {status}\n{log}");
        assert_ne!(status, "FAILED", "{told}");
        let clusters = world.sky(&["status", "-o", "json"]).ok().json();
        if clusters.as_array().is_some_and(Vec::is_empty) {
            none += 1;
            assert_eq!(status, "CANCELLED", "{told}");
            // A request that had not begun says nothing of clusters.
            let begun = !log.trim().is_empty() && log.contains("Considered");
            assert!(
                !begun || log.contains("no cluster") || log.contains("removed again"),
                "{told}"
            );
            check_nothing_left(&world, &told);
            continue;
        }
        usable += 1;
        if status == "CANCELLED" {
            assert!(log.contains("cluster `demo` is up"), "{told}");
            let left = beyond_the_server(&world);
            assert!(
                !left.iter().any(|(_, l)| l.starts_with("sleep 873")),
                "{left:?} {told}"
            );
        }
        world
            .sky(&["exec", "demo", "echo usable"])
            .ok()
            .shows(") usable");
        world.sky(&["down", "-y", "demo"]).ok();
        check_nothing_left(&world, &told);
    }
    println!("no cluster: {none}, a usable one: {usable}");
    assert!(
        none > 0 && usable > 0,
        "cancels came at different steps: {none}, {usable}"
    );
}

/// No node of this machine and no process of one is left.
#[track_caller]
fn check_nothing_left(world: &World, told: &str) {
    assert!(node_dirs(world).is_empty(), "{:?} {told}", node_dirs(world));
    let left = beyond_the_server(world);
    assert!(left.is_empty(), "{left:?} {told}");
}

#[test]
fn down_and_stop_first_cancel_what_is_asked_of_their_cluster() {
    let world = World::new();
    world
        .sky(&["launch", "-y", "-d", "-c", "demo", "sleep 874"])
        .ok();
    for verb in ["stop", "down"] {
        let blocker = blocked(&world);
        let pending: Vec<String> = (0..5)
            .map(|_| submitted(&world, &["exec", "--async", "demo", "echo never > ~/never"]))
            .collect();
        let pending_launch = submitted(
            &world,
            &["launch", "-y", "--async", "-c", "demo", "echo never"],
        );
        assert_eq!(request(&world, &pending_launch)["status"], "PENDING");
        world.sky(&[verb, "-y", "demo"]).ok();
        drop(blocker);
        for id in pending.iter().chain([&pending_launch]) {
            let found = request(&world, id);
            assert_eq!(found["status"], "CANCELLED", "{verb}: {found}");
        }
        let left = beyond_the_server(&world);
        assert!(
            !left
                .iter()
                .any(|(_, l)| l.contains("__agent") || l.contains("sleep 874")),
            "{left:?}"
        );
        if verb == "stop" {
            world.sky(&["start", "-y", "demo"]).ok();
        }
    }
    world.sky(&["status"]).ok().shows("No existing clusters.");

    // A launch that waits for room for ever: down ends it, though there are no machines yet.
    let parked = park(&world);
    let behind = submitted(&world, &["exec", "--async", "stuck", "echo never"]);
    world.sky(&["status"]).ok().shows("stuck").shows("INIT");
    world.sky(&["down", "-y", "stuck"]).ok();
    wait_status(&world, &parked, &["CANCELLED"]);
    wait_status(&world, &behind, &["CANCELLED"]);
    world.sky(&["status"]).ok().shows("No existing clusters.");
}

#[test]
fn a_raw_down_cancels_first_and_says_what_was_never_made() {
    let world = World::new();
    let parked = park(&world);
    let down = |name: &str| {
        let body = json!({"cluster_name": name});
        let (status, id, text) = Line::open(&world).post("/down", &body);
        assert_eq!(status, 200, "{text}");
        id.expect("an id")
    };
    let id = down("stuck");
    world.sky(&["api", "get", &id]).ok();
    // The answer comes last: the launch is over by then.
    let found = request(&world, &parked);
    assert_eq!(found["status"], "CANCELLED", "{found}");
    let id = down("never");
    world
        .sky(&["api", "get", &id])
        .expect_code(1)
        .shows("cluster `never` does not exist")
        .shows("launches of it that had not finished are cancelled");
    assert_eq!(request(&world, &id)["status"], "FAILED");
}

/// Lets stopped agents go on after a while.
struct Waker(Child);

impl Drop for Waker {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Makes a request of `demo` run that cannot end by itself for a second: its agent is stopped meanwhile.
fn blocked(world: &World) -> Waker {
    let agents = world.processes();
    let agents: Vec<u32> = agents
        .into_iter()
        .filter(|(_, l)| l.contains("__agent"))
        .map(|(pid, _)| pid)
        .collect();
    assert!(!agents.is_empty(), "an agent runs");
    for pid in &agents {
        crate::world::kill(*pid, "STOP");
    }
    let id = submitted(world, &["exec", "--async", "demo", "echo first"]);
    wait_status(world, &id, &["RUNNING"]);
    let pids = agents
        .iter()
        .map(u32::to_string)
        .collect::<Vec<_>>()
        .join(" ");
    let wake = Command::new("sh")
        .args(["-c", &format!("sleep 1; kill -CONT {pids}")])
        .stdout(Stdio::null())
        .spawn()
        .expect("a shell");
    Waker(wake)
}
