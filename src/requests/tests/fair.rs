//! The lanes as a pure structure: order, exclusion, fairness, names of what blocks, against a naive model.

use proptest::prelude::*;

use super::super::lanes::{Arrival, Blocker, Lanes, Ticket};
use super::*;

fn ticket(id: RequestId, name: &str, who: &str, cluster: Option<&str>) -> Ticket {
    Ticket {
        id,
        name: name.into(),
        user: user(who),
        lane: Lane::Long,
        cluster: cluster.map(|name| name.parse().expect("a name")),
        exclusive: cluster.is_some(),
        preempts: name == "down",
    }
}

fn queued(lanes: &mut Lanes, name: &str, who: &str, cluster: Option<&str>) -> RequestId {
    let id = RequestId::generate();
    lanes.arrive(ticket(id, name, who, cluster), Arrival::Queued);
    id
}

#[test]
fn users_take_turns_however_many_requests_one_has() {
    let mut lanes = Lanes::new(1, 1);
    let first = queued(&mut lanes, "launch", "ann", None);
    let ann: Vec<_> = (0..50)
        .map(|_| queued(&mut lanes, "launch", "ann", None))
        .collect();
    let bob: Vec<_> = (0..2)
        .map(|_| queued(&mut lanes, "launch", "bob", None))
        .collect();
    let mut order = Vec::new();
    while let Some(id) = lanes.next() {
        order.push(id);
        lanes.leave(id);
    }
    assert_eq!(order[..5], [first, bob[0], ann[0], bob[1], ann[1]]);
    assert_eq!(order.len(), 53);
    assert_eq!(lanes.len(), 0);
}

#[test]
fn a_blocked_request_names_what_blocks_it() {
    let mut lanes = Lanes::new(1, 1);
    let launch = queued(&mut lanes, "launch", "ann", Some("x"));
    assert_eq!(lanes.next(), Some(launch));
    let exec = queued(&mut lanes, "exec", "ann", Some("x"));
    let other = queued(&mut lanes, "launch", "ann", Some("y"));
    assert_eq!(lanes.next(), None);
    let blocker = lanes.blocker(exec).expect("it is blocked");
    assert_eq!(
        blocker.text(),
        format!("waiting for {} (sky.launch) on cluster `x`", launch.short())
    );
    assert_eq!(lanes.blocker(other), Some(Blocker::Lane(Lane::Long, 1)));
    assert_eq!(lanes.blocker(launch), None);
    lanes.park(launch);
    assert_eq!(lanes.next(), Some(other), "a parked request holds no place");
    lanes.leave(other);
    assert_eq!(lanes.next(), None, "but it keeps its cluster");
    assert!(lanes.unpark(launch));
    assert_eq!(lanes.next(), Some(launch));
    lanes.leave(launch);
    assert_eq!(lanes.next(), Some(exec));
}

#[test]
fn what_preempts_goes_first_but_waits_for_what_still_works() {
    let mut lanes = Lanes::new(4, 4);
    let launch = queued(&mut lanes, "launch", "ann", Some("x"));
    let mut look = ticket(RequestId::generate(), "queue", "ann", Some("x"));
    look.exclusive = false;
    let look_id = look.id;
    lanes.arrive(look.clone(), Arrival::Queued);
    assert_eq!((lanes.next(), lanes.next()), (Some(launch), Some(look_id)));
    let exec = queued(&mut lanes, "exec", "bob", Some("x"));
    let down = queued(&mut lanes, "down", "bob", Some("x"));
    lanes.leave(launch);
    assert_eq!(lanes.next(), None, "a look at the cluster still works");
    assert!(matches!(lanes.blocker(down), Some(Blocker::Request { id, .. }) if id == look_id));
    look.id = RequestId::generate();
    let newer = look.id;
    lanes.arrive(look, Arrival::Queued);
    assert_eq!(lanes.next(), Some(newer));
    lanes.leave(look_id);
    assert_eq!(lanes.next(), Some(down), "newer looks do not hold it up");
    assert_eq!(lanes.next(), None);
    lanes.leave(down);
    assert_eq!(lanes.next(), Some(exec));
}

/// What can happen to the lanes; numbers pick users, clusters and requests.
#[derive(Debug, Clone)]
enum Step {
    Arrive {
        user: u8,
        cluster: Option<u8>,
        preempts: bool,
    },
    Next,
    Leave(usize),
    Park(usize),
    Unpark(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_u8..3, prop::option::of(0_u8..3), prop::bool::weighted(0.1))
            .prop_map(|(user, cluster, preempts)| Step::Arrive { user, cluster, preempts }),
        4 => Just(Step::Next),
        3 => any::<usize>().prop_map(Step::Leave),
        1 => any::<usize>().prop_map(Step::Park),
        1 => any::<usize>().prop_map(Step::Unpark),
    ]
}

proptest! {
    #[test]
    fn never_two_on_a_cluster_never_over_the_limit_and_nobody_is_forgotten(
        steps in prop::collection::vec(step(), 0..120)
    ) {
        const LIMIT: usize = 3;
        let mut lanes = Lanes::new(1, LIMIT);
        let mut all: Vec<Ticket> = Vec::new();
        let mut running: Vec<RequestId> = Vec::new();
        let mut parked: Vec<RequestId> = Vec::new();
        for step in steps {
            match step {
                Step::Arrive { user, cluster, preempts } => {
                    let cluster = cluster.map(|n| format!("c{n}"));
                    let name = if preempts && cluster.is_some() { "down" } else { "launch" };
                    let ticket = ticket(
                        RequestId::generate(), name, &format!("u{user}"), cluster.as_deref());
                    lanes.arrive(ticket.clone(), Arrival::Queued);
                    all.push(ticket);
                }
                Step::Next => if let Some(id) = lanes.next() {
                    parked.retain(|other| *other != id);
                    running.push(id);
                },
                Step::Leave(n) if !all.is_empty() => {
                    let id = all.remove(n % all.len()).id;
                    lanes.leave(id);
                    running.retain(|other| *other != id);
                    parked.retain(|other| *other != id);
                }
                Step::Park(n) if !running.is_empty() => {
                    let id = running.remove(n % running.len());
                    lanes.park(id);
                    parked.push(id);
                }
                Step::Unpark(n) if !parked.is_empty() => {
                    lanes.unpark(parked[n % parked.len()]);
                }
                Step::Leave(_) | Step::Park(_) | Step::Unpark(_) => {}
            }
            prop_assert!(running.len() <= LIMIT);
            prop_assert_eq!(lanes.running().1, running.len());
            for cluster in ["c0", "c1", "c2"] {
                let holders = all.iter().filter(|t| {
                    t.cluster.as_ref().is_some_and(|c| c.as_str() == cluster)
                        && (running.contains(&t.id) || parked.contains(&t.id))
                });
                prop_assert!(holders.count() <= 1, "two on {}", cluster);
            }
        }
        // Everything that is left gets its turn when room is made.
        for id in parked.clone() {
            lanes.unpark(id);
        }
        let mut left = all.len();
        for id in running {
            lanes.leave(id);
            left -= 1;
        }
        while let Some(id) = lanes.next() {
            lanes.leave(id);
            left -= 1;
        }
        prop_assert_eq!(left, 0);
        prop_assert_eq!(lanes.len(), 0);
    }
}
