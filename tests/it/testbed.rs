//! Machines of the project's own testbed (`tests/testbed`), for one test at a time and gone with it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::world::{Ran, World, wait_until};

pub(crate) use bed::AwsApi;
use bed::Bed;

#[path = "../testbed/bed.rs"]
mod bed;

/// Hosts that are reached by SSH.
pub(crate) struct Hosts {
    /// Gone at the end.
    bed: Bed,
    /// By number, from 0.
    pub(crate) machines: Vec<Host>,
    /// The private key that lets `root` and `dev` in.
    pub(crate) key: PathBuf,
    /// A configuration for `ssh -F` that knows them by name.
    pub(crate) ssh_config: PathBuf,
}

/// One of them.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    /// Its number for the scripts.
    id: String,
    /// Its host name.
    pub(crate) name: String,
    /// Its address.
    pub(crate) address: String,
    /// Its root directory, seen from here.
    pub(crate) root: PathBuf,
}

impl Hosts {
    /// Makes and boots so many.
    #[track_caller]
    pub(crate) fn up(count: usize) -> Self {
        let bed = Bed::take();
        let about = bed.json("hosts", &["up", &count.to_string()]);
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let hosts = about["hosts"].as_array().expect("a list").iter();
        let hosts = hosts.map(|host| Host {
            id: host["id"].to_string(),
            name: text(&host["name"]),
            address: text(&host["address"]),
            root: text(&host["root"]).into(),
        });
        Self {
            machines: hosts.collect(),
            key: text(&about["key"]).into(),
            ssh_config: text(&about["ssh_config"]).into(),
            bed,
        }
    }

    /// Does something to a host: `stop`, `start`, `cut`, `mute`, `join`.
    #[track_caller]
    pub(crate) fn act(&self, verb: &str, host: usize) {
        self.bed.run("hosts", &[verb, &self.machines[host].id]);
    }

    /// At most so many kilobits a second from and to a host.
    #[track_caller]
    pub(crate) fn slow(&self, host: usize, kbit: u32) {
        let kbit = kbit.to_string();
        self.bed
            .run("hosts", &["slow", &self.machines[host].id, &kbit]);
    }

    /// Bytes that this machine has sent to a host.
    #[track_caller]
    pub(crate) fn sent(&self, host: usize) -> u64 {
        let link = self.machines[host].name.replacen('h', "v", 1);
        let path = format!("/sys/class/net/{link}/statistics/tx_bytes");
        let text = fs::read_to_string(path).expect("a link");
        text.trim().parse().expect("a number")
    }

    /// What the script says of a host: `up`, `stopped`, `cut`, `mute`.
    #[track_caller]
    pub(crate) fn state(&self, host: usize) -> String {
        let about = self.bed.json("hosts", &["list"]);
        about["hosts"][host]["state"]
            .as_str()
            .expect("a state")
            .to_owned()
    }

    /// Runs a shell command as root in a host, not by SSH.
    #[track_caller]
    pub(crate) fn sh(&self, host: usize, command: &str) -> Ran {
        let id = &self.machines[host].id;
        let ran = self
            .bed
            .command("hosts", &["exec", id, "sh", "-c", command]);
        Ran::from(&{ ran }.output().expect("the script runs"))
    }

    /// Puts a program into a host's `/usr/local/bin`.
    pub(crate) fn program(&self, host: usize, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.machines[host].root.join("usr/local/bin").join(name);
        fs::write(&path, text).expect("a program");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("executable");
    }

    /// Tells a world of them as the pool `lab`, with `dev` as who logs in.
    pub(crate) fn pool(&self, world: &World) {
        let all: Vec<usize> = (0..self.machines.len()).collect();
        self.pool_of(world, &all);
    }

    /// The same with some of them.
    pub(crate) fn pool_of(&self, world: &World, hosts: &[usize]) {
        let key = self.key.display();
        let mut text = format!("lab:\n  user: dev\n  identity_file: {key}\n  hosts:\n");
        for host in hosts {
            writeln!(text, "    - {}", self.machines[*host].address).expect("a line");
        }
        fs::create_dir_all(world.home().join(".sky")).expect("a directory");
        fs::write(world.home().join(".sky/ssh_node_pools.yaml"), text).expect("pools");
    }
}

