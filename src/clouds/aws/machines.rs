//! Machines that exist: found by their tags or ids, waited for, looked at.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::aws::{Fault, Params};
use crate::base::clock::monotonic;
use crate::base::ids::NodeRank;
use crate::base::{Error, Kind};
use crate::clouds::{Category, CloudError, CloudResult, NodeSet, Observed, Standing};

use super::ec2::{ALIVE, Ec2, GONE, Machine, Reason};
use super::fault::category_of;
use super::keep::{Asked, Keep};
use super::{RANK_TAG, SERVER_TAG, SET_TAG};

/// How long machines may take to run.
const RUN: Duration = Duration::from_secs(300);
/// How long they may take to stop or to be gone.
pub(super) const STOP: Duration = Duration::from_secs(600);
/// How long EC2 may leave out of its lists what it has just made.
pub(super) const UNSEEN: Duration = Duration::from_secs(30);
/// The first pause between two looks; it grows.
const FIRST_LOOK: Duration = Duration::from_millis(400);
/// The longest pause.
const LONGEST_LOOK: Duration = Duration::from_secs(5);
/// The most ids of one call: a filter takes no more values.
pub(super) const MOST_IDS: usize = 200;

/// Machines by rank.
pub(super) type ByRank = BTreeMap<NodeRank, Machine>;

/// Finds all machines of a set that are in one of these states, two of a rank and those without one included.
pub(super) async fn find_all(
    ec2: &Ec2,
    server: &str,
    set: &str,
    states: &[&str],
) -> CloudResult<Vec<Machine>> {
    let params = Params::new()
        .filter(&format!("tag:{SET_TAG}"), [set])
        .filter(&format!("tag:{SERVER_TAG}"), [server])
        .filter("instance-state-name", states);
    Ok(ec2.machines(params).await?)
}

/// Finds machines by their ids, in any state: what has just been made may not be found by tag yet.
pub(super) async fn by_id(ec2: &Ec2, ids: &[String]) -> Result<Vec<Machine>, Fault> {
    let mut found = Vec::new();
    for ids in ids.chunks(MOST_IDS) {
        found.extend(
            ec2.machines(Params::new().filter("instance-id", ids))
                .await?,
        );
    }
    Ok(found)
}

/// Finds the machines that calls with a token made, in any state.
pub(super) async fn by_token(ec2: &Ec2, token: &str) -> Result<Vec<Machine>, Fault> {
    let params = Params::new().filter("client-token", [token]);
    ec2.machines(params).await
}

/// Returns the rank of a machine.
pub(super) fn rank_of(machine: &Machine) -> Option<NodeRank> {
    machine.tag(RANK_TAG)?.parse().ok().map(NodeRank)
}

/// Orders machines: of each rank the last one that was made, and all others.
pub(super) fn by_rank(machines: Vec<Machine>) -> (ByRank, Vec<Machine>) {
    let (mut found, mut others) = (ByRank::new(), Vec::new());
    for machine in machines {
        let Some(rank) = rank_of(&machine) else {
            others.push(machine);
            continue;
        };
        match found.get(&rank) {
            Some(known) if known.launch_time >= machine.launch_time => others.push(machine),
            _ => others.extend(found.insert(rank, machine)),
        }
    }
    (found, others)
}

/// A series of looks at what EC2 tells nobody of, with growing pauses.
pub(super) struct Looks {
    /// When it began.
    begun: Instant,
    /// The next pause.
    pause: Duration,
}

impl Looks {
    /// Begins.
    pub(super) fn begin() -> Self {
        Self {
            begun: monotonic(),
            pause: FIRST_LOOK,
        }
    }

    /// Pauses before another look; returns false when there have been looks for so long.
    pub(super) async fn again(&mut self, most: Duration) -> bool {
        if self.begun.elapsed() > most {
            return false;
        }
        tokio::time::sleep(self.pause).await;
        self.pause = self.pause.mul_f64(1.5).min(LONGEST_LOOK);
        true
    }

    /// The same; that it took too long is an error.
    pub(super) async fn again_or(&mut self, most: Duration, what: &str) -> CloudResult<()> {
        if self.again(most).await {
            return Ok(());
        }
        let text = format!("{what} (waited {} s)", most.as_secs());
        let error = Error::new(Kind::Timeout, text);
        Err(CloudError::new(Category::Transient, error))
    }
}

