//! The end of machines: removed by id, also when EC2 does not show them yet.

use crate::aws::Fault;
use crate::base::ids::NodeRank;
use crate::clouds::CloudResult;

use super::ec2::{ALIVE, Ec2, GONE, Machine};
use super::keep::{Asked, Keep};
use super::machines::{Looks, UNSEEN, by_id, by_token, find_all, ids, rank_of, wait_for};
use super::network;

/// Removes machines; those that EC2 does not know, and does not come to know either, are gone.
pub(super) async fn terminate(ec2: &Ec2, ids: &[String]) -> CloudResult<()> {
    match ec2.each("TerminateInstances", ids).await {
        Err(fault) if is_unknown(&fault) => {}
        result => return Ok(result?),
    }
    // One of them is so new that EC2 does not show it, or so old that it has forgotten it: then the call did nothing.
    let (mut left, mut looks) = (ids.to_vec(), Looks::begin());
    loop {
        let mut unknown = Vec::new();
        for id in left {
            match ec2
                .each("TerminateInstances", std::slice::from_ref(&id))
                .await
            {
                Err(fault) if is_unknown(&fault) => unknown.push(id),
                result => result?,
            }
        }
        if unknown.is_empty() || !looks.again(UNSEEN).await {
            return Ok(());
        }
        left = unknown;
    }
}

/// Whether EC2 does not know a machine.
fn is_unknown(fault: &Fault) -> bool {
    fault.code() == "InvalidInstanceID.NotFound"
}

/// Removes the machines of a set in a region, and the group that opened their ports.
pub(super) async fn remove(ec2: &Ec2, keep: &Keep, set: &str) -> CloudResult<()> {
    let machines = end(ec2, keep, set, |_| true, Vec::new()).await?;
    let groups = network::port_groups(ec2, set, &keep.server()?).await?;
    // From here on they cost nothing and come back never; only a group waits for their end.
    let settled: &[&str] = if groups.is_empty() {
        &GONE
    } else {
        &["terminated"]
    };
    wait_for(ec2, &ids(&machines), settled).await?;
    for group in groups {
        network::remove_group(ec2, &group).await?;
    }
    Ok(())
}

/// Ends the machines of some ranks of a set: these, whatever else has their tags, and what calls without an answer may
/// have made. Returns them.
pub(super) async fn end(
    ec2: &Ec2,
    keep: &Keep,
    set: &str,
    is_meant: impl Fn(NodeRank) -> bool,
    made: Vec<Machine>,
) -> CloudResult<Vec<Machine>> {
    // Those that an earlier call has ended still hold their groups.
    let states = [&ALIVE[..], &["shutting-down"]].concat();
    let mut all = find_all(ec2, &keep.server()?, set, &states).await?;
    all.retain(|machine| rank_of(machine).is_none_or(&is_meant));
    for machine in made {
        if all.iter().all(|m| m.instance_id != machine.instance_id) {
            all.push(machine);
        }
    }
    let alive = |machines: &[Machine]| ids(machines.iter().filter(|m| ALIVE.contains(&m.state())));
    terminate(ec2, &alive(&all)).await?;
    let late = late(ec2, keep, set, is_meant, &all).await?;
    terminate(ec2, &alive(&late)).await?;
    all.extend(late);
    Ok(all)
}

/// Returns the machines of some ranks of a set that are not among those `shown`, as soon as EC2 shows them.
pub(super) async fn late(
    ec2: &Ec2,
    keep: &Keep,
    set: &str,
    is_meant: impl Fn(NodeRank) -> bool,
    shown: &[Machine],
) -> CloudResult<Vec<Machine>> {
    let mut hidden = keep.fresh(set, UNSEEN)?;
    // The machine of an earlier life may have the same tags.
    let is_its = |machine: &Machine, rank, call: &Asked| match call.made {
        Some(_) => call.has_made(&machine.instance_id),
        None => rank_of(machine) == Some(rank) && ALIVE.contains(&machine.state()),
    };
    hidden.retain(|(rank, call)| is_meant(*rank) && !shown.iter().any(|m| is_its(m, *rank, call)));
    appear(ec2, hidden).await
}

/// Waits for machines that were asked for so recently that EC2 may not show them yet; returns those that it comes to show.
async fn appear(ec2: &Ec2, mut hidden: Vec<(NodeRank, Asked)>) -> CloudResult<Vec<Machine>> {
    let (mut shown, mut looks) = (Vec::new(), Looks::begin());
    while !hidden.is_empty() {
        let mut still = Vec::new();
        for (rank, call) in hidden {
            let found = match &call.made {
                Some(id) => by_id(ec2, std::slice::from_ref(id)).await?,
                None => by_token(ec2, &call.token).await?,
            };
            if found.is_empty() && call.is_fresh(UNSEEN) {
                still.push((rank, call));
            }
            shown.extend(found);
        }
        hidden = still;
        if !hidden.is_empty() && !looks.again(UNSEEN).await {
            break;
        }
    }
    Ok(shown)
}
