//! Logs: what is there at once in every state, and every byte once whatever happens to the follower or the server.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

use crate::cancel::{park, request, submitted, wait_status};
use crate::world::{Ran, World, kill, wait_until};

/// So long may a command take that is to return at once: a slow machine that runs many tests is allowed for.
const AT_ONCE: Duration = Duration::from_secs(2);

/// Runs a command that must return at once.
#[track_caller]
fn at_once(world: &World, state: &str, args: &[&str]) -> Ran {
    let begun = Instant::now();
    let child = world.spawn(args);
    let pid = child.id();
    let (send, receive) = std::sync::mpsc::channel();
    let watch = std::thread::spawn(move || {
        if receive.recv_timeout(AT_ONCE * 3).is_err() {
            kill(pid, "KILL");
        }
    });
    let ran = world.finish(child);
    // The watch may have given up already.
    send.send(()).ok();
    watch.join().expect("it watches");
    let took = begun.elapsed();
    assert!(took < AT_ONCE, "{state}: {args:?} took {took:?}\n{ran:?}");
    ran
}

/// Pids of the agents.
fn agents(world: &World) -> Vec<u32> {
    let all = world.processes().into_iter();
    all.filter(|(_, l)| l.contains("__agent"))
        .map(|(pid, _)| pid)
        .collect()
}

#[test]
fn the_log_of_a_request_is_shown_at_once_in_every_state() {
    let world = World::new();
    let succeeded = submitted(&world, &["launch", "-y", "--async", "-c", "demo", "true"]);
    wait_status(&world, &succeeded, &["SUCCEEDED"]);
    let failed = submitted(&world, &["exec", "--async", "absent", "true"]);
    wait_status(&world, &failed, &["FAILED"]);
    let waiting = park(&world);
    let pending = submitted(&world, &["exec", "--async", "stuck", "true"]);
    let cancelled = submitted(&world, &["exec", "--async", "stuck", "true"]);
    world.sky(&["api", "cancel", "-y", &cancelled]).ok();
    wait_status(&world, &cancelled, &["CANCELLED"]);
    let stopped = agents(&world);
    for pid in &stopped {
        kill(*pid, "STOP");
    }
    let running = submitted(&world, &["exec", "--async", "demo", "true"]);
    wait_status(&world, &running, &["RUNNING"]);
    for (state, id, code) in [
        ("PENDING", &pending, 0),
        ("WAITING", &waiting, 0),
        ("RUNNING", &running, 0),
        ("SUCCEEDED", &succeeded, 0),
        ("FAILED", &failed, 1),
        ("CANCELLED", &cancelled, 1),
    ] {
        assert_eq!(request(&world, id)["status"], state);
        for more in [&[][..], &["--tail", "1"]] {
            let args = [&["api", "logs", "--no-follow", id.as_str()], more].concat();
            let ran = at_once(&world, state, &args);
            assert!(ran.code == 0 || ran.code == code, "{state}: {ran:?}");
        }
    }
    for pid in stopped {
        kill(pid, "CONT");
    }
    wait_status(&world, &running, &["SUCCEEDED"]);
}

/// The status of a job.
fn job_status(world: &World, cluster: &str, job: &str) -> String {
    let ran = world.sky(&["queue", cluster]).ok();
    let row = |line: &&str| line.split_whitespace().next() == Some(job);
    let row = ran.stdout.lines().find(row).unwrap_or_default();
    let words = [
        "FAILED_SETUP",
        "SETTING_UP",
        "PENDING",
        "RUNNING",
        "SUCCEEDED",
        "FAILED",
        "CANCELLED",
    ];
    let found = words.into_iter().find(|w| row.contains(w));
    found.map_or(ran.stdout.clone(), str::to_owned)
}

/// Waits until a job has a status.
#[track_caller]
fn wait_job(world: &World, job: &str, wanted: &str) {
    wait_until(&format!("job {job} is {wanted}"), || {
        let status = job_status(world, "demo", job);
        if status == wanted {
            Ok(())
        } else {
            Err(status)
        }
    });
}

