//! Cases in which something goes wrong: what a refusal means, and that nothing is made twice or left behind.

use super::Subject;
use crate::clouds::{Category, Instance, NodeSet, Standing};

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The machines are made, and the reply is lost.
    LostReply,
    /// The same, and for a while nothing shows them.
    ShownLate,
    /// There is no room.
    Capacity,
    /// The account may not have so much.
    Quota,
    /// There are too many calls.
    Throttled,
    /// The credentials are refused.
    Auth,
    /// Some machines are made, for others there is no room.
    Partly,
    /// The last machine is lost.
    NodeLost,
    /// The last machine is taken back by those whom it belongs to.
    Interrupted,
}

/// Why a cloud cannot be made to suffer something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotPossible {
    /// Its machines are entries of a table.
    NoAgents,
    /// Nodes are made by this process: there is no call that could be limited, or lose its reply.
    NoCalls,
    /// What is made is seen at once.
    NeverLate,
    /// A node is a directory, and takes no room from the others.
    AlwaysRoom,
    /// It is the user's own: nobody counts what he has or how often he asks, or asks who he is.
    NoAccount,
    /// A host that lets nobody in is one without room: there may be others.
    OneOfMany,
    /// Its machines are nobody else's.
    NoMarket,
}

/// What a test can do to a cloud.
pub(super) trait Mishaps: Send + Sync {
    /// Prepares for a set that something goes wrong when it is made, or could later; some faults are in what is asked for.
    fn order(&self, fault: Fault, set: &mut NodeSet) -> Result<(), NotPossible>;

    /// Lets something happen to the last machine of a set that runs.
    fn strike(&self, fault: Fault, set: &NodeSet);

    /// Ends what was ordered.
    fn calm(&self);

    /// Counts the machines of a set that really exist, whatever the cloud says.
    fn machines(&self, set: &NodeSet) -> usize;
}

/// Goes through all faults; returns those that are not possible.
pub(super) async fn are_borne(subject: &Subject) -> Vec<(&'static str, NotPossible)> {
    let results = [
        (
            "lost reply",
            a_lost_reply_makes_no_second_machine(subject).await,
        ),
        (
            "shown late",
            what_is_shown_late_is_removed_all_the_same(subject).await,
        ),
        (
            "capacity",
            is_refused(subject, Fault::Capacity, Category::Capacity).await,
        ),
        (
            "quota",
            is_refused(subject, Fault::Quota, Category::Quota).await,
        ),
        (
            "throttled",
            is_refused(subject, Fault::Throttled, Category::Throttled).await,
        ),
        (
            "auth",
            is_refused(subject, Fault::Auth, Category::Auth).await,
        ),
        (
            "partly",
            is_refused(subject, Fault::Partly, Category::Capacity).await,
        ),
        (
            "node lost",
            a_lost_node_is_seen_and_made_again(subject).await,
        ),
        ("interrupted", what_is_taken_back_says_so(subject).await),
    ];
    let left_out = results.into_iter();
    left_out
        .filter_map(|(name, result)| Some((name, result.err()?)))
        .collect()
}

/// Checks that nothing is left of a set, whoever is asked.
async fn is_gone(subject: &Subject, set: &NodeSet) {
    subject.cloud.terminate(set).await.expect("removed");
    assert_eq!(subject.mishaps.machines(set), 0, "of {}", set.name);
    subject.stands(set, Standing::Gone).await;
    assert!(!subject.is_owned(set).await);
}

async fn a_lost_reply_makes_no_second_machine(subject: &Subject) -> Result<(), NotPossible> {
    let mut set = subject.set("lost", 2).await;
    subject.mishaps.order(Fault::LostReply, &mut set)?;
    let mut made: Option<Vec<Instance>> = None;
    for _ in 0..5 {
        match subject.cloud.provision(&set).await {
            Ok(instances) => {
                made = Some(instances);
                break;
            }
            Err(error) => assert_eq!(error.category, Category::Transient, "{error}"),
        }
    }
    subject.mishaps.calm();
    assert_eq!(made.expect("machines").len(), set.count as usize);
    assert_eq!(subject.mishaps.machines(&set), set.count as usize);
    subject.stands(&set, Standing::Running).await;
    is_gone(subject, &set).await;
    Ok(())
}

async fn what_is_shown_late_is_removed_all_the_same(subject: &Subject) -> Result<(), NotPossible> {
    let mut set = subject.set("late", 1).await;
    subject.mishaps.order(Fault::ShownLate, &mut set)?;
    let refused = subject.cloud.provision(&set).await;
    refused.expect_err("nobody knows");
    assert_eq!(subject.mishaps.machines(&set), 1);
    is_gone(subject, &set).await;
    subject.mishaps.calm();
    Ok(())
}

async fn is_refused(
    subject: &Subject,
    fault: Fault,
    category: Category,
) -> Result<(), NotPossible> {
    let wanted = subject.set("refused", 2).await;
    let mut set = wanted.clone();
    subject.mishaps.order(fault, &mut set)?;
    let error = subject.cloud.provision(&set).await.expect_err("refused");
    assert_eq!(error.category, category, "{error}");
    let left = subject.mishaps.machines(&set);
    match fault {
        Fault::Partly if !subject.takes_back => assert_ne!(left, 0, "it was made in part"),
        _ => assert_eq!(left, 0, "{fault:?}"),
    }
    subject.mishaps.calm();
    is_gone(subject, &set).await;
    if fault != Fault::Partly {
        return Ok(());
    }
    // The name is as good as before.
    subject.make(&wanted).await;
    subject.stands(&wanted, Standing::Running).await;
    assert_eq!(subject.mishaps.machines(&wanted), wanted.count as usize);
    is_gone(subject, &wanted).await;
    Ok(())
}

async fn a_lost_node_is_seen_and_made_again(subject: &Subject) -> Result<(), NotPossible> {
    let mut set = subject.set("node", 2).await;
    subject.mishaps.order(Fault::NodeLost, &mut set)?;
    let made = subject.make(&set).await;
    subject.mishaps.strike(Fault::NodeLost, &set);
    let seen = subject.cloud.observe(&set).await.expect("a look");
    let standings: Vec<Standing> = seen.iter().map(|one| one.standing).collect();
    assert_eq!(standings, [Standing::Running, Standing::Gone], "{seen:?}");
    let again = subject.make(&set).await;
    assert_eq!(made[0].id, again[0].id, "what is there stays");
    subject.stands(&set, Standing::Running).await;
    assert_eq!(subject.mishaps.machines(&set), 2);
    is_gone(subject, &set).await;
    Ok(())
}

async fn what_is_taken_back_says_so(subject: &Subject) -> Result<(), NotPossible> {
    let mut set = subject.set("spot", 1).await;
    subject.mishaps.order(Fault::Interrupted, &mut set)?;
    subject.make(&set).await;
    subject.mishaps.strike(Fault::Interrupted, &set);
    subject.stands(&set, Standing::Gone).await;
    let seen = subject.cloud.observe(&set).await.expect("a look");
    assert!(seen[0].why.is_some(), "{seen:?}");
    is_gone(subject, &set).await;
    subject.mishaps.calm();
    Ok(())
}
