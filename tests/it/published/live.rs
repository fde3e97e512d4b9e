//! A live published server, on a port of its own, without any cloud.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::python::{SKYPILOT, python_env};
use crate::world::{Ran, World, free_port, kill, wait_until};

/// A published server and a home for our commands. Its process group dies with it.
struct Published {
    world: World,
    url: String,
    server: Child,
}

impl Drop for Published {
    fn drop(&mut self) {
        // Its workers give themselves a title, which hides the world's directory: they are known by their group.
        let group = format!("-{}", self.server.id());
        let killed = Command::new("kill").args(["-KILL", "--", &group]).status();
        assert!(killed.is_ok(), "kill cannot be run");
        self.server.wait().ok();
    }
}

impl Published {
    /// Starts a server and logs in.
    fn start() -> Self {
        let env = python_env(SKYPILOT.0, &[SKYPILOT.1]);
        let world = World::new();
        let home = world.cwd().join("server");
        fs::create_dir(&home).expect("a home for the server");
        let port = free_port();
        let log = File::create(home.join("log")).expect("a file");
        let copy = log.try_clone().expect("a second handle");
        let server = Command::new(env.join("bin/python"))
            .args(["-m", "sky.server.server", "--host=127.0.0.1"])
            .arg(format!("--port={port}"))
            .env_clear()
            .env("HOME", &home)
            .env(
                "PATH",
                format!("{}:/usr/local/bin:/usr/bin:/bin", env.join("bin").display()),
            )
            .env("IS_SKYPILOT_SERVER", "true")
            // Moves the port between it and its workers.
            .env("SKYPILOT_API_SERVER_LOCAL_PORT", port.to_string())
            .env("SKYPILOT_DISABLE_USAGE_COLLECTION", "1")
            .current_dir(&home)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(copy)
            .spawn()
            .expect("the published server starts");
        let url = format!("http://127.0.0.1:{port}");
        let published = Self { world, url, server };
        wait_until("the published server answers", || {
            let ran = published.world.sky(&["api", "login", "-e", &published.url]);
            let log = fs::read_to_string(home.join("log")).unwrap_or_default();
            (ran.code == 0)
                .then_some(())
                .ok_or_else(|| format!("{ran:?}\n{log}"))
        });
        published
    }

    /// Runs a command.
    fn sky(&self, args: &[&str]) -> Ran {
        self.world.sky(args)
    }

    /// The newest request, finished or not.
    fn newest(&self) -> Value {
        let listed = self.sky(&["api", "status", "-a", "-l", "1", "-o", "json"]);
        listed.ok().json()[0].take()
    }

    /// A file below the server's home whose path ends like this.
    fn find(&self, end: &str) -> Option<std::path::PathBuf> {
        let mut open = vec![self.world.cwd().join("server/.sky/api_server/clients")];
        while let Some(path) = open.pop() {
            if path.is_dir() {
                open.extend(
                    fs::read_dir(&path)
                        .ok()?
                        .flatten()
                        .map(|entry| entry.path()),
                );
            } else if path.ends_with(end) {
                return Some(path);
            }
        }
        None
    }
}

/// One server for all that follows: its start takes longer than everything else.
#[test]
fn our_commands_work_with_the_published_server() {
    let published = Published::start();
    says_who_it_is(&published);
    shows_what_there_is(&published);
    checks_and_can_be_left(&published);
    says_that_a_cluster_is_missing(&published);
    brings_a_launch_as_far_as_the_server_can(&published);
    submits_without_waiting(&published);
    cancels(&published);
    logs_out(&published);
}

fn says_who_it_is(published: &Published) {
    published
        .sky(&["api", "info"])
        .ok()
        .shows(&format!("Using SkyPilot API server: {}", published.url))
        .shows("Status: HEALTHY")
        .shows("version: 0.14.1")
        .shows(".sky/config.yaml");
    let info = published.sky(&["api", "info", "-o", "json"]).ok().json();
    assert_eq!(info["api_version"], "62");
    assert_eq!(info["user"], Value::Null);
    // The variable does the same as a login.
    let elsewhere = World::new().env("SKYPILOT_API_SERVER_ENDPOINT", &published.url);
    elsewhere
        .sky(&["api", "info"])
        .ok()
        .shows("version: 0.14.1")
        .shows("SKYPILOT_API_SERVER_ENDPOINT");
    // It accepts no tokens.
    let refused = elsewhere.sky(&["api", "login", "-e", &published.url, "--token", "sky_abc"]);
    refused
        .expect_code(1)
        .shows("refuses your credentials")
        .shows("Service account authentication disabled");
    // It is not this machine's to stop.
    published.sky(&["api", "stop"]).expect_code(2);
}

fn shows_what_there_is(published: &Published) {
    published
        .sky(&["status"])
        .ok()
        .shows("Enabled Infra: none")
        .shows("No existing clusters.");
    assert_eq!(
        published.sky(&["status", "-o", "json"]).ok().json(),
        json!([])
    );
    published.sky(&["status", "--refresh"]).ok();
    published.sky(&["queue"]).ok().shows("No cluster is up.");
    published.sky(&["cost-report"]).ok().shows("No clusters.");
    // Its own daemons are requests, too.
    published
        .sky(&["api", "status"])
        .ok()
        .shows("skypilot-system");
}