#[test]
fn the_log_of_a_job_is_shown_at_once_in_every_state() {
    let world = World::new();
    let setup = world.file(
        "setup.yaml",
        "setup: echo preparing; sleep 600\nrun: echo never\n",
    );
    let setup = setup.to_str().expect("utf-8");
    world.sky(&["launch", "-y", "-c", "demo", "echo one"]).ok();
    world
        .sky(&["exec", "demo", "echo two; exit 3"])
        .expect_code(100);
    world
        .sky(&["exec", "-d", "demo", "echo three; sleep 600"])
        .ok();
    world.sky(&["cancel", "-y", "demo", "3"]).ok();
    world.sky(&["launch", "-y", "-d", "-c", "demo", setup]).ok();
    wait_job(&world, "4", "SETTING_UP");
    // Jobs that fill the machine, until one has to wait.
    let mut last = 4;
    let pending = loop {
        last += 1;
        world
            .sky(&["exec", "-d", "demo", "echo filling; sleep 600"])
            .ok();
        let ran = world.sky(&["queue", "demo"]).ok();
        if ran.stdout.contains("PENDING") {
            break last.to_string();
        }
        assert!(last < 1000, "{}", ran.stdout);
    };
    for (job, state, text, code) in [
        ("1", "SUCCEEDED", ") one", 0),
        ("2", "FAILED", ") two", 100),
        ("3", "CANCELLED", "", 103),
        ("4", "SETTING_UP", "preparing", 101),
        ("5", "RUNNING", ") filling", 101),
        (pending.as_str(), "PENDING", "", 101),
    ] {
        wait_job(&world, job, state);
        if !text.is_empty() {
            wait_until("it has written", || {
                let ran = world.sky(&["logs", "demo", job, "--no-follow"]);
                if ran.all().contains(text) {
                    Ok(())
                } else {
                    Err(ran.all())
                }
            });
        }
        for more in [&[][..], &["--tail", "1"], &["--tail", "0"]] {
            let args = [&["logs", "demo", job, "--no-follow"], more].concat();
            let ran = at_once(&world, state, &args);
            assert!(ran.code == code || ran.code == 0, "{state}: {ran:?}");
        }
    }
    check_beyond_jobs(&world);
}

/// Where there is no job to show: it is said at once.
#[track_caller]
fn check_beyond_jobs(world: &World) {
    at_once(
        world,
        "no such job",
        &["logs", "demo", "9999", "--no-follow"],
    )
    .expect_code(102);
    world.sky(&["stop", "-y", "demo"]).ok();
    let ran = at_once(world, "stopped", &["logs", "demo", "1", "--no-follow"]);
    assert!(
        ran.all().contains("sky start demo") || ran.all().contains(") one"),
        "{ran:?}"
    );
    at_once(world, "no cluster", &["logs", "absent", "1", "--no-follow"]).expect_code(1);
}

/// A job that writes numbered lines: many at once, more than all buffers between it and a follower hold; then few,
/// until it is told to end.
fn talker(world: &World) -> String {
    let stop = world.cwd().join("stop");
    let go = world.cwd().join("go");
    format!(
        "seq -f 'line %.0f' 1 100; while [ ! -e {} ]; do sleep 0.02; done; \
         seq -f 'line %.0f xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx' 101 60000; \
         i=60000; while [ ! -e {} ]; do i=$((i+1)); echo line $i; sleep 0.02; done; echo line $((i+1)) is the last",
        go.display(),
        stop.display()
    )
}

/// A follower of job 1 and the file that it writes to.
struct Follower {
    process: Child,
    file: PathBuf,
}

/// Starts a follower.
fn follower(world: &World, name: &str) -> Follower {
    let path = |end| world.cwd().join(format!("{name}.{end}"));
    let file = |end| File::create(path(end)).expect("a file");
    let process = world
        .command(&["logs", "demo", "1", "--tail", "0"])
        .stdout(file("out"))
        .stderr(file("err"))
        .spawn()
        .expect("a follower");
    Follower {
        process,
        file: path("out"),
    }
}

/// Waits until a follower has seen a text.
fn wait_seen(follower: &Follower, text: &str) {
    wait_until(&format!("the follower sees `{text}`"), || {
        let seen = fs::read_to_string(&follower.file).unwrap_or_default();
        if seen.contains(text) {
            Ok(())
        } else {
            Err(format!("{} bytes", seen.len()))
        }
    });
}

