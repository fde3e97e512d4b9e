//! Who gets which nodes: pure. Strictly first come first served; only the head of the queue waits.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::api::agent::{JobSpec, NodeConfig};
use crate::base::ids::NodeRank;
use crate::base::{Error, Kind, Result};

/// Shares of one accelerator: fractions are counted in thousandths.
const WHOLE: u32 = 1000;
/// CPUs are counted in thousandths too: sums of fractions must not drift.
const MILLI: f64 = 1000.0;

/// What a job occupies: one slot for each of its ranks, in rank order.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Placement {
    /// The slots.
    pub(crate) slots: Vec<Slot>,
}

/// A job's part of one node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Slot {
    /// The node.
    pub(crate) node: NodeRank,
    /// Thousandths of a CPU.
    pub(crate) cpus: u32,
    /// Accelerators by name.
    pub(crate) accelerators: BTreeMap<String, Grant>,
}

/// Accelerators of one kind on one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Grant {
    /// Their indices.
    pub(crate) indices: Vec<u32>,
    /// How much of each: 1000 = all of it.
    pub(crate) share: u32,
}

/// Finds room for a job beside what others hold: different nodes, lowest ranks first; `None` = it must wait.
pub(crate) fn place<'a>(
    spec: &JobSpec,
    config: &NodeConfig,
    held: impl Iterator<Item = &'a Placement>,
) -> Option<Placement> {
    let taken: Vec<&Slot> = held.flat_map(|placement| &placement.slots).collect();
    let wanted = usize::try_from(spec.num_nodes).ok()?;
    let mut nodes: Vec<NodeRank> = config.nodes.iter().map(|peer| peer.rank).collect();
    nodes.sort_unstable();
    let slots: Vec<Slot> = nodes
        .into_iter()
        .filter_map(|node| {
            let on_node: Vec<&Slot> = taken
                .iter()
                .copied()
                .filter(|slot| slot.node == node)
                .collect();
            fit(spec, config, node, &on_node)
        })
        .take(wanted)
        .collect();
    (slots.len() == wanted).then_some(Placement { slots })
}

/// Refuses what could never run here, however long it waited.
pub(crate) fn check(spec: &JobSpec, config: &NodeConfig) -> Result<()> {
    if spec.num_nodes == 0 {
        return Err(Error::new(
            Kind::InvalidTask,
            "num_nodes must be at least 1",
        ));
    }
    if place(spec, config, std::iter::empty()).is_some() {
        return Ok(());
    }
    let accelerators = |of: &BTreeMap<String, f64>| {
        let each = of.iter().map(|(name, count)| format!(", {name}:{count}"));
        each.collect::<Vec<_>>().concat()
    };
    Err(Error::new(
        Kind::ResourcesMismatch,
        format!(
            "the job asks for {} node(s) with cpus={}{}; the cluster has {} with cpus={}{}",
            spec.num_nodes,
            spec.cpus,
            accelerators(&spec.accelerators),
            config.nodes.len(),
            config.cpus,
            accelerators(&config.accelerators),
        ),
    ))
}

/// Fits a job's part on a node beside `taken`.
fn fit(spec: &JobSpec, config: &NodeConfig, node: NodeRank, taken: &[&Slot]) -> Option<Slot> {
    let cpus = milli(spec.cpus);
    let used: u32 = taken.iter().map(|slot| slot.cpus).sum();
    if used.saturating_add(cpus) > milli(config.cpus) {
        return None;
    }
    let mut accelerators = BTreeMap::new();
    for (name, wanted) in &spec.accelerators {
        if *wanted <= 0.0 {
            continue;
        }
        let have = whole(
            config
                .accelerators
                .get(name)
                .copied()
                .unwrap_or(0.0)
                .floor(),
        );
        let used = |index: u32| -> u32 {
            taken
                .iter()
                .filter_map(|slot| slot.accelerators.get(name))
                .filter(|grant| grant.indices.contains(&index))
                .map(|grant| grant.share)
                .sum()
        };
        let (count, share) = if *wanted < 1.0 {
            (1, milli(*wanted).clamp(1, WHOLE))
        } else {
            (whole(wanted.ceil()), WHOLE)
        };
        // A fraction goes where others share already, so that whole ones stay free.
        let mut free: Vec<u32> = (0..have).filter(|i| used(*i) + share <= WHOLE).collect();
        free.sort_by_key(|index| (std::cmp::Reverse(used(*index)), *index));
        let mut indices: Vec<u32> = free.into_iter().take(count as usize).collect();
        if indices.len() < count as usize {
            return None;
        }
        indices.sort_unstable();
        accelerators.insert(name.clone(), Grant { indices, share });
    }
    Some(Slot {
        node,
        cpus,
        accelerators,
    })
}

/// Thousandths of a quantity.
fn milli(value: f64) -> u32 {
    whole((value * MILLI).round())
}

/// A whole number from a float; what does not fit is cut to the range.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates, which is what is wanted"
)]
const fn whole(value: f64) -> u32 {
    value as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::environment::testing::{config, spec};

    #[test]
    fn a_gang_takes_different_nodes_or_waits() {
        let config = config(3);
        let mut job = spec();
        job.num_nodes = 2;
        job.cpus = 2.0;
        let first = place(&job, &config, std::iter::empty()).expect("there is room");
        assert_eq!(first.slots[0].node, NodeRank(0));
        assert_eq!(first.slots[1].node, NodeRank(1));
        assert_eq!(place(&job, &config, [&first].into_iter()), None);
        job.num_nodes = 1;
        let second = place(&job, &config, [&first].into_iter()).expect("there is room");
        assert_eq!(second.slots[0].node, NodeRank(2));
    }

    #[test]
    fn fractions_share_an_accelerator_and_whole_ones_do_not() {
        let mut config = config(1);
        config.accelerators.insert("A100".into(), 2.0);
        let mut half = spec();
        half.cpus = 0.5;
        half.accelerators.insert("A100".into(), 0.5);
        let mut held: Vec<Placement> = Vec::new();
        for expected in [0, 0, 1] {
            let placed = place(&half, &config, held.iter()).expect("there is room");
            assert_eq!(
                placed.slots[0].accelerators["A100"].indices,
                [expected],
                "fractions fill one before the next"
            );
            held.push(placed);
        }
        let mut one = half.clone();
        one.accelerators.insert("A100".into(), 1.0);
        assert_eq!(place(&one, &config, held.iter()), None);
        one.accelerators.insert("A100".into(), 3.0);
        assert!(check(&one, &config).is_err());
        assert!(check(&half, &config).is_ok());
    }

    #[test]
    fn two_small_jobs_run_on_each_core() {
        let config = config(1);
        let job = spec();
        let mut held: Vec<Placement> = Vec::new();
        while let Some(placed) = place(&job, &config, held.iter()) {
            held.push(placed);
        }
        assert_eq!(held.len(), 4, "two cores, half a core each");
    }
}
