//! One list of cases that every cloud passes, with real machines and agents where the cloud has them.
//!
//! What is tried after a refusal is no business of a cloud: `clusters/tests` has those cases, against the cloud in memory.
//! Agents are the program `sky` that is built beside the tests.
//!
//! What a cloud cannot be made to suffer it names (`NotPossible`), and its test says which cases are left out: none vanishes.

mod agents;
mod aws;
mod fake;
mod faults;
mod local;
mod ssh;

use std::path::Path;
use std::sync::Arc;

use super::{Cloud, CloudResult, Instance, NodeSet, Standing};
use crate::catalog::Offer;
use crate::task::{Accelerator, Shape};

use faults::{Mishaps, NotPossible};

/// A cloud under test.
struct Subject {
    /// The cloud.
    cloud: Arc<dyn Cloud>,
    /// What is asked for.
    wish: Shape,
    /// The most machines of one set.
    most: u32,
    /// Whether its machines run agents.
    has_agents: bool,
    /// Whether a call that makes some of its machines and is refused the others removes those at once.
    takes_back: bool,
    /// What can happen to it.
    mishaps: Box<dyn Mishaps>,
    /// Tells the sets of this run from others'.
    run: String,
}

impl Subject {
    /// Prepares a cloud that runs agents on two machines.
    fn new(cloud: Arc<dyn Cloud>, mishaps: Box<dyn Mishaps>) -> Self {
        let run = uuid::Uuid::new_v4().simple().to_string();
        Self {
            cloud,
            wish: Shape::default(),
            most: 2,
            has_agents: true,
            takes_back: false,
            mishaps,
            run: run[..8].to_owned(),
        }
    }

    /// Returns the first offer for the wish, in its first zone.
    async fn offer(&self) -> Offer {
        let supply = self.cloud.offers(&self.wish).await.expect("an answer");
        assert!(supply.lack.is_none(), "{:?}", supply.lack);
        let mut offer = supply.offers.into_iter().next().expect("an offer");
        if offer.zone.is_none() {
            let zones = self.cloud.zones(&offer).await.expect("zones");
            offer.zone = zones.into_iter().next();
        }
        offer
    }

    /// Names a set.
    async fn set(&self, name: &str, count: u32) -> NodeSet {
        NodeSet {
            name: format!("conf-{name}-{}", self.run),
            count: count.min(self.most),
            offer: self.offer().await,
            wish: self.wish.clone(),
            labels: [("sky-cluster".to_owned(), name.to_owned())].into(),
            token: uuid::Uuid::new_v4().to_string(),
        }
    }

    /// Makes a set.
    async fn make(&self, set: &NodeSet) -> Vec<Instance> {
        let made = self.cloud.provision(set).await.expect("machines");
        let ranks: Vec<u32> = made.iter().map(|instance| instance.rank.0).collect();
        assert_eq!(ranks, (0..set.count).collect::<Vec<_>>(), "all, by rank");
        made
    }

    /// Checks how all machines of a set stand.
    async fn stands(&self, set: &NodeSet, wanted: Standing) {
        let seen = self.cloud.observe(set).await.expect("a look");
        assert_eq!(seen.len(), set.count as usize);
        assert!(seen.iter().all(|one| one.standing == wanted), "{seen:?}");
    }

    /// Whether the cloud says that a set exists.
    async fn is_owned(&self, set: &NodeSet) -> bool {
        let owned = self.cloud.owned().await.expect("names");
        owned.contains(&set.name)
    }
}

/// Passes all cases; returns those that are left out, and why.
async fn conforms(subject: &Subject) -> Vec<(&'static str, NotPossible)> {
    what_fits_is_offered_and_what_does_not_is_explained(subject).await;
    a_set_is_made_once_and_removed_once(subject).await;
    a_stopped_set_comes_back(subject).await;
    a_stray_is_removed_by_its_name(subject).await;
    what_never_was_can_be_removed(subject).await;
    let mut left_out = Vec::new();
    if subject.has_agents {
        agents::run_jobs_on_all_nodes(subject).await;
    } else {
        left_out.push(("agents", NotPossible::NoAgents));
    }
    left_out.extend(faults::are_borne(subject).await);
    left_out
}

