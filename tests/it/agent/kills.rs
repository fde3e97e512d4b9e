//! Trees that do not want to die, and deaths that nobody expected.

use std::time::{Duration, Instant};

use serde_json::json;

use super::node::{Node, spec};
use crate::world::{Dice, kill, lives, processes_with, setting, sky_binary, wait_for, wait_until};

/// Reads process ids that a job wrote, one a line.
fn pids(node: &Node, count: usize) -> Vec<u32> {
    let path = node.dir.join("home/pids");
    let mut found = Vec::new();
    wait_for("the job wrote its process ids", || {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        found = text.lines().filter_map(|line| line.parse().ok()).collect();
        found.len() >= count
    });
    found
}

/// A script whose processes do what they can to survive.
const STUBBORN: &str = "
trap '' TERM
echo $$ >> ~/pids
(setsid bash -c 'trap \"\" TERM; echo $$ >> ~/pids; while :; do sleep 1000; done' &) &
(setsid setsid bash -c 'echo $$ >> ~/pids; exec sleep 1000' >/dev/null 2>&1 &)
while :; do sleep 1000; done
";

#[test]
fn cancel_ends_the_whole_tree_within_its_grace() {
    let root = tempfile::tempdir().expect("a directory");
    let node = Node::start(root.path(), "n");
    node.configure_alone(0.5);
    let job = node.submit(&spec(STUBBORN));
    let pids = pids(&node, 3);
    let begun = Instant::now();
    let answer = node.ask(
        "POST",
        "/v1/jobs/cancel",
        &json!({"which": "ids", "ids": [job]}),
    );
    assert_eq!(answer["ids"], json!([job]));
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    assert!(!pids.iter().any(|pid| lives(*pid)), "{pids:?}");
    assert_eq!(node.follow(job).1, "CANCELLED");
    // Again: nothing to do. Unknown: an error.
    let answer = node.ask(
        "POST",
        "/v1/jobs/cancel",
        &json!({"which": "ids", "ids": [job]}),
    );
    assert_eq!(answer["ids"], json!([]));
    let unknown = json!({"which": "ids", "ids": [99]}).to_string();
    assert_eq!(
        node.call("POST", "/v1/jobs/cancel", unknown.as_bytes()).0,
        404
    );
}

#[test]
fn what_a_finished_script_leaves_behind_is_ended() {
    let root = tempfile::tempdir().expect("a directory");
    let node = Node::start(root.path(), "n");
    node.configure_alone(0.5);
    let job = node.submit(&spec("setsid sleep 1000 & echo $! >> ~/pids; echo done"));
    let (text, status) = node.follow(job);
    assert_eq!(status, "SUCCEEDED", "{text}");
    let pids = pids(&node, 1);
    assert!(!lives(pids[0]));
}

#[test]
fn a_killed_supervisor_fails_the_job_and_leaves_nothing() {
    let root = tempfile::tempdir().expect("a directory");
    let node = Node::start(root.path(), "n");
    node.configure_alone(0.5);
    let job = node.submit(&spec(STUBBORN));
    let pids = pids(&node, 3);
    kill(supervisor(&node, job), "KILL");
    let (text, status) = node.follow(job);
    assert_eq!(status, "FAILED_DRIVER", "{text}");
    assert!(
        text.contains("was cut off: the supervisor of rank 0"),
        "{text}"
    );
    assert!(!pids.iter().any(|pid| lives(*pid)), "{pids:?}");
}

#[test]
fn jobs_do_not_notice_that_the_agent_was_killed() {
    let root = tempfile::tempdir().expect("a directory");
    let mut node = Node::start(root.path(), "n");
    node.configure_alone(0.5);
    let job = node.submit(&spec(
        "echo one; while [ ! -e ~/go ]; do sleep 0.02; done; echo two",
    ));
    wait_for("the first line is there", || {
        let log = node.dir.join("home/sky_logs/1-t/run.log");
        std::fs::read_to_string(log).is_ok_and(|text| text.contains("one"))
    });
    node.kill_agent();
    std::fs::write(node.dir.join("home/go"), "").expect("it writes");
    node.start_agent();
    let (text, status) = node.follow(job);
    assert_eq!(status, "SUCCEEDED", "{text}");
    assert_eq!(
        text.matches("one").count() + text.matches("two").count(),
        2,
        "{text}"
    );
    assert_eq!(text.matches("Job started").count(), 1, "{text}");
}

