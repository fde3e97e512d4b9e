//! Several nodes.

use std::path::Path;

use serde_json::{Value, json};

use super::node::{Node, configure, spec};
use crate::world::{lives, wait_for};

/// A cluster of so many nodes.
fn cluster(root: &Path, count: usize) -> Vec<Node> {
    let nodes: Vec<Node> = (0..count)
        .map(|rank| Node::start(root, &format!("n{rank}")))
        .collect();
    configure(&nodes.iter().collect::<Vec<_>>(), 0.5);
    nodes
}

/// A job of several nodes.
fn gang(nodes: u32, run: &str) -> Value {
    let mut job = spec(run);
    job["num_nodes"] = json!(nodes);
    job
}

#[test]
fn all_ranks_run_with_their_own_variables_and_prefixes() {
    let root = tempfile::tempdir().expect("a directory");
    let nodes = cluster(root.path(), 3);
    let mut job = gang(
        2,
        "echo \"rank $SKYPILOT_NODE_RANK of $SKYPILOT_NUM_NODES: $SKYPILOT_NODE_IPS\"",
    );
    job["setup"] = json!("echo setup $SKYPILOT_SETUP_NODE_RANK; echo made > ~/made");
    let id = nodes[0].submit(&job);
    let (text, status) = nodes[0].follow(id);
    assert_eq!(status, "SUCCEEDED", "{text}");
    for node in &nodes {
        assert!(
            node.dir.join("home/made").exists(),
            "setup runs on all nodes"
        );
    }
    for part in [
        "Waiting for task resources on 2 nodes.",
        ") setup 0\n",
        ", ip=127.0.0.3) setup 2\n",
        ") rank 0 of 2: 127.0.0.1\n",
        "(worker1, rank=1, pid=",
        ", ip=127.0.0.2) rank 1 of 2: 127.0.0.1\n",
        ", ip=127.0.0.2) 127.0.0.2\n",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let tasks = nodes[0].dir.join("home/sky_logs/1-t/tasks");
    for name in [
        "setup.log",
        "setup-worker2.log",
        "0-head.log",
        "1-worker1.log",
    ] {
        assert!(tasks.join(name).exists(), "{name}");
    }
}

#[test]
fn the_first_failure_stops_the_others() {
    let root = tempfile::tempdir().expect("a directory");
    let nodes = cluster(root.path(), 2);
    let job = gang(
        2,
        "[ $SKYPILOT_NODE_RANK = 1 ] && exit 5; echo waiting; sleep 1000",
    );
    let (text, status) = nodes[0].follow(nodes[0].submit(&job));
    assert_eq!(status, "FAILED", "{text}");
    assert_eq!(nodes[0].get("/v1/jobs/1")["exit_codes"], json!([137, 5]));
    assert!(
        text.contains("return code list: [137, 5] (a worker failed with return code 5"),
        "{text}"
    );
}

#[test]
fn cancel_reaches_all_nodes() {
    let root = tempfile::tempdir().expect("a directory");
    let nodes = cluster(root.path(), 2);
    let id = nodes[0].submit(&gang(
        2,
        "echo $$ > ~/pid; trap '' TERM; while :; do sleep 1000; done",
    ));
    let mut pids = Vec::new();
    wait_for("both ranks run", || {
        pids = nodes
            .iter()
            .filter_map(|n| std::fs::read_to_string(n.dir.join("home/pid")).ok())
            .filter_map(|text| text.trim().parse::<u32>().ok())
            .collect();
        pids.len() == 2
    });
    nodes[0].ask("POST", "/v1/jobs/cancel", &json!({"which": "all"}));
    assert!(!pids.iter().any(|pid| lives(*pid)));
    assert_eq!(nodes[0].follow(id).1, "CANCELLED");
}

#[test]
fn agents_of_workers_and_head_may_die() {
    let root = tempfile::tempdir().expect("a directory");
    let mut nodes = cluster(root.path(), 2);
    let id = nodes[0].submit(&gang(
        2,
        "echo start $SKYPILOT_NODE_RANK | tee -a ~/starts; while [ ! -e ~/go ]; do sleep 0.02; done; echo end",
    ));
    wait_for("both ranks run", || {
        nodes
            .iter()
            .all(|node| node.dir.join("home/starts").exists())
    });
    nodes[1].kill_agent();
    nodes[0].kill_agent();
    nodes[0].start_agent();
    nodes[1].start_agent();
    for node in &nodes {
        std::fs::write(node.dir.join("home/go"), "").expect("it writes");
    }
    let (text, status) = nodes[0].follow(id);
    assert_eq!(status, "SUCCEEDED", "{text}");
    assert_eq!(text.matches(") start ").count(), 2, "{text}");
    assert_eq!(text.matches(") end\n").count(), 2, "{text}");
}
