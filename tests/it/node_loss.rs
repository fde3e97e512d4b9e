//! Clusters of several hosts one of which loses its power, or its link for a short or a long time, while a job runs.

use std::time::{Duration, Instant};

use crate::testbed::Hosts;
use crate::world::{Ran, World, wait_for, wait_until};

/// The longest until a job has failed one of whose machines is lost.
const SEEN: Duration = Duration::from_secs(30);

/// The longest until a follower of a job is told whose host is lost.
const TOLD: Duration = Duration::from_secs(90);

/// A cluster of two hosts.
struct Duo {
    world: World,
    hosts: Hosts,
    /// The host of the head.
    head: usize,
    /// The host of the worker.
    worker: usize,
}

impl Duo {
    /// Launches a job on both, and waits until both ranks talk: `line 3 of RANK`.
    fn launch(job: &str) -> Self {
        let hosts = Hosts::up(2);
        let world = World::new();
        hosts.pool(&world);
        let args = [
            "launch",
            "-y",
            "-d",
            "-c",
            "duo",
            "--infra",
            "ssh/lab",
            "--num-nodes",
            "2",
            job,
        ];
        world.sky(&args).ok();
        let is_head = |host: usize| {
            let path = "ls -d /home/dev/.sky/nodes/*/0";
            hosts.sh(host, path).code == 0
        };
        let head = usize::from(is_head(1));
        let duo = Self {
            world,
            hosts,
            head,
            worker: 1 - head,
        };
        wait_until("both ranks talk", || {
            let said = duo.world.sky(&["logs", "duo", "1", "--no-follow"]);
            if [0, 1]
                .iter()
                .all(|rank| said.stdout.contains(&format!(") line 3 of {rank}")))
            {
                Ok(())
            } else {
                Err(said.all())
            }
        });
        duo
    }

    /// Follows the job to its end, which comes in time; returns how that looked.
    fn follow(&self, most: Duration) -> Ran {
        let began = Instant::now();
        let ran = self.world.sky(&["logs", "duo", "1"]);
        let took = began.elapsed();
        assert!(took < most, "{took:?}: {}", ran.all());
        ran
    }

    /// The address of a host.
    fn address(&self, host: usize) -> &str {
        &self.hosts.machines[host].address
    }

    /// Whether the job's process on a host lives.
    fn runs(&self, host: usize) -> bool {
        let look = "kill -0 $(cat /home/dev/.sky/nodes/*/*/home/pid)";
        self.hosts.sh(host, look).code == 0
    }
}

/// Talks for so many lines, five a second, whatever happens to the output.
fn talk(lines: u32) -> String {
    format!(
        "echo $$ >~/pid; for i in $(seq 1 {lines}); do echo line $i of $SKYPILOT_NODE_RANK; sleep 0.2; done"
    )
}

/// The numbers of the lines of a rank.
fn numbers(ran: &Ran, rank: u32) -> Vec<u32> {
    let end = format!(" of {rank}");
    let lines = ran.stdout.lines().filter_map(|line| {
        let line = line.split_once(") line ")?.1;
        line.strip_suffix(&end)?.parse().ok()
    });
    lines.collect()
}

/// Runs scenes side by side: they wait most of the time.
fn side_by_side(scenes: &[fn()]) {
    std::thread::scope(|scope| {
        for scene in scenes {
            scope.spawn(scene);
        }
    });
}

#[test]
fn a_machine_that_stays_away_is_named_within_bounds() {
    side_by_side(&[
        a_job_whose_worker_loses_power_fails_with_the_reason,
        what_is_left_of_a_failed_job_ends_when_the_link_is_back,
        whoever_follows_a_job_whose_head_loses_power_is_told,
        the_log_is_whole_when_the_link_of_the_head_is_back_after_long,
    ]);
}

#[test]
fn a_link_that_is_away_for_a_moment_costs_nothing() {
    side_by_side(&[
        a_job_goes_on_where_a_link_is_away_for_some_seconds,
        a_gang_starts_when_the_link_of_its_worker_is_back,
        the_copy_to_one_of_two_hosts_goes_on_where_its_link_broke,
    ]);
}

fn a_job_whose_worker_loses_power_fails_with_the_reason() {
    let duo = Duo::launch(&talk(3000));
    duo.hosts.act("stop", duo.worker);
    let address = duo.address(duo.worker);
    duo.follow(SEEN)
        .expect_code(100)
        .shows(&format!(
            "ERROR: Job 1 was cut off: worker1 ({address}) is unreachable since "
        ))
        .shows("FAILED_DRIVER");
    assert!(!duo.runs(duo.head), "the other rank is ended");
    duo.world
        .sky(&["status", "-r"])
        .ok()
        .shows("INIT")
        .shows("Cluster duo is not whole: the agent of node 1 does not answer: ")
        .shows(address);
    duo.hosts.act("start", duo.worker);
    duo.world.sky(&["start", "-y", "duo"]).ok();
    let args = ["exec", "duo", "--num-nodes", "2", "echo again"];
    let again = duo.world.sky(&args).ok();
    assert_eq!(again.stdout.matches(") again\n").count(), 2, "{again:?}");
    duo.world.sky(&["down", "-y", "duo"]).ok();
}

