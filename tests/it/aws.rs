//! Clusters on machines of AWS, against the testbed's EC2: real hosts that its API makes.

use serde_json::{Value, json};

use crate::testbed::AwsApi;
use crate::world::{World, kill, wait_for, wait_until};

/// A world whose AWS is the testbed's.
pub(crate) fn world() -> (World, AwsApi) {
    let api = AwsApi::up();
    (api.point(World::new()), api)
}

/// The id of the only instance.
fn only(api: &AwsApi) -> String {
    let alive = api.alive();
    assert_eq!(alive.len(), 1, "{alive:?}");
    alive[0]["instance"].as_str().expect("an id").to_owned()
}

/// How often an action was called.
pub(crate) fn count(api: &AwsApi, action: &str) -> usize {
    let calls = api.calls();
    calls.iter().filter(|call| call["action"] == action).count()
}

/// The arguments of a launch on the smallest machines.
fn launch<'a>(name: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["launch", "-y", "-c", name, "--infra", "aws/us-east-1"];
    args.extend(["--cpus", "2"]);
    args.extend(more);
    args
}

#[test]
fn a_machine_is_a_cluster_from_launch_to_nothing_left() {
    let (world, api) = world();
    world.sky(&["check", "aws"]).ok().shows("AWS: enabled");
    world.file("work/data.txt", "from the work directory\n");
    let task = world.file(
        "task.yaml",
        "resources: {infra: aws/us-east-1, cpus: 2, labels: {team: x}, ports: 8080, disk_size: 50}\nworkdir: work\n\
         setup: echo setting up\nrun: |\n  cat data.txt\n  echo ip $SKYPILOT_NODE_IPS\n",
    );
    let task = task.to_string_lossy().into_owned();
    world
        .sky(&["launch", "-y", "-c", "demo", &task])
        .ok()
        .shows("m6i.large")
        .shows("⚙︎ Launching on AWS us-east-1")
        .shows(") from the work directory")
        .shows(") ip 10.231.");
    world
        .sky(&["status", "--endpoint", "8080", "demo"])
        .ok()
        .shows("10.231.");
    let id = only(&api);
    world
        .sky(&["exec", "demo", "exit 3"])
        .expect_code(100)
        .shows("FAILED");
    world
        .sky(&["logs", "demo", "1", "--no-follow"])
        .ok()
        .shows("from the work directory");
    world.sky(&["stop", "-y", "demo"]).ok();
    assert_eq!(api.alive()[0]["state"], "stopped");
    world.sky(&["status", "-r"]).ok().shows("STOPPED");
    world.sky(&["start", "-y", "demo"]).ok();
    assert_eq!(only(&api), id, "the same machine");
    world
        .sky(&["exec", "demo", "cat ~/sky_workdir/data.txt"])
        .ok()
        .shows(") from the work directory");
    world.sky(&["down", "-y", "demo"]).ok();
    assert_eq!(api.alive(), [] as [Value; 0]);
    assert_eq!(count(&api, "RunInstances"), 1);
    assert_eq!(count(&api, "DeleteSecurityGroup"), 1, "that of the port");
    // The same name again is another machine, although the tokens of the first one are remembered.
    world
        .sky(&launch("demo", &["echo again"]))
        .ok()
        .shows(") again");
    assert_ne!(only(&api), id);
    world.sky(&["down", "-y", "demo"]).ok();
}

