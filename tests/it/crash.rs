//! `kill -9` of server, agent and client at random moments: nothing acknowledged is lost, nothing runs twice, no
//! follower misses or repeats a byte, every request ends, and nothing is left behind.
//!
//! `SKY_CRASH_ROUNDS` and `SKY_CRASH_SEED` choose how long and which way; the seed is printed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::world::{Dice, World, kill, setting, wait_until};

/// A submission and what is known of it.
struct Submission {
    mark: String,
    child: Child,
    killed: bool,
}

/// The request id in what `--async` prints.
fn request_id(text: &str) -> Option<String> {
    text.split_whitespace()
        .map(|word| word.trim_matches(|c: char| !c.is_ascii_hexdigit() && c != '-'))
        .find(|word| word.len() == 36 && word.matches('-').count() == 4)
        .map(str::to_owned)
}

#[test]
fn nothing_is_lost_or_done_twice_whatever_is_killed() {
    let rounds = setting("SKY_CRASH_ROUNDS", 200);
    let seed = setting("SKY_CRASH_SEED", u64::from(std::process::id()));
    println!("seed {seed}, {rounds} rounds");
    let mut dice = Dice(seed);
    let world = World::new();
    let marks = world.cwd().join("marks");
    fs::write(&marks, "").expect("a file for the marks");

    // A job that writes all the time, and a follower that must see each line exactly once.
    let stop = world.cwd().join("stop");
    let talk = format!(
        "i=0; while [ ! -e {} ]; do i=$((i+1)); echo line $i; sleep 0.02; done",
        stop.display()
    );
    world.sky(&["launch", "-y", "-d", "-c", "demo", &talk]).ok();
    let follower = world
        .command(&["logs", "demo", "1", "--tail", "0"])
        .stdout(Stdio::from(
            fs::File::create(world.cwd().join("followed")).expect("a file"),
        ))
        .stderr(Stdio::from(
            fs::File::create(world.cwd().join("follower.err")).expect("a file"),
        ))
        .spawn()
        .expect("a follower");

    let mut history = History::default();
    for round in 0..rounds {
        submit_and_strike(&world, &mut dice, round, &marks, &mut history);
    }
    settle(&world, &history.acknowledged);
    fs::write(&stop, "").expect("the talker stops");
    check_marks(&world, &history, &marks, seed);
    check_follower(&world, follower, seed);

    world.sky(&["down", "-y", "demo"]).ok();
    wait_until("only the server is left", || {
        let left: Vec<_> = world
            .processes()
            .into_iter()
            .filter(|(_, line)| !line.contains("__serve"))
            .collect();
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("{left:?}"))
        }
    });
}

/// What was accepted, and what of it was cancelled.
#[derive(Default)]
struct History {
    /// Mark to request.
    acknowledged: BTreeMap<String, String>,
    /// Requests.
    cancelled: BTreeSet<String>,
}

/// One round: submits something, kills something meanwhile, cancels some of what was accepted.
fn submit_and_strike(
    world: &World,
    dice: &mut Dice,
    round: u64,
    marks: &std::path::Path,
    history: &mut History,
) {
    let mark = format!("m{round}");
    let command = format!("echo {mark} >> {}", marks.display());
    let args: Vec<&str> = match dice.roll(4) {
        0 => vec!["launch", "-y", "--async", "-c", "demo", &command],
        _ => vec!["exec", "--async", "demo", &command],
    };
    let submission = Submission {
        mark,
        child: world.spawn(&args),
        killed: false,
    };
    let submission = strike(world, dice, submission);
    let killed = submission.killed;
    let mark = submission.mark;
    let ran = world.finish(submission.child);
    match request_id(&ran.all()) {
        Some(id) => {
            history.acknowledged.insert(mark, id.clone());
            if dice.roll(10) == 0 {
                world.sky(&["api", "cancel", "-y", &id]).ok();
                history.cancelled.insert(id);
            }
        }
        None => assert!(
            killed,
            "round {round}: not acknowledged, and not killed:\n{}",
            ran.all()
        ),
    }
}