/// Waits until machines are in one of some states, or not found any more.
pub(super) async fn wait_for(ec2: &Ec2, ids: &[String], states: &[&str]) -> CloudResult<()> {
    let mut looks = Looks::begin();
    while !ids.is_empty() {
        let machines = by_id(ec2, ids).await?;
        if machines.iter().all(|m| states.contains(&m.state())) {
            break;
        }
        looks
            .again_or(STOP, "the machines do not change their state")
            .await?;
    }
    Ok(())
}

/// Waits until all run; one that goes instead is an error with AWS's reason.
pub(super) async fn wait_running(ec2: &Ec2, machines: &mut ByRank) -> CloudResult<()> {
    let mut looks = Looks::begin();
    loop {
        for machine in by_id(ec2, &ids(machines.values())).await? {
            if !ALIVE.contains(&machine.state()) {
                return Err(went(&machine));
            }
            let same = |known: &&mut Machine| known.instance_id == machine.instance_id;
            if let Some(known) = machines.values_mut().find(same) {
                *known = machine;
            }
        }
        let runs = |m: &Machine| m.state() == "running" && m.private_ip_address.is_some();
        if machines.values().all(runs) {
            return Ok(());
        }
        looks.again_or(RUN, "the machines do not run").await?;
    }
}

/// Returns the ids of machines.
pub(super) fn ids<'a>(machines: impl IntoIterator<Item = &'a Machine>) -> Vec<String> {
    let id = |machine: &Machine| machine.instance_id.clone();
    machines.into_iter().map(id).collect()
}

/// The error of a machine that went instead of running.
pub(super) fn went(machine: &Machine) -> CloudError {
    let Reason { code, message } = machine.state_reason.clone().unwrap_or_default();
    let category = category_of(&code).unwrap_or(Category::Fatal);
    let kind = match category {
        Category::Capacity | Category::Quota => Kind::ResourcesUnavailable,
        _ => Kind::CommandFailed,
    };
    let why = if message.is_empty() { code } else { message };
    let what = format!(
        "machine {} went instead of running: {why}",
        machine.instance_id
    );
    CloudError::new(category, Error::new(kind, what))
}

/// Looks at the machines of a set, by rank.
pub(super) async fn observe(ec2: &Ec2, keep: &Keep, set: &NodeSet) -> CloudResult<Vec<Observed>> {
    let server = keep.server()?;
    let (found, _) = by_rank(find_all(ec2, &server, &set.name, &ALIVE).await?);
    let (mut gone, mut hidden) = (ByRank::new(), Vec::new());
    if found.len() < set.count as usize {
        (gone, _) = by_rank(find_all(ec2, &server, &set.name, &GONE).await?);
        hidden = keep.fresh(&set.name, UNSEEN)?;
    }
    // One that is gone may be that of an earlier life.
    let is_awaited = |rank: NodeRank, gone: Option<&Machine>| {
        let made_that = |call: &Asked| gone.is_some_and(|m| call.has_made(&m.instance_id));
        let mut calls = hidden.iter();
        calls.any(|(of, call)| *of == rank && !made_that(call))
    };
    let observed = |rank| {
        let rank = NodeRank(rank);
        match (found.get(&rank), gone.get(&rank)) {
            (Some(machine), _) => Observed {
                standing: match machine.state() {
                    "pending" | "running" => Standing::Running,
                    _ => Standing::Stopped,
                },
                why: why(machine),
            },
            // It is so new that EC2 may not show it yet.
            (None, gone) if is_awaited(rank, gone) => Standing::Running.into(),
            (None, gone) => Observed {
                standing: Standing::Gone,
                why: gone.and_then(why),
            },
        }
    };
    Ok((0..set.count).map(observed).collect())
}

/// Returns why a machine is not on, where AWS says it.
fn why(machine: &Machine) -> Option<String> {
    if matches!(machine.state(), "pending" | "running") {
        return None;
    }
    let reason = machine.state_reason.as_ref()?;
    Some(match reason.code.as_str() {
        "Server.SpotInstanceTermination" | "Server.SpotInstanceShutdown" => {
            "AWS took its spot capacity back".to_owned()
        }
        "Client.UserInitiatedShutdown" => "somebody stopped or removed it through AWS".to_owned(),
        "Client.InstanceInitiatedShutdown" => "it switched itself off".to_owned(),
        _ if reason.message.is_empty() => return None,
        _ => reason.message.clone(),
    })
}