fn what_is_left_of_a_failed_job_ends_when_the_link_is_back() {
    let duo = Duo::launch(&talk(3000));
    duo.hosts.act("mute", duo.worker);
    let address = duo.address(duo.worker);
    duo.follow(SEEN)
        .expect_code(100)
        .shows(&format!("worker1 ({address}) is unreachable since "));
    assert!(duo.runs(duo.worker), "nobody could tell it");
    duo.hosts.act("join", duo.worker);
    wait_for("it is told", || !duo.runs(duo.worker));
}

fn whoever_follows_a_job_whose_head_loses_power_is_told() {
    let duo = Duo::launch(&talk(3000));
    let follower = duo.world.spawn(&["logs", "duo", "1"]);
    duo.hosts.act("stop", duo.head);
    let address = duo.address(duo.head);
    let began = Instant::now();
    duo.world
        .sky(&["status", "-r"])
        .ok()
        .shows("INIT")
        .shows("Cluster duo is not whole: the agent of node 0 does not answer: ")
        .shows(address);
    let ran = duo.world.finish(follower);
    let took = began.elapsed();
    assert!(took < TOLD, "{took:?}: {}", ran.all());
    ran.expect_code(1).shows(address);
    let began = Instant::now();
    for args in [["queue", "duo"], ["logs", "duo"]] {
        duo.world.sky(&args).expect_code(1).shows(address);
    }
    assert!(began.elapsed() < SEEN, "{:?}", began.elapsed());
}

fn the_log_is_whole_when_the_link_of_the_head_is_back_after_long() {
    let hosts = Hosts::up(1);
    let world = World::new();
    hosts.pool(&world);
    let job = talk(100);
    let args = [
        "launch", "-y", "-d", "-c", "solo", "--infra", "ssh/lab", &job,
    ];
    world.sky(&args).ok();
    let follower = world.spawn(&["logs", "solo", "1"]);
    hosts.act("mute", 0);
    let began = Instant::now();
    let ran = world.finish(follower);
    let took = began.elapsed();
    assert!(took < TOLD, "{took:?}: {}", ran.all());
    ran.expect_code(1).shows(&hosts.machines[0].address);
    hosts.act("join", 0);
    world.sky(&["status", "-r"]).ok().shows("UP");
    let ran = world.sky(&["logs", "solo", "1"]).ok();
    assert_eq!(numbers(&ran, 0), (1..=100).collect::<Vec<u32>>());
}

fn a_job_goes_on_where_a_link_is_away_for_some_seconds() {
    let duo = Duo::launch(&talk(60));
    duo.hosts.act("cut", duo.worker);
    // As long as the link is away.
    std::thread::sleep(Duration::from_secs(8));
    duo.hosts.act("join", duo.worker);
    let ran = duo.follow(Duration::from_secs(60)).ok();
    for rank in 0..2 {
        assert_eq!(
            numbers(&ran, rank),
            (1..=60).collect::<Vec<u32>>(),
            "rank {rank}"
        );
    }
}

fn a_gang_starts_when_the_link_of_its_worker_is_back() {
    let duo = Duo::launch(&talk(3));
    duo.hosts.act("cut", duo.worker);
    let args = [
        "exec",
        "duo",
        "--num-nodes",
        "2",
        "echo rank $SKYPILOT_NODE_RANK is there",
    ];
    let child = duo.world.spawn(&args);
    let first = "ls -d /home/dev/.sky/nodes/*/0/jobs/2/run-0";
    wait_for("the head begins", || {
        duo.hosts.sh(duo.head, first).code == 0
    });
    duo.hosts.act("join", duo.worker);
    duo.world
        .finish(child)
        .ok()
        .shows(") rank 0 is there")
        .shows(") rank 1 is there");
    duo.hosts.act("cut", duo.worker);
    let began = Instant::now();
    let ran = duo.world.sky(&args);
    assert!(
        began.elapsed() < SEEN,
        "{:?}: {}",
        began.elapsed(),
        ran.all()
    );
    ran.expect_code(100).shows(&format!(
        "worker1 ({}) is unreachable since ",
        duo.address(duo.worker)
    ));
}

fn the_copy_to_one_of_two_hosts_goes_on_where_its_link_broke() {
    let hosts = Hosts::up(2);
    let world = World::new();
    hosts.pool(&world);
    hosts.slow(1, 60_000);
    let args = [
        "launch",
        "-y",
        "-c",
        "duo",
        "--infra",
        "ssh/lab",
        "--num-nodes",
        "2",
        "echo there",
    ];
    let child = world.spawn(&args);
    let part = "test -s /home/dev/.sky/bin/.sky-*.part";
    wait_for("a part is there", || hosts.sh(1, part).code == 0);
    hosts.act("cut", 1);
    // As long as the link is away.
    std::thread::sleep(Duration::from_secs(3));
    hosts.act("join", 1);
    let ran = world.finish(child).ok();
    assert_eq!(ran.stdout.matches(") there\n").count(), 2, "{ran:?}");
}
