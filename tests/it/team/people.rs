//! Several people on one server: whose things are seen, and who may do what.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::thread;

use serde_json::{Value, json};

use super::{Team, basic, bearer, files_with, typed};
use crate::world::{World, kill, wait_until};

/// Names of the clusters that a command lists.
fn clusters(world: &World, more: &[&str]) -> Vec<String> {
    let mut args = vec!["status", "-o", "json"];
    args.extend_from_slice(more);
    let listed = world.sky(&args).ok().json();
    let rows = listed.as_array().expect("a list");
    let mut names: Vec<String> = rows
        .iter()
        .filter_map(|row| row["name"].as_str().map(str::to_owned))
        .collect();
    names.sort();
    names
}

#[test]
fn people_see_their_own_clusters_and_all_with_u() {
    let team = Team::start();
    team.user("ann", "user");
    team.user("bob", "user");
    let (ann, bob) = (team.machine_of("ann"), team.machine_of("bob"));
    let launch = |world: &World, name: &str| {
        world
            .sky(&["launch", "-y", "-c", name, "echo hello"])
            .ok()
            .shows(") hello");
    };
    thread::scope(|scope| {
        scope.spawn(|| launch(&ann, "anns"));
        scope.spawn(|| launch(&bob, "bobs"));
    });
    assert_eq!(clusters(&ann, &[]), ["anns"]);
    assert_eq!(clusters(&bob, &[]), ["bobs"]);
    assert_eq!(clusters(&bob, &["-u"]), ["anns", "bobs"]);
    bob.sky(&["status", "-u"]).ok().shows("USER").shows("ann");
    let admin = team.machine(&team.admin);
    assert!(clusters(&admin, &[]).is_empty());
    assert_eq!(clusters(&admin, &["-u"]), ["anns", "bobs"]);
    // Requests: their own, and nobody else's.
    let requests = |world: &World, more: &[&str]| -> Vec<String> {
        let mut args = vec!["api", "status", "-a", "-l", "all", "-o", "json"];
        args.extend_from_slice(more);
        let listed = world.sky(&args).ok().json();
        let rows = listed.as_array().expect("a list").clone();
        rows.iter()
            .filter_map(|row| row["user_name"].as_str().map(str::to_owned))
            .collect()
    };
    assert!(requests(&ann, &[]).iter().all(|name| name == "ann"));
    assert!(!requests(&ann, &[]).is_empty());
    let launches = |world: &World| -> Vec<String> {
        let args = ["api", "status", "-a", "-l", "all", "-o", "json"];
        let listed = world.sky(&args).ok().json();
        let rows = listed.as_array().expect("a list").clone();
        rows.iter()
            .filter(|row| row["name"].as_str().is_some_and(|n| n.ends_with("launch")))
            .filter_map(|row| row["request_id"].as_str().map(str::to_owned))
            .collect()
    };
    let anns = launches(&ann).first().cloned().expect("her launch");
    ann.sky(&["api", "logs", &anns, "--no-follow"]).ok();
    for args in [
        &["api", "logs", &anns, "--no-follow"][..],
        &["api", "get", &anns],
        &["api", "cancel", "-y", &anns],
    ] {
        bob.sky(args).expect_code(1);
    }
    admin.sky(&["api", "logs", &anns, "--no-follow"]).ok();
    // `down -a` means one's own.
    bob.sky(&["down", "-a", "-y"]).ok();
    assert_eq!(clusters(&bob, &["-u"]), ["anns"]);
}

#[test]
fn everybody_cancels_their_own_requests_and_only_admins_those_of_others() {
    let team = Team::start();
    team.user("ann", "user");
    team.user("bob", "user");
    let (ann, bob) = (team.machine_of("ann"), team.machine_of("bob"));
    ann.sky(&["launch", "-y", "-c", "anns", "echo hello"]).ok();
    team.agents("STOP");
    ann.sky(&["launch", "-y", "--async", "-c", "anns", "echo late"])
        .ok();
    bob.sky(&["api", "cancel", "-a", "-y"])
        .ok()
        .shows("No requests need to be cancelled.");
    bob.sky(&["api", "cancel", "-u", "-y"])
        .expect_code(1)
        .shows("admin");
    ann.sky(&["api", "cancel", "-a", "-y"])
        .ok()
        .shows("Cancelled request");
    team.agents("CONT");
    let unfinished = || {
        let listed = ann.sky(&["api", "status", "-o", "json"]).ok().json();
        listed.as_array().map_or(0, Vec::len)
    };
    wait_until("her requests have ended", || match unfinished() {
        0 => Ok(()),
        n => Err(format!("{n} requests")),
    });
}