#[test]
fn several_machines_are_one_cluster_all_or_none() {
    let (world, api) = world();
    // The second machine is refused in the first zone: what was made there is removed, the next zone has both.
    api.fault(&json!({"action": "RunInstances", "zone": "us-east-1a", "code": "InsufficientInstanceCapacity", "count": 1}));
    let command = "echo rank $SKYPILOT_NODE_RANK of $SKYPILOT_NUM_NODES";
    world
        .sky(&launch("duo", &["--num-nodes", "2", command]))
        .ok()
        .shows(") rank 0 of 2")
        .shows(") rank 1 of 2");
    let placed = api.alive();
    assert_eq!(placed.len(), 2, "{placed:?}");
    let zones: Vec<String> = api
        .calls()
        .iter()
        .filter(|call| call["action"] == "RunInstances")
        .map(|call| call["zone"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(
        zones.iter().filter(|z| *z == "us-east-1b").count(),
        2,
        "{zones:?}"
    );
    world
        .sky(&[
            "exec",
            "duo",
            "--num-nodes",
            "2",
            "[ $SKYPILOT_NODE_RANK = 0 ] || exit 7; sleep 600",
        ])
        .expect_code(100);
    world.sky(&["down", "-y", "duo"]).ok();
    assert_eq!(api.alive(), [] as [Value; 0]);
}

#[test]
fn what_no_zone_has_is_taken_from_the_next_region() {
    let (world, api) = world();
    api.fault(&json!({"action": "RunInstances", "region": "us-east-1", "code": "InsufficientInstanceCapacity", "count": 0}));
    let args = ["launch", "-y", "-c", "far", "--infra", "aws", "--cpus", "2"];
    let ran = world.sky(&[&args[..], &["echo works"]].concat());
    let ran = ran.ok().shows(") works");
    let at = |text: &str| {
        ran.stdout
            .find(text)
            .unwrap_or_else(|| panic!("no `{text}`"))
    };
    let near = [
        "⚙︎ Launching on AWS us-east-1 (us-east-1a).",
        "⨯ AWS us-east-1 (us-east-1a): InsufficientInstanceCapacity",
        "⚙︎ Launching on AWS us-east-1 (us-east-1b).",
        "⨯ AWS us-east-1 (us-east-1b): InsufficientInstanceCapacity",
    ];
    let far = [
        " AWS (us-east-2)   m6i.large",
        "⚙︎ Launching on AWS us-east-2 (us-east-2a).",
    ];
    let order: Vec<usize> = near.iter().chain(&far).map(|text| at(text)).collect();
    assert!(order.is_sorted(), "{}", ran.stdout);
    let made = api.instances();
    assert_eq!(made.len(), 1, "{made:?}");
    assert_eq!(made[0]["region"], "us-east-2");
    world.sky(&["status"]).ok().shows("AWS (us-east-2a)");
    // What was refused is left out for a while, zone by zone.
    world
        .sky(&[&["launch", "--dryrun", "-v"], &args[4..], &["true"]].concat())
        .ok()
        .shows("AWS (us-east-1) is blocked by a capacity error until");
    world.sky(&["down", "-y", "far"]).ok();
    assert_eq!(api.alive(), [] as [Value; 0]);
}

#[test]
fn a_lost_answer_makes_no_second_machine() {
    let (world, api) = world();
    api.fault(&json!({"action": "RunInstances", "lost": true}));
    api.fault(&json!({"action": "RunInstances", "code": "RequestLimitExceeded", "status": 503}));
    api.fault(
        &json!({"action": "DescribeInstances", "code": "InternalError", "status": 500, "count": 2}),
    );
    world
        .sky(&launch("demo", &["echo works"]))
        .ok()
        .shows(") works");
    only(&api);
    assert_eq!(api.alive().len(), 1);
    world.sky(&["down", "-y", "demo"]).ok();
    assert_eq!(api.instances().len(), 1, "one was ever made");
}

/// Calls that are not repeated for long: what a call gives up with is seen soon.
fn impatient_world() -> (World, AwsApi) {
    let (world, api) = world();
    (world.env("AWS_MAX_ATTEMPTS", "2"), api)
}

#[test]
fn a_lost_answer_makes_no_second_machine_while_the_first_is_not_shown() {
    let (world, api) = impatient_world();
    api.fault(&json!({"action": "RunInstances", "lost": true, "unseen": 8}));
    api.fault(&json!({"action": "RunInstances", "code": "RequestLimitExceeded"}));
    world
        .sky(&launch("demo", &["echo works"]))
        .ok()
        .shows(") works");
    assert_eq!(count(&api, "RunInstances"), 3, "given up, and asked again");
    assert_eq!(api.instances().len(), 1, "one was ever made");
    world.sky(&["down", "-y", "demo"]).ok();
    assert_eq!(api.alive(), [] as [Value; 0]);
}

#[test]
fn machines_that_are_not_shown_yet_are_removed_all_the_same() {
    let (world, api) = impatient_world();
    // One of two is refused: the other one goes with it, although EC2 does not know its id yet.
    api.fault(&json!({"action": "RunInstances", "unseen": 3}));
    api.fault(&json!({"action": "RunInstances", "code": "VcpuLimitExceeded"}));
    world
        .sky(&launch("duo", &["--num-nodes", "2", "true"]))
        .expect_code(1)
        .shows("VcpuLimitExceeded");
    assert_eq!(api.instances().len(), 1);
    assert_eq!(api.alive(), [] as [Value; 0]);
    // An answer is lost, and the call is refused when it is made again.
    api.fault(&json!({"action": "RunInstances", "lost": true, "unseen": 3}));
    api.fault(&json!({"action": "RunInstances", "code": "UnauthorizedOperation", "status": 403}));
    world
        .sky(&launch("one", &["true"]))
        .expect_code(1)
        .shows("UnauthorizedOperation");
    assert_eq!(api.instances().len(), 2);
    assert_eq!(api.alive(), [] as [Value; 0]);
    world.sky(&["status"]).ok().shows("No existing clusters");
}

#[test]
fn refusals_are_told_with_their_reason_and_leave_nothing() {
    let (world, api) = world();
    for (code, words) in [
        ("VcpuLimitExceeded", "(VcpuLimitExceeded)"),
        ("UnauthorizedOperation", "AWS refused `RunInstances`"),
        ("AuthFailure", "(AuthFailure)"),
        ("InvalidParameterValue", "(InvalidParameterValue)"),
    ] {
        api.fault(&json!({"action": "RunInstances", "code": code, "status": 400, "count": 0}));
        world
            .sky(&launch("no", &["true"]))
            .expect_code(1)
            .shows(words);
        api.no_faults();
        assert_eq!(api.alive(), [] as [Value; 0], "{code}");
        world.sky(&["status"]).ok().shows("No existing clusters");
    }
    api.fault(&json!({"action": "GetCallerIdentity", "code": "InvalidClientTokenId", "status": 403, "count": 0}));
    world
        .sky(&["check", "aws"])
        .shows("AWS: disabled")
        .shows("InvalidClientTokenId");
}

#[test]
fn what_happens_to_machines_outside_is_seen() {
    let (world, api) = world();
    // The built-in price list has no spot prices.
    world.file(
        "vms.csv",
        "InstanceType,vCPUs,MemoryGiB,Price,SpotPrice,Region,AvailabilityZone\n\
         m6i.large,2,8,0.096,0.04,us-east-1,us-east-1a\n",
    );
    world.sky(&["catalog", "update", "--from", "vms.csv"]).ok();
    world
        .sky(&launch("spot", &["--use-spot", "echo up"]))
        .ok()
        .shows(") up");
    let spot = only(&api);
    world
        .sky(&["stop", "-y", "spot"])
        .expect_code(1)
        .shows("cannot stop");
    api.strike("interrupt", &spot);
    wait_for("it is gone", || api.alive().is_empty());
    let seen = world.sky(&["status", "-r"]).ok();
    assert!(!seen.stdout.contains("spot  AWS"), "{}", seen.all());
    world
        .sky(&launch("spot", &["--use-spot", "echo again"]))
        .ok()
        .shows(") again");
    world.sky(&["down", "-y", "spot"]).ok();
    assert_eq!(api.alive(), [] as [Value; 0]);
}

#[test]
fn a_price_list_comes_from_the_api() {
    let (world, _api) = world();
    let update = [
        "catalog",
        "update",
        "aws",
        "--from",
        "api",
        "--region",
        "us-east-1",
    ];
    world.sky(&update).ok().shows(" in 1 regions");
    let shown = world
        .sky(&[
            "catalog",
            "show",
            "aws",
            "g5.xlarge",
            "--region",
            "us-east-1",
            "-o",
            "json",
        ])
        .ok()
        .json();
    let found = shown.as_array().expect("a list");
    let one = found.iter().find(|one| one["instance_type"] == "g5.xlarge");
    let one = one.expect("it is sold");
    assert_eq!(one["accelerator"], "A10G");
    assert_eq!(one["vcpus"], 4.0);
    // What it costs on demand was known before.
    assert_eq!(one["price"], 1.006);
    world
        .sky(&["catalog", "update", "k8s", "--from", "api"])
        .expect_code(2);
    world
        .sky(&[
            "launch",
            "--dryrun",
            "--infra",
            "aws/us-east-1/us-east-1b",
            "--cpus",
            "2",
            "true",
        ])
        .ok()
        .shows("AWS (us-east-1b)");
}

#[test]
fn idle_machines_end_themselves_when_there_is_no_server() {
    let (world, api) = world();
    let command = "sleep 12";
    world
        .sky(&launch("rests", &["-d", "-i", "0", command]))
        .ok();
    world
        .sky(&launch(
            "goes",
            &["-d", "-i", "0", "--down", "--num-nodes", "2", command],
        ))
        .ok();
    assert_eq!(api.alive().len(), 3);
    kill(world.server_pid().expect("a server"), "KILL");
    wait_until("one is stopped, two are gone", || {
        match api.alive().as_slice() {
            [one] if one["state"] == "stopped" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    world
        .sky(&["status", "-r"])
        .ok()
        .shows("Cluster goes is gone: it switched itself off")
        .shows("STOPPED");
    world.sky(&["down", "-y", "rests"]).ok();
    assert_eq!(api.alive(), [] as [Value; 0]);
}