impl AwsApi {
    /// Tells a world's commands and its server of it.
    pub(crate) fn point(&self, world: World) -> World {
        let envs = self.envs().into_iter();
        envs.fold(world, |world, (name, value)| world.env(name, &value))
    }
}

#[test]
fn hosts_are_machines_whose_links_and_power_can_fail() {
    let hosts = Hosts::up(2);
    let ssh = |to: usize, command: &str| {
        let mut ssh = Command::new("ssh");
        ssh.arg("-F")
            .arg(&hosts.ssh_config)
            .arg("-oConnectTimeout=1");
        ssh.args([&hosts.machines[to].name, command])
            .stdin(Stdio::null());
        Ran::from(&ssh.output().expect("ssh runs"))
    };
    let name = &hosts.machines[0].name;
    ssh(0, "hostname; touch /root/mark").ok().shows(name);
    for (verb, state) in [("cut", "cut"), ("mute", "mute"), ("stop", "stopped")] {
        hosts.act(verb, 0);
        assert_eq!(hosts.state(0), state);
        ssh(0, "true").expect_code(255);
        hosts.act(if verb == "stop" { "start" } else { "join" }, 0);
        assert_eq!(hosts.state(0), "up");
        ssh(0, "ls /root").ok().shows("mark");
    }
    hosts.slow(0, 1000);
    let began = std::time::Instant::now();
    ssh(0, "head -c 100000 /dev/zero").ok();
    assert!(began.elapsed().as_millis() > 500, "{:?}", began.elapsed());
    hosts.act("join", 0);
    let world = World::new();
    hosts.pool(&world);
    world.sky(&["check", "ssh"]).ok().shows("SSH: enabled");
    let copies = hosts.sh(1, "ls /home/dev/.sky/bin").ok();
    assert!(copies.stdout.starts_with("sky-"), "{copies:?}");
    hosts.program(1, "fake", "#!/bin/sh\necho only there\n");
    hosts.sh(1, "fake").ok().shows("only there");
    ssh(0, "fake").expect_code(127);
    ssh(1, "poweroff");
    wait_until("it is off", || match hosts.state(1).as_str() {
        "stopped" => Ok(()),
        other => Err(other.to_owned()),
    });
}

#[test]
fn a_testbed_whose_owner_was_killed_is_removed_by_the_next() {
    let hosts = Hosts::up(1);
    let stale = hosts.bed.envs[0].1.clone() + "x";
    let mut owner = Command::new("sleep").arg("60").spawn().expect("it starts");
    let up = hosts
        .bed
        .command("hosts", &["up", "1"])
        .env("TESTBED_DIR", &stale)
        .env("TESTBED_TAG", "skyx")
        .env("TESTBED_NET", "10.231.200")
        .env("TESTBED_OWNER", owner.id().to_string())
        .output();
    Ran::from(&up.expect("it runs")).ok();
    hosts.bed.run("hosts", &["up", "1"]);
    assert!(Path::new(&stale).exists(), "its owner lives");
    owner.kill().expect("killed");
    owner.wait().expect("ended");
    hosts.bed.run("hosts", &["up", "1"]);
    assert!(!Path::new(&stale).exists());
    assert_eq!(hosts.state(0), "up");
}

#[test]
fn instances_of_the_api_live_as_those_of_ec2() {
    let api = AwsApi::up();
    let world = api.point(World::new());
    api.fault(&serde_json::json!({"action": "DescribeVpcs", "code": "InternalError", "count": 0}));
    api.no_faults();
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/testbed");
    let python = api.bed.json("aws", &["status"])["python"].clone();
    let mut life = Command::new(python.as_str().expect("an interpreter"));
    life.arg(tests.join("ec2-life.py")).arg(world.cwd());
    life.envs(api.envs()).envs(api.bed.envs.clone());
    let ran = Ran::from(&life.output().expect("it runs")).ok();
    let spot = ran.stdout.trim();
    api.strike("interrupt", spot);
    wait_until("it is gone", || {
        let mut left = api.instances();
        left.retain(|instance| instance["state"] != "terminated");
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("{left:?}"))
        }
    });
    let calls = api.calls();
    assert!(calls.iter().any(|call| call["market"] == "spot"));
}