fn checks_and_can_be_left(published: &Published) {
    let checked = published.sky(&["check"]).ok();
    checked
        .shows("Checking credentials to enable infra for SkyPilot.")
        .shows("AWS: disabled")
        .shows(&format!("Using SkyPilot API server: {}", published.url));
    assert_eq!(
        published.sky(&["check", "-o", "json"]).ok().json(),
        json!({})
    );
    // Ctrl-C after its first line, which comes long before its last one.
    let mut child = published.world.spawn(&["check"]);
    let mut lines = BufReader::new(child.stdout.take().expect("piped"));
    let mut first = String::new();
    lines.read_line(&mut first).expect("a line");
    kill(child.id(), "INT");
    let ran = published.world.finish(child).expect_code(1);
    let ran = ran.shows("⚙︎ Request will continue running asynchronously.");
    let hint = ran.stderr.split("sky api logs ").nth(1).expect("a hint");
    let short = hint.lines().next().expect("an id").trim();
    let named = published
        .sky(&["api", "status", short, "-o", "json"])
        .ok()
        .json();
    let id = named[0]["request_id"].as_str().expect("an id");
    let logs = published.sky(&["api", "logs", id]).ok();
    logs.shows("Checking credentials to enable infra for SkyPilot.");
    let result = published.sky(&["api", "get", id]).ok();
    assert_eq!(result.json(), json!({"default": {}}));
}

/// More launches than the server runs at a time: the last of them wait.
fn cancels(published: &Published) {
    let launch = ["launch", "-y", "--async", "-c", "many", "true"];
    let started: Vec<Child> = (0..16).map(|_| published.world.spawn(&launch)).collect();
    for child in started {
        published.world.finish(child).ok();
    }
    let cancelled = published.sky(&["api", "cancel", "-a", "-y"]).ok();
    let cancelled = cancelled.shows("Cancelled request: ");
    let id = cancelled
        .stdout
        .split("request: ")
        .nth(1)
        .expect("an id")
        .lines()
        .next()
        .expect("an id");
    published
        .sky(&["api", "get", id])
        .expect_code(1)
        .shows("ended early");
    published
        .sky(&["api", "cancel", "-y", id])
        .expect_code(1)
        .shows("No requests need to be cancelled.");
}

fn says_that_a_cluster_is_missing(published: &Published) {
    for command in [
        &["queue", "nope"][..],
        &["logs", "nope"],
        &["logs", "nope", "1", "--no-follow"],
        &["logs", "nope", "--status"],
        &["logs", "nope", "--sync-down"],
        &["cancel", "nope", "1", "-y"],
        &["exec", "nope", "true"],
    ] {
        let ran = published.sky(command).expect_code(1);
        ran.shows("Error: ").shows("Cluster 'nope' does not exist.");
    }
    for command in [
        &["down", "-y", "nope"][..],
        &["stop", "-y", "nope"],
        &["start", "-y", "nope"],
        &["autostop", "-y", "nope", "-i", "5"],
        &["status", "nope"],
    ] {
        let ran = published.sky(command).expect_code(1);
        ran.shows("Error: Cluster 'nope' not found.");
    }
}

fn brings_a_launch_as_far_as_the_server_can(published: &Published) {
    let world = &published.world;
    world.file("work/said.txt", "what the task works on");
    let no_cloud = "Error: Cloud access is not set up. Run: sky check";
    let launch = [
        "launch",
        "-y",
        "-c",
        "one",
        "--workdir",
        "work",
        "cat said.txt",
    ];
    published.sky(&launch).expect_code(1).shows(no_cloud);
    let uploaded = published.find("work/said.txt").expect("it was uploaded");
    assert_eq!(
        fs::read_to_string(uploaded).expect("a file"),
        "what the task works on"
    );
    // The same content is there already.
    published.sky(&launch).expect_code(1).shows(no_cloud);
    published
        .sky(&["launch", "-y", "-c", "one", "--dryrun", "true"])
        .expect_code(1)
        .shows(no_cloud);
    // Without -y the table comes first, from another request.
    published
        .sky(&["launch", "-c", "one", "true"])
        .expect_code(1)
        .shows(no_cloud);
    let newest = published.newest();
    assert_eq!(newest["name"], "sky.optimize");
    assert_eq!(newest["status"], "FAILED");
    // A task that it does not like is refused before a request is made.
    published
        .sky(&["launch", "-y", "-c", "one", "--infra", "local", "true"])
        .expect_code(1)
        .shows("Error: Invalid resources YAML: 'local'");
    assert_eq!(published.newest()["request_id"], newest["request_id"]);
}

fn submits_without_waiting(published: &Published) {
    let ran = published.sky(&["launch", "-y", "--async", "-c", "two", "true"]);
    let ran = ran.ok().shows("Submitted sky.launch request: ");
    let id = ran.stdout.split("request: ").nth(1).expect("an id");
    let id = id.lines().next().expect("an id").to_owned();
    ran.shows(&format!("sky api logs {}", &id[..8]));
    let failed = published.sky(&["api", "get", &id[..8]]).expect_code(1);
    failed.shows("Cloud access is not set up.");
    published
        .sky(&["api", "logs", &id])
        .expect_code(1)
        .shows("Cloud access is not set up.");
    published
        .sky(&["api", "status", &id])
        .ok()
        .shows("sky.launch")
        .shows("FAILED");
    for command in ["get", "logs", "cancel"] {
        published.sky(&["api", command, "00000000"]).expect_code(1);
    }
}

fn logs_out(published: &Published) {
    published
        .sky(&["api", "logout"])
        .ok()
        .shows(&format!("Logged out of {}.", published.url));
    published
        .sky(&["api", "info"])
        .ok()
        .shows("No SkyPilot API server is connected");
}
