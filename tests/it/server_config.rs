//! The server's configuration file: what it says holds, and a mistake in it is told at the start.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::world::{World, wait_for, wait_until};

/// Writes the server's file.
fn configure(world: &World, text: &str) {
    fs::create_dir_all(world.state()).expect("a directory");
    fs::write(world.state().join("config.yaml"), text).expect("written");
}

/// Ends the server, so that the next command starts one.
fn stop(world: &World) {
    world.sky(&["api", "stop"]).ok();
    wait_for("the server is gone", || world.server_pid().is_none());
}

#[test]
fn only_allowed_infra_takes_new_work() {
    let world = World::new();
    world.sky(&["launch", "-y", "-c", "old", "true"]).ok();
    stop(&world);
    configure(&world, "allowed_clouds: [aws]\n");
    world
        .sky(&["check"])
        .shows("Local: disabled")
        .shows("`allowed_clouds` in the server's configuration leaves it out")
        .shows("add `local` there");
    for args in [
        &["launch", "-y", "-c", "new", "true"][..],
        &["launch", "-y", "-c", "new", "--infra", "local", "true"],
    ] {
        world
            .sky(args)
            .expect_code(1)
            .shows("no infra is enabled")
            .shows("`allowed_clouds` in the server's configuration leaves out local");
    }
    // What exists goes on.
    world
        .sky(&["exec", "old", "echo still"])
        .ok()
        .shows(") still");
    world.sky(&["down", "-y", "old"]).ok();
    stop(&world);
    configure(&world, "allowed_clouds: [Local, aws]\n");
    world.sky(&["launch", "-y", "-c", "new", "echo hi"]).ok();
}

#[test]
fn finished_requests_stay_as_long_as_configured() {
    let world = World::new();
    world.sky(&["launch", "-y", "-c", "demo", "true"]).ok();
    let listed = || {
        let rows = world
            .sky(&["api", "status", "-a", "-o", "json"])
            .ok()
            .json();
        rows.as_array().expect("rows").clone()
    };
    let launches = |rows: &[serde_json::Value]| {
        let named = |row: &&serde_json::Value| row.to_string().contains("launch");
        rows.iter().filter(named).count()
    };
    assert_eq!(launches(&listed()), 1);
    stop(&world);
    configure(&world, "api_server: {requests_retention_hours: 100}\n");
    assert_eq!(launches(&listed()), 1, "it is young");
    stop(&world);
    configure(&world, "api_server: {requests_retention_hours: 0}\n");
    wait_for("the old request is deleted", || launches(&listed()) == 0);
    world.sky(&["status"]).ok().shows("demo");
}

#[test]
fn a_mistake_in_the_file_is_told_and_no_server_starts() {
    let world = World::new();
    for (text, told) in [
        ("allowed_cloud: [local]\n", "did you mean `allowed_clouds`?"),
        ("allowed_clouds: [lcoal]\n", "did you mean `local`?"),
        (
            "api_server: {max_long_requests: many}\n",
            "a whole number from 1",
        ),
        ("a: [\n", "config.yaml:2"),
    ] {
        configure(&world, text);
        let ran = world.sky(&["status"]).expect_code(1).shows(told);
        assert!(ran.stderr.contains("api_server/config.yaml"), "{ran:?}");
        assert!(world.server_pid().is_none(), "{text}");
    }
    configure(&world, "workspaces: {team: {private: true}}\n");
    world
        .sky(&["status"])
        .ok()
        .shows("this release does not obey `workspaces`");
}

#[test]
fn without_a_file_of_its_own_the_server_reads_that_of_its_account() {
    let world = World::new();
    fs::create_dir_all(world.home().join(".sky")).expect("a directory");
    let own = world.home().join(".sky/config.yaml");
    fs::write(own, "allowed_clouds: [kubernetes]\n").expect("written");
    world
        .sky(&["launch", "-y", "true"])
        .expect_code(1)
        .shows("leaves out local");
    stop(&world);
    configure(&world, "");
    world.sky(&["launch", "-y", "-c", "demo", "true"]).ok();
}

#[test]
fn the_servers_log_stays_below_its_limit() {
    const LIMIT: u64 = 5_000;
    let world = World::new().env("SKY_LOG", "debug");
    configure(
        &world,
        &format!("api_server: {{daemon_log_max_bytes: {LIMIT}}}\n"),
    );
    world.sky(&["api", "start"]).ok();
    let log = world.state().join("server.log");
    let aside = world.state().join("server.log.1");
    // A follower sees its file to the end and is not left waiting when the next one begins.
    let follower = world.spawn(&["api", "logs", "--server-logs"]);
    let mut sent = 0;
    wait_until("several files were full", || {
        // At this level, each broken connection is a line.
        let mut stream = TcpStream::connect(("127.0.0.1", world.port())).expect("it listens");
        stream.write_all(b"nonsense\r\n\r\n").expect("sent");
        stream.read_to_end(&mut Vec::new()).expect("it closes");
        sent += 1;
        let sizes = [&log, &aside].map(|path| fs::metadata(path).map_or(0, |m| m.len()));
        assert!(sizes.iter().all(|size| *size <= LIMIT), "{sizes:?}");
        if sizes[1] > 0 && sent >= 200 {
            Ok(())
        } else {
            Err(format!("{sizes:?}"))
        }
    });
    let seen = world.finish(follower).ok();
    assert!(seen.stdout.contains("the server is ready"), "{seen:?}");
    let server = world.server_pid().expect("a server");
    let stderr = fs::read_link(format!("/proc/{server}/fd/2")).expect("it is open");
    assert_eq!(stderr, log, "panics go to the file of today");
}
