//! Clusters on SSH hosts, from the pool file to nothing left behind.

use std::fs;

use crate::sshd::{Hosts, break_connections};
use crate::world::{World, wait_until};

/// The command lines of a world's processes that belong to no host's node are none of these tests' business.
fn nothing_left(hosts: &Hosts) {
    for host in &hosts.hosts {
        wait_until("nodes are gone", || match host.node_processes() {
            left if left.is_empty() => Ok(()),
            left => Err(format!("{left:?}")),
        });
        let sets = fs::read_dir(host.home().join(".sky/nodes"));
        let sets: Vec<_> = sets
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.file_name())
            .filter(|name| !name.to_string_lossy().starts_with('.'))
            .collect();
        assert!(sets.is_empty(), "{sets:?}");
    }
}

#[test]
fn a_host_is_a_cluster_in_one_copy_and_is_left_as_it_was() {
    let world = World::new();
    let hosts = Hosts::start(&world, 1);
    world.file("work/data.txt", "from the work directory\n");
    world.file("work/.skyignore", "secret\n");
    world.file("work/secret", "stays here\n");
    let task = world.file(
        "task.yaml",
        "name: t\nworkdir: work\nsetup: echo setting up\nrun: |\n  cat data.txt; ls; echo home $HOME rank $SKYPILOT_NODE_RANK\n",
    );
    let home = hosts.hosts[0].home();
    let ran = world
        .sky(&[
            "launch",
            "-y",
            "-c",
            "demo",
            "--infra",
            "ssh/lab",
            &task.to_string_lossy(),
        ])
        .ok()
        .shows("SSH (lab)")
        .shows("⚙︎ Launching on SSH lab.")
        .shows(") from the work directory")
        .shows(&format!(") home {}", home.join(".sky/nodes").display()));
    assert!(!ran.all().contains(") secret"), "{}", ran.all());
    assert_eq!(
        fs::read_dir(home.join(".sky/bin")).expect("a copy").count(),
        1,
        "one file and nothing else"
    );
    world
        .sky(&["exec", "demo", "exit 3"])
        .expect_code(100)
        .shows("FAILED");
    world.sky(&["stop", "-y", "demo"]).ok();
    assert!(hosts.hosts[0].node_processes().is_empty(), "stopped");
    world.sky(&["status", "-r"]).ok().shows("STOPPED");
    world.sky(&["start", "-y", "demo"]).ok();
    world
        .sky(&["exec", "demo", "cat ~/sky_workdir/data.txt"])
        .ok()
        .shows(") from the work directory");
    world.sky(&["down", "-y", "demo"]).ok();
    nothing_left(&hosts);
}

#[test]
fn a_new_cluster_says_where_its_time_went() {
    let world = World::new();
    let _hosts = Hosts::start(&world, 2);
    world.file("work/data.txt", "something to sync\n");
    let launch = |nodes: &str| {
        let infra = ["launch", "-y", "-c", "demo", "--infra", "ssh/lab"];
        let rest = [
            "--cpus",
            "0.5",
            "--num-nodes",
            nodes,
            "--workdir",
            "work",
            "true",
        ];
        let ran = world.sky(&[&infra[..], &rest].concat()).ok();
        let lines = ran.stdout.lines();
        let told = lines.filter_map(|line| line.strip_prefix("Launched in "));
        told.map(str::to_owned).collect::<Vec<_>>()
    };
    let told = launch("2");
    assert_eq!(told.len(), 1, "{told:?}");
    let (whole, parts) = told[0].split_once(" (").expect("parts");
    let seconds = |text: &str| -> f64 {
        let number = text.strip_suffix(" s").expect("seconds");
        number.parse().expect("a number")
    };
    let parts: Vec<(&str, f64)> = parts
        .trim_end_matches(')')
        .split(", ")
        .map(|part| part.split_once(' ').expect("a name"))
        .map(|(name, spent)| (name, seconds(spent)))
        .collect();
    for wanted in ["connect", "copy", "start", "sync", "submit"] {
        assert!(parts.iter().any(|(name, _)| *name == wanted), "{told:?}");
    }
    let sum: f64 = parts.iter().map(|(_, spent)| spent).sum();
    let off = (sum - seconds(whole)).abs();
    assert!(off <= 0.05 * seconds(whole) + 0.01, "{told:?}");
    assert!(launch("1").is_empty(), "it was there already");
}

#[test]
fn two_hosts_are_one_cluster_with_ranks_and_one_fate() {
    let world = World::new();
    let hosts = Hosts::start(&world, 2);
    world
        .sky(&[
            "launch",
            "-y",
            "-c",
            "duo",
            "--infra",
            "ssh",
            "--num-nodes",
            "2",
            "echo rank $SKYPILOT_NODE_RANK of $SKYPILOT_NUM_NODES: $SKYPILOT_NODE_IPS",
        ])
        .ok()
        .shows(&format!(") rank 0 of 2: {}", hosts.hosts[0].address))
        .shows(&format!(") rank 1 of 2: {}", hosts.hosts[0].address))
        .shows("(worker1, rank=1");
    world
        .sky(&[
            "exec",
            "duo",
            "--num-nodes",
            "2",
            "if [ $SKYPILOT_NODE_RANK = 1 ]; then exit 7; fi; sleep 600",
        ])
        .expect_code(100);
    world.sky(&["down", "-y", "duo"]).ok();
    nothing_left(&hosts);
}

