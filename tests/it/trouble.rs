//! A damaged store and a full disk: said clearly, nothing made worse, and a way out.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use redb::ReadableTable as _;

use crate::agent::node::Node;
use crate::cancel::{submitted, wait_status};
use crate::world::{World, sky_binary, wait_for, wait_until};

/// A world whose server was used and stopped.
fn used() -> World {
    let world = World::new();
    world.sky(&["launch", "-y", "-c", "demo", "true"]).ok();
    world.sky(&["down", "-y", "demo"]).ok();
    world.sky(&["api", "stop"]).ok();
    wait_until("the server is gone", || {
        world
            .server_pid()
            .map_or(Ok(()), |pid| Err(pid.to_string()))
    });
    world
}

/// A damage.
type Damage = fn(&Path);

/// Writes bytes at a place of a file.
fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    let mut file = File::options().write(true).open(path).expect("it opens");
    file.seek(SeekFrom::Start(at)).expect("it seeks");
    file.write_all(bytes).expect("it is written");
}

/// Says in the store that a later release wrote it.
fn from_the_future(path: &Path) {
    const META: redb::TableDefinition<'_, &[u8], &[u8]> = redb::TableDefinition::new("meta");
    let db = redb::Database::open(path).expect("it opens");
    let txn = db.begin_write().expect("a transaction");
    {
        let mut table = txn.open_table(META).expect("the table");
        let old = table
            .get(b"schema".as_slice())
            .expect("a read")
            .expect("the version")
            .value()
            .to_vec();
        let text = String::from_utf8(old).expect("text");
        let new = text.replace("\"version\":", "\"version\":9");
        assert_ne!(text, new, "the version stands in it");
        table
            .insert(b"schema".as_slice(), new.as_bytes())
            .expect("a write");
    }
    txn.commit().expect("a commit");
}

#[test]
fn a_damaged_store_is_refused_untouched_with_a_way_out() {
    let cases: [(&str, Damage, &str); 6] = [
        (
            "empty",
            |path| fs::write(path, "").expect("written"),
            "is damaged",
        ),
        (
            "truncated",
            |path| {
                let file = File::options().write(true).open(path).expect("it opens");
                file.set_len(5_000).expect("it is cut");
            },
            "is damaged",
        ),
        (
            "another file",
            |path| fs::write(path, "hello ".repeat(5_000)).expect("written"),
            "is damaged",
        ),
        (
            "its head is garbage",
            |path| overwrite(path, 0, &[0xa5; 512]),
            "is damaged",
        ),
        ("of a later release", from_the_future, "newer sky"),
        (
            "a directory",
            |path| {
                fs::remove_file(path).expect("removed");
                fs::create_dir(path).expect("made");
            },
            "is damaged",
        ),
    ];
    let world = used();
    let store = world.state().join("store.redb");
    let whole = fs::read(&store).expect("a store");
    for (what, damage, text) in cases {
        damage(&store);
        let damaged = fs::read(&store).ok();
        let ran = world.sky(&["status"]);
        println!("{what}: exit {}\n{}", ran.code, ran.all());
        let ran = ran
            .expect_code(1)
            .shows(text)
            .shows("store.redb")
            .shows("Hint: ");
        assert!(!ran.all().contains("panicked"), "{what}: {ran:?}");
        let now = fs::read(&store).ok();
        assert!(now == damaged, "{what}: the file was changed");
        assert!(world.server_pid().is_none(), "{what}: no server is left");
        // The way out: a copy put back.
        drop(fs::remove_dir(&store));
        fs::write(&store, &whole).expect("the copy");
        world.sky(&["status"]).ok().shows("No existing clusters.");
        world.sky(&["api", "stop"]).ok();
    }
    // The other way out: an empty one.
    fs::write(&store, "").expect("written");
    world.sky(&["status"]).expect_code(1);
    fs::rename(&store, world.state().join("store.redb.damaged")).expect("moved");
    world.sky(&["status"]).ok().shows("No existing clusters.");
}

#[test]
fn machines_without_a_cluster_are_named_and_removed() {
    let world = World::new();
    let mark = world.cwd().join("mark");
    let job = format!("echo here > {}; sleep 1000", mark.display());
    world.sky(&["launch", "-y", "-d", "-c", "demo", &job]).ok();
    wait_for("the job runs", || mark.exists());
    world.sky(&["api", "stop"]).ok();
    wait_for("the server is gone", || world.server_pid().is_none());
    fs::remove_file(world.state().join("store.redb")).expect("it was there");
    // The new server knows nothing of the cluster.
    let told = world.sky(&["status", "-r"]).ok().all();
    let set = told
        .split("sky down --purge ")
        .nth(1)
        .and_then(|rest| rest.split(')').next())
        .unwrap_or_else(|| panic!("no stray is named in {told}"))
        .to_owned();
    assert!(set.starts_with("demo-"), "{set}");
    // Without the flag a name that is no cluster's stays a mistake, and so does one that is nothing at all.
    world
        .sky(&["down", "-y", &set])
        .expect_code(1)
        .shows("not found");
    world
        .sky(&["down", "-y", "--purge", "nosuch"])
        .expect_code(1)
        .shows("cluster `nosuch` does not exist");
    world
        .sky(&["down", "-y", "--purge", &set])
        .ok()
        .shows("Removed machines on Local that belonged to no cluster");
    let left = world.processes();
    let is_ours =
        |(_, line): &&(u32, String)| line.contains("__agent") || line.contains("sleep 1000");
    assert!(left.iter().find(is_ours).is_none(), "{left:?}");
    assert!(!world.state().join("local").join(&set).exists());
}

