//! `kill -9` of the server at random moments while it makes, moves and removes machines of AWS: after each round, the
//! instances that exist by the API are those of the clusters that the server knows.
//!
//! `SKY_CRASH_ROUNDS` and `SKY_CRASH_SEED` choose how long and which way; the seed is printed.

use std::collections::BTreeSet;
use std::process::Child;
use std::time::Duration;

use serde_json::{Value, json};

use crate::aws::{count, world};
use crate::cancel::submitted;
use crate::testbed::AwsApi;
use crate::world::{Dice, World, kill, setting, wait_for, wait_until};

/// What is under way when the server is killed.
#[derive(Debug, Clone, Copy)]
enum Deed {
    /// One machine is made.
    Launch,
    /// Two are.
    LaunchTwo,
    /// One is made of spare capacity.
    LaunchSpot,
    /// Two are made in the next zone or region, as there is no room in the first.
    FailOver,
    /// A launch waits until there is room anywhere.
    Wait,
    /// A cluster is removed.
    Down,
    /// A launch is cancelled.
    Cancel,
}

impl Deed {
    /// All of them.
    const ALL: [Self; 7] = [
        Self::Launch,
        Self::LaunchTwo,
        Self::LaunchSpot,
        Self::FailOver,
        Self::Wait,
        Self::Down,
        Self::Cancel,
    ];
}

/// What machines cost, spot ones included, at two places.
const PRICES: &str = "InstanceType,vCPUs,MemoryGiB,Price,SpotPrice,Region,AvailabilityZone\n\
    m6i.large,2,8,0.096,0.04,us-east-1,us-east-1a\n\
    m6i.large,2,8,0.096,0.04,us-east-1,us-east-1b\n\
    m6i.large,2,8,0.098,0.05,us-east-2,us-east-2a\n";

#[test]
fn instances_that_exist_are_those_that_the_server_knows_whenever_it_is_killed() {
    let rounds = setting("SKY_CRASH_ROUNDS", Deed::ALL.len() as u64);
    let mut dice = Dice::seeded("SKY_CRASH_SEED");
    let (world, api) = world();
    world.file("vms.csv", PRICES);
    world.sky(&["catalog", "update", "--from", "vms.csv"]).ok();
    for (round, deed) in (0..rounds).zip(Deed::ALL.into_iter().cycle()) {
        let name = format!("c{round}");
        println!("round {round}: {deed:?}");
        trouble(&api, &mut dice, deed);
        play(&world, &api, &mut dice, deed, &name);
        settle(&world);
        check(&world, &api, &format!("round {round}, {deed:?}"));
        api.no_faults();
        world.sky(&["down", "-y", "-a"]).ok();
        check(&world, &api, &format!("round {round}, after removal"));
        assert_eq!(api.alive(), [] as [Value; 0], "round {round}");
    }
}

/// Orders what goes wrong at AWS meanwhile.
fn trouble(api: &AwsApi, dice: &mut Dice, deed: Deed) {
    let full = |place: &str, value: &str, count: u32| {
        api.fault(&json!({"action": "RunInstances", place: value, "code": "InsufficientInstanceCapacity", "count": count}));
    };
    match deed {
        Deed::FailOver if dice.roll(2) == 0 => full("region", "us-east-1", 0),
        Deed::FailOver => full("zone", "us-east-1a", 1),
        Deed::Wait => full("region", "*", 0),
        // An answer is lost, or a machine is not shown at once, or neither.
        _ => match dice.roll(3) {
            0 => api.fault(&json!({"action": "RunInstances", "lost": true, "unseen": 2})),
            1 => api.fault(&json!({"action": "RunInstances", "unseen": 2})),
            _ => {}
        },
    }
}