#[test]
fn hosts_are_shared_as_far_as_they_have_room() {
    let world = World::new();
    let hosts = Hosts::start(&world, 1);
    let launch = |name: &str, cpus: &str| {
        world.sky(&[
            "launch", "-y", "-d", "-c", name, "--infra", "ssh/lab", "--cpus", cpus, "true",
        ])
    };
    launch("one", "1").ok();
    let all = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    launch("all", &all.to_string())
        .expect_code(1)
        .shows("no enabled infra offers");
    world.sky(&["down", "-y", "one"]).ok();
    launch("all", &all.to_string()).ok();
    world.sky(&["down", "-y", "all"]).ok();
    nothing_left(&hosts);
}

#[test]
fn a_follower_survives_broken_connections_without_gap_or_repeat() {
    let world = World::new();
    let _hosts = Hosts::start(&world, 1);
    let talk = "for i in $(seq 1 300); do echo line $i; sleep 0.01; done";
    world
        .sky(&["launch", "-y", "-d", "-c", "demo", "--infra", "ssh", talk])
        .ok();
    let follower = world.spawn(&["logs", "demo", "1"]);
    for milestone in ["line 50", "line 120", "line 200"] {
        wait_until(milestone, || {
            let ran = world.sky(&["logs", "demo", "1", "--no-follow"]);
            if ran.stdout.contains(milestone) {
                Ok(())
            } else {
                Err(ran.all())
            }
        });
        assert!(break_connections(&world) > 0, "something was broken");
    }
    let ran = world.finish(follower).ok();
    let seen: Vec<u32> = ran
        .stdout
        .lines()
        .filter_map(|line| line.split_once(") line ")?.1.parse().ok())
        .collect();
    assert_eq!(seen, (1..=300).collect::<Vec<u32>>());
    world.sky(&["down", "-y", "demo"]).ok();
}

#[test]
fn hosts_that_cannot_be_used_are_named_with_the_reason() {
    let world = World::new();
    let mut hosts = Hosts::start(&world, 2);
    hosts.hosts[0].switch_off();
    // The other one does.
    world
        .sky(&[
            "launch",
            "-y",
            "-c",
            "demo",
            "--infra",
            "ssh/lab",
            "echo works",
        ])
        .ok()
        .shows(") works");
    world.sky(&["down", "-y", "demo"]).ok();
    hosts.hosts[1].switch_off();
    break_connections(&world);
    world
        .sky(&[
            "launch", "-y", "-c", "demo", "--infra", "ssh/lab", "echo no",
        ])
        .expect_code(1)
        .shows("cannot reach host `127.0.1.")
        .shows("Connection refused");
    world
        .sky(&["check", "ssh"])
        .shows("SSH: disabled")
        .shows("Connection refused");
    world
        .sky(&["launch", "-y", "-c", "demo", "--infra", "ssh/nope", "true"])
        .expect_code(1);
    let pools = world.home().join(".sky/ssh_node_pools.yaml");
    fs::write(&pools, "lab:\n  host: [a]\n").expect("a mistake");
    world
        .sky(&["check", "ssh"])
        .shows("ssh_node_pools.yaml:2: unknown key `host` in pool `lab`");
}

#[test]
fn a_copy_that_broke_off_goes_on_and_a_damaged_one_is_made_again() {
    let world = World::new();
    let hosts = Hosts::start(&world, 1);
    let bin = hosts.hosts[0].home().join(".sky/bin");
    world.sky(&["check", "ssh"]).ok().shows("SSH: enabled");
    let copy = fs::read_dir(&bin)
        .expect("a copy")
        .flatten()
        .next()
        .expect("a file")
        .path();
    let whole = fs::read(&copy).expect("the copy");
    let name = copy
        .file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned();
    fs::remove_file(&copy).expect("gone");
    // A part whose bytes are wrong: refused by its hash, then copied from the start.
    let server = sha256_hex(world.state().as_os_str().as_encoded_bytes());
    let part = bin.join(format!(".{name}.{}.part", &server[..8]));
    fs::write(&part, vec![0; 1000]).expect("a damaged part");
    world.sky(&["check", "ssh"]).ok().shows("SSH: enabled");
    assert!(
        fs::read(&copy).expect("the copy") == whole,
        "the same bytes"
    );
    // A part that is right so far: only the rest is sent.
    fs::rename(&copy, &part).expect("renamed");
    fs::OpenOptions::new()
        .write(true)
        .open(&part)
        .and_then(|file| file.set_len(whole.len() as u64 / 2))
        .expect("half");
    world.sky(&["check", "ssh"]).ok().shows("SSH: enabled");
    assert!(
        fs::read(&copy).expect("the copy") == whole,
        "the same bytes"
    );
}

/// SHA-256 by the system's program.
fn sha256_hex(bytes: &[u8]) -> String {
    use std::io::Write as _;
    let mut child = std::process::Command::new("sha256sum")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("sha256sum");
    child
        .stdin
        .take()
        .expect("a pipe")
        .write_all(bytes)
        .expect("written");
    let output = child.wait_with_output().expect("it ends");
    String::from_utf8_lossy(&output.stdout)[..64].to_owned()
}
