//! Launches on hosts that nothing of ours has touched: machines of the testbed, reached by SSH.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::Instant;

use super::Report;
use crate::testbed::Hosts;
use crate::world::World;

/// How often each launch is measured.
const RUNS: usize = 5;
/// What is run.
const COMMAND: &str = "echo the first line";
/// How a launch is told of the work directory.
pub(super) const WORKDIR: [&str; 2] = ["--workdir", "work"];

/// What a command took.
pub(super) struct Timed {
    /// Seconds from its start to the job's first line.
    pub(super) first_line: f64,
    /// What its log says of where the time went: `0.83 s (connect 0.12 s, …)`; the time of the server, without the client's.
    pub(super) breakdown: String,
}

/// A home that nothing has run in yet, with a small work directory.
pub(super) fn new_world() -> World {
    let world = World::new();
    world.file("work/data.txt", "something to sync\n");
    world
}

/// Launches of one kind.
pub(super) type Launches = Vec<Timed>;

/// Runs a command that starts the job, to its end.
pub(super) fn first_line(world: &World, args: &[&str]) -> Timed {
    let start = Instant::now();
    let args = [args, &[COMMAND]].concat();
    let mut child = world.command(&args).stdout(Stdio::piped()).spawn().unwrap();
    let (mut first_line, mut breakdown) = (None, String::new());
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut told = String::new();
    for line in lines.map_while(Result::ok) {
        if line.contains(") the first line") {
            first_line = Some(start.elapsed().as_secs_f64());
        }
        if let Some(spent) = line.strip_prefix("Launched in ") {
            spent.clone_into(&mut breakdown);
        }
        told.push_str(&line);
        told.push('\n');
    }
    let status = child.wait().unwrap();
    assert!(status.success(), "{args:?}: {status}\n{told}");
    Timed {
        first_line: first_line.unwrap_or_else(|| panic!("{args:?}: no line\n{told}")),
        breakdown,
    }
}

/// Adds a row for launches of one kind: the median, the least and the most, and where the time of the median one went.
pub(super) fn add(
    report: &mut Report,
    what: &str,
    mut runs: Launches,
    seconds: (f64, &'static str),
) {
    runs.sort_by(|a, b| a.first_line.total_cmp(&b.first_line));
    println!("{what}:");
    for run in &runs {
        let launched = match run.breakdown.as_str() {
            "" => String::new(),
            breakdown => format!("; launched in {breakdown}"),
        };
        println!("  {:.2} s{launched}", run.first_line);
    }
    let (least, median, most) = (&runs[0], &runs[runs.len() / 2], &runs[runs.len() - 1]);
    let parts = match median.breakdown.split_once(" (") {
        Some((_, parts)) => format!(": {}", parts.trim_end_matches(')')),
        None => String::new(),
    };
    let figure = format!(
        "{:.2} s ({:.2} – {:.2}){parts}",
        median.first_line, least.first_line, most.first_line
    );
    let (most, budget) = seconds;
    report.add(
        &format!("{what} (median of {})", runs.len()),
        figure,
        budget,
        median.first_line <= most,
    );
}

/// A launch on a fresh host, and the next ones there.
pub(super) fn fresh_host(report: &mut Report) {
    let [mut cold, mut warm, mut again, mut exec] = [const { Launches::new() }; 4];
    let launch = ["launch", "-y", "-c", "demo", "--infra", "ssh/lab"];
    let launch = [&launch[..], &WORKDIR].concat();
    for _ in 0..RUNS {
        let hosts = Hosts::up(2);
        let world = new_world();
        hosts.pool_of(&world, &[0]);
        cold.push(first_line(&world, &launch));
        again.push(first_line(&world, &launch));
        exec.push(first_line(&world, &["exec", "demo"]));
        let world = new_world();
        hosts.pool_of(&world, &[1]);
        world.sky(&["api", "status"]).ok();
        warm.push(first_line(&world, &launch));
    }
    let first = "fresh SSH host, `sky launch` → first line";
    let (whole, second) = ((3.0, "≤ 3 s"), (0.5, "≤ 0.5 s"));
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
