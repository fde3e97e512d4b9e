//! Links and power of SSH hosts fail during every step of a launch and while jobs run.

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

/// A task with a work directory of 4 MB that does not shrink.
fn task(world: &World) -> String {
    let mut noise = String::new();
    let mut dice = crate::world::Dice(7);
    while noise.len() < 4_000_000 {
        write!(noise, "{:x}", dice.roll(u64::MAX)).expect("a text");
    }
    world.file("work/noise", &noise);
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

/// Launches on a host of its own, strikes it when the sign appears there, lets it be for a while, and returns how it
/// ended.
fn struck(world: &World, hosts: &Hosts, host: usize, sign: &str, fault: &str, heals: bool) -> Ran {
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
    hosts.act(fault, host);
    if heals {
        // As long as it is away.
        std::thread::sleep(Duration::from_secs(2));
        hosts.act(if fault == "stop" { "start" } else { "join" }, host);
    }
    let ran = world.finish(child);
    let took = began.elapsed();
    assert!(took < BOUND, "{sign} {fault}: {took:?}: {}", ran.all());
    ran
}

/// Runs something for each sign, each on a host and in a world of its own, side by side.
fn for_each_sign(signs: &[&'static str], run: impl Fn(&World, &Hosts, usize, &str) + Sync) {
    let hosts = Hosts::up(signs.len());
    std::thread::scope(|scope| {
        for (host, sign) in signs.iter().enumerate() {
            let (hosts, run) = (&hosts, &run);
            scope.spawn(move || run(&World::new(), hosts, host, sign));
        }
    });
}

/// A fault that passes: the launch came up, or failed and said why; once more, and it is up.
fn passing(fault: &str) {
    for_each_sign(&SIGNS, |world, hosts, host, sign| {
        let ran = struck(world, hosts, host, sign, fault, true);
        if ran.code != 0 {
            assert_eq!(ran.code, 1, "{sign}: {}", ran.all());
            let address = &hosts.machines[host].address;
            assert!(ran.stderr.contains(address), "{sign}: {}", ran.all());
        }
        let launch = launch(world);
        world.sky(&launch.each_ref().map(String::as_str)).ok();
        world.sky(&["logs", "demo"]).ok().shows(" noise");
        world.sky(&["down", "-y", "demo"]).ok();
        assert!(!exists(sky_dir(hosts, host), "nodes/*/0"), "{sign}: left");
    });
}

#[test]
fn a_launch_outlives_a_cut_link_at_every_step() {
    passing("cut");
}

#[test]
fn a_launch_outlives_a_silent_link_at_every_step() {
    passing("mute");
}

#[test]
fn a_launch_comes_up_or_fails_cleanly_when_its_host_restarts_at_any_step() {
    passing("stop");
}

#[test]
fn a_launch_on_a_host_that_falls_silent_for_good_ends_with_the_step_and_the_reason() {
    for_each_sign(&SIGNS[..1], |world, hosts, host, sign| {
        struck(world, hosts, host, sign, "mute", false)
            .expect_code(1)
            .shows("cannot copy sky")
            .shows(&hosts.machines[host].address);
        let left = world.sky(&["status"]).ok();
        assert!(!left.stdout.contains("demo"), "{}", left.all());
    });
}

/// A job that prints 100 lines in ten seconds.
const TALK: &str = "for i in $(seq 1 100); do echo line $i; sleep 0.1; done";

#[test]
fn jobs_go_on_and_followers_go_on_at_the_byte() {
    let hosts = Hosts::up(2);
    std::thread::scope(|scope| {
        for (host, fault) in ["cut", "mute"].into_iter().enumerate() {
            let hosts = &hosts;
            scope.spawn(move || {
                let world = World::new();
                hosts.pool_of(&world, &[host]);
                let args = [
                    "launch", "-y", "-d", "-c", "demo", "--infra", "ssh/lab", TALK,
                ];
                world.sky(&args).ok();
                let follower = world.spawn(&["logs", "demo", "1"]);
                wait_for("the job talks", || {
                    let said = world.sky(&["logs", "demo", "1", "--no-follow"]);
                    said.stdout.contains("line 10")
                });
                hosts.act(fault, host);
                // As long as the link is away.
                std::thread::sleep(Duration::from_secs(4));
                hosts.act("join", host);
                let ran = world.finish(follower).ok();
                let seen: Vec<u32> = ran
                    .stdout
                    .lines()
                    .filter_map(|line| line.split_once(") line ")?.1.parse().ok())
                    .collect();
                assert_eq!(seen, (1..=100).collect::<Vec<u32>>(), "{fault}");
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
