//! Ten thousand small files to an SSH host: by `sky`, by `tar | ssh` and by `rsync -e ssh`, over connections that stand.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use super::{Report, percentile};
use crate::sshd::Hosts;
use crate::world::{Dice, World};

/// Files in the tree.
const FILES: usize = 10_000;
/// Files in a directory.
const EACH: usize = 100;
/// How often each side is measured.
const RUNS: usize = 5;

/// Makes the tree: directories three deep, about 4 KB of words in each file.
fn make_tree(root: &Path) {
    let mut dice = Dice(1);
    let words: Vec<String> = (0..2000)
        .map(|_| format!("{:x}", dice.roll(1 << 32)))
        .collect();
    for number in 0..FILES {
        let group = number / EACH;
        let directory = root.join(format!("a{}/b{}/c{group}", group % 4, group % 20));
        if number % EACH == 0 {
            fs::create_dir_all(&directory).unwrap();
        }
        let mut text = String::new();
        while text.len() < 4000 {
            text.push_str(&words[usize::try_from(dice.roll(2000)).unwrap()]);
            text.push(if dice.roll(9) == 0 { '\n' } else { ' ' });
        }
        fs::write(directory.join(format!("file{number}.txt")), text).unwrap();
    }
}

/// The wall time of a command in ms.
fn timed(command: &mut Command) -> f64 {
    let start = Instant::now();
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    start.elapsed().as_secs_f64() * 1e3
}

/// The other sides' way to the host, over a connection that is shared and stands.
struct Way {
    ssh: String,
    host: String,
    home: PathBuf,
}

impl Way {
    fn new(hosts: &Hosts, world: &World) -> Self {
        let host = &hosts.hosts[0];
        let way = Self {
            ssh: format!(
                "ssh -F none -i {} -p {} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR \
                 -o ControlMaster=auto -o ControlPersist=60 -o ControlPath={}/m",
                hosts.key.display(),
                host.port,
                world.home().display(),
            ),
            host: host.address.clone(),
            home: host.home(),
        };
        timed(&mut way.shell("{ssh} {host} true"));
        way
    }

    /// A command of the shell.
    fn shell(&self, text: &str) -> Command {
        let text = text
            .replace("{ssh}", &self.ssh)
            .replace("{host}", &self.host)
            .replace("{to}", &self.home.join("other").to_string_lossy());
        let mut shell = Command::new("bash");
        shell.args(["-o", "pipefail", "-c", &text]);
        shell
    }
}

/// First and second sync of the tree.
pub(super) fn ten_thousand(report: &mut Report) {
    let world = World::new();
    let hosts = Hosts::start(&world, 1);
    let tree = world.cwd().join("tree");
    make_tree(&tree);
    let sky = |args: &[&str]| timed(world.command(args).stdout(Stdio::null()));
    let job = ["exec", "-d", "demo", "true"];
    let sync = ["exec", "-d", "demo", "--workdir", "tree", "true"];
    sky(&["launch", "-y", "-c", "demo", "--infra", "ssh/lab", "true"]);
    let way = Way::new(&hosts, &world);
    let to_other = way.home.join("other");
    let source = tree.display();
    let tar =
        format!("tar c -C {source} . | {{ssh}} {{host}} 'mkdir -p {{to}} && tar x -C {{to}}'");
    let rsync = format!("rsync -a -e '{{ssh}}' {source}/ {{host}}:{{to}}/");
    let mut times: [Vec<f64>; 6] = Default::default();
    for _ in 0..RUNS {
        // The same everywhere: nothing there, then all there.
        for place in node_dirs(&way.home) {
            fs::remove_dir_all(place).unwrap();
        }
        times[0].push(sky(&sync));
        times[1].push(sky(&sync));
        times[2].push(sky(&job));
        times[3].push(timed(&mut way.shell(&tar)));
        fs::remove_dir_all(&to_other).unwrap();
        times[4].push(timed(&mut way.shell(&rsync)));
        times[5].push(timed(&mut way.shell(&rsync)));
        fs::remove_dir_all(&to_other).unwrap();
    }
    let [first, second, plain, tar, rsync, rsync_again] =
        times.each_mut().map(|times| percentile(times, 0.5));
    println!("10,000 files of 4 KB over SSH on one machine, median of {RUNS} (ms):");
    println!(
        "  sky exec -d with --workdir: first {first:.0}, second {second:.0}; without: {plain:.0}"
    );
    println!("  tar | ssh: {tar:.0}; rsync -a -e ssh: first {rsync:.0}, second {rsync_again:.0}");
    report.add(
        &format!("10,000 files, first sync, the whole `sky exec -d` (`tar | ssh` {tar:.0} ms, `rsync` {rsync:.0} ms)"),
        format!("{first:.0} ms"),
        "≤ 2 × `tar | ssh`",
        first <= 2.0 * tar,
    );
    report.add(
        &format!("10,000 files, unchanged, the whole `sky exec -d` (without `--workdir` {plain:.0} ms, `rsync` {rsync_again:.0} ms)"),
        format!("{second:.0} ms"),
        "≤ 300 ms",
        second <= 300.0,
    );
}

/// The work directories of nodes on the host.
fn node_dirs(home: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let nodes = home.join(".sky/nodes");
    for set in fs::read_dir(nodes).into_iter().flatten().flatten() {
        for rank in fs::read_dir(set.path()).into_iter().flatten().flatten() {
            let place = rank.path().join("home/sky_workdir");
            if place.is_dir() {
                found.push(place);
            }
        }
    }
    found
}
