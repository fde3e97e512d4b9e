//! The user's files on nodes: what arrives, what travels again, and what a broken connection or a kill leaves.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use crate::sshd::{Hosts, break_connections};
use crate::world::{Dice, World, kill, processes_of, wait_until};

/// Every path below a directory that ends like this.
fn find(dir: &Path, end: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.ends_with(end) {
            found.push(path.clone());
        }
        if path.is_dir() && !path.is_symlink() {
            found.extend(find(&path, end));
        }
    }
    found
}

/// The only path below a directory that ends like this.
#[track_caller]
fn find_one(dir: &Path, end: &str) -> PathBuf {
    let mut found = find(dir, end);
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

/// Bytes that do not compress.
fn noise(path: &Path, megabytes: usize) {
    let mut dice = Dice(7);
    let mut file = File::create(path).expect("a file");
    for _ in 0..megabytes {
        let words: Vec<u8> = (0..131_072)
            .flat_map(|_| dice.roll(u64::MAX).to_le_bytes())
            .collect();
        file.write_all(&words).expect("written");
    }
}

fn same(a: &Path, b: &Path) -> bool {
    fs::read(a).expect("readable") == fs::read(b).expect("readable")
}

#[test]
fn a_tree_arrives_as_it_is_and_only_changes_are_made_later() {
    let world = World::new();
    let work = world.cwd().join("work");
    let odd = work.join(OsStr::from_bytes(b"od\xffd/na\nme"));
    fs::create_dir_all(odd.parent().expect("a parent")).expect("made");
    fs::write(&odd, "odd").expect("written");
    fs::create_dir_all(work.join("empty/deep")).expect("made");
    world.file("work/run.sh", "echo ran\n");
    fs::set_permissions(work.join("run.sh"), Permissions::from_mode(0o751)).expect("set");
    symlink("run.sh", work.join("link")).expect("made");
    symlink("/nowhere", work.join("dangling")).expect("made");
    world.file("work/.gitignore", "*.log\n");
    world.file("work/noise.log", "not sent");
    world.file("work/a.txt", "one\n");
    noise(&work.join("big"), 6);
    let launch = |run: &str| world.sky(&["launch", "-y", "-c", "demo", "--workdir", "work", run]);
    launch("./run.sh; ls")
        .ok()
        .shows(") ran")
        .shows("✓ Synced workdir.");
    let node = find_one(&world.state(), "sky_workdir");
    assert!(node.join("empty/deep").is_dir());
    assert_eq!(
        fs::read_link(node.join("dangling")).expect("a link"),
        Path::new("/nowhere")
    );
    let mode = node
        .join("run.sh")
        .metadata()
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o751);
    assert!(node.join(OsStr::from_bytes(b"od\xffd/na\nme")).exists());
    assert!(!node.join("noise.log").exists());
    assert!(same(&work.join("big"), &node.join("big")));

    // A job writes beside and into what was sent; a file leaves the source, and one changes.
    world
        .sky(&[
            "exec",
            "demo",
            "echo mine > of-a-job; echo spoilt > a.txt; rm run.sh",
        ])
        .ok();
    fs::remove_file(work.join("big")).expect("removed");
    world.file("work/new/file", "new\n");
    world
        .sky(&[
            "exec",
            "demo",
            "--workdir",
            "work",
            "cat a.txt new/file of-a-job; ./run.sh",
        ])
        .ok()
        .shows(") one")
        .shows(") new")
        .shows(") mine")
        .shows(") ran");
    assert!(
        node.join("big").exists(),
        "what left the source stays on the node"
    );
    // The same size within the same second: still seen.
    for text in ["two\n", "six\n", "ten\n"] {
        world.file("work/a.txt", text);
        world
            .sky(&["exec", "demo", "--workdir", "work", "cat a.txt"])
            .ok()
            .shows(&format!(") {text}"));
    }
    world.sky(&["down", "-y", "demo"]).ok();
}

#[test]
fn every_node_gets_all_and_mounts_go_where_they_should() {
    let world = World::new();
    world.file("data/x/y.txt", "from a directory\n");
    world.file("one.txt", "from a file\n");
    let task = world.file(
        "task.yaml",
        "num_nodes: 2\nfile_mounts:\n  ~/deep/data: data\n  plain.txt: one.txt\nrun: cat ~/deep/data/x/y.txt ~/plain.txt\n",
    );
    let task = task.to_string_lossy();
    let ran = world
        .sky(&["launch", "-y", "-c", "duo", &task])
        .ok()
        .shows("✓ Synced file_mounts.");
    assert_eq!(
        ran.all().matches(") from a directory").count(),
        2,
        "{}",
        ran.all()
    );
    assert_eq!(
        ran.all().matches(") from a file").count(),
        2,
        "{}",
        ran.all()
    );
    world.sky(&["down", "-y", "duo"]).ok();
}

