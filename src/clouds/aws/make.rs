//! Machines of a set: made where there are none, started where they are stopped.
//!
//! A machine carries its set and rank as tags from the moment it is made, and the call that makes it carries a token that
//! follows from its rank's seed. The seed stays while a machine of that rank may exist, whether EC2 shows it yet or not:
//! whoever repeats the call after a lost answer gets the machine that is there.

use futures_util::future::join_all;
use ring::digest;

use crate::base::ids::NodeRank;
use crate::base::{Error, Kind};
use crate::clouds::{Category, CloudError, CloudResult, NodeSet};

use super::ec2::{ALIVE, Ec2, Machine, Subnet};
use super::end::{end, terminate};
use super::image;
use super::keep::{Asked, Keep};
use super::machines::{
    ByRank, Looks, STOP, UNSEEN, by_id, by_rank, by_token, find_all, ids, wait_running, went,
};
use super::order::Plan;
use super::settings::Settings;

/// Makes and finds the machines of one set.
pub(super) struct Maker<'a> {
    /// The API of the set's region.
    pub(super) ec2: Ec2,
    /// What the operator chose.
    pub(super) settings: &'a Settings,
    /// What is kept here.
    pub(super) keep: &'a Keep,
    /// Who this server is.
    pub(super) server: String,
    /// The set.
    pub(super) set: &'a NodeSet,
}

impl Maker<'_> {
    /// Makes all machines run; returns them with the name of who logs in.
    pub(super) async fn run(&self) -> CloudResult<(ByRank, String)> {
        let mut machines = self.settle().await?;
        machines.retain(|rank, _| rank.0 < self.set.count);
        let missing: Vec<NodeRank> = (0..self.set.count)
            .map(NodeRank)
            .filter(|rank| !machines.contains_key(rank))
            .collect();
        let stopped = ids(machines.values().filter(|m| m.state() == "stopped"));
        self.ec2.each("StartInstances", &stopped).await?;
        let user = if missing.is_empty() {
            self.user(&machines).await?
        } else {
            self.fill(&mut machines, &missing).await?
        };
        wait_running(&self.ec2, &mut machines).await?;
        Ok((machines, user))
    }

    /// Finds the machines; those that are on their way down are waited for, a second one of a rank is removed.
    async fn settle(&self) -> CloudResult<ByRank> {
        let mut looks = Looks::begin();
        loop {
            let found = find_all(&self.ec2, &self.server, &self.set.name, &ALIVE).await?;
            let (found, others) = by_rank(found);
            terminate(&self.ec2, &ids(&others)).await?;
            if found.values().all(|machine| machine.state() != "stopping") {
                return Ok(found);
            }
            looks.again_or(STOP, "the machines do not stop").await?;
        }
    }

    /// Returns who logs in to machines that exist.
    async fn user(&self, machines: &ByRank) -> CloudResult<String> {
        if let Some(user) = machines.values().find_map(|m| m.tag(super::USER_TAG)) {
            return Ok(user.to_owned());
        }
        let chosen = image::choose(&self.ec2, self.settings, self.set).await?;
        Ok(chosen.user)
    }

    /// Makes the missing machines in the first zone that has them all; what was made in another is removed.
    async fn fill(&self, machines: &mut ByRank, missing: &[NodeRank]) -> CloudResult<String> {
        let here = machines.values().next().map(|m| m.zone().to_owned());
        // Where an earlier call may have made some, the same tokens find them.
        let before = self.keep.calls(&self.set.name)?;
        let is_open = |call: &Asked| call.is_fresh(UNSEEN);
        let before = before
            .iter()
            .find(|(rank, call)| missing.contains(rank) && is_open(call));
        let preferred = before.map(|(_, call)| call.subnet.as_str());
        let plan = self.plan(here.as_deref(), preferred).await?;
        let mut refusals: Vec<(String, CloudError)> = Vec::new();
        for subnet in &plan.network.subnets {
            let calls = missing.iter().map(|r| self.make_one(&plan, subnet, *r));
            let (made, refusal) = sort(join_all(calls).await);
            let Some(refusal) = refusal else {
                machines.extend(missing.iter().copied().zip(made));
                return Ok(plan.image.user);
            };
            if may_pass(&refusal) {
                // What was made, or may have been, is what the same calls get when they are made again.
                return Err(refusal);
            }
            self.take_back(missing, made).await?;
            if refusal.category != Category::Capacity {
                return Err(refusal);
            }
            refusals.push((subnet.availability_zone.clone(), refusal));
        }
        Err(nowhere(self.set.offer.instance_type.as_deref(), refusals))
    }

    /// Removes the machines of these ranks: those that were made just now, and whatever else there may be.
    async fn take_back(&self, ranks: &[NodeRank], made: Vec<Machine>) -> CloudResult<()> {
        let set = &self.set.name;
        let is_meant = |rank| ranks.contains(&rank);
        end(&self.ec2, self.keep, set, is_meant, made).await?;
        for (rank, _) in self.keep.calls(set)? {
            if is_meant(rank) {
                self.keep.renew(set, rank)?;
            }
        }
        Ok(())
    }

    /// Makes one machine, or gets the one that its rank's seed has made before.
    async fn make_one(&self, plan: &Plan, subnet: &Subnet, rank: NodeRank) -> CloudResult<Machine> {
        let params = self.params(plan, subnet, rank);
        let mut trace = self.keep.trace(&self.set.name, rank)?;
        for _ in 0..2 {
            let token = self.token(&trace.seed, &subnet.id, rank);
            let before = trace.call.filter(|call| call.token == token);
            // The intent first: whatever happens, it is known that this call may have made a machine.
            let call = Asked::now(&subnet.id, &token, before.as_ref());
            let note = |call| self.keep.note(&self.set.name, rank, &trace.seed, call);
            note(Some(call.clone()))?;
            let params = params.clone().with("ClientToken", &token);
            let made = match self.ec2.run(&params).await {
                Ok(made) => Some(made.into_iter().next().ok_or_else(no_machine)?),
                // The token stands for a machine that was asked for in other words, before.
                Err(fault) if fault.code() == "IdempotentParameterMismatch" => {
                    self.made_before(rank, &token).await?
                }
                Err(fault) => {
                    // What it may have made, or a call before it, is to be found out still.
                    if fault.leaves_open() {
                        // It may have been the last attempt that worked.
                        note(Some(Asked::now(&subnet.id, &token, before.as_ref())))?;
                    } else if !before.is_some_and(|b| b.is_fresh(UNSEEN)) {
                        note(None)?;
                    }
                    return Err(fault.into());
                }
            };
            if let Some(machine) = made {
                note(Some(call.made(&machine.instance_id)))?;
                if let Some(machine) = self.stands(machine, before.as_ref()).await? {
                    return Ok(machine);
                }
            }
            trace = self.keep.renew(&self.set.name, rank)?;
        }
        let what = format!("AWS returns machines for node {rank} that are gone");
        let error = Error::new(Kind::CommandFailed, what);
        Err(CloudError::new(Category::Fatal, error))
    }

    /// Looks how a machine stands that a call has returned, unless it is gone: then the answer was that to a call `before`.
    async fn stands(&self, made: Machine, before: Option<&Asked>) -> CloudResult<Option<Machine>> {
        let id = std::slice::from_ref(&made.instance_id);
        match by_id(&self.ec2, id).await?.pop() {
            Some(now) if ALIVE.contains(&now.state()) => Ok(Some(now)),
            // A new one that went at once says why.
            Some(gone) if before.is_none() => Err(went(&gone)),
            Some(_) => Ok(None),
            // EC2 has forgotten it, or does not show it yet.
            None => {
                let is_old = |b: &Asked| b.has_made(&made.instance_id) && !b.is_fresh(UNSEEN);
                let is_gone = before.is_some_and(is_old);
                Ok((!is_gone).then_some(made))
            }
        }
    }

    /// Finds the machine of a rank that a call with this token made; none when it is gone.
    async fn made_before(&self, rank: NodeRank, token: &str) -> CloudResult<Option<Machine>> {
        let mut looks = Looks::begin();
        loop {
            let tagged = find_all(&self.ec2, &self.server, &self.set.name, &ALIVE).await?;
            if let Some(machine) = by_rank(tagged).0.remove(&rank) {
                return Ok(Some(machine));
            }
            let made = by_token(&self.ec2, token).await?;
            let is_known = !made.is_empty();
            let mut alive = made.into_iter().filter(|m| ALIVE.contains(&m.state()));
            let found = alive.next();
            if is_known || !looks.again(UNSEEN).await {
                return Ok(found);
            }
        }
    }

    /// Returns the token of a machine: the same for the same machine, another for every other.
    fn token(&self, seed: &str, subnet: &str, rank: NodeRank) -> String {
        let text = format!("{} {seed} {rank} {subnet}", self.set.token);
        hex::encode(digest::digest(&digest::SHA256, text.as_bytes()))
    }
}

