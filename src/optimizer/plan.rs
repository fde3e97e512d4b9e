//! Ranking.

use crate::base::units::Dollars;
use crate::base::{Error, Kind, Result};
use crate::catalog::{Miss, Offer, tailor};
use crate::task::{Order, Shape, Task, close_accelerators};

use super::text::shape_text;

/// What will do, best first.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    /// Nodes that are asked for.
    pub(crate) num_nodes: u32,
    /// Never empty; the first is chosen, the others are for failover in this order.
    pub(crate) candidates: Vec<Candidate>,
}

impl Plan {
    /// Returns the best.
    #[cfg(test)]
    pub(crate) fn chosen(&self) -> &Candidate {
        &self.candidates[0]
    }
}

/// One way to get what is asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Candidate {
    /// The alternative of the task.
    pub(crate) shape: Shape,
    /// A node that meets it, cut to size.
    pub(crate) offer: Offer,
    /// Price of all nodes for an hour.
    pub(crate) cost: Dollars,
}

/// Ranks the offers for a task. `enabled` names the clouds that may be used.
pub(crate) fn plan(task: &Task, offers: &[Offer], enabled: &[String]) -> Result<Plan> {
    if enabled.is_empty() {
        return Err(Error::new(Kind::NoCloudAccess, "no infra is enabled")
            .hint("sky check shows what is missing"));
    }
    let shapes = &task.resources.alternatives;
    let mut ranked: Vec<(usize, Candidate)> = Vec::new();
    for (index, shape) in shapes.iter().enumerate() {
        let nodes = offers
            .iter()
            .filter(|offer| enabled.contains(&offer.cloud))
            .filter_map(|offer| tailor(shape, offer).ok());
        for offer in nodes {
            let cost = Dollars(offer.hourly.0 * f64::from(task.num_nodes));
            let candidate = Candidate {
                shape: shape.clone(),
                offer,
                cost,
            };
            let known = |(_, other): &(usize, Candidate)| other.offer == candidate.offer;
            // The same node through two alternatives is one candidate, unless they ask for other things around it.
            if !ranked
                .iter()
                .any(|other| known(other) && other.1.shape == candidate.shape)
            {
                ranked.push((index, candidate));
            }
        }
    }
    if ranked.is_empty() {
        return Err(explain(task, offers, enabled));
    }
    let by_cost =
        |a: &(usize, Candidate), b: &(usize, Candidate)| a.1.cost.0.total_cmp(&b.1.cost.0);
    match task.resources.order {
        // Stable: at the same price the order of task and offers stands.
        Order::Cheapest => ranked.sort_by(by_cost),
        Order::AsListed => ranked.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| by_cost(a, b))),
    }
    let candidates = ranked.into_iter().map(|(_, candidate)| candidate).collect();
    Ok(Plan {
        num_nodes: task.num_nodes,
        candidates,
    })
}

/// Says why nothing fits.
fn explain(task: &Task, offers: &[Offer], enabled: &[String]) -> Error {
    let shapes = &task.resources.alternatives;
    let disabled = |shape: &Shape| {
        shape
            .infra
            .cloud
            .clone()
            .filter(|cloud| !enabled.contains(cloud))
    };
    let all_disabled: Option<Vec<String>> = shapes.iter().map(disabled).collect();
    if let Some(cloud) = all_disabled.and_then(|clouds| clouds.into_iter().next()) {
        return Error::new(
            Kind::ResourcesUnavailable,
            format!("the infra `{cloud}` is not enabled"),
        )
        .hint(format!("sky check {cloud} shows what is missing"))
        .hint(format!("enabled: {}", enabled.join(", ")));
    }
    let wanted: Vec<String> = shapes
        .iter()
        .map(|shape| shape_text(task.num_nodes, shape))
        .collect();
    let message = match wanted.as_slice() {
        [one] => format!("no enabled infra offers {one}"),
        several => format!("no enabled infra offers any of {}", several.join(", ")),
    };
    let mut error = Error::new(Kind::ResourcesUnavailable, message);
    for hint in hints(shapes, offers, enabled) {
        error = error.hint(hint);
    }
    error
}

/// Says what to change, from the offers that came closest.
fn hints(shapes: &[Shape], offers: &[Offer], enabled: &[String]) -> Vec<String> {
    let mut hints: Vec<String> = Vec::new();
    let mut add = |hint: String| {
        if !hints.contains(&hint) {
            hints.push(hint);
        }
    };
    for shape in shapes {
        let here = offers.iter().filter(|offer| enabled.contains(&offer.cloud));
        let closest = here
            .filter_map(|offer| Some((tailor(shape, offer).err()?, offer)))
            .max_by_key(|(miss, _)| *miss);
        match closest {
            Some((Miss::Accelerators, _)) => {
                if let Some(wanted) = &shape.accelerators {
                    let near = close_accelerators(&wanted.name);
                    if !near.is_empty() {
                        add(format!("did you mean {}?", near.join(", ")));
                    }
                }
                add("sky gpus list shows which accelerators there are".to_owned());
            }
            Some((Miss::Cpus, offer)) if offer.is_cut_to_size() => {
                add(format!("{} has {} CPUs", offer.infra_text(), offer.vcpus));
            }
            Some((Miss::Memory, offer)) if offer.is_cut_to_size() => {
                add(format!(
                    "{} has {} GB of memory",
                    offer.infra_text(),
                    super::text::short(offer.memory_gb)
                ));
            }
            Some((Miss::Cpus | Miss::Memory, _)) => {
                add("append `+` to cpus or memory to accept larger machines".to_owned());
            }
            Some((Miss::Spot, _)) => {
                add("leave out --use-spot: there is no spot capacity here".to_owned());
            }
            Some((Miss::Cost, offer)) => {
                add(format!(
                    "the cheapest fit costs ${} an hour: raise max_hourly_cost",
                    offer.hourly
                ));
            }
            Some((Miss::Place | Miss::InstanceType, _)) | None => {}
        }
    }
    add("ask for less, or enable more infra: sky check".to_owned());
    hints
}
