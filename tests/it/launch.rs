//! `sky launch` and `sky exec` on this machine, from the first command to the job's end.

use std::fs;

use crate::world::{World, wait_until};

#[test]
fn the_first_command_starts_the_server_and_runs_the_job() {
    let world = World::new();
    let ran = world
        .sky(&[
            "launch",
            "-y",
            "-c",
            "demo",
            "--cpus",
            "2",
            "echo hello SkyPilot; nproc",
        ])
        .ok();
    let all = ran.all();
    for text in [
        "Considered resources (1 node):",
        "Local",
        "⚙︎ Launching on Local.",
        "└── Instance is up.",
        "✓ Cluster launched: demo.",
        "⚙︎ Job submitted, ID: 1",
        "(sky-cmd, pid=",
        ") hello SkyPilot",
        "✓ Job finished (status: SUCCEEDED).",
        "📋 Useful Commands",
        "sky cancel demo 1",
        "sky down demo",
    ] {
        assert!(all.contains(text), "`{text}` is missing in\n{all}");
    }
    assert!(
        !all.contains('\u{1b}'),
        "no escape codes without a terminal: {all:?}"
    );
}

#[test]
fn a_second_launch_and_an_exec_reuse_the_cluster() {
    let world = World::new();
    world.sky(&["launch", "-y", "-c", "demo", "echo one"]).ok();
    world
        .sky(&["launch", "-y", "-c", "demo", "echo two"])
        .ok()
        .shows("Running on cluster: demo")
        .shows(") two");
    let ran = world
        .sky(&["exec", "demo", "echo", "three"])
        .ok()
        .shows(") three");
    assert!(
        !ran.all().contains("Useful Commands"),
        "exec has no closing hints"
    );
    let queue = world.sky(&["queue", "demo", "-o", "json"]).ok().json();
    let ids: Vec<i64> = find_jobs(&queue)
        .iter()
        .filter_map(|j| j["job_id"].as_i64())
        .collect();
    assert_eq!(ids, [3, 2, 1]);
}

