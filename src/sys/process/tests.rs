#![expect(clippy::disallowed_methods, reason = "tests start real processes")]

use std::process::{Command, Stdio};
use std::time::Duration;

use super::table::parse_stat;
use super::*;

fn bash(script: &str) -> std::process::Child {
    Command::new("bash")
        .args(["-c", script])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("bash starts")
}

fn first_line(child: &mut std::process::Child) -> String {
    use std::io::BufRead;
    let mut line = String::new();
    std::io::BufReader::new(child.stdout.as_mut().expect("it is piped"))
        .read_line(&mut line)
        .expect("it speaks");
    line.trim().to_owned()
}

#[test]
fn stat_lines_with_hostile_names_are_read() {
    let tail = "S 7 8 9 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4242 1 2";
    for name in ["bash", "a b", "x) (y", "((", ") R 1 1"] {
        let entry = parse_stat(&format!("12 ({name}) {tail}")).expect("it reads");
        assert_eq!((entry.identity.pid, entry.identity.start), (12, 4242));
        assert_eq!((entry.parent, entry.session), (7, 9));
        assert!(!entry.dead);
    }
    assert_eq!(parse_stat("garbage"), None);
}

#[test]
fn own_identity_is_stable() {
    let me = identity(own_id()).expect("this process lives");
    assert_eq!(identity(me.pid), Some(me));
    assert!(!boot_id().is_empty());
}

#[tokio::test]
async fn a_tree_that_ignores_term_is_gone_after_its_grace() {
    let mut child = bash(
        "trap '' TERM; (trap '' TERM; sleep 1000 & sleep 1000) & echo ready; while :; do sleep 1000; done",
    );
    assert_eq!(first_line(&mut child), "ready");
    let root = identity(child.id()).expect("it lives");
    let find = || {
        let mut all = descendants(root.pid);
        all.extend(identity(root.pid));
        all
    };
    assert!(kill_all(find, Duration::from_millis(200)).await);
    assert_eq!(descendants(root.pid), []);
    child.wait().expect("it ended");
}

#[tokio::test]
async fn processes_are_found_by_their_mark() {
    let token = format!("SKY_TEST_MARK={}", uuid::Uuid::new_v4());
    let (name, value) = token.split_once('=').expect("it has a name");
    let mut child = Command::new("bash")
        .args(["-c", "setsid sleep 1000 & echo ready; wait"])
        .env(name, value)
        .stdout(Stdio::piped())
        .spawn()
        .expect("bash starts");
    assert_eq!(first_line(&mut child), "ready");
    assert!(marked(&token).iter().any(|p| p.pid == child.id()));
    assert!(kill_all(|| marked(&token), Duration::from_secs(5)).await);
    child.wait().expect("it ended");
    assert_eq!(marked(&token), []);
}

#[tokio::test]
async fn an_identity_of_the_past_gets_no_signal() {
    let mut child = bash("sleep 1000");
    let now = identity(child.id()).expect("it lives");
    let past = Identity {
        start: now.start - 1,
        ..now
    };
    assert!(!signal(past, rustix::process::Signal::KILL));
    assert!(Exit::of(past).expect("it can be asked").is_none());
    assert!(signal(now, rustix::process::Signal::KILL));
    child.wait().expect("it ended");
}