/// Whatever succeeded ran exactly once, and nothing ran twice.
fn check_marks(world: &World, history: &History, marks: &std::path::Path, seed: u64) {
    let known = statuses(world, &history.acknowledged);
    let written = fs::read_to_string(marks).expect("marks");
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for line in written.lines() {
        *counts.entry(line).or_default() += 1;
    }
    for (mark, count) in &counts {
        assert_eq!(*count, 1, "seed {seed}: `{mark}` ran {count} times");
    }
    for (mark, id) in &history.acknowledged {
        let status = &known[id];
        if history.cancelled.contains(id) {
            continue;
        }
        assert!(
            status == "SUCCEEDED",
            "seed {seed}: request {id} of `{mark}` is {status}: {}",
            world.sky(&["api", "get", id]).all()
        );
        assert_eq!(
            counts.get(mark.as_str()),
            Some(&1),
            "seed {seed}: `{mark}` of request {id} did not run"
        );
    }
}

/// Kills something at a random moment, or nothing.
fn strike(world: &World, dice: &mut Dice, mut submission: Submission) -> Submission {
    let moment = Duration::from_micros(dice.roll(25_000));
    let until = Instant::now() + moment;
    while Instant::now() < until {
        std::thread::sleep(Duration::from_micros(100));
    }
    let victim = |word: &str| {
        world
            .processes()
            .into_iter()
            .find(|(_, line)| line.contains(word))
            .map(|(pid, _)| pid)
    };
    match dice.roll(6) {
        0 | 1 => {
            if let Some(pid) = victim("__serve") {
                kill(pid, "KILL");
                // A client whose server dies before the answer may give up: then nothing was acknowledged.
                submission.killed = true;
            }
        }
        2 => {
            if let Some(pid) = victim("__agent") {
                kill(pid, "KILL");
            }
        }
        3 => {
            kill(submission.child.id(), "KILL");
            submission.killed = true;
        }
        _ => {}
    }
    submission
}

/// The requests that have not ended.
fn unfinished(world: &World) -> Vec<String> {
    let open = world
        .sky(&["api", "status", "-o", "json", "-l", "all"])
        .ok()
        .json();
    open.as_array()
        .into_iter()
        .flatten()
        .filter(|r| r["name"] != "sky.logs")
        .map(|r| format!("{} {} {}", r["request_id"], r["name"], r["status"]))
        .collect()
}

/// Waits until every acknowledged request and every job but the talker has ended. However long the backlog is: it must
/// go on getting shorter.
fn settle(world: &World, acknowledged: &BTreeMap<String, String>) {
    let mut left = unfinished(world);
    while !left.is_empty() {
        left = wait_until("another request has ended", || {
            let now = unfinished(world);
            if now.len() < left.len() {
                Ok(now)
            } else {
                Err(now.join(", "))
            }
        });
    }
    wait_until("every job has ended", || {
        let ran = world.sky(&["queue", "demo", "-s"]).ok();
        let open = ran
            .stdout
            .lines()
            .filter(|l| l.contains("RUNNING") || l.contains("PENDING"))
            .count();
        if open <= 1 { Ok(()) } else { Err(ran.stdout) }
    });
    assert!(!acknowledged.is_empty(), "something was acknowledged");
}

/// The status of each acknowledged request: none is lost.
fn statuses(world: &World, acknowledged: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let all = world
        .sky(&["api", "status", "-a", "-o", "json", "-l", "all"])
        .ok()
        .json();
    let known: BTreeMap<String, String> = all
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|r| {
            Some((
                r["request_id"].as_str()?.to_owned(),
                r["status"].as_str()?.to_owned(),
            ))
        })
        .collect();
    for id in acknowledged.values() {
        assert!(known.contains_key(id), "request {id} is lost");
    }
    known
}

/// The follower saw every line of the talker once, in order.
fn check_follower(world: &World, mut follower: Child, seed: u64) {
    let ended = follower.wait().expect("the follower ends with the job");
    let text = fs::read_to_string(world.cwd().join("followed")).expect("what it saw");
    let errors = fs::read_to_string(world.cwd().join("follower.err")).unwrap_or_default();
    assert_eq!(ended.code(), Some(0), "seed {seed}: {errors}\n{text}");
    let lines: Vec<u64> = text
        .lines()
        .filter_map(|line| line.rsplit_once(") line ")?.1.trim().parse().ok())
        .collect();
    let expected: Vec<u64> = (1..=lines.len() as u64).collect();
    assert_eq!(
        lines, expected,
        "seed {seed}: lines are missing or repeated\n{errors}"
    );
    assert!(lines.len() > 10, "the talker spoke: {}", lines.len());
}
