//! Hundreds of submissions at once, from one loop and from many: each accepted exactly once, each ends.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Mutex;

use crate::world::{World, wait_until};

/// The resident memory of a process in MB.
fn resident_mb(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a status");
    let line = status
        .lines()
        .find(|l| l.starts_with("VmRSS:"))
        .expect("VmRSS");
    line.split_whitespace()
        .nth(1)
        .and_then(|kb| kb.parse::<u64>().ok())
        .expect("a number")
        / 1024
}

fn submit(world: &World, i: usize) -> String {
    let marks = world.cwd().join("marks");
    let command = format!("echo {i} >> {}", marks.display());
    let ran = world.sky(&["exec", "--async", "demo", &command]).ok();
    ran.all()
        .split_whitespace()
        .map(|w| w.trim_matches(|c: char| !c.is_ascii_hexdigit() && c != '-'))
        .find(|w| w.len() == 36)
        .map_or_else(|| panic!("no request id in\n{}", ran.all()), str::to_owned)
}

#[test]
fn three_hundred_from_a_loop_and_three_hundred_from_32_loops() {
    let world = World::new();
    fs::write(world.cwd().join("marks"), "").expect("a file for the marks");
    world.sky(&["launch", "-y", "-c", "demo", "true"]).ok();

    let ids = Mutex::new(BTreeSet::new());
    for i in 0..300 {
        ids.lock().expect("not poisoned").insert(submit(&world, i));
    }
    std::thread::scope(|scope| {
        for thread in 0..32 {
            let (world, ids) = (&world, &ids);
            scope.spawn(move || {
                for i in (300..600).skip(thread).step_by(32) {
                    let id = submit(world, i);
                    ids.lock().expect("not poisoned").insert(id);
                }
            });
        }
    });
    assert_eq!(
        ids.lock().expect("not poisoned").len(),
        600,
        "each has an id of its own"
    );
    wait_until("all jobs have ended", || {
        let lines = fs::read_to_string(world.cwd().join("marks"))
            .expect("marks")
            .lines()
            .count();
        if lines >= 600 {
            Ok(())
        } else {
            Err(format!("{lines} of 600"))
        }
    });
    let marks = fs::read_to_string(world.cwd().join("marks")).expect("marks");
    let distinct: BTreeSet<&str> = marks.lines().collect();
    assert_eq!(
        (marks.lines().count(), distinct.len()),
        (600, 600),
        "each ran exactly once"
    );
    let server = world.server_pid().expect("the server runs");
    let resident = resident_mb(server);
    assert!(resident < 60, "the server holds {resident} MB");
    let open = world.sky(&["api", "status", "-o", "json"]).ok().json();
    assert_eq!(open.as_array().map(Vec::len), Some(0), "{open}");
}
