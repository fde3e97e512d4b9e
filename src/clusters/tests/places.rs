//! What is tried after which refusal, and that nothing is left behind.

use super::{World, name};
use crate::base::Kind;
use crate::base::clock::Moment;
use crate::catalog::Cause;
use crate::clouds::Category;
use crate::clouds::fake::{Call, Fault};
use crate::clusters::{Event, Patience, State, may_change};

#[tokio::test(start_paused = true)]
async fn capacity_goes_to_the_next_zone_region_and_cloud() {
    let world = World::new();
    let refuse = Fault::Refuse(Category::Capacity);
    world.near.order(Call::Provision, None, refuse, 3);
    let cluster = world.provision(1, Patience::GiveUp).await.expect("room");
    assert_eq!(cluster.set.offer.region.as_deref(), Some("far"));
    insta::assert_snapshot!(world.lines(), @r"
    ⚙︎ Launching on Local r1 (a).
    ⨯ Local r1 (a): there is no capacity
    ↺ Trying other potential resources.
    ⚙︎ Launching on Local r1 (b).
    ⨯ Local r1 (b): there is no capacity
    ↺ Trying other potential resources.
    Considered resources (1 node):
    -----------------------------------------------------------------------
     INFRA        INSTANCE    vCPUs   Mem(GB)   GPUS   COST ($)   CHOSEN   
    -----------------------------------------------------------------------
     Local (r2)   m6i.large   2       8         -      0.11          ✔     
     SSH (far)    m6i.large   2       8         -      0.10                
    -----------------------------------------------------------------------
    ⚙︎ Launching on Local r2.
    ⨯ Local r2: there is no capacity
    ↺ Trying other potential resources.
    Considered resources (1 node):
    ----------------------------------------------------------------------
     INFRA       INSTANCE    vCPUs   Mem(GB)   GPUS   COST ($)   CHOSEN   
    ----------------------------------------------------------------------
     SSH (far)   m6i.large   2       8         -      0.10          ✔     
    ----------------------------------------------------------------------
    ⚙︎ Launching on SSH far.
    └── Instance is up.
    ");
    let tried: Vec<String> = world.near.calls();
    let made: Vec<&String> = tried
        .iter()
        .filter(|c| c.starts_with("Provision"))
        .collect();
    assert_eq!(made, ["Provision r1/a", "Provision r1/b", "Provision r2"]);
    assert_eq!(world.machines(), 1);
    let blocks = world.clusters.blocks().await.expect("stored");
    // Three places, and the region whose two zones refused.
    assert_eq!(blocks.len(), 4, "{blocks:#?}");
    assert!(
        blocks
            .iter()
            .all(|b| b.cause == Cause::Capacity && b.until > Moment::now())
    );
    let events = cluster.events.iter();
    assert_eq!(events.filter(|past| past.event.is_note()).count(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_set_that_was_made_in_part_is_removed_before_the_next_place() {
    let world = World::new();
    let partly = Fault::Partly(2, Category::Capacity);
    world.near.order(Call::Provision, Some("a"), partly, 1);
    let cluster = world.provision(3, Patience::GiveUp).await.expect("room");
    assert_eq!(cluster.set.offer.zone.as_deref(), Some("b"));
    assert_eq!(world.machines(), 3);
    assert!(cluster.remnants.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_is_asked_for_again_at_the_same_place() {
    let world = World::new();
    world.near.order(Call::Provision, None, Fault::LoseReply, 2);
    let cluster = world.provision(2, Patience::GiveUp).await.expect("room");
    assert_eq!(cluster.set.offer.zone.as_deref(), Some("a"));
    assert_eq!(world.machines(), 2, "the same ones");
    let token = &cluster.set.token;
    assert!(cluster.instances.iter().all(|i| i.id.ends_with(token)));
    let waits = world.waits();
    assert_eq!(waits.len(), 2);
    assert!(waits[0].contains("attempt 2 of 5 in 1 s"), "{waits:?}");
}

#[tokio::test(start_paused = true)]
async fn throttling_is_waited_out_and_in_the_end_another_region_is_tried() {
    let world = World::new();
    let refuse = Fault::Refuse(Category::Throttled);
    world.near.order(Call::Provision, Some("r1"), refuse, 99);
    let cluster = world.provision(1, Patience::GiveUp).await.expect("room");
    assert_eq!(cluster.set.offer.region.as_deref(), Some("r2"));
    assert_eq!(world.waits().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn refused_credentials_leave_the_cloud_out_until_it_is_set_up() {
    for category in [Category::Auth, Category::Configuration] {
        let world = World::new();
        let refuse = Fault::Refuse(category);
        world.near.order(Call::Provision, None, refuse, 1);
        let cluster = world.provision(1, Patience::GiveUp).await.expect("room");
        assert_eq!(cluster.set.offer.region.as_deref(), Some("far"));
        assert_eq!(world.clusters.blocks().await.expect("stored").len(), 1);
        let near = world.choices()[0].offer.cloud.parse().expect("a cloud");
        world.clusters.set_up(near).await.expect("forgotten");
        assert!(world.clusters.blocks().await.expect("stored").is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn what_makes_no_sense_ends_the_launch() {
    let world = World::new();
    let refuse = Fault::Partly(1, Category::Fatal);
    world.near.order(Call::Provision, None, refuse, 1);
    let error = world.provision(2, Patience::Wait).await.expect_err("fatal");
    assert!(!may_change(&error));
    assert_eq!(world.machines(), 0);
    assert!(world.record().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn nobody_has_room_and_nothing_is_left() {
    let world = World::new();
    for cloud in [&world.near, &world.far] {
        let refuse = Fault::Partly(1, Category::Capacity);
        cloud.order(Call::Provision, None, refuse, 9);
    }
    let error = world
        .provision(2, Patience::GiveUp)
        .await
        .expect_err("full");
    assert_eq!(error.kind(), Kind::ResourcesUnavailable);
    assert!(may_change(&error));
    insta::assert_snapshot!(error.one_line(), @"failed to provision cluster `demo` (tried 4 infra): Local r1 (a): there is no capacity: Local r1 (b): there is no capacity: Local r2: there is no capacity: SSH far: there is no capacity");
    assert_eq!(world.machines(), 0);
    assert!(world.record().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn who_waits_keeps_the_record_and_pays_nothing() {
    let world = World::new();
    for cloud in [&world.near, &world.far] {
        let refuse = Fault::Refuse(Category::Capacity);
        cloud.order(Call::Provision, None, refuse, 9);
    }
    world.provision(1, Patience::Wait).await.expect_err("full");
    let cluster = world.record().await.expect("kept");
    let until = Moment::now().after(std::time::Duration::from_secs(30));
    let waiting = world
        .clusters
        .wait_until(&cluster, until, "no room".to_owned());
    let cluster = waiting.await.expect("noted");
    assert!(cluster.usage.last().is_some_and(|usage| usage.to.is_some()));
    let shown = crate::clusters::record(&cluster, false)
        .last_event
        .expect("told");
    assert!(shown.starts_with("no room; next attempt at "), "{shown}");
    world.near.calm();
    let placed = world.intend(1).await;
    world
        .clusters
        .resume(&world.cx(), &placed)
        .await
        .expect("taken up");
    let cluster = world.provision(1, Patience::Wait).await.expect("room");
    assert!(cluster.waits.is_none());
    assert!(cluster.usage.last().is_some_and(|usage| usage.to.is_none()));
    assert_eq!(world.machines(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_removed_stays_in_the_record_under_its_own_name() {
    let world = World::new();
    let partly = Fault::Partly(1, Category::Capacity);
    world.near.order(Call::Provision, Some("a"), partly, 1);
    let refuse = Fault::Refuse(Category::Auth);
    world.near.order(Call::Terminate, Some("a"), refuse, 1);
    let cluster = world.provision(2, Patience::GiveUp).await.expect("room");
    assert_eq!(cluster.set.offer.zone.as_deref(), Some("b"));
    assert_eq!(cluster.remnants.len(), 1);
    assert!(cluster.remnants[0].why.is_some());
    assert_ne!(cluster.remnants[0].set.name, cluster.set.name);
    assert_eq!(world.machines(), 3);
    assert!(
        world
            .clusters
            .strays()
            .await
            .expect("readable")
            .0
            .is_empty()
    );
    let cluster = world.clusters.sweep(cluster).await.expect("stored");
    assert!(cluster.remnants.is_empty());
    assert_eq!(world.machines(), 2, "those of the cluster stay");
}

#[tokio::test(start_paused = true)]
async fn a_launch_that_cannot_take_back_what_it_made_says_so() {
    let world = World::new();
    let partly = Fault::Partly(1, Category::Fatal);
    world.near.order(Call::Provision, None, partly, 1);
    let refuse = Fault::Refuse(Category::Auth);
    world.near.order(Call::Terminate, None, refuse, 1);
    let error = world
        .provision(2, Patience::GiveUp)
        .await
        .expect_err("fatal");
    assert!(
        error.hints().iter().any(|h| h.contains("may be left")),
        "{error:?}"
    );
    let cluster = world.record().await.expect("it says so");
    assert!(matches!(cluster.state, State::Terminating { .. }));
    let shown = crate::clusters::record(&cluster, false)
        .last_event
        .expect("told");
    assert!(
        shown.contains("are not removed yet: the credentials were refused"),
        "{shown}"
    );
    world
        .clusters
        .terminate(&cluster, false, false)
        .await
        .expect("gone");
    assert_eq!(world.machines(), 0);
    assert!(world.record().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn stopped_machines_are_started_where_they_are_or_not_at_all() {
    for category in [Category::Capacity, Category::Fatal, Category::Auth] {
        let world = World::new();
        let before = world.stopped().await;
        let refuse = Fault::Refuse(category);
        world.near.order(Call::Provision, None, refuse, 1);
        let error = world
            .provision(1, Patience::GiveUp)
            .await
            .expect_err("refused");
        assert_eq!(may_change(&error), category == Category::Capacity);
        let after = world.record().await.expect("kept");
        assert!(
            matches!(after.state, State::Stopped { .. }),
            "{:?}",
            after.state
        );
        assert_eq!(after.set, before.set);
        assert_eq!(world.machines(), 1);
        assert!(world.far.calls().is_empty());
        let again = world.provision(1, Patience::GiveUp).await.expect("started");
        assert_eq!(again.set, before.set);
    }
}

#[tokio::test(start_paused = true)]
async fn a_repair_that_fails_stops_nothing() {
    let world = World::new();
    let cluster = world.provision(1, Patience::GiveUp).await.expect("room");
    for event in [
        Event::AllUp,
        Event::FoundUnhealthy {
            reason: "a node is stopped".to_owned(),
        },
    ] {
        let told = world.clusters.transition(&cluster, event, |_| {});
        told.await.expect("legal");
    }
    let refuse = Fault::Refuse(Category::Capacity);
    world.near.order(Call::Provision, None, refuse, 1);
    world
        .provision(1, Patience::GiveUp)
        .await
        .expect_err("refused");
    let after = world.clusters.get(&name()).await.expect("kept");
    assert!(matches!(after.state, State::Unhealthy { .. }));
    assert!(
        !world
            .near
            .calls()
            .iter()
            .any(|call| call.starts_with("Stop"))
    );
}
