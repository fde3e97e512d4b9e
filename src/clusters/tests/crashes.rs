//! A launch that is cut off anywhere and taken up again: the machines that exist are those that the store knows.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use proptest::prelude::*;

use super::World;
use crate::clouds::Category;
use crate::clouds::fake::{Call, Fault};
use crate::clusters::Patience;

/// Polls a future so many times, then gives it up: what a crash of the server does.
struct Cut<F> {
    /// The work.
    work: Pin<Box<F>>,
    /// Polls that are left.
    polls: u32,
}

impl<F: Future> Future for Cut<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.polls == 0 {
            return Poll::Ready(None);
        }
        self.polls -= 1;
        self.work.as_mut().poll(cx).map(Some)
    }
}

fn faults() -> impl Strategy<Value = Fault> {
    let category = prop::sample::select(vec![
        Category::Capacity,
        Category::Quota,
        Category::Throttled,
        Category::Transient,
        Category::Fatal,
        Category::Auth,
    ]);
    prop_oneof![
        category.clone().prop_map(Fault::Refuse),
        Just(Fault::LoseReply),
        (0..3_u32, category).prop_map(|(made, category)| Fault::Partly(made, category)),
    ]
}

/// One run of a server: faults, and after how many polls it dies.
fn lives() -> impl Strategy<Value = (Vec<(bool, Fault)>, u32)> {
    (
        prop::collection::vec((any::<bool>(), faults()), 0..4),
        1..40_u32,
    )
}

/// Orders the faults of one life.
fn order(world: &World, faults: &[(bool, Fault)]) {
    for cloud in [&world.near, &world.far] {
        cloud.calm();
        for (making, fault) in faults {
            let call = if *making {
                Call::Provision
            } else {
                Call::Terminate
            };
            cloud.order(call, None, *fault, 1);
        }
    }
}

/// Checks that what exists is what the store knows.
async fn check(world: &World) -> Result<(), TestCaseError> {
    let known: Vec<String> = world.record().await.map_or(Vec::new(), |cluster| {
        let left = cluster.remnants.iter().map(|r| r.set.name.clone());
        left.chain([cluster.set.name.clone()]).collect()
    });
    for (region, name, rank) in [world.near.machines(), world.far.machines()].concat() {
        prop_assert!(
            known.contains(&name),
            "{region}/{name}/{rank} is nobody's; known: {known:?}"
        );
    }
    Ok(())
}

/// Lives through all of it, then launches or removes in peace.
async fn live(lives: Vec<(Vec<(bool, Fault)>, u32)>, ends_up: bool) -> Result<(), TestCaseError> {
    let world = World::new();
    for (faults, polls) in &lives {
        order(&world, faults);
        let work = Box::pin(world.provision(2, Patience::GiveUp));
        let ended = Cut {
            work,
            polls: *polls,
        }
        .await;
        check(&world).await?;
        if ended.is_some() {
            break;
        }
    }
    order(&world, &[]);
    let left = world.record().await;
    let removing = left
        .as_ref()
        .is_some_and(|c| matches!(c.state, crate::clusters::State::Terminating { .. }));
    if ends_up && !removing {
        let cluster = world.provision(2, Patience::GiveUp).await.expect("peace");
        let cluster = world.clusters.sweep(cluster).await.expect("swept");
        prop_assert!(cluster.remnants.is_empty());
        prop_assert_eq!(world.machines(), 2);
        prop_assert_eq!(cluster.instances.len(), 2);
    } else if let Some(cluster) = left {
        let removed = world.clusters.terminate(&cluster, false, false).await;
        prop_assert!(removed.is_ok(), "{removed:?}");
        prop_assert_eq!(world.machines(), 0);
    } else {
        prop_assert_eq!(world.machines(), 0);
    }
    check(&world).await
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn machines_that_exist_are_those_that_the_store_knows(
        lives in prop::collection::vec(lives(), 1..5),
        ends_up in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .expect("a runtime");
        runtime.block_on(live(lives, ends_up))?;
    }
}
