//! Launches on machines of the testbed's EC2: what they take beyond the time that the API says `pending`.

use super::Report;
use super::hosts::{Launches, Timed, WORKDIR, add, first_line, new_world};
use crate::testbed::AwsApi;
use crate::world::World;

/// How often each launch is measured.
const RUNS: usize = 5;

/// A launch of a new machine without the time in which it was pending.
fn fresh(world: &World, api: &AwsApi) -> Timed {
    let launch = ["launch", "-y", "-c", "demo", "--infra", "aws/us-east-1"];
    let timed = first_line(world, &[&launch[..], &["--cpus", "2"], &WORKDIR].concat());
    let instances = api.instances();
    assert_eq!(instances.len(), 1, "{instances:?}");
    let pending = instances[0]["pending"].as_f64().unwrap();
    println!("{:.2} s, of which pending {pending:.2} s", timed.first_line);
    Timed {
        first_line: timed.first_line - pending,
        ..timed
    }
}

/// A launch of a machine, and the next ones there.
pub(super) fn fresh_machine(report: &mut Report) {
    let [mut cold, mut warm, mut again, mut exec] = [const { Launches::new() }; 4];
    for _ in 0..RUNS {
        let api = AwsApi::up();
        let world = api.point(new_world());
        let launch = ["launch", "-y", "-c", "demo"];
        cold.push(fresh(&world, &api));
        again.push(first_line(&world, &[&launch[..], &WORKDIR].concat()));
        exec.push(first_line(&world, &["exec", "demo"]));
        // The first one's machine, groups and keys are none of the other's business.
        drop((world, api));
        let api = AwsApi::up();
        let world = api.point(new_world());
        world.sky(&["api", "status"]).ok();
        warm.push(fresh(&world, &api));
    }
    let first = "EC2 testbed, `sky launch` → first line, less pending";
    let (whole, second) = ((5.0, "≤ 5 s"), (0.5, "≤ 0.5 s"));
    add(report, &format!("{first}, no server running"), cold, whole);
    add(report, &format!("{first}, server running"), warm, whole);
    let then = "… the same cluster";
    add(
        report,
        &format!("{then}, `sky launch` → first line"),
        again,
        second,
    );
    add(
        report,
        &format!("{then}, `sky exec` → first line"),
        exec,
        second,
    );
}
