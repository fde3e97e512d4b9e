//! GPUs of SSH hosts: found by the tools of their drivers, placed, and told apart.

use crate::testbed::Hosts;
use crate::world::{World, wait_until};

/// What four of NVIDIA's look like.
const NVIDIA: &str = r#"#!/bin/sh
case "$*" in *--query-gpu=index,name,memory.total*) ;; *) exit 9 ;; esac
for i in 0 1 2 3; do echo "$i, NVIDIA H100 80GB HBM3, 81559"; done
"#;
/// What two of AMD's look like.
const AMD: &str = r#"#!/bin/sh
echo '{"card0": {"Card Series": "AMD Instinct MI300X"}, "card1": {"Card Series": "AMD Instinct MI300X"}}'
"#;

/// Prints what a job sees of GPUs.
const SEEN: &str =
    "echo saw $CUDA_VISIBLE_DEVICES of $SKYPILOT_NUM_GPUS_PER_NODE at $SKYPILOT_NODE_IPS";

#[test]
fn gpus_are_placed_where_they_are_and_shared_by_index() {
    let hosts = Hosts::up(3);
    let world = World::new();
    hosts.pool(&world);
    hosts.program(1, "nvidia-smi", NVIDIA);
    hosts.program(2, "rocm-smi", AMD);
    let launch = |name: &str, gpus: &str, command: &str| {
        let args = [
            "launch", "-y", "-c", name, "--infra", "ssh/lab", "--gpus", gpus, command,
        ];
        world.sky(&args)
    };
    world
        .sky(&["gpus", "list", "-a", "--infra", "ssh"])
        .ok()
        .shows("1, 2, 4")
        .shows("MI300X");

    // Two clusters on the one host that has them, each with its own.
    let at = format!("of 2 at {}", hosts.machines[1].address);
    launch("one", "H100:2", SEEN)
        .ok()
        .shows(&format!("saw 0,1 {at}"));
    launch("two", "h100:2", SEEN)
        .ok()
        .shows(&format!("saw 2,3 {at}"));
    launch("three", "H100", SEEN).expect_code(1).shows("H100");
    // Who asks for none sees none.
    world
        .sky(&[
            "launch",
            "-y",
            "-c",
            "four",
            "--infra",
            "ssh/lab",
            "echo saw \"<${CUDA_VISIBLE_DEVICES-unset}>\"",
        ])
        .ok()
        .shows("saw <unset>");
    launch("amd", "MI300X", SEEN)
        .ok()
        .shows(&format!("saw 0 of 1 at {}", hosts.machines[2].address));

    // Two halves are one: each waits until it sees the other.
    for (own, other) in [("a", "b"), ("b", "a")] {
        let meet = format!("touch ~/{own}; until [ -e ~/{other} ]; do sleep 0.1; done; {SEEN}");
        world
            .sky(&["exec", "-d", "two", "--gpus", "H100:0.5", &meet])
            .ok();
    }
    for job in ["2", "3"] {
        world.sky(&["logs", "two", job]).ok().shows("saw 2 of 1");
    }

    // What is given back goes to the next, and what is switched on again gets what is free then.
    world.sky(&["stop", "-y", "one"]).ok();
    launch("three", "H100", SEEN).ok().shows("saw 0 of 1");
    world
        .sky(&["start", "-y", "one"])
        .expect_code(1)
        .shows("H100 free");
    world.sky(&["down", "-y", "two"]).ok();
    world.sky(&["start", "-y", "one"]).ok();
    world
        .sky(&["exec", "one", "--gpus", "H100:2", SEEN])
        .ok()
        .shows("saw 1,2 of 2");
    world.sky(&["down", "-y", "-a"]).ok();
    wait_until("nothing is left", || {
        let left = hosts
            .sh(1, "ls -d /home/dev/.sky/nodes/*/ 2>/dev/null")
            .stdout;
        if left.is_empty() { Ok(()) } else { Err(left) }
    });
}
