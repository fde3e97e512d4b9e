//! Whole commands: what a person waits for.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};

use super::{Report, percentile};
use crate::world::World;

/// How often a command is run for a median.
const RUNS: usize = 50;

/// Wall time in ms of one command.
fn timed(world: &World, args: &[&str]) -> f64 {
    let start = Instant::now();
    let status = world
        .command(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "{args:?}: {status}");
    start.elapsed().as_secs_f64() * 1e3
}

/// CPU time in ms that the children of this process have used, and the largest of their resident sets in MB.
fn children() -> (f64, f64) {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    let ms = |t: nix::sys::time::TimeVal| t.tv_sec() as f64 * 1e3 + t.tv_usec() as f64 / 1e3;
    (
        ms(usage.user_time()) + ms(usage.system_time()),
        usage.max_rss() as f64 / 1024.0,
    )
}

/// `sky api status` with a server that runs.
pub(super) fn latency(report: &mut Report) {
    let world = World::new();
    timed(&world, &["api", "status"]);
    let (cpu_before, _) = children();
    let mut wall: Vec<f64> = (0..RUNS)
        .map(|_| timed(&world, &["api", "status"]))
        .collect();
    let (cpu_after, rss) = children();
    let cpu = (cpu_after - cpu_before) / RUNS as f64;
    let wall = percentile(&mut wall, 0.5);
    report.add(
        "`sky api status`, wall (median of 50)",
        format!("{wall:.1} ms"),
        "≤ 10 ms",
        wall <= 10.0,
    );
    report.add(
        "`sky api status`, CPU (mean of 50)",
        format!("{cpu:.1} ms"),
        "≤ 5 ms",
        cpu <= 5.0,
    );
    report.add(
        "`sky api status`, peak RSS",
        format!("{rss:.1} MB"),
        "≤ 20 MB",
        rss <= 20.0,
    );
}

/// The first command ever, which starts the server.
pub(super) fn first_command(report: &mut Report) {
    let mut wall: Vec<f64> = (0..10)
        .map(|_| timed(&World::new(), &["api", "status"]))
        .collect();
    let wall = percentile(&mut wall, 0.5);
    report.add(
        "first command, server started by it (median of 10)",
        format!("{wall:.0} ms"),
        "≤ 100 ms",
        wall <= 100.0,
    );
}

/// A server that nobody talks to.
pub(super) fn idle_server(report: &mut Report) {
    let world = World::new();
    timed(&world, &["api", "status"]);
    let pid = world.server_pid().unwrap();
    let switches = || -> BTreeMap<OsString, u64> {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
        tasks
            .map(|task| (task.file_name(), context_switches(&task.path())))
            .collect()
    };
    std::thread::sleep(Duration::from_secs(3));
    let before = switches();
    std::thread::sleep(Duration::from_secs(20));
    // A thread that ended meanwhile counts for nothing, one that is new for all it did.
    let wakeups: u64 = switches()
        .iter()
        .map(|(task, now)| now - before.get(task).unwrap_or(&0))
        .sum();
    let per_second = wakeups as f64 / 20.0;
    let rss = resident_mb(pid);
    report.add(
        "idle server, RSS",
        format!("{rss:.1} MB"),
        "≤ 20 MB",
        rss <= 20.0,
    );
    report.add(
        "idle server, wake-ups",
        format!("{per_second:.2}/s"),
        "< 2/s",
        per_second < 2.0,
    );
}

/// How often a thread was scheduled.
fn context_switches(task: &Path) -> u64 {
    let status = fs::read_to_string(task.join("status")).unwrap_or_default();
    status
        .lines()
        .filter(|line| line.contains("ctxt_switches"))
        .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
        .sum()
}

/// Resident memory of a process in MB.
pub(super) fn resident_mb(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<f64>()
        .unwrap()
        / 1024.0
}

/// `sky launch` on this machine, until the job's first line is there.
pub(super) fn local_launch(report: &mut Report) {
    use std::io::{BufRead, BufReader};
    let world = World::new();
    timed(&world, &["api", "status"]);
    let mut first_line = Vec::new();
    let mut again = Vec::new();
    for i in 0..10 {
        let name = format!("c{i}");
        for times in [&mut first_line, &mut again] {
            let start = Instant::now();
            let mut child = world
                .command(&["launch", "-y", "-c", &name, "echo the first line"])
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let lines = BufReader::new(child.stdout.take().unwrap()).lines();
            for line in lines.map_while(Result::ok) {
                if line.contains(") the first line") {
                    times.push(start.elapsed().as_secs_f64() * 1e3);
                }
            }
            child.wait().unwrap();
        }
    }
    let fresh = percentile(&mut first_line, 0.5);
    let reused = percentile(&mut again, 0.5);
    report.add(
        "`sky launch`, new cluster → first line (median of 10)",
        format!("{fresh:.0} ms"),
        "≤ 150 ms",
        fresh <= 150.0,
    );
    report.add(
        "`sky launch`, same cluster → first line (median of 10)",
        format!("{reused:.0} ms"),
        "≤ 150 ms",
        reused <= 150.0,
    );
}
