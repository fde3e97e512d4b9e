//! What an observation means.

use super::*;
use crate::api::agent::AutostopSetting;
use crate::clusters::tests::World;
use crate::clusters::{Patience, record};

fn node(machine: Standing, agent: Option<&str>) -> Seen {
    Seen {
        machine: machine.into(),
        agent: agent.map(str::to_owned),
    }
}

fn unhealthy(finding: &Finding) -> bool {
    matches!(finding, Finding::Record(events) if matches!(events[..], [Event::FoundUnhealthy { .. }]))
}

#[tokio::test(start_paused = true)]
async fn judges_by_what_was_seen() {
    let since = Moment::from_micros(1);
    let world = World::new();
    let some = world.provision(1, Patience::GiveUp).await.expect("room");
    let at = |state: State| Cluster {
        state,
        ..some.clone()
    };
    let (up, stopped) = (at(State::Up { since }), at(State::Stopped { since }));
    let launching = at(State::Launching { since });
    let (runs, off, gone) = (
        node(Standing::Running, None),
        node(Standing::Stopped, None),
        node(Standing::Gone, None),
    );
    let mute = node(Standing::Running, Some("connection refused"));
    let see = |cluster: &Cluster, nodes: &[&Seen]| {
        let nodes: Vec<Seen> = nodes.iter().map(|n| (*n).clone()).collect();
        judge(cluster, &nodes, Work::Maybe)
    };
    assert_eq!(see(&up, &[&runs, &runs]), Finding::Keep);
    let stops = Finding::Record(vec![Event::AllStopped]);
    assert_eq!(see(&up, &[&off, &off]), stops);
    assert!(matches!(see(&up, &[&gone, &gone]), Finding::Forget(_)));
    assert!(matches!(see(&stopped, &[&gone]), Finding::Forget(_)));
    assert_eq!(see(&stopped, &[&off]), Finding::Keep);
    assert_eq!(see(&stopped, &[&runs]), Finding::Keep);
    assert!(unhealthy(&see(&up, &[&runs, &off])));
    assert!(unhealthy(&see(&up, &[&runs, &gone])));
    assert!(unhealthy(&see(&up, &[&mute])));
    assert_eq!(see(&launching, &[&gone]), Finding::Keep);
    let left = std::slice::from_ref(&gone);
    assert!(matches!(
        judge(&launching, left, Work::None),
        Finding::Forget(_)
    ));
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_stops_or_removes_itself_did_so_because_it_was_idle() {
    let since = Moment::from_micros(1);
    let world = World::new();
    let some = world.provision(1, Patience::GiveUp).await.expect("room");
    let set = |down| Cluster {
        state: State::Up { since },
        autostop: Some(AutostopSetting {
            idle_minutes: 5,
            down,
            wait_for: crate::api::bodies::WaitFor::JobsAndSsh,
        }),
        ..some.clone()
    };
    let see = |down, standing| judge(&set(down), &[node(standing, None)], Work::Maybe);
    let idle = Finding::Record(vec![Event::StopIntended { idle: true }, Event::AllStopped]);
    assert_eq!(see(false, Standing::Stopped), idle);
    let Finding::Forget(reason) = see(true, Standing::Gone) else {
        panic!("it is gone")
    };
    assert!(reason.contains("idle"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn what_the_cloud_says_of_a_lost_machine_is_told() {
    let world = World::new();
    let cluster = world.up(2).await;
    let lost = Observed {
        standing: Standing::Gone,
        why: Some("its spot capacity was taken back".to_owned()),
    };
    world.near.strike(&cluster.set.name, 1, lost.clone());
    let looked = world.clusters.refresh(cluster).await.expect("looked");
    let Looked::There(cluster) = looked else {
        panic!("one is left")
    };
    let shown = record(&cluster, false).last_event.expect("told");
    assert!(shown.contains("node"), "{shown}");
    assert!(matches!(cluster.state, State::Unhealthy { .. }));
    world.near.strike(&cluster.set.name, 0, lost);
    let looked = world.clusters.refresh(*cluster).await.expect("looked");
    let Looked::Gone { reason } = looked else {
        panic!("it is gone")
    };
    assert_eq!(reason, "its spot capacity was taken back");
    let error = world.clusters.get(&crate::clusters::tests::name()).await;
    let error = error.expect_err("it is gone").one_line();
    assert!(
        error.contains("its spot capacity was taken back"),
        "{error}"
    );
}