#[test]
fn roles_limit_what_the_command_line_can_do() {
    let team = Team::start();
    team.user("ann", "user");
    team.user("vic", "viewer");
    let (ann, vic) = (team.machine_of("ann"), team.machine_of("vic"));
    ann.sky(&["launch", "-y", "-c", "anns", "echo hello"]).ok();
    assert_eq!(clusters(&vic, &["-u"]), ["anns"]);
    vic.sky(&["logs", "anns", "1"]).ok().shows("hello");
    vic.sky(&["queue", "-u", "anns"]).ok().shows("SUCCEEDED");
    for args in [
        &["launch", "-y", "-c", "vics", "echo no"][..],
        &["exec", "anns", "echo no"],
        &["cancel", "-y", "anns", "-a"],
        &["stop", "-y", "anns"],
        &["down", "-y", "anns"],
        &["autostop", "-y", "anns", "-i", "5"],
        &["check"],
    ] {
        let ran = vic.sky(args).expect_code(1);
        assert!(
            ran.all().contains("your role does not permit this"),
            "{args:?}: {}",
            ran.all()
        );
    }
    assert_eq!(clusters(&ann, &[]), ["anns"]);
    let users = |auth: &str| team.call("GET", "/users", Some(auth), "").status;
    assert_eq!(users(&basic("ann", "pw-ann-pw")), 403);
    assert_eq!(users(&basic("vic", "pw-vic-pw")), 403);
    assert_eq!(users(&bearer(&team.admin)), 200);
    let metrics = |auth: &str| team.call("GET", "/metrics", Some(auth), "").status;
    assert_eq!(metrics(&basic("ann", "pw-ann-pw")), 403);
    assert_eq!(metrics(&bearer(&team.admin)), 200);
    // Nobody gives themselves more than they have.
    let listed = team
        .call("GET", "/users", Some(&bearer(&team.admin)), "")
        .json();
    let ann_id = listed
        .as_array()
        .and_then(|rows| rows.iter().find(|row| row["name"] == "ann"))
        .and_then(|row| row["id"].as_str())
        .expect("ann");
    let promote = json!({"user_id": ann_id, "role": "admin"}).to_string();
    let reply = team.call(
        "POST",
        "/users/update",
        Some(&basic("ann", "pw-ann-pw")),
        &promote,
    );
    assert_eq!(reply.status, 403, "{reply:?}");
    let token = json!({"token_name": "t", "role": "admin"}).to_string();
    let path = "/users/service-account-tokens";
    let reply = team.call("POST", path, Some(&basic("ann", "pw-ann-pw")), &token);
    assert_eq!(reply.status, 403, "{reply:?}");
}

#[test]
fn a_token_works_until_it_is_revoked() {
    let team = Team::start();
    let made: Value = team.admin(
        "/users/service-account-tokens",
        &json!({"token_name": "ci", "role": "user"}),
    );
    let token = made["token"].as_str().expect("a text").to_owned();
    let id = made["token_id"].as_str().expect("an id");
    let ci = World::new();
    ci.sky(&["api", "login", "-e", &team.url(), "-t", &token])
        .ok();
    ci.sky(&["status"]).ok();
    assert!(files_with(&team.world.home(), &token).is_empty());
    // Rotated: the old text is worth nothing, the new one works.
    let rotated = team.admin(
        "/users/service-account-tokens/rotate",
        &json!({"token_id": id}),
    );
    ci.sky(&["status"]).expect_code(1).shows("sky api login");
    let token = rotated["token"].as_str().expect("a text").to_owned();
    ci.sky(&["api", "login", "-e", &team.url(), "-t", &token])
        .ok();
    ci.sky(&["status"]).ok();
    team.admin(
        "/users/service-account-tokens/delete",
        &json!({"token_id": id}),
    );
    let ran = ci.sky(&["status"]).expect_code(1).shows("sky api login");
    assert!(!ran.all().contains(&token), "{}", ran.all());
    // A password that was changed, a user that was deleted.
    let ann = team.user("ann", "user");
    let machine = team.machine_of("ann");
    machine.sky(&["status"]).ok();
    team.admin(
        "/users/update",
        &json!({"user_id": ann, "password": "another-one"}),
    );
    machine
        .sky(&["status"])
        .expect_code(1)
        .shows("sky api login");
    let url = team.url().replace("//", "//ann:another-one@");
    machine.sky(&["api", "login", "-e", &url]).ok();
    team.admin("/users/delete", &json!({"user_id": ann}));
    machine
        .sky(&["status"])
        .expect_code(1)
        .shows("sky api login");
}