async fn what_fits_is_offered_and_what_does_not_is_explained(subject: &Subject) {
    let offer = subject.offer().await;
    assert_eq!(offer.cloud, subject.cloud.id().as_str());
    let impossible = Shape {
        accelerators: Some(Accelerator {
            name: "NoSuchThing".to_owned(),
            count: 64.0,
        }),
        ..subject.wish.clone()
    };
    let supply = subject.cloud.offers(&impossible).await.expect("an answer");
    assert!(supply.offers.is_empty());
    assert!(supply.lack.is_some(), "it says why");
}

async fn a_set_is_made_once_and_removed_once(subject: &Subject) {
    let set = subject.set("once", 2).await;
    subject.stands(&set, Standing::Gone).await;
    let made = subject.make(&set).await;
    let again = subject.make(&set).await;
    let ids = |all: &[Instance]| all.iter().map(|i| i.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&made), ids(&again), "the same machines");
    subject.stands(&set, Standing::Running).await;
    assert!(subject.is_owned(&set).await);
    for _ in 0..2 {
        subject.cloud.terminate(&set).await.expect("removed");
        subject.stands(&set, Standing::Gone).await;
    }
    assert!(!subject.is_owned(&set).await);
    // The next life of the name.
    let next = NodeSet {
        token: uuid::Uuid::new_v4().to_string(),
        ..set
    };
    subject.make(&next).await;
    subject.stands(&next, Standing::Running).await;
    subject.cloud.terminate(&next).await.expect("removed");
}

async fn a_stopped_set_comes_back(subject: &Subject) {
    let set = subject.set("stop", 2).await;
    assert!(subject.cloud.capabilities(&set.offer).stop);
    let made = subject.make(&set).await;
    for _ in 0..2 {
        subject.cloud.stop(&set).await.expect("stopped");
        subject.stands(&set, Standing::Stopped).await;
    }
    assert!(subject.is_owned(&set).await, "its disks are kept");
    let back = subject.make(&set).await;
    subject.stands(&set, Standing::Running).await;
    assert_eq!(made[0].id, back[0].id);
    subject.cloud.stop(&set).await.expect("stopped");
    subject.cloud.terminate(&set).await.expect("removed");
    subject.stands(&set, Standing::Gone).await;
}

async fn a_stray_is_removed_by_its_name(subject: &Subject) {
    let set = subject.set("stray", 1).await;
    subject.make(&set).await;
    assert!(subject.is_owned(&set).await);
    for _ in 0..2 {
        let removed = subject.cloud.terminate_stray(&set.name).await;
        removed.expect("removed");
    }
    assert!(!subject.is_owned(&set).await);
    subject.stands(&set, Standing::Gone).await;
}

async fn what_never_was_can_be_removed(subject: &Subject) {
    let set = subject.set("never", 2).await;
    let all: [CloudResult<()>; 2] = [
        subject.cloud.terminate(&set).await,
        subject.cloud.terminate_stray(&set.name).await,
    ];
    assert!(all.iter().all(Result::is_ok), "{all:?}");
}

/// Lists a directory, hidden entries left out; one that does not exist is empty.
fn entries(dir: &Path) -> Vec<String> {
    let names = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| !name.starts_with('.')).collect()
}

/// Runs a test of this program in a home of its own, with these variables.
fn in_a_home(test: &str, home: &Path, variables: &[(&str, String)]) {
    #[expect(
        clippy::disallowed_methods,
        reason = "a test starts itself, since a home belongs to a process"
    )]
    let ran = std::process::Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env("HOME", home)
        .envs(variables.iter().cloned())
        .output()
        .expect("it runs");
    let told = format!(
        "{}{}",
        String::from_utf8_lossy(&ran.stdout),
        String::from_utf8_lossy(&ran.stderr)
    );
    assert!(ran.status.success(), "{told}");
    assert!(told.contains("1 passed"), "{told}");
}
