//! Jobs run on while the link to their host is away, and their logs are whole.

use std::fs;

use super::gate::seed;
use super::sky_dir;
use crate::testbed::Hosts;
use crate::world::{Ran, World, wait_for};

/// A job that prints 100 lines in ten seconds, and counts them on its host.
const TALK: &str = "for i in $(seq 1 100); do echo line $i; echo $i >~/count; sleep 0.1; done";

/// Begins it on a host.
fn talk(hosts: &Hosts, host: usize) -> World {
    let world = World::new();
    hosts.pool_of(&world, &[host]);
    seed(hosts, host);
    let args = [
        "launch", "-y", "-d", "-c", "demo", "--infra", "ssh/lab", TALK,
    ];
    world.sky(&args).ok();
    world
}

/// How far the job is, seen on its host.
fn count(hosts: &Hosts, host: usize) -> u32 {
    let sets = fs::read_dir(sky_dir(hosts, host).join("nodes"));
    let sets = sets.into_iter().flatten().flatten();
    let counts = sets.filter_map(|set| fs::read_to_string(set.path().join("0/home/count")).ok());
    counts
        .filter_map(|text| text.trim().parse().ok())
        .max()
        .unwrap_or(0)
}

/// The numbers of the lines that were seen.
fn lines(ran: &Ran) -> Vec<u32> {
    let lines = ran.stdout.lines();
    lines
        .filter_map(|line| line.split_once(") line ")?.1.parse().ok())
        .collect()
}

#[test]
fn jobs_go_on_and_followers_go_on_at_the_byte() {
    let hosts = Hosts::up(3);
    std::thread::scope(|scope| {
        for (host, fault) in ["cut", "mute", "slow"].into_iter().enumerate() {
            let hosts = &hosts;
            scope.spawn(move || {
                let world = talk(hosts, host);
                let follower = world.spawn(&["logs", "demo", "1"]);
                wait_for("the log flows", || {
                    let said = world.sky(&["logs", "demo", "1", "--no-follow"]);
                    lines(&said).contains(&10)
                });
                if fault == "slow" {
                    hosts.slow(host, 24);
                } else {
                    hosts.act(fault, host);
                }
                let before = count(hosts, host);
                wait_for("the job goes on", || count(hosts, host) >= before + 40);
                hosts.act("join", host);
                let ran = world.finish(follower).ok();
                assert_eq!(lines(&ran), (1..=100).collect::<Vec<u32>>(), "{fault}");
            });
        }
    });
}