#[test]
fn an_agent_leaves_a_store_of_a_later_release_as_it_is() {
    let root = tempfile::tempdir().expect("a directory");
    let mut node = Node::start(root.path(), "n");
    node.configure_alone(1.0);
    node.kill_agent();
    let store = node.dir.join("agent/store.redb");
    from_the_future(&store);
    let before = fs::read(&store).expect("a store");
    let refused = Command::new(sky_binary())
        .args(["__agent", "--ready-fd", "1", "--dir"])
        .arg(&node.dir)
        .output()
        .expect("it runs");
    let told = String::from_utf8_lossy(&refused.stdout);
    assert!(!refused.status.success(), "{told}");
    assert!(told.contains("newer sky"), "{told}");
    let after = fs::read(&store).expect("a store");
    assert!(after == before, "the file was changed");
}

#[test]
fn garbage_in_the_middle_of_the_store_is_never_served_and_never_crashes() {
    let world = used();
    let store = world.state().join("store.redb");
    let whole = fs::read(&store).expect("a store");
    let length = whole.len() as u64;
    println!("{length} bytes");
    for part in 1..8 {
        let at = length / 8 * part;
        overwrite(
            &store,
            at,
            &vec![0xa5; usize::try_from(length / 8).expect("it fits")],
        );
        let damaged = fs::read(&store).expect("it is there");
        let ran = world.sky(&["status"]);
        println!("part {part}: exit {}: {}", ran.code, ran.all());
        assert!(!ran.all().contains("panicked"), "{ran:?}");
        if ran.code == 0 {
            // Nothing stood there that is needed.
            world.sky(&["api", "stop"]).ok();
        } else {
            let ran = ran.expect_code(1).shows("store");
            assert!(ran.all().contains("Hint: "), "{ran:?}");
            if world.server_pid().is_none() {
                let after = fs::read(&store).expect("it is there");
                assert!(after == damaged, "part {part}: the file was changed");
            } else {
                world.sky(&["api", "stop"]);
            }
        }
        wait_until("the server is gone", || {
            world
                .server_pid()
                .map_or(Ok(()), |pid| Err(pid.to_string()))
        });
        fs::write(&store, &whole).expect("the copy");
    }
    world.sky(&["status"]).ok();
}

/// A small file system, unmounted at the end.
struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// Mounts it; none where that is not permitted.
    fn mount(path: PathBuf, megabytes: u32) -> Option<Self> {
        fs::create_dir_all(&path).expect("a directory");
        let size = format!("size={megabytes}m,mode=0700");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "sky-test"])
            .arg(&path)
            .status();
        mounted.ok()?.success().then_some(Self { path })
    }

    /// Takes all space that is left.
    fn fill(&self) {
        let mut file = File::options()
            .create(true)
            .append(true)
            .open(self.path.join("filler"))
            .expect("a file");
        for size in [1 << 20, 4096, 64, 1] {
            let piece = vec![b'x'; size];
            while file.write_all(&piece).is_ok() {}
        }
    }

    /// Gives it back.
    fn free(&self) {
        fs::remove_file(self.path.join("filler")).expect("it is there");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: processes of the world die after it.
        drop(Command::new("umount").arg("-l").arg(&self.path).status());
    }
}

#[test]
fn a_full_disk_refuses_requests_keeps_jobs_and_recovers() {
    let world = World::new();
    let disk = SmallDisk::mount(world.state(), 48)
        .expect("this test mounts a small file system: run it as root, where that is permitted");
    let marks = world.cwd().join("marks");
    let beat = format!("while :; do echo x >> {}; sleep 0.1; done", marks.display());
    world.sky(&["launch", "-y", "-d", "-c", "demo", &beat]).ok();
    let beats = || fs::metadata(&marks).map_or(0, |m| m.len());
    wait_until("the job beats", || {
        if beats() > 0 {
            Ok(())
        } else {
            Err("silent".into())
        }
    });

    disk.fill();
    // What has space of its own inside of the files may still be let in; soon nothing is.
    let refused = wait_until("a request is refused", || {
        disk.fill();
        let ran = world.sky(&["exec", "--async", "demo", "echo hi"]);
        if ran.code == 0 {
            Err(ran.all())
        } else {
            Ok(ran)
        }
    });
    println!("refused: {}", refused.all());
    assert_eq!(refused.code, 1, "{refused:?}");
    let text = refused.all().to_lowercase();
    assert!(
        text.contains("no space left") || text.contains("disk is full"),
        "{refused:?}"
    );
    let before = beats();
    wait_until("the job goes on", || {
        if beats() > before + 6 {
            Ok(())
        } else {
            Err(beats().to_string())
        }
    });
    assert!(world.server_pid().is_some(), "the server lives");
    // What only reads may need no space: either an answer or the reason, at once.
    let ran = world.sky(&["status"]);
    println!("status on a full disk: {} {}", ran.code, ran.all());
    assert!(
        ran.code == 0 || ran.all().to_lowercase().contains("space"),
        "{ran:?}"
    );

    disk.free();
    world
        .sky(&["exec", "demo", "echo again"])
        .ok()
        .shows(") again");
    let id = submitted(&world, &["exec", "--async", "demo", "true"]);
    wait_status(&world, &id, &["SUCCEEDED"]);
    let before = beats();
    wait_until("the job still goes on", || {
        if beats() > before {
            Ok(())
        } else {
            Err(beats().to_string())
        }
    });
    world.sky(&["cancel", "-y", "demo", "1"]).ok();
    world.sky(&["down", "-y", "demo"]).ok();
    let mut log = String::new();
    if let Ok(mut file) = File::open(world.state().join("server.log")) {
        file.read_to_string(&mut log).expect("text");
    }
    assert!(!log.contains("panicked"), "{log}");
}
