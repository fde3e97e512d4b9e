//! The craft of the command line: help, pipes, JSON, exit codes, completion.

use std::fs;
use std::process::{Command, Stdio};

use crate::world::{Ran, World};

/// Every command with what follows `sky`.
const COMMANDS: &[&str] = &[
    "launch",
    "exec",
    "status",
    "cost-report",
    "queue",
    "logs",
    "cancel",
    "stop",
    "autostop",
    "start",
    "down",
    "check",
    "gpus",
    "gpus list",
    "catalog",
    "catalog list",
    "catalog show",
    "catalog update",
    "api",
    "api start",
    "api stop",
    "api status",
    "api logs",
    "api get",
    "api cancel",
    "api info",
    "api login",
    "api logout",
];

/// Runs a command line that has no quotes.
fn sky(world: &World, line: &str) -> Ran {
    world.sky(&line.split(' ').collect::<Vec<_>>())
}

/// Panics when text meant for a terminal only is in the output.
#[track_caller]
fn is_plain(line: &str, ran: &Ran) {
    let all = ran.all();
    for forbidden in ["\u{1b}", "\r", "<sky-payload", "⠁"] {
        assert!(
            !all.contains(forbidden),
            "{forbidden:?} in `{line}`:\n{all}"
        );
    }
}

/// Replaces the numbers of processes.
fn without_pids(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("pid=") {
        out.push_str(&rest[..at + 4]);
        out.push('N');
        rest = rest[at + 4..].trim_start_matches(|c: char| c.is_ascii_digit());
    }
    out + rest
}

#[test]
fn every_command_explains_itself_with_examples() {
    let world = World::new();
    for command in COMMANDS {
        for flag in ["--help", "-h"] {
            let line = format!("{command} {flag}");
            let ran = sky(&world, &line).ok();
            assert!(ran.stderr.is_empty(), "{line}: {}", ran.stderr);
            for part in [&format!("Usage: sky {command}"), "Examples:\n  sky "] {
                assert!(
                    ran.stdout.contains(part),
                    "{part} in {line}:\n{}",
                    ran.stdout
                );
            }
            assert!(!ran.stdout.contains("\n\n\n"), "{line}:\n{}", ran.stdout);
            is_plain(&line, &ran);
        }
    }
    // A group alone explains itself, too; and nothing of this starts a server.
    for group in ["api", "gpus", "catalog"] {
        assert_eq!(
            sky(&world, group).ok().stdout,
            sky(&world, &format!("{group} --help")).ok().stdout
        );
    }
    assert!(world.server_pid().is_none(), "help starts no server");
}

#[test]
fn the_first_page_groups_all_commands() {
    let world = World::new();
    let help = sky(&world, "-h").ok().stdout;
    assert_eq!(help, world.sky(&[]).ok().stdout);
    let groups: Vec<&str> = help
        .lines()
        .filter(|line| line.ends_with(':') && !line.starts_with(' '))
        .collect();
    assert_eq!(
        groups,
        [
            "Run work:",
            "Clusters:",
            "Infra:",
            "API server:",
            "Options:",
            "Examples:"
        ]
    );
    for command in COMMANDS.iter().filter(|command| !command.contains(' ')) {
        assert!(
            help.contains(&format!("\n  {command} ")),
            "{command}:\n{help}"
        );
    }
}

#[test]
fn slips_get_a_suggestion() {
    let world = World::new();
    for (line, code, text) in [
        ("statsu", 2, "did you mean `sky status`?"),
        ("lanch x", 2, "did you mean `sky launch`?"),
        ("frobnicate", 2, "`sky -h` lists the commands"),
        ("api stauts", 2, "'status'"),
        ("launch --cpu 2 x", 2, "'--cpus'"),
        (
            "launch -c task.yaml",
            2,
            "did you mean `sky launch task.yaml`?",
        ),
        ("show-gpus", 2, "`sky gpus list`"),
        ("status --ip", 2, "sky status --ip CLUSTER"),
        ("jobs queue", 1, "does not have `sky jobs` yet"),
    ] {
        let ran = sky(&world, line).expect_code(code).shows(text);
        assert!(ran.stdout.is_empty(), "{line}: {}", ran.stdout);
        assert!(ran.stderr.starts_with("Error: "), "{line}: {}", ran.stderr);
        is_plain(line, &ran);
    }
}