/// Whether a refusal leaves open what has happened, and may be gone when the same is asked for again.
fn may_pass(refusal: &CloudError) -> bool {
    matches!(refusal.category, Category::Throttled | Category::Transient)
}

/// Sorts answers: what was made, and of the refusals the one that decides. One that may pass leaves open what has
/// happened; one that is not about this place ends the search.
fn sort(results: Vec<CloudResult<Machine>>) -> (Vec<Machine>, Option<CloudError>) {
    let weight = |refusal: &CloudError| match refusal.is_place_bound() {
        _ if may_pass(refusal) => 2,
        false => 1,
        true => 0,
    };
    let (mut made, mut decides) = (Vec::new(), None::<CloudError>);
    for result in results {
        match result {
            Ok(machine) => made.push(machine),
            Err(refusal) => {
                if decides
                    .as_ref()
                    .is_none_or(|d| weight(d) < weight(&refusal))
                {
                    decides = Some(refusal);
                }
            }
        }
    }
    (made, decides)
}

/// The error of an answer without a machine.
fn no_machine() -> CloudError {
    let what = "AWS's answer to `RunInstances` names no machine";
    CloudError::new(Category::Transient, Error::new(Kind::Internal, what))
}

/// The error when no zone has the machines: the reason of each zone.
fn nowhere(instance_type: Option<&str>, refusals: Vec<(String, CloudError)>) -> CloudError {
    let name = instance_type.unwrap_or("machine");
    if let [(_, only)] = refusals.as_slice() {
        return only.clone();
    }
    let zones = refusals.len();
    let mut error = Error::new(
        Kind::ResourcesUnavailable,
        format!("none of {zones} zones has {name}"),
    );
    for (zone, refusal) in refusals {
        error = error.caused_by(&Error::new(
            Kind::ResourcesUnavailable,
            format!("{zone}: {}", refusal.error.one_line()),
        ));
    }
    CloudError::new(Category::Capacity, error)
}
