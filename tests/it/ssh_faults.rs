//! Links and power of SSH hosts fail during every step of a launch and while jobs run.

mod gate;
mod jobs;
mod refusals;
mod steps;

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::testbed::Hosts;
use crate::world::{Ran, World, wait_for, wait_until};

/// The longest that a launch may take whose host does not come back.
const BOUND: Duration = Duration::from_secs(120);

/// Where `sky` keeps things in the home directory of a host.
fn sky_dir(hosts: &Hosts, host: usize) -> PathBuf {
    hosts.machines[host].root.join("home/dev/.sky")
}

/// Whether a file matches a pattern of path components, where `*` stands for any one.
fn exists(dir: PathBuf, pattern: &str) -> bool {
    let mut found = vec![dir];
    for part in pattern.split('/') {
        let entries = found.iter().filter_map(|dir| fs::read_dir(dir).ok());
        let matches = |name: &str| {
            let mut ends = part.splitn(2, '*');
            let (start, end) = (ends.next().unwrap_or(""), ends.next());
            end.map_or(name == part, |end| {
                name.starts_with(start) && name.ends_with(end)
            })
        };
        found = entries
            .flat_map(Iterator::flatten)
            .filter(|entry| matches(&entry.file_name().to_string_lossy()))
            .map(|entry| entry.path())
            .collect();
    }
    !found.is_empty()
}

/// Makes a work directory with so many bytes that shrink little.
fn work(world: &World, bytes: usize) {
    let mut noise = String::new();
    let mut dice = crate::world::Dice(7);
    while noise.len() < bytes {
        write!(noise, "{:x}", dice.roll(u64::MAX)).expect("a text");
    }
    world.file("work/noise", &noise);
}

/// A task with a work directory.
fn task(world: &World) -> String {
    work(world, 4_000_000);
    let task = world.file("task.yaml", "workdir: work\nrun: ls\n");
    task.to_string_lossy().into_owned()
}

/// What a user runs.
fn launch(world: &World) -> [String; 9] {
    let task = task(world);
    [
        "launch", "-y", "-d", "-c", "demo", "--infra", "ssh/lab", "--fast", &task,
    ]
    .map(str::to_owned)
}

/// The signs of steps on a host: copy, create, start of the agent, sync, submit.
const SIGNS: [&str; 5] = [
    "bin/.sky-*.part",
    "nodes/*/0/share.json",
    "nodes/*/0/agent.sock",
    "nodes/*/0/agent/files/*",
    "nodes/*/0/jobs/*",
];

/// Waits until a sign is there.
fn appears(hosts: &Hosts, host: usize, sign: &str) {
    wait_for(sign, || exists(sky_dir(hosts, host), sign));
}

/// Launches on a host of its own, cuts its power when the sign appears there and switches it on again; returns how it ended.
fn struck(world: &World, hosts: &Hosts, host: usize, sign: &str) -> Ran {
    hosts.pool_of(world, &[host]);
    let launch = launch(world);
    let began = Instant::now();
    let child = world.spawn(&launch.each_ref().map(String::as_str));
    // Fast steps are over before anything can happen to them.
    match sign {
        "bin/.sky-*.part" => hosts.slow(host, 60_000),
        "nodes/*/0/agent/files/*" => {
            appears(hosts, host, SIGNS[1]);
            hosts.slow(host, 8_000);
        }
        _ => {}
    }
    appears(hosts, host, sign);
    hosts.act("stop", host);
    hosts.act("start", host);
    let ran = world.finish(child);
    let took = began.elapsed();
    assert!(took < BOUND, "{sign}: {took:?}: {}", ran.all());
    ran
}

#[test]
fn a_launch_comes_up_or_fails_cleanly_when_its_host_restarts_at_any_step() {
    let hosts = Hosts::up(SIGNS.len());
    std::thread::scope(|scope| {
        for (host, sign) in SIGNS.into_iter().enumerate() {
            let hosts = &hosts;
            scope.spawn(move || {
                let world = World::new();
                let ran = struck(&world, hosts, host, sign);
                if ran.code != 0 {
                    assert_eq!(ran.code, 1, "{sign}: {}", ran.all());
                    let address = &hosts.machines[host].address;
                    assert!(ran.stderr.contains(address), "{sign}: {}", ran.all());
                }
                let launch = launch(&world);
                world.sky(&launch.each_ref().map(String::as_str)).ok();
                world.sky(&["logs", "demo"]).ok().shows(" noise");
                world.sky(&["down", "-y", "demo"]).ok();
                assert!(!exists(sky_dir(hosts, host), "nodes/*/0"), "{sign}: left");
            });
        }
    });
}

#[test]
fn a_host_that_lost_power_is_seen_and_its_cluster_starts_again() {
    let hosts = Hosts::up(1);
    let world = World::new();
    hosts.pool(&world);
    let args = [
        "launch",
        "-y",
        "-d",
        "-c",
        "demo",
        "--infra",
        "ssh/lab",
        "echo kept >kept; sleep 600",
    ];
    world.sky(&args).ok();
    wait_until("the job has begun", || {
        let ran = world.sky(&["exec", "demo", "cat kept"]);
        if ran.code == 0 {
            Ok(())
        } else {
            Err(ran.all())
        }
    });
    hosts.act("stop", 0);
    // The cluster is still known, and it is said what is the matter with it.
    world.sky(&["status", "-r"]).ok().shows("INIT");
    let why = format!("cannot reach host `{}`", hosts.machines[0].address);
    wait_until("the reason is named", || {
        let ran = world.sky(&["exec", "demo", "true"]);
        if ran.code == 1 && ran.all().contains(&why) {
            Ok(())
        } else {
            Err(ran.all())
        }
    });
    hosts.act("start", 0);
    world.sky(&["start", "-y", "demo"]).ok();
    world.sky(&["status", "-r"]).ok().shows("UP");
    world.sky(&["queue", "demo"]).ok().shows("FAILED_DRIVER");
    world
        .sky(&["exec", "demo", "cat kept"])
        .ok()
        .shows(") kept");
    world.sky(&["down", "-y", "demo"]).ok();
}