#[test]
fn a_launch_and_an_exec_in_a_pipe_are_plain_text() {
    let world = World::new();
    let ran = world
        .sky(&["launch", "-y", "-c", "demo", "--cpus", "1", "echo hi"])
        .ok();
    is_plain("launch", &ran);
    assert!(ran.stderr.is_empty(), "{}", ran.stderr);
    // The table depends on the machine; everything behind it does not.
    let (_, rest) = ran.stdout.split_once("✔").expect("a table");
    let (_, rest) = rest.split_once("-\n").expect("its end");
    insta::assert_snapshot!(without_pids(rest), @r"
    ⚙︎ Launching on Local.
    └── Instance is up.
    ✓ Cluster launched: demo.  View logs: sky logs --provision demo
    ⚙︎ Job submitted, ID: 1

    ├── Waiting for task resources on 1 node.
    └── Job started. Streaming logs... (Ctrl-C to exit log streaming; job will not be killed)
    (sky-cmd, pid=N) hi
    ✓ Job finished (status: SUCCEEDED).

    📋 Useful Commands
    Job ID: 1
    ├── To cancel the job:          sky cancel demo 1
    ├── To stream job logs:         sky logs demo 1
    └── To view job queue:          sky queue demo
    Cluster name: demo
    ├── To submit a job:            sky exec demo yaml_file
    ├── To stop the cluster:        sky stop demo
    └── To teardown the cluster:    sky down demo
    ");
    let ran = world
        .sky(&["exec", "demo", "echo hi; exit 3"])
        .expect_code(100);
    is_plain("exec", &ran);
    insta::assert_snapshot!(without_pids(&ran.all()), @r"
    Command to run: echo hi; exit 3
    Submitting job to cluster: demo
    ⚙︎ Job submitted, ID: 2

    ├── Waiting for task resources on 1 node.
    └── Job started. Streaming logs... (Ctrl-C to exit log streaming; job will not be killed)
    (sky-cmd, pid=N) hi
    ERROR: Job 2 failed with return code list: [3]
    ⨯ Job finished (status: FAILED).
    ");
}

#[test]
fn listings_are_plain_in_pipes_and_nothing_but_json_with_o_json() {
    let world = World::new();
    sky(&world, "launch -y -c demo --cpus 1 true").ok();
    for (line, code) in [
        ("status", 0),
        ("status -r", 0),
        ("status demo -v", 0),
        ("status d*", 0),
        ("status nosuch", 1),
        ("queue", 0),
        ("queue demo -s", 0),
        ("queue d*", 0),
        ("queue nosuch", 1),
        ("queue nosuch*", 1),
        ("cost-report", 0),
        ("check", 0),
        ("check aws", 0),
        ("gpus list", 0),
        ("check -v", 0),
        ("gpus list H100", 0),
        ("gpus list H1000", 1),
        ("catalog list", 0),
        ("catalog show aws m6i", 0),
        ("api status", 0),
        ("api status -a", 0),
        ("api status 00000000", 1),
        ("api info", 0),
    ] {
        is_plain(line, &sky(&world, line).expect_code(code));
        let json = format!("{line} -o json");
        let ran = sky(&world, &json);
        // One rule: what is on stdout is the whole answer, so with an error nothing is there.
        if code == 0 {
            let parsed = ran.json();
            assert!(parsed.is_array() || parsed.is_object(), "{json}");
        } else {
            assert_eq!(ran.stdout, "", "{json}");
            assert!(ran.stderr.starts_with("Error: "), "{json}: {}", ran.stderr);
        }
        is_plain(&json, &ran.expect_code(code));
    }
    let status = sky(&world, "status -o json").json();
    assert_eq!(status[0]["name"], "demo");
    assert!(!status.to_string().contains("credentials\":{"), "{status}");
    let queue = sky(&world, "queue -o json").json();
    assert_eq!(queue[0]["job_id"], 1);
    assert_eq!(queue[0]["cluster"], "demo");
    let info = sky(&world, "api info -o json").json();
    assert_eq!(info["endpoint"], world.url());
    // A part of what was asked for is not the answer either.
    for line in ["status demo nosuch", "queue demo nosuch"] {
        let ran = sky(&world, &format!("{line} -o json")).expect_code(1);
        assert_eq!(ran.stdout, "", "{line}");
        assert!(ran.stderr.contains("nosuch"), "{line}: {}", ran.stderr);
    }
    sky(&world, "queue demo -s")
        .ok()
        .shows("No unfinished jobs.");
}

#[test]
fn exit_codes_say_how_a_job_stands() {
    let world = World::new();
    sky(&world, "launch -y -d -c demo --cpus 1 sleep 300").ok();
    sky(&world, "logs demo 1 --no-follow").ok();
    sky(&world, "logs demo 1 --status")
        .expect_code(101)
        .shows("Job 1: ");
    sky(&world, "cancel demo -y")
        .ok()
        .shows("cancelling the latest running job")
        .shows("Cancelled job ID(s): 1");
    sky(&world, "logs demo 1")
        .expect_code(103)
        .shows("⨯ Job finished (status: CANCELLED).");
    sky(&world, "logs demo 1 --status").expect_code(103);
    sky(&world, "exec demo true").ok();
    sky(&world, "logs demo 2 --status")
        .ok()
        .shows("Job 2: SUCCEEDED");
    sky(&world, "logs demo --no-follow --tail 1")
        .ok()
        .shows("✓ Job finished (status: SUCCEEDED).");
    sky(&world, "exec demo false").expect_code(100);
    sky(&world, "logs demo 3").expect_code(100);
    sky(&world, "logs demo 3 --no-follow").expect_code(100);
    sky(&world, "logs demo 99")
        .expect_code(102)
        .shows("sky queue demo");
    sky(&world, "logs demo 99 --status").expect_code(102);
    sky(&world, "logs demo -s 1 3")
        .ok()
        .shows("~/sky_logs/demo/1-sky-cmd")
        .shows("~/sky_logs/demo/3-sky-cmd");
    sky(&world, "queue demo")
        .ok()
        .shows("~/sky_logs/demo/3-sky-cmd");
    assert!(
        world
            .home()
            .join("sky_logs/demo/3-sky-cmd/run.log")
            .exists()
    );
    sky(&world, "logs demo --provision -w 1")
        .expect_code(1)
        .shows("no worker 1");
}

#[test]
fn what_matches_nothing_is_an_error_and_what_is_done_already_is_said() {
    let world = World::new();
    sky(&world, "launch -y -c demo --cpus 1 true").ok();
    for line in [
        "stop nosuch -y",
        "stop nosuch* -y",
        "down nosuch -y",
        "down demo nosuch -y",
        "start nosuch -y",
        "autostop nosuch -y",
        "cancel nosuch 1 -y",
        "cancel nosuch* -a -y",
        "cancel demo 99 -y",
        "queue nosuch",
        "api cancel ffffffff",
        "api logs ffffffff",
        "api get ffffffff",
        "api status ffffffff",
    ] {
        sky(&world, line).expect_code(1);
    }
    for line in ["stop", "down -y", "api cancel", "cancel", "autostop -y"] {
        sky(&world, line).expect_code(2);
    }
    // Nobody is there to answer.
    for line in [
        "stop demo",
        "down demo",
        "autostop demo",
        "launch -c other true",
    ] {
        sky(&world, line)
            .expect_code(1)
            .shows("[Y/n]: \nAborted!\n");
    }
    sky(&world, "cancel demo -y")
        .ok()
        .shows("No jobs to cancel on cluster 'demo'.");
    sky(&world, "start demo -y")
        .ok()
        .shows("already has status UP");
    sky(&world, "autostop demo -i 30 --down -y").ok();
    sky(&world, "status").ok().shows("30m (down)");
    sky(&world, "autostop demo --cancel -y").ok();
    sky(&world, "stop demo -y").ok().shows("sky start demo");
    sky(&world, "stop demo -y").ok().shows("is stopped already");
    for line in ["queue *", "cancel * -a -y", "exec demo true", "logs demo"] {
        sky(&world, line).expect_code(1);
    }
    sky(&world, "start demo -y").ok();
    sky(&world, "down * -y").ok();
    sky(&world, "down -a -y")
        .ok()
        .shows("There are no clusters.");
}

#[test]
fn the_beginning_of_an_id_is_enough() {
    let world = World::new();
    sky(&world, "launch -y -c demo --cpus 1 true").ok();
    let all = sky(&world, "api status -a -o json").json();
    let launch = all
        .as_array()
        .expect("a list")
        .iter()
        .find(|record| record["name"] == "sky.launch")
        .expect("the launch");
    let id = launch["request_id"].as_str().expect("an id");
    let short = &id[..8];
    sky(&world, &format!("api logs {short}"))
        .ok()
        .shows("Job submitted, ID: 1");
    sky(&world, &format!("api status {short}")).ok().shows(id);
    let result = sky(&world, &format!("api get {short}")).ok().json();
    assert_eq!(result["job_id"], 1);
    sky(&world, &format!("api cancel {short}"))
        .ok()
        .shows("it is SUCCEEDED already");
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly_and_a_full_disk_does_not() {
    let world = World::new();
    world
        .sky(&["launch", "-y", "-c", "demo", "--cpus", "1", "seq 1 200000"])
        .ok();
    for line in [
        vec!["logs", "demo", "--tail", "0"],
        vec!["logs", "demo", "--no-follow"],
        vec!["exec", "demo", "seq 1 200000"],
        vec!["api", "status", "-a", "-o", "json"],
        vec!["launch", "--help"],
    ] {
        let mut child = world.spawn(&line);
        // Closed before anything is read.
        drop(child.stdout.take());
        let ran = world.finish(child);
        let complains = ["panicked", "Error", "pipe"]
            .iter()
            .any(|word| ran.stderr.contains(word));
        assert!(
            !complains && ran.code == 0,
            "{line:?}: {} {}",
            ran.code,
            ran.stderr
        );
    }
    let full = fs::File::options()
        .write(true)
        .open("/dev/full")
        .expect("/dev/full");
    let output = world
        .command(&["status"])
        .stdout(full)
        .stderr(Stdio::piped())
        .output()
        .expect("sky runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("No space left on device"), "{said}");
}

#[test]
fn completion_is_installed_once_and_knows_clusters_and_requests() {
    let world = World::new();
    sky(&world, "launch -y -c abacus --cpus 1 true").ok();
    for _ in 0..2 {
        sky(&world, "--install-shell-completion bash").ok();
    }
    let rc = fs::read_to_string(world.home().join(".bashrc")).expect("a .bashrc");
    assert_eq!(rc.lines().count(), 1, "{rc}");
    let script = "
        . ~/.bashrc
        ask() { COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); COMP_TYPE=9; COMPREPLY=()
                _clap_complete_sky sky \"${COMP_WORDS[COMP_CWORD]}\" x 2>/dev/null; echo \"$*: ${COMPREPLY[*]}\"; }
        ask sky sta; ask sky exec ab; ask sky down ab; ask sky launch -c ab; ask sky api logs ''; ask sky status -o j";
    std::os::unix::fs::symlink(crate::world::sky_binary(), world.cwd().join("sky"))
        .expect("a link");
    let output = Command::new("bash")
        .args(["--norc", "-c", script])
        .env_clear()
        .envs(
            world
                .command(&[])
                .get_envs()
                .filter_map(|(k, v)| Some((k, v?))),
        )
        .env("PATH", format!("{}:/usr/bin:/bin", world.cwd().display()))
        .output()
        .expect("bash runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    for expected in [
        "sky sta: status",
        "sky exec ab: abacus",
        "sky down ab: abacus",
        "sky launch -c ab: abacus",
        "sky status -o j: json",
    ] {
        assert!(
            said.contains(expected),
            "{expected} in\n{said}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let ids = sky(&world, "api status -a -o json").json();
    let id = ids[0]["request_id"].as_str().expect("an id").to_owned();
    assert!(said.contains(&id), "{id} in\n{said}");
    sky(&world, "--uninstall-shell-completion bash").ok();
    let rc = fs::read_to_string(world.home().join(".bashrc")).expect("a .bashrc");
    assert!(!rc.contains("sky"), "{rc}");
}
