//! `sky ssh`: the user's hosts beside the clusters on them.

use std::fs;

use crate::testbed::Hosts;
use crate::world::World;

#[test]
fn hosts_are_prepared_listed_and_left_as_they_were() {
    let hosts = Hosts::up(2);
    let world = World::new();
    world
        .sky(&["ssh", "up"])
        .expect_code(1)
        .shows("there are no pools");
    hosts.pool(&world);
    world
        .sky(&["ssh", "list"])
        .ok()
        .shows("NOT PREPARED")
        .shows(&hosts.machines[1].address);
    hosts.act("stop", 1);
    world
        .sky(&["ssh", "up", "--infra", "lab"])
        .ok()
        .shows(&format!("├── {}  ready  ", hosts.machines[0].address))
        .shows("did not answer")
        .shows("✓ 1 of 2 hosts can be used.");
    hosts.act("start", 1);
    let up = world.sky(&["ssh", "up", "-o", "json"]).ok().json();
    assert_eq!(up[1]["error"], serde_json::Value::Null, "{up}");
    world
        .sky(&["ssh", "up", "--infra", "other"])
        .expect_code(1)
        .shows("there is no pool `other`")
        .shows("pools there: `lab`");

    let args = [
        "launch", "-y", "-d", "-c", "demo", "--infra", "ssh/lab", "--cpus", "1", "true",
    ];
    world.sky(&args).ok();
    let listed = world.sky(&["ssh", "list", "-o", "json"]).ok().json();
    let used: Vec<&serde_json::Value> = listed
        .as_array()
        .expect("a list")
        .iter()
        .filter(|host| host["used_by"] != serde_json::json!([]))
        .collect();
    assert_eq!(used.len(), 1, "{listed}");
    let free = |host: &serde_json::Value| host["free"]["cpus"].as_f64().expect("a number");
    let all = used[0]["cpus"].as_f64().expect("a number");
    assert!((all - free(used[0]) - 1.0).abs() < 1e-6, "{listed}");
    world
        .sky(&["ssh", "list"])
        .ok()
        .shows("READY")
        .shows("demo-");
    world
        .sky(&["ssh", "down", "-y"])
        .expect_code(1)
        .shows("clusters use these hosts")
        .shows("has demo-");
    world.sky(&["down", "-y", "demo"]).ok();
    world
        .sky(&["ssh", "down", "-y"])
        .ok()
        .shows("nothing of sky is left");
    for host in 0..2 {
        hosts.sh(host, "ls -d /home/dev/.sky").expect_code(2);
    }
    // Twice is no error, and what is needed again comes again.
    world.sky(&["ssh", "down", "-y"]).ok();
    world.sky(&["check", "ssh"]).ok().shows("SSH: enabled");
}

/// What the kernel calls the kind of machine that this one is not.
const OTHER: &str = if cfg!(target_arch = "aarch64") {
    "x86_64"
} else {
    "aarch64"
};

#[test]
fn hosts_of_another_architecture_get_a_program_of_their_own() {
    let hosts = Hosts::up(2);
    let world = World::new();
    hosts.pool(&world);
    hosts.program(
        1,
        "uname",
        &format!("#!/bin/sh\n[ \"$1\" = -m ] || printf 'Linux '\necho {OTHER}\n"),
    );
    let launch = [
        "launch",
        "-y",
        "-c",
        "mixed",
        "--infra",
        "ssh",
        "--num-nodes",
        "2",
        "--cpus",
        "1",
    ];
    let launch = || world.sky(&[&launch[..], &["echo on $(uname -m)"]].concat());
    // Two hosts are needed, and one cannot be used.
    let programs = world.state().join("programs");
    let put = format!(
        "has no program for {OTHER}: put `sky` of the same release, built there, at {}/sky-{OTHER}",
        programs.display()
    );
    world.sky(&["ssh", "up"]).shows(&put);
    // Here it is the same program with another hash.
    fs::create_dir_all(&programs).expect("a directory");
    let mut other = fs::read(crate::world::sky_binary()).expect("this program");
    other.extend(b"for others");
    fs::write(programs.join(format!("sky-{OTHER}")), other).expect("a program");
    launch()
        .ok()
        .shows(&format!(") on {OTHER}"))
        .shows(&format!(") on {}", std::env::consts::ARCH));
    let names = |host| hosts.sh(host, "ls /home/dev/.sky/bin").ok().stdout;
    assert_ne!(names(0), names(1));
    assert_eq!(names(1).lines().count(), 1, "{}", names(1));
    world
        .sky(&["exec", "mixed", "--num-nodes", "2", "echo again"])
        .ok();
    world.sky(&["down", "-y", "mixed"]).ok();
}