#[test]
fn what_cannot_be_synced_says_why() {
    let world = World::new();
    world.file("work/a/b", "x");
    let launch = |args: &[&str]| {
        let mut all = vec!["launch", "-y", "-c", "demo"];
        all.extend(args);
        world.sky(&all)
    };
    launch(&["true"]).ok();
    let exec = |run: &str| world.sky(&["exec", "demo", "--workdir", "work", run]);
    exec("rm a/b; mkdir -p a/b/c").ok();
    exec("true")
        .expect_code(1)
        .shows("is in the way")
        .shows("remove it there: rm -r '");
    for (mount, text) in [
        ("/data: work", "under the home directory"),
        ("~/x: nowhere", "nowhere"),
        ("~/x: s3://bucket/prefix", "there are no AWS credentials"),
    ] {
        let task = world.file("bad.yaml", &format!("file_mounts:\n  {mount}\nrun: true\n"));
        launch(&[&task.to_string_lossy()])
            .expect_code(1)
            .shows(text);
    }
    // The socket of a database, say, is not sent, and in nobody's way.
    let _socket = std::os::unix::net::UnixListener::bind(world.cwd().join("work/sock"));
    world.sky(&["exec", "demo", "rm -r a"]).ok();
    exec("cat a/b").ok();
    world.sky(&["down", "-y", "demo"]).ok();
}

#[test]
fn over_a_broken_connection_a_sync_goes_on_at_the_byte() {
    let world = World::new();
    let hosts = Hosts::start(&world, 1);
    let home = hosts.hosts[0].home();
    world.file("work/small", "small\n");
    noise(&world.cwd().join("work/big"), 120);
    world
        .sky(&["launch", "-y", "-c", "demo", "--infra", "ssh/lab", "true"])
        .ok();
    let child = world.spawn(&["exec", "demo", "--workdir", "work", "wc -c big; cat small"]);
    // Twice in the middle, with what has arrived so far as the measure.
    for megabytes in [10, 60] {
        wait_until("some of it arrived", || {
            let arrived = part_bytes(&home);
            if arrived > megabytes << 20 || find(&home, "sky_workdir/big").len() == 1 {
                Ok(())
            } else {
                Err(format!("{arrived} bytes"))
            }
        });
        assert!(break_connections(&world) > 0, "something was broken");
    }
    world
        .finish(child)
        .ok()
        .shows(") 125829120 big")
        .shows(") small");
    let arrived = find_one(&home, "sky_workdir/big");
    assert!(same(&world.cwd().join("work/big"), &arrived));
    let log = fs::read_to_string(find_one(&home, "agent.log")).expect("a log");
    assert!(log.contains("goes on with a file that broke off"), "{log}");
    assert_eq!(part_bytes(&home), 0, "nothing is left");
    world.sky(&["down", "-y", "demo"]).ok();
}

/// The bytes of files below a directory that have not arrived whole.
fn part_bytes(dir: &Path) -> u64 {
    let desks = find(dir, "agent/files").into_iter();
    let parts = desks.flat_map(|desk| fs::read_dir(desk).into_iter().flatten().flatten());
    let parts = parts.filter(|entry| entry.path().extension() == Some(OsStr::new("parts")));
    let files = parts.flat_map(|entry| fs::read_dir(entry.path()).into_iter().flatten().flatten());
    files
        .filter_map(|entry| entry.metadata().ok())
        .map(|meta| meta.len())
        .sum()
}

#[test]
fn a_killed_agent_or_server_leaves_what_the_next_sync_completes() {
    let world = World::new();
    for i in 0..500 {
        world.file(&format!("work/d{}/f{i}", i % 20), &format!("content {i}\n"));
    }
    noise(&world.cwd().join("work/big"), 60);
    world.sky(&["launch", "-y", "-c", "demo", "true"]).ok();
    let agent = |world: &World| {
        let agents = processes_of(&world.state());
        let agents = agents
            .into_iter()
            .filter(|(_, line)| line.contains("__agent"));
        agents.map(|(pid, _)| pid).next()
    };
    for who in ["agent", "server"] {
        world
            .sky(&["exec", "demo", "rm -rf ~/sky_workdir/* ; date"])
            .ok();
        let child = world.spawn(&["exec", "demo", "--workdir", "work", "cat d*/f* | wc -l"]);
        wait_until("some of it arrived", || match part_bytes(&world.state()) {
            0 if find(&world.state(), "sky_workdir/big").is_empty() => Err("nothing".to_owned()),
            _ => Ok(()),
        });
        let victim = if who == "agent" {
            agent(&world)
        } else {
            world.server_pid()
        };
        kill(victim.expect("it runs"), "KILL");
        let ran = world.finish(child);
        // The request itself survives: an agent is started again, a server goes on with what it stored.
        assert!(ran.code == 0, "{who}: {}", ran.all());
        assert!(ran.all().contains(") 500"), "{who}: {}", ran.all());
        let arrived = find_one(&world.state(), "sky_workdir/big");
        assert!(same(&world.cwd().join("work/big"), &arrived), "{who}");
        assert_eq!(part_bytes(&world.state()), 0, "{who}");
    }
    world.sky(&["down", "-y", "demo"]).ok();
}