#[test]
fn supervisor_and_agent_killed_together_is_a_failed_driver() {
    let root = tempfile::tempdir().expect("a directory");
    let mut node = Node::start(root.path(), "n");
    node.configure_alone(0.5);
    let job = node.submit(&spec(STUBBORN));
    let pids = pids(&node, 3);
    let supervisor = supervisor(&node, job);
    node.kill_agent();
    kill(supervisor, "KILL");
    node.start_agent();
    assert_eq!(node.follow(job).1, "FAILED_DRIVER");
    assert!(!pids.iter().any(|pid| lives(*pid)), "{pids:?}");
}

#[test]
fn shutdown_ends_jobs_and_agent() {
    let root = tempfile::tempdir().expect("a directory");
    let mut node = Node::start(root.path(), "n");
    node.configure_alone(0.5);
    let job = node.submit(&spec(STUBBORN));
    let pids = pids(&node, 3);
    node.ask("POST", "/v1/shutdown", &json!(null));
    assert!(!pids.iter().any(|pid| lives(*pid)), "{pids:?}");
    node.agent.take().expect("it ran").wait().expect("it ended");
    node.start_agent();
    let info = node.get(&format!("/v1/jobs/{job}"));
    assert_eq!(info["status"], "FAILED_DRIVER");
    assert_eq!(info["reason"], "the node was stopped");
}

#[test]
fn whatever_is_killed_when_scripts_start_once_and_logs_stay_whole() {
    let root = tempfile::tempdir().expect("a directory");
    let mut node = Node::start(root.path(), "n");
    node.configure_alone(0.5);
    let mut dice = Dice::seeded("SKY_TEST_SEED");
    let rounds = rounds();
    for round in 1..=rounds {
        let script = format!(
            "echo {round} >> ~/starts; for i in 1 2 3 4 5; do echo line $i; sleep 0.01; done"
        );
        let mut job = spec(&script);
        job["setup"] = json!(format!("echo s{round} >> ~/starts"));
        let id = node.submit_as(&format!("round-{round}"), &job);
        std::thread::sleep(Duration::from_millis(dice.roll(120)));
        node.kill_agent();
        std::thread::sleep(Duration::from_millis(dice.roll(40)));
        node.start_agent();
        assert_eq!(node.submit_as(&format!("round-{round}"), &job), id);
        let (text, status) = node.follow(id);
        assert_eq!(status, "SUCCEEDED", "round {round}: {text}");
        for line in 1..=5 {
            assert_eq!(
                text.matches(&format!("line {line}\n")).count(),
                1,
                "round {round}: {text}"
            );
        }
    }
    let starts = std::fs::read_to_string(node.dir.join("home/starts")).expect("they ran");
    let mut expected = String::new();
    for round in 1..=rounds {
        expected.push_str(&["s", &round.to_string(), "\n", &round.to_string(), "\n"].concat());
    }
    assert_eq!(starts, expected);
}

/// The process id of a job's supervisor.
fn supervisor(node: &Node, job: u64) -> u32 {
    let path = node.dir.join(format!("jobs/{job}/run-0/started"));
    let text = std::fs::read_to_string(path).expect("it started");
    let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    u32::try_from(value["supervisor"]["pid"].as_u64().expect("a pid")).expect("a pid")
}

