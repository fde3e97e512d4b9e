//! Every step of a launch, struck while it is under way: a condition proves that it is, never the time.

use std::fs;
use std::process::Child;
use std::time::{Duration, Instant};

use super::gate::{Gate, seed};
use super::{BOUND, exists, sky_dir, work};
use crate::testbed::Hosts;
use crate::world::{Ran, World, wait_for, wait_until};

/// How long a link is away that comes back.
const MOMENT: Duration = Duration::from_secs(3);

/// A step of a launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The first connection.
    Connect,
    /// The copy of the program.
    Copy,
    /// A node is made.
    Create,
    /// Its agent starts.
    Start,
    /// A stream to the agent is opened.
    Attach,
    /// The work directory travels.
    Sync,
    /// The job travels.
    Submit,
}

impl Step {
    /// All of them, in order.
    const ALL: [Self; 7] = [
        Self::Connect,
        Self::Copy,
        Self::Create,
        Self::Start,
        Self::Attach,
        Self::Sync,
        Self::Submit,
    ];

    /// What a launch says that fails there.
    const fn says(self) -> &'static str {
        match self {
            Self::Connect => "cannot reach host",
            Self::Copy => "cannot copy sky",
            Self::Create => "failed to provision cluster `demo`",
            Self::Start | Self::Attach => "cannot start the agent of node 0",
            Self::Sync => "cannot sync files to `sky_workdir`",
            Self::Submit => "cannot submit the job to cluster `demo`",
        }
    }
}

/// A launch on a host of its own.
struct Scene<'a> {
    /// Its server.
    world: World,
    /// Where the host is.
    hosts: &'a Hosts,
    /// Which it is.
    host: usize,
}

impl<'a> Scene<'a> {
    /// Prepares it.
    fn new(hosts: &'a Hosts, host: usize, step: Step) -> Self {
        let world = World::new();
        hosts.pool_of(&world, &[host]);
        if step != Step::Copy {
            seed(hosts, host);
        }
        match step {
            Step::Sync => {
                work(&world, 4_000_000);
                world.file("task.yaml", "workdir: work\nrun: ls\n");
            }
            Step::Submit => {
                let noise = "# a comment that travels with the job\n  ".repeat(10_000);
                let task = format!("run: |\n  {noise}\n  echo noise\n");
                world.file("task.yaml", &task);
            }
            _ => {
                world.file("task.yaml", "run: echo noise\n");
            }
        }
        Self { world, hosts, host }
    }

    /// Begins the launch.
    fn launch(&self) -> Child {
        let args = [
            "launch",
            "-y",
            "-d",
            "-c",
            "demo",
            "--infra",
            "ssh/lab",
            "task.yaml",
        ];
        self.world.spawn(&args)
    }

    /// Whether there is something in `~/.sky` of the host.
    fn has(&self, pattern: &str) -> bool {
        exists(sky_dir(self.hosts, self.host), pattern)
    }