#[test]
fn a_log_in_with_a_browser_lasts_until_logout() {
    let team = Team::start();
    team.user("ann", "user");
    let world = World::new();
    let mut child = world.spawn(&["api", "login", "-e", &team.url(), "--no-browser"]);
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    let page = lines
        .find_map(|line| {
            let line = line.ok()?;
            line.contains("code_challenge=").then_some(line)
        })
        .expect("the address of the page");
    let (_, challenge) = page.trim().split_once("code_challenge=").expect("a code");
    let body = json!({ "code_challenge": challenge }).to_string();
    let ann = basic("ann", "pw-ann-pw");
    let reply = team.call("POST", "/api/v1/auth/authorize", Some(&ann), &body);
    assert_eq!(reply.status, 200, "{reply:?}");
    world.finish(child).ok().shows("Logged into").shows("ann");
    world.sky(&["api", "info"]).ok().shows("ann");
    world.sky(&["status"]).ok();
    let file = world.home().join(".sky/cookies.txt");
    let mode = std::fs::metadata(&file).expect("kept").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    world.sky(&["api", "logout"]).ok();
    let kept = std::fs::read_to_string(&file).expect("text");
    assert!(!kept.contains("sky_session"), "{kept}");
}

#[test]
fn hints_name_the_server_of_the_team() {
    let team = Team::start();
    let world = team.machine(&team.admin);
    world
        .sky(&["launch", "-y", "-c", "demo", "echo hello"])
        .ok();
    let ran = world
        .sky(&["exec", "--async", "demo", "echo async"])
        .ok()
        .shows("View logs: sky api logs");
    let id = ran
        .all()
        .split_whitespace()
        .skip_while(|word| *word != "logs")
        .nth(1)
        .expect("an id")
        .to_owned();
    world.sky(&["api", "logs", &id]).ok();
    // The address in the hint works with credentials, for curl and browsers alike.
    let path = format!("/api/stream?request_id={id}");
    let reply = team.call("GET", &path, Some(&bearer(&team.admin)), "");
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(team.call("GET", &path, None, "").status, 401);
    team.agents("STOP");
    let mut child = world.spawn(&["launch", "-y", "-c", "demo", "echo late"]);
    wait_until("the launch runs", || {
        let listed = world.sky(&["api", "status", "-o", "json"]).ok();
        if listed.stdout.contains("RUNNING") {
            Ok(())
        } else if let Ok(Some(status)) = child.try_wait() {
            Err(format!("the client has ended: {status}"))
        } else {
            Err(listed.stdout)
        }
    });
    kill(child.id(), "INT");
    let ran = world.finish(child);
    let address = format!("{}/api/stream?request_id=", team.url());
    let ran = ran
        .expect_code(1)
        .shows("⚙︎ Request will continue running asynchronously.")
        .shows(&address);
    let all = ran.all();
    let id = all
        .split(&address)
        .nth(1)
        .and_then(|rest| rest.split_whitespace().next());
    world
        .sky(&["api", "cancel", id.expect("an id")])
        .ok()
        .shows("Cancelled request");
    team.agents("CONT");
}

#[test]
fn whose_cluster_it_is_matters_only_to_others() {
    let team = Team::start();
    team.user("ann", "user");
    team.user("bob", "user");
    let (ann, bob) = (team.machine_of("ann"), team.machine_of("bob"));
    ann.sky(&["launch", "-y", "-c", "anns", "echo one"]).ok();
    // Her own cluster that is up needs no question, and nobody is there to answer one.
    ann.sky(&["launch", "-c", "anns", "echo two"])
        .ok()
        .shows(") two");
    let foreign = "Cluster 'anns' was created by another user (ann).";
    typed(&bob, &["launch", "-c", "anns", "echo no"], "n\n")
        .expect_code(1)
        .shows(foreign);
    typed(&bob, &["down", "anns"], "n\n")
        .expect_code(1)
        .shows(foreign);
    let ran = typed(&ann, &["down", "anns"], "n\n").expect_code(1);
    assert!(!ran.all().contains("another user"), "{}", ran.all());
    assert_eq!(clusters(&ann, &[]), ["anns"]);
    bob.sky(&["exec", "anns", "echo shared"])
        .ok()
        .shows(") shared");
    bob.sky(&["down", "-y", "anns"]).ok().shows(foreign);
    assert!(clusters(&ann, &["-u"]).is_empty());
}