#[test]
fn of_many_supervisors_one_starts_the_script() {
    let root = tempfile::tempdir().expect("a directory");
    let place = root.path().join("run-0");
    std::fs::create_dir(&place).expect("made");
    let spec = json!({"token": "t", "home": root.path(), "log": root.path().join("log"), "grace_secs": 0.1});
    std::fs::write(place.join("spec.json"), spec.to_string()).expect("it writes");
    std::fs::write(place.join("prologue"), "").expect("it writes");
    std::fs::write(place.join("script"), "echo started; sleep 0.1").expect("it writes");
    let start = || {
        std::process::Command::new(sky_binary())
            .args(["__run", "--dir"])
            .arg(&place)
            .spawn()
            .expect("it starts")
    };
    let all: Vec<_> = (0..16).map(|_| start()).collect();
    for mut one in all {
        assert!(one.wait().expect("it ended").success());
    }
    start().wait().expect("it ended");
    let log = std::fs::read_to_string(root.path().join("log")).expect("it ran");
    assert_eq!(log, "started\n");
    let exit = std::fs::read_to_string(place.join("exit")).expect("it ended");
    assert_eq!(exit.trim(), "{\"code\":0}");
}

#[test]
fn random_deaths_leave_no_process_and_no_open_job() {
    let root = tempfile::tempdir().expect("a directory");
    let mut node = Node::start(root.path(), "n");
    node.configure_alone(0.3);
    let mut dice = Dice::seeded("SKY_TEST_SEED");
    let mark = uuid::Uuid::new_v4().to_string();
    for round in 1..=rounds() {
        let mut job = spec(&format!(
            "echo {round}. >> ~/starts; (setsid sleep 1000 &); (trap '' TERM; sleep 1000) & sleep 0.15"
        ));
        job["envs"] = json!({"TEST_MARK": mark});
        let id = node.submit(&job);
        std::thread::sleep(Duration::from_millis(dice.roll(150)));
        let action = dice.roll(5);
        if action == 1 || action == 2 {
            kill_supervisors(&mark);
        }
        if action == 3 || action == 4 {
            // Not waited for: the agent may die while it ends the tree.
            let dir = node.dir.clone();
            let cancel = std::thread::spawn(move || {
                let node = Node { dir, agent: None };
                node.try_call("POST", "/v1/jobs/cancel", b"{\"which\":\"all\"}");
            });
            std::thread::sleep(Duration::from_millis(dice.roll(30)));
            if action == 3 {
                cancel.join().expect("it answers");
            }
        }
        if action != 3 {
            node.kill_agent();
            if action == 2 {
                kill_supervisors(&mark);
            }
            node.start_agent();
        }
        let (text, status) = node.follow(id);
        let starts = std::fs::read_to_string(node.dir.join("home/starts")).unwrap_or_default();
        let count = starts
            .lines()
            .filter(|l| **l == format!("{round}."))
            .count();
        assert!(count <= 1, "round {round}, action {action}: {starts}");
        if status == "SUCCEEDED" {
            assert_eq!(count, 1, "round {round}, action {action}: {text}");
        }
        assert!(
            ["SUCCEEDED", "CANCELLED", "FAILED_DRIVER"].contains(&status.as_str()),
            "round {round}, action {action}: {status}: {text}"
        );
        let (supervisors, rest): (Vec<_>, Vec<_>) = marked(&mark)
            .into_iter()
            .partition(|(_, line)| line.contains(" __run "));
        assert_eq!(rest, [], "round {round}, action {action}: {status}");
        // A supervisor that was told not to start anything may still be on its way out.
        if !supervisors.is_empty() {
            wait_until("the supervisors have ended", || match marked(&mark) {
                left if left.is_empty() => Ok(()),
                left => Err(format!(
                    "round {round}, action {action}: {status}: {left:?}"
                )),
            });
        }
    }
    assert_eq!(node.get("/v1/jobs?unfinished=true"), json!([]));
}

/// Processes of jobs with the mark.
fn marked(mark: &str) -> Vec<(u32, String)> {
    processes_with(&format!("TEST_MARK={mark}"))
}

/// Kills all supervisors of marked jobs.
fn kill_supervisors(mark: &str) {
    for (pid, line) in marked(mark) {
        if line.contains(" __run ") {
            kill(pid, "KILL");
        }
    }
}

/// How many rounds a random test makes.
fn rounds() -> u64 {
    setting("SKY_TEST_ROUNDS", 12)
}