    /// Begins the launch, and strikes when the step is under way.
    fn struck(&self, step: Step, fault: &str) -> Child {
        let (hosts, host) = (self.hosts, self.host);
        let held = |word: &str| {
            let gate = Gate::closed(hosts, host, word);
            let child = self.launch();
            gate.reached();
            hosts.act(fault, host);
            gate.open();
            child
        };
        match step {
            Step::Connect => {
                hosts.act(fault, host);
                let child = self.launch();
                let address = &hosts.machines[host].address;
                wait_for("it connects", || {
                    let all = self.world.processes();
                    all.iter()
                        .any(|(_, line)| line.starts_with("ssh ") && line.contains(address))
                });
                child
            }
            Step::Copy => {
                hosts.slow(host, 60_000);
                let child = self.launch();
                let bin = sky_dir(hosts, host).join("bin");
                wait_for("a part is there", || {
                    let found = fs::read_dir(&bin).into_iter().flatten().flatten();
                    found
                        .filter_map(|entry| entry.metadata().ok())
                        .any(|part| part.len() > 0)
                });
                hosts.act(fault, host);
                assert!(!self.has("bin/sky-*"), "only a part");
                child
            }
            Step::Create => held(r#""verb":"create""#),
            Step::Start => held(r#""verb":"start""#),
            Step::Attach => held("__agent connect"),
            Step::Sync => {
                hosts.slow(host, 8000);
                let child = self.launch();
                wait_for("files are compared", || self.has("nodes/*/0/agent/files/*"));
                hosts.act(fault, host);
                assert!(!self.has("nodes/*/0/home/sky_workdir/noise"), "on its way");
                child
            }
            Step::Submit => {
                hosts.slow(host, 2000);
                let child = self.launch();
                wait_for("the agent runs", || self.has("nodes/*/0/agent.sock"));
                let before = hosts.sent(host);
                wait_for("the job travels", || hosts.sent(host) > before + 150_000);
                hosts.act(fault, host);
                assert!(!self.has("nodes/*/0/jobs/*"), "on its way");
                child
            }
        }
    }

    /// Sees that a launch failed cleanly: with the step and the host.
    fn says_why(&self, step: Step, ran: &Ran) {
        assert_eq!(ran.code, 1, "{step:?}: {}", ran.all());
        for text in [step.says(), &self.hosts.machines[self.host].address] {
            assert!(ran.stderr.contains(text), "{step:?}: {text}: {}", ran.all());
        }
    }

    /// Uses the cluster, removes it, and sees that nothing is left.
    fn use_up(&self, what: &str) {
        let world = &self.world;
        world.sky(&["logs", "demo", "1"]).ok().shows(" noise");
        world
            .sky(&["exec", "demo", "echo used"])
            .ok()
            .shows(") used");
        world.sky(&["down", "-y", "demo"]).ok();
        assert!(!self.has("nodes/*/0"), "{what}: left");
    }
}

/// Runs something for each step and fault, each on a host and in a world of its own, side by side.
fn for_each(cases: &[(Step, &str)], run: impl Fn(&Scene<'_>, Step, &str) + Sync) {
    let hosts = Hosts::up(cases.len());
    std::thread::scope(|scope| {
        for (host, (step, fault)) in cases.iter().enumerate() {
            let (hosts, run) = (&hosts, &run);
            scope.spawn(move || run(&Scene::new(hosts, host, *step), *step, fault));
        }
    });
}

#[test]
fn a_launch_comes_up_whose_link_is_away_for_a_moment_at_any_step() {
    let all = Step::ALL.map(|step| [(step, "cut"), (step, "mute")]);
    for_each(all.as_flattened(), |scene, step, fault| {
        let child = scene.struck(step, fault);
        std::thread::sleep(MOMENT);
        scene.hosts.act("join", scene.host);
        let mut ran = scene.world.finish(child);
        if step == Step::Connect && ran.code == 1 {
            // Nobody waits for a host that was never reached.
            scene.says_why(step, &ran);
            ran = scene.world.finish(scene.launch());
        }
        assert_eq!(ran.code, 0, "{step:?} {fault}: {}", ran.all());
        scene.use_up(&format!("{step:?} {fault}"));
    });
}

#[test]
fn a_launch_whose_link_stays_away_says_at_which_step_and_why() {
    let mut all = Step::ALL.map(|step| (step, "mute")).to_vec();
    all.extend([(Step::Connect, "cut"), (Step::Sync, "cut")]);
    for_each(&all, |scene, step, fault| {
        let began = Instant::now();
        let child = scene.struck(step, fault);
        let ran = scene.world.finish(child);
        let took = began.elapsed();
        assert!(took < BOUND, "{step:?} {fault}: {took:?}: {}", ran.all());
        scene.says_why(step, &ran);
        scene.hosts.act("join", scene.host);
        // What was made is known, or is gone.
        let down = scene.world.sky(&["down", "-y", "demo"]);
        let is_known = !down.all().contains("not found");
        assert!(
            down.code == 0 || !is_known,
            "{step:?} {fault}: {}",
            down.all()
        );
        wait_until("nothing is left", || {
            if scene.has("nodes/*/0") {
                Err(format!("{step:?} {fault}: {}", down.all()))
            } else {
                Ok(())
            }
        });
        let again = scene.world.finish(scene.launch());
        assert_eq!(again.code, 0, "{step:?} {fault}: {}", again.all());
        scene.use_up(&format!("{step:?} {fault} again"));
    });
}

#[test]
fn a_launch_over_a_slow_link_comes_up() {
    let steps = [Step::Copy, Step::Sync, Step::Submit];
    let hosts = Hosts::up(steps.len());
    std::thread::scope(|scope| {
        for (host, step) in steps.into_iter().enumerate() {
            let hosts = &hosts;
            scope.spawn(move || {
                let scene = Scene::new(hosts, host, step);
                // Slow enough that questions and answers queue behind what is sent.
                hosts.slow(host, if step == Step::Copy { 200_000 } else { 3000 });
                let ran = scene.world.finish(scene.launch());
                assert_eq!(ran.code, 0, "{step:?}: {}", ran.all());
                scene.use_up(&format!("{step:?}"));
            });
        }
    });
}
