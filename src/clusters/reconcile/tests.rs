//! What is finished and seen in the background.

use std::sync::Mutex;

use futures_util::future::BoxFuture;

use super::*;
use crate::api::agent::AutostopSetting;
use crate::base::clock::monotonic;
use crate::clouds::fake::{Call, Fault};
use crate::clouds::{Category, Standing};
use crate::clusters::tests::World;
use crate::clusters::{Desk, Patience};

/// Nobody works, and losses are heard of.
#[derive(Default)]
struct Quiet {
    /// What was lost, and why.
    lost: Mutex<Vec<String>>,
}

impl Desk for Quiet {
    fn idle(&self, _: Cluster, _: AutostopSetting) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn is_busy(&self, _: ClusterName) -> BoxFuture<'_, bool> {
        Box::pin(async { false })
    }

    fn lost(&self, cluster: Cluster, reason: String) -> BoxFuture<'_, ()> {
        let mut lost = self.lost.lock().expect("whole");
        lost.push(format!("{}: {reason}", cluster.name));
        Box::pin(async {})
    }
}

/// The reconciler of a world, on a minute's period.
async fn started(world: &World) -> std::sync::Arc<Quiet> {
    let quiet = std::sync::Arc::new(Quiet::default());
    let every = Some(Duration::from_secs(60));
    let started = world.clusters.start(quiet.clone(), every);
    started.await.expect("started");
    quiet
}

/// Waits in the test's own time, which flies, but no longer than this in the world's.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until something is so.
async fn until(what: &str, mut is: impl AsyncFnMut() -> bool) {
    let begun = monotonic();
    while !is().await {
        assert!(begun.elapsed() < PATIENCE, "never {what}");
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
}

#[tokio::test]
async fn what_could_not_be_removed_is_removed_later() {
    let world = World::new();
    let partly = Fault::Partly(1, Category::Fatal);
    world.near.order(Call::Provision, None, partly, 1);
    let refuse = Fault::Refuse(Category::Auth);
    world.near.order(Call::Terminate, None, refuse, 2);
    let launch = world.provision(2, Patience::GiveUp).await;
    launch.expect_err("it makes no sense");
    let cluster = world.record().await.expect("it says so");
    let quiet = started_quietly(&world).await;
    let first = world.clusters.tend(cluster).await;
    first.expect_err("not yet");
    let cluster = world.record().await.expect("still there");
    assert!(cluster.stuck.is_some());
    world.clusters.tend(cluster).await.expect("removed");
    assert_eq!(world.machines(), 0);
    assert!(world.record().await.is_none());
    assert!(quiet.lost.lock().expect("whole").is_empty());
}

/// A world whose reconciler is off: a test does its work step by step.
async fn started_quietly(world: &World) -> std::sync::Arc<Quiet> {
    let quiet = std::sync::Arc::new(Quiet::default());
    let started = world.clusters.start(quiet.clone(), None);
    started.await.expect("started");
    quiet
}

#[tokio::test(start_paused = true)]
async fn a_stopped_cluster_that_is_removed_outside_is_missed() {
    let world = World::new();
    // Nobody is at work on it any more, as the desk says.
    let cluster = world.stopped().await;
    let quiet = started(&world).await;
    world
        .near
        .strike(&cluster.set.name, 0, Standing::Gone.into());
    // It is told after it is recorded.
    until("missed", async || {
        !quiet.lost.lock().expect("whole").is_empty()
    })
    .await;
    let lost = quiet.lost.lock().expect("whole").clone();
    assert_eq!(lost, ["demo: its machines were removed from outside"]);
    assert!(world.record().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_stop_that_broke_off_is_finished() {
    let world = World::new();
    let cluster = world.up(1).await;
    let refuse = Fault::Refuse(Category::Transient);
    world.near.order(Call::Stop, None, refuse, 1);
    let stop = world.clusters.stop(&cluster, false).await;
    stop.expect_err("broken off");
    started(&world).await;
    until("stopped", async || {
        let record = world.record().await.expect("it stays");
        matches!(record.state, State::Stopped { .. })
    })
    .await;
}

#[tokio::test]
async fn what_was_started_after_it_was_listed_stays_up() {
    let world = World::new();
    let cluster = world.up(1).await;
    let refuse = Fault::Refuse(Category::Transient);
    world.near.order(Call::Stop, None, refuse, 1);
    let stop = world.clusters.stop(&cluster, false).await;
    stop.expect_err("broken off");
    let listed = world.record().await.expect("it stays");
    assert!(matches!(listed.state, State::Stopping { .. }));
    started_quietly(&world).await;
    world.clusters.stop(&listed, false).await.expect("stopped");
    world.up(1).await;
    world.clusters.tend(listed).await.expect("nothing to do");
    let record = world.record().await.expect("it stays");
    assert!(matches!(record.state, State::Up { .. }), "{record:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_left_elsewhere_goes_while_the_cluster_stays() {
    let world = World::new();
    let partly = Fault::Partly(1, Category::Capacity);
    world.near.order(Call::Provision, Some("a"), partly, 1);
    let refuse = Fault::Refuse(Category::Auth);
    world.near.order(Call::Terminate, Some("a"), refuse, 1);
    let cluster = world.provision(1, Patience::GiveUp).await.expect("room");
    assert_eq!(cluster.remnants.len(), 1);
    started_quietly(&world).await;
    world.clusters.tend(cluster).await.expect("swept");
    assert!(world.record().await.expect("it stays").remnants.is_empty());
    assert_eq!(world.machines(), 1);
}