/// Every number from 1 came once, in order, up to the last.
fn check_seen(mut follower: Follower) -> String {
    let status = follower.process.wait().expect("it ends with the job");
    let text = fs::read_to_string(&follower.file).expect("what it saw");
    let errors = fs::read_to_string(follower.file.with_extension("err")).unwrap_or_default();
    assert_eq!(status.code(), Some(0), "{errors}");
    let number = |line: &str| -> Option<u64> {
        line.split_once(") line ")?
            .1
            .split(' ')
            .next()?
            .trim()
            .parse()
            .ok()
    };
    let seen: Vec<u64> = text.lines().filter_map(number).collect();
    assert!(seen.len() > 60_000, "{} lines\n{errors}", seen.len());
    for (i, pair) in seen.windows(2).enumerate() {
        assert_eq!(pair[1], pair[0] + 1, "after line {i}\n{errors}");
    }
    assert!(seen[0] == 1 && text.contains("is the last"), "{errors}");
    text
}

/// How long followers sleep.
fn nap() -> Duration {
    let set = std::env::var("SKY_NAP_SECONDS").ok();
    Duration::from_secs(set.and_then(|v| v.parse().ok()).unwrap_or(4))
}

#[test]
fn a_follower_that_slept_goes_on_without_gap_or_repeat() {
    let world = World::new();
    world
        .sky(&["launch", "-y", "-d", "-c", "demo", &talker(&world)])
        .ok();
    let follower = follower(&world, "one");
    wait_seen(&follower, ") line 100");
    kill(follower.process.id(), "STOP");
    fs::write(world.cwd().join("go"), "").expect("the talker goes on");
    std::thread::sleep(nap());
    kill(follower.process.id(), "CONT");
    wait_seen(&follower, ") line 60010");
    fs::write(world.cwd().join("stop"), "").expect("the talker ends");
    check_seen(follower);
}

#[test]
fn a_follower_that_slept_while_the_server_died_goes_on_too() {
    let world = World::new();
    world
        .sky(&["launch", "-y", "-d", "-c", "demo", &talker(&world)])
        .ok();
    let follower = follower(&world, "one");
    wait_seen(&follower, ") line 100");
    kill(follower.process.id(), "STOP");
    fs::write(world.cwd().join("go"), "").expect("the talker goes on");
    std::thread::sleep(nap() / 2);
    kill(world.server_pid().expect("it runs"), "KILL");
    wait_until("it is gone", || {
        world
            .server_pid()
            .map_or(Ok(()), |pid| Err(pid.to_string()))
    });
    std::thread::sleep(nap() / 2);
    kill(follower.process.id(), "CONT");
    wait_seen(&follower, ") line 60010");
    // And once more while it is awake.
    kill(world.server_pid().expect("it runs again"), "KILL");
    wait_seen(&follower, ") line 60100");
    fs::write(world.cwd().join("stop"), "").expect("the talker ends");
    check_seen(follower);
}

#[test]
fn followers_of_one_job_see_the_same_whenever_they_come_and_whatever_dies() {
    let world = World::new();
    world
        .sky(&["launch", "-y", "-d", "-c", "demo", &talker(&world)])
        .ok();
    let early = follower(&world, "early");
    let slow = follower(&world, "slow");
    wait_seen(&early, ") line 100");
    wait_seen(&slow, ") line 100");
    kill(slow.process.id(), "STOP");
    fs::write(world.cwd().join("go"), "").expect("the talker goes on");
    // In the middle of the flood.
    let middle = follower(&world, "middle");
    wait_seen(&early, ") line 60010");
    let agent = agents(&world);
    for pid in &agent {
        kill(*pid, "KILL");
    }
    // The job goes on, and so does its log once the agent runs again.
    let begun = world.cwd().join("early.out");
    let length = || fs::metadata(&begun).map_or(0, |m| m.len());
    let before = length();
    wait_until("the agent runs again", || match agents(&world) {
        now if now.is_empty() || now == agent => Err(format!("{now:?}")),
        _ => Ok(()),
    });
    let late = follower(&world, "late");
    wait_until("the log goes on", || {
        let now = length();
        if now > before + 500 {
            Ok(())
        } else {
            Err(format!("{now} bytes"))
        }
    });
    wait_seen(&late, ") line 60010");
    kill(slow.process.id(), "CONT");
    fs::write(world.cwd().join("stop"), "").expect("the talker ends");
    let text = check_seen(early);
    for follower in [middle, late, slow] {
        assert!(check_seen(follower) == text, "they saw different logs");
    }
}
