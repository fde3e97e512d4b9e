//! The account that runs the server: its own way in, starts and ends.

use std::io::Read as _;

use super::{Team, bearer, files_with};
use crate::world::{World, wait_until};

#[test]
fn the_servers_own_account_needs_no_credentials() {
    let mut team = Team::start();
    team.user("ann", "user");
    let ann = team.machine_of("ann");
    ann.sky(&["launch", "-y", "-c", "anns", "echo hello"]).ok();
    let local = &team.world;
    local.sky(&["status"]).ok().shows("No existing clusters.");
    local.sky(&["status", "-u"]).ok().shows("anns").shows("ann");
    // On the team's port even this account is nobody without credentials.
    assert_eq!(team.call("GET", "/users", None, "").status, 401);
    local.sky(&["api", "stop"]).ok().shows("stopped");
    let status = team.server.take().expect("it ran").wait().expect("it ends");
    assert_eq!(status.code(), Some(0), "{}", team.printed());
}

#[test]
fn a_server_in_the_background_shows_its_token_once() {
    let world = World::new();
    let url = world.url();
    let ran = world.sky(&["api", "start", "--deploy"]).ok();
    let all = ran.all();
    let token = all.split_whitespace().find(|w| w.starts_with("sky_"));
    let token = token.unwrap_or_else(|| panic!("no token in {all}"));
    assert!(
        files_with(&world.home(), token).is_empty(),
        "the token is kept somewhere"
    );
    let user = World::new();
    user.sky(&["api", "login", "-e", &url, "-t", token])
        .ok()
        .shows("admin");
    user.sky(&["launch", "-y", "-c", "far", "echo hello"])
        .ok()
        .shows(") hello");
    // Whoever is nobody to it does not get in.
    let stranger = World::new().env("SKYPILOT_API_SERVER_ENDPOINT", &url);
    stranger.sky(&["status", "-u"]).expect_code(1);
    world.sky(&["api", "start"]).ok().shows("already running");
    world.sky(&["api", "stop"]).ok();
    let ran = world.sky(&["api", "start", "--deploy"]).ok();
    assert!(!ran.all().contains("sky_"), "{}", ran.all());
    user.sky(&["status"]).ok().shows("far");
}

#[test]
fn a_follower_does_not_notice_a_restart() {
    let mut team = Team::start();
    let world = team.machine(&team.admin);
    world.sky(&["launch", "-y", "-c", "demo", "true"]).ok();
    let gate = world.cwd().join("gate");
    let script = format!(
        "echo first; while [ ! -e {} ]; do sleep 0.05; done; echo last",
        gate.display()
    );
    world.sky(&["exec", "-d", "demo", &script]).ok();
    let mut child = world.spawn(&["logs", "demo", "2"]);
    let mut stdout = child.stdout.take().expect("an output");
    let mut seen = String::new();
    let mut piece = [0; 1024];
    while !seen.contains(") first") {
        let n = stdout.read(&mut piece).expect("it can be read");
        assert!(n > 0, "it ends after {seen}");
        seen.push_str(&String::from_utf8_lossy(&piece[..n]));
    }
    team.stop();
    team.serve(&[]);
    std::fs::write(&gate, "").expect("a file");
    stdout.read_to_string(&mut seen).expect("text");
    assert!(child.wait().expect("it ends").success(), "{seen}");
    assert_eq!(seen.matches(") first").count(), 1, "{seen}");
    assert_eq!(seen.matches(") last").count(), 1, "{seen}");
}

#[test]
fn requests_of_a_user_outlive_a_restart_as_theirs() {
    let mut team = Team::start();
    team.user("ann", "user");
    let ann = team.machine_of("ann");
    let task = ann.file("t.yaml", "workdir: wd\nrun: cat a.txt\n");
    ann.file("wd/a.txt", "from ann\n");
    let task = task.to_str().expect("utf-8");
    let ran = ann
        .sky(&["launch", "-y", "--async", "-c", "anns", task])
        .ok();
    let text = ran.all();
    let id = text
        .split("request: ")
        .nth(1)
        .and_then(|rest| rest.split_whitespace().next());
    let id = id.expect("an id");
    team.stop();
    team.serve(&[]);
    ann.sky(&["api", "logs", id]).ok();
    wait_until("her job has run", || {
        let ran = ann.sky(&["logs", "anns", "1"]);
        if ran.code == 0 && ran.all().contains("from ann") {
            Ok(())
        } else {
            Err(format!("{ran:?}"))
        }
    });
    let path = format!("/api/stream?request_id={id}");
    let reply = team.call("GET", &path, Some(&bearer(&team.admin)), "");
    assert_eq!(reply.status, 200, "{reply:?}");
}