/// Does something, and kills the server meanwhile.
fn play(world: &World, api: &AwsApi, dice: &mut Dice, deed: Deed, name: &str) {
    let launch = |more: &[&str]| -> Vec<String> {
        let args = ["launch", "-y", "-c", name, "--infra", "aws", "--cpus", "2"];
        let all = args.iter().chain(more).chain(&["echo survived"]);
        all.map(|word| (*word).to_owned()).collect()
    };
    let spawn = |args: Vec<String>| -> Child {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        world.spawn(&args)
    };
    match deed {
        Deed::Launch => strike(world, dice, 5000, spawn(launch(&[]))),
        Deed::LaunchTwo | Deed::FailOver => {
            strike(world, dice, 5000, spawn(launch(&["--num-nodes", "2"])));
        }
        Deed::LaunchSpot => strike(world, dice, 5000, spawn(launch(&["--use-spot"]))),
        Deed::Wait => {
            let calls = count(api, "RunInstances");
            let mut child = spawn(launch(&["--retry-until-up"]));
            wait_for("it is refused", || count(api, "RunInstances") > calls);
            pause(dice, 2000);
            // Else it would see the launch to its end.
            child.kill().expect("killed");
            strike(world, dice, 10, child);
            // The wait goes on, until it is ended.
            world.sky(&["status"]).ok().shows(name);
            check(world, api, "while it waits");
            api.no_faults();
            strike(world, dice, 300, world.spawn(&["down", "-y", name]));
            world.sky(&["down", "-y", "-a"]).ok();
        }
        Deed::Down => {
            world.finish(spawn(launch(&[]))).ok();
            strike(world, dice, 1500, world.spawn(&["down", "-y", name]));
        }
        Deed::Cancel => {
            let args = launch(&["--async"]);
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let id = submitted(world, &args);
            pause(dice, 4000);
            strike(
                world,
                dice,
                1000,
                world.spawn(&["api", "cancel", "-y", &id]),
            );
        }
    }
}

/// Another moment each time.
fn pause(dice: &mut Dice, most_ms: u64) {
    std::thread::sleep(Duration::from_millis(dice.roll(most_ms)));
}

/// Kills the server at a random moment, perhaps once more when it is there again; then waits for the command.
fn strike(world: &World, dice: &mut Dice, most_ms: u64, child: Child) {
    for _ in 0..=dice.roll(2) {
        let server = wait_until("there is a server", || {
            world.server_pid().ok_or_else(|| "none".to_owned())
        });
        pause(dice, most_ms);
        kill(server, "KILL");
        if !crate::world::lives(child.id()) {
            break;
        }
    }
    // Whatever came of it: a client whose request was not acknowledged may give up.
    drop(world.finish(child));
}

/// Waits until nothing is under way. The server is started again by the question, and goes on with what it finds.
fn settle(world: &World) {
    wait_until("nothing is under way", || {
        let ran = world.sky(&["api", "status", "-o", "json", "-l", "all"]);
        let rows: Value =
            serde_json::from_str(&ran.stdout).map_err(|e| format!("{e}: {}", ran.all()))?;
        match rows.as_array().map(Vec::len) {
            Some(0) => Ok(()),
            _ => Err(rows.to_string()),
        }
    });
}

/// Compares what exists with what the server knows: each node is one machine, and no machine is anybody else's.
#[track_caller]
fn check(world: &World, api: &AwsApi, when: &str) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let alive = api.alive();
    let exist: BTreeSet<(String, String)> = alive
        .iter()
        .map(|one| {
            (
                text(&one["tags"]["sky-cluster"]),
                text(&one["tags"]["sky-rank"]),
            )
        })
        .collect();
    let shown = world.sky(&["status", "-o", "json"]).ok().json();
    let mut known = BTreeSet::new();
    for cluster in shown.as_array().expect("clusters") {
        let name = text(&cluster["name"]);
        if cluster["status"] == "UP" {
            let nodes = 0..cluster["nodes"].as_u64().expect("a number");
            known.extend(nodes.map(|rank| (name.clone(), rank.to_string())));
        } else {
            let event = text(&cluster["last_event"]);
            assert!(event.contains("next attempt at"), "{when}: {cluster:#}");
        }
    }
    assert_eq!(exist, known, "{when}: {alive:#?} {shown:#}");
    assert_eq!(
        alive.len(),
        exist.len(),
        "{when}: a node has two machines: {alive:#?}"
    );
}