/// The job records in the JSON of `sky queue`, which may be grouped by cluster.
fn find_jobs(queue: &serde_json::Value) -> Vec<serde_json::Value> {
    match queue {
        serde_json::Value::Array(rows) if rows.iter().any(|r| r.get("job_id").is_some()) => {
            rows.clone()
        }
        serde_json::Value::Array(rows) => rows.iter().flat_map(find_jobs).collect(),
        serde_json::Value::Object(map) => map.values().flat_map(find_jobs).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn a_failing_job_ends_with_100_and_its_own_code_in_the_log() {
    let world = World::new();
    world
        .sky(&["launch", "-y", "-c", "demo", "echo about to fail; exit 7"])
        .expect_code(100)
        .shows(") about to fail")
        .shows("[7]")
        .shows("FAILED");
    world
        .sky(&["logs", "demo", "1", "--no-follow"])
        .expect_code(100);
    world.sky(&["logs", "demo", "99"]).expect_code(102);
}

#[test]
fn setup_runs_once_before_run_and_its_failure_is_told_apart() {
    let world = World::new();
    let good = world.file(
        "good.yaml",
        "setup: echo prepared > ~/mark\nrun: cat ~/mark\n",
    );
    world
        .sky(&["launch", "-y", "-c", "demo", good.to_str().expect("utf-8")])
        .ok()
        .shows("prepared");
    let bad = world.file(
        "bad.yaml",
        "setup: |\n  echo no compiler\n  exit 3\nrun: echo never\n",
    );
    let ran = world
        .sky(&["launch", "-y", "-c", "demo", bad.to_str().expect("utf-8")])
        .expect_code(100);
    assert!(
        ran.all().contains("no compiler") && !ran.all().contains(") never"),
        "{}",
        ran.all()
    );
    world.sky(&["queue", "demo"]).ok().shows("FAILED_SETUP");
}

#[test]
fn two_nodes_start_together_and_know_each_other() {
    let world = World::new();
    let task = world.file(
        "pair.yaml",
        "num_nodes: 2\nrun: |\n  echo \"rank=$SKYPILOT_NODE_RANK of=$SKYPILOT_NUM_NODES ips=$(echo $SKYPILOT_NODE_IPS)\"\n",
    );
    world
        .sky(&["launch", "-y", "-c", "pair", task.to_str().expect("utf-8")])
        .ok()
        .shows("(head, rank=0, pid=")
        .shows("rank=0 of=2 ips=127.0.0.1 127.0.0.2")
        .shows("(worker1, rank=1, pid=")
        .shows("rank=1 of=2 ips=127.0.0.1 127.0.0.2");
}

#[test]
fn when_one_node_fails_the_others_are_stopped() {
    let world = World::new();
    let task = world.file(
        "pair.yaml",
        "num_nodes: 2\nrun: |\n  if [ $SKYPILOT_NODE_RANK = 1 ]; then exit 9; fi\n  sleep 600\n",
    );
    world
        .sky(&["launch", "-y", "-c", "pair", task.to_str().expect("utf-8")])
        .expect_code(100)
        .shows("[137, 9]");
}

#[test]
fn files_of_the_user_reach_the_node_without_what_is_ignored() {
    let world = World::new();
    world.file("wd/.gitignore", "*.big\n");
    world.file("wd/a.txt", "work\n");
    world.file("wd/data.big", "ignored\n");
    world.file("inputs/one.txt", "mounted\n");
    let task = world.file(
        "task.yaml",
        "workdir: wd\nfile_mounts:\n  ~/in: inputs\n  ~/single.txt: inputs/one.txt\nrun: |\n  cat a.txt ~/in/one.txt ~/single.txt; ls\n",
    );
    let ran = world
        .sky(&["launch", "-y", "-c", "demo", task.to_str().expect("utf-8")])
        .ok();
    assert!(ran.all().contains(") work"), "{}", ran.all());
    assert_eq!(ran.all().matches(") mounted").count(), 2, "{}", ran.all());
    assert!(!ran.all().contains("data.big"), "{}", ran.all());
}

#[test]
fn variables_and_secrets_reach_the_job_and_secrets_nothing_else() {
    let world = World::new();
    let task = world.file(
        "task.yaml",
        "envs:\n  A: one\n  B: null\nsecrets:\n  S: null\nrun: echo \"$A $B ${#S}\"\n",
    );
    let task = task.to_str().expect("utf-8");
    world
        .sky(&["launch", "-y", "-c", "demo", task])
        .expect_code(1)
        .shows("B");
    world
        .sky(&[
            "launch",
            "-y",
            "-c",
            "demo",
            "--env",
            "B=two",
            "--secret",
            "S=hunter2hunter2",
            task,
        ])
        .ok()
        .shows("one two 14");
    for (path, text) in state_files(&world.home()) {
        let inside_node = path.contains("/local/");
        assert!(
            inside_node || !text.contains("hunter2hunter2"),
            "the secret stands in {path}"
        );
    }
}

/// All files under a directory as (path, text).
fn state_files(dir: &std::path::Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let kind = entry.file_type().expect("a type");
        if kind.is_dir() {
            found.extend(state_files(&entry.path()));
        } else if kind.is_file() {
            let bytes = fs::read(entry.path()).unwrap_or_default();
            found.push((
                entry.path().display().to_string(),
                String::from_utf8_lossy(&bytes).into_owned(),
            ));
        }
    }
    found
}

#[test]
fn a_cluster_is_stopped_started_and_removed() {
    let world = World::new();
    world
        .sky(&["launch", "-y", "-c", "demo", "echo kept > ~/file"])
        .ok();
    world.sky(&["stop", "-y", "demo"]).ok();
    world.sky(&["status"]).ok().shows("STOPPED");
    world
        .sky(&["exec", "demo", "echo hi"])
        .expect_code(1)
        .shows("sky start demo");
    world.sky(&["start", "-y", "demo"]).ok();
    world
        .sky(&["exec", "demo", "cat ~/file"])
        .ok()
        .shows(") kept");
    world.sky(&["down", "-y", "demo"]).ok();
    world.sky(&["status"]).ok().shows("No existing clusters.");
    world
        .sky(&["down", "-y", "demo"])
        .expect_code(1)
        .shows("demo");
    let left: Vec<_> = world
        .processes()
        .into_iter()
        .filter(|(_, line)| !line.contains("__serve"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn cancel_ends_everything_that_descends_from_the_job() {
    let world = World::new();
    let script = "trap '' TERM; setsid sh -c 'trap \"\" TERM; (sleep 777 & ); sleep 778' & echo started; sleep 779";
    world
        .sky(&["launch", "-y", "-d", "-c", "demo", script])
        .ok();
    let sleepers = || {
        world
            .processes()
            .into_iter()
            .filter(|(_, line)| line.starts_with("sleep 77"))
            .count()
    };
    wait_until("the job's processes run", || match sleepers() {
        3 => Ok(()),
        n => Err(format!("{n} processes")),
    });
    world.sky(&["cancel", "-y", "demo", "1"]).ok();
    assert_eq!(sleepers(), 0, "{:?}", world.processes());
    world.sky(&["logs", "demo", "1"]).expect_code(103);
}

#[test]
fn an_idle_cluster_removes_itself() {
    let world = World::new();
    world
        .sky(&["launch", "-y", "-c", "demo", "--down", "-i", "0", "echo hi"])
        .ok();
    wait_until("the cluster is gone", || {
        let all = world.sky(&["status", "-o", "json"]).ok().json();
        if all.as_array().is_some_and(Vec::is_empty) {
            Ok(())
        } else {
            Err(all.to_string())
        }
    });
}

#[test]
fn every_example_does_what_it_says() {
    let world = World::new();
    let examples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let run = |name: &str, cluster: &str, more: &[&str]| {
        let path = examples.join(name);
        let mut args = vec!["launch", "-y", "-c", cluster];
        args.extend_from_slice(more);
        args.push(path.to_str().expect("utf-8"));
        let output = world
            .command(&args)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .expect("it runs");
        (
            output.status.code(),
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
        )
    };
    let (code, text) = run("hello.yaml", "hello", &[]);
    assert!(code == Some(0) && text.contains("hello from"), "{text}");
    let (code, text) = run("multi-node.yaml", "pair", &[]);
    assert!(
        code == Some(0) && text.contains("rank 1 of 2, head at 127.0.0.1"),
        "{text}"
    );
    let (code, text) = run("files.yaml", "files", &[]);
    assert!(
        code == Some(0) && text.contains("hello, 3 words") && text.contains("alpha"),
        "{text}"
    );
    let (code, text) = run("failing.yaml", "failing", &[]);
    assert!(
        code == Some(100) && text.contains("about to fail"),
        "{text}"
    );
    let (code, text) = run("long.yaml", "long", &["-d"]);
    assert!(code == Some(0), "{text}");
    world.sky(&["cancel", "-y", "long"]).ok().shows("1");
}
