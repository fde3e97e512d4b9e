//! Ranking.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

use crate::base::units::Dollars;
use crate::base::{Error, Kind, Result};
use crate::catalog::{Block, Offer, RuledOut, Supply, Why};
use crate::task::{Order, Shape, Task, close_accelerators};

use super::text::shape_text;

/// A cloud, and what it has for a task.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Market {
    /// The cloud: `local`, `aws` …
    pub(crate) cloud: String,
    /// Its name in tables.
    pub(crate) display: String,
    /// Whether it can be used, and what it has.
    pub(crate) state: Standing,
}

/// Whether a cloud can be used.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Standing {
    /// It can: what it has for each alternative of the task, in their order.
    Open(Vec<Supply>),
    /// It cannot.
    Shut {
        /// Why not.
        reason: String,
        /// What it would have for each alternative, where somebody looked.
        would: Vec<Supply>,
    },
}

/// What will do, best first.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    /// Nodes that are asked for.
    pub(crate) num_nodes: u32,
    /// Never empty; the first is chosen, the others are for failover in this order.
    pub(crate) candidates: Vec<Candidate>,
    /// What was considered and left out.
    pub(crate) ruled_out: Vec<RuledOut>,
    /// Everything that fits was refused a short time ago: the candidates are what `ruled_out` names as blocked.
    pub(crate) all_blocked: bool,
}

impl Plan {
    /// Makes the plan of offers that are ranked already.
    pub(crate) fn of_offers(offers: impl Iterator<Item = Offer>, num_nodes: u32) -> Self {
        let candidate = |offer: Offer| Candidate {
            alternative: 0,
            cost: Dollars(offer.hourly.0 * f64::from(num_nodes)),
            offer,
        };
        Self {
            num_nodes,
            candidates: offers.map(candidate).collect(),
            ruled_out: Vec::new(),
            all_blocked: false,
        }
    }

    /// Returns the best.
    #[cfg(test)]
    pub(crate) fn chosen(&self) -> &Candidate {
        &self.candidates[0]
    }
}

/// One way to get what is asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Candidate {
    /// The alternative of the task, by its number.
    pub(crate) alternative: usize,
    /// A node that meets it, cut to size.
    pub(crate) offer: Offer,
    /// Price of all nodes for an hour.
    pub(crate) cost: Dollars,
}

/// Ranks what the clouds have for a task; leaves out what `blocks` cover, unless that is all there is.
///
/// Cheapest first, or in the order in which the task lists its alternatives, each cheapest first. What costs the same stands in
/// the order of clouds, then of machine types and places by name, so that nothing depends on the order of offers.
pub(crate) fn plan(task: &Task, markets: &[Market], blocks: &[Block]) -> Result<Plan> {
    let is_open = |market: &&Market| matches!(market.state, Standing::Open(_));
    if !markets.iter().any(|market| is_open(&market)) {
        return Err(Error::new(Kind::NoCloudAccess, "no infra is enabled")
            .hint("sky check shows what is missing"));
    }
    let mut ruled_out = Vec::new();
    let (mut ranked, mut blocked) = (Vec::new(), Vec::new());
    for (cloud, market) in markets.iter().enumerate() {
        for candidate in take(task, market, &mut ruled_out) {
            let block = blocks
                .iter()
                .find(|block| block.covers(&candidate.offer, task.num_nodes));
            if let Some(block) = block {
                note_block(task, &mut ruled_out, &candidate, block);
                blocked.push((cloud, candidate));
            } else {
                ranked.push((cloud, candidate));
            }
        }
    }
    let all_blocked = ranked.is_empty() && !blocked.is_empty();
    if all_blocked {
        ranked = blocked;
    }
    if ranked.is_empty() {
        return Err(explain(task, markets, &ruled_out));
    }
    rank(&mut ranked, task.resources.order);
    let candidates = once_each(
        ranked.into_iter().map(|(_, candidate)| candidate),
        &task.resources.alternatives,
    );
    Ok(Plan {
        num_nodes: task.num_nodes,
        candidates,
        ruled_out,
        all_blocked,
    })
}

/// Notes what a block leaves out.
fn note_block(task: &Task, ruled_out: &mut Vec<RuledOut>, candidate: &Candidate, block: &Block) {
    let one = RuledOut {
        infra: candidate.offer.infra_text(),
        wish: shape_text(
            task.num_nodes,
            &task.resources.alternatives[candidate.alternative],
        ),
        why: Why::Blocked {
            until: block.until,
            cause: block.cause,
            reason: block.reason.clone(),
        },
    };
    if !ruled_out.contains(&one) {
        ruled_out.push(one);
    }
}

/// Takes the candidates of one cloud, and notes what is left out.
fn take(task: &Task, market: &Market, ruled_out: &mut Vec<RuledOut>) -> Vec<Candidate> {
    let shapes = &task.resources.alternatives;
    let mut candidates = Vec::new();
    let mut leave_out = |infra: String, shape: &Shape, why: Why| {
        let wish = shape_text(task.num_nodes, shape);
        let one = RuledOut { infra, wish, why };
        if !ruled_out.contains(&one) {
            ruled_out.push(one);
        }
    };
    let supplies = match &market.state {
        Standing::Open(supplies) => supplies,
        Standing::Shut { reason, would } => {
            for (index, shape) in shapes
                .iter()
                .enumerate()
                .filter(|(_, shape)| is_meant(market, shape))
            {
                let offers = would
                    .get(index)
                    .map(|supply| supply.offers.as_slice())
                    .unwrap_or_default();
                let best = offers
                    .iter()
                    .min_by(|a, b| a.hourly.0.total_cmp(&b.hourly.0));
                let instead =
                    best.map(|offer| format!("{} for ${} an hour", node_text(offer), offer.hourly));
                let reason = reason.clone();
                leave_out(
                    market.display.clone(),
                    shape,
                    Why::NotEnabled { reason, instead },
                );
            }
            return candidates;
        }
    };
    for (alternative, (shape, supply)) in shapes.iter().zip(supplies).enumerate() {
        if let Some(why) = &supply.lack {
            leave_out(market.display.clone(), shape, why.clone());
        }
        for offer in &supply.offers {
            candidates.push(Candidate {
                alternative,
                offer: offer.clone(),
                cost: Dollars(offer.hourly.0 * f64::from(task.num_nodes)),
            });
        }
    }
    candidates
}

/// Returns whether a shape may be placed in a cloud, as far as it names one.
fn is_meant(market: &Market, shape: &Shape) -> bool {
    shape
        .infra
        .cloud
        .as_ref()
        .is_none_or(|cloud| *cloud == market.cloud)
}

/// Sorts candidates, each with the number of its cloud.
fn rank(ranked: &mut [(usize, Candidate)], order: Order) {
    ranked.sort_by(|(cloud_a, a), (cloud_b, b)| {
        let listed = match order {
            Order::Cheapest => std::cmp::Ordering::Equal,
            Order::AsListed => a.alternative.cmp(&b.alternative),
        };
        listed
            .then_with(|| a.cost.0.total_cmp(&b.cost.0))
            .then_with(|| cloud_a.cmp(cloud_b))
            .then_with(|| a.alternative.cmp(&b.alternative))
            .then_with(|| node_key(&a.offer).cmp(&node_key(&b.offer)))
    });
}

/// What a node is called, and where it is.
fn node_key(offer: &Offer) -> (Option<&str>, Option<&str>, Option<&str>) {
    (
        offer.instance_type.as_deref(),
        offer.region.as_deref(),
        offer.zone.as_deref(),
    )
}

/// Leaves out what is there already: the same node through two alternatives is one candidate, unless they ask for other things
/// around it.
fn once_each(candidates: impl Iterator<Item = Candidate>, shapes: &[Shape]) -> Vec<Candidate> {
    let mut kept: Vec<Candidate> = Vec::new();
    // By the hash of the key: thousands of candidates need no copies of their names.
    let hasher = RandomState::new();
    let mut by_node: HashMap<u64, Vec<usize>> = HashMap::new();
    for candidate in candidates {
        let offer = &candidate.offer;
        let same = by_node.entry(hasher.hash_one(node_key(offer))).or_default();
        let is_known = same.iter().map(|at| &kept[*at]).any(|other| {
            other.offer == *offer
                && shapes.get(other.alternative) == shapes.get(candidate.alternative)
        });
        if !is_known {
            same.push(kept.len());
            kept.push(candidate);
        }
    }
    kept
}

/// Names a node: `p3.2xlarge in AWS (us-east-1)`.
fn node_text(offer: &Offer) -> String {
    match &offer.instance_type {
        Some(instance) => format!("{instance} in {}", offer.infra_text()),
        None => offer.infra_text(),
    }
}

/// Says why nothing fits.
fn explain(task: &Task, markets: &[Market], ruled_out: &[RuledOut]) -> Error {
    let shapes = &task.resources.alternatives;
    let open: Vec<&Market> = markets
        .iter()
        .filter(|market| matches!(market.state, Standing::Open(_)))
        .collect();
    let disabled = |shape: &Shape| {
        let named = shape.infra.cloud.clone();
        named.filter(|cloud| open.iter().all(|market| market.cloud != *cloud))
    };
    let all_disabled: Option<Vec<String>> = shapes.iter().map(disabled).collect();
    let mut error = if let Some(cloud) = all_disabled.and_then(|clouds| clouds.into_iter().next()) {
        let enabled: Vec<&str> = open.iter().map(|market| market.cloud.as_str()).collect();
        let reasons = ruled_out
            .iter()
            .filter(|one| matches!(one.why, Why::NotEnabled { .. }));
        reasons
            .fold(
                Error::new(
                    Kind::ResourcesUnavailable,
                    format!("the infra `{cloud}` is not enabled"),
                ),
                |error, one| error.hint(one.to_string()),
            )
            .hint(format!("sky check {cloud} shows what is missing"))
            .hint(format!("enabled: {}", enabled.join(", ")))
    } else {
        let wanted: Vec<String> = shapes
            .iter()
            .map(|shape| shape_text(task.num_nodes, shape))
            .collect();
        let message = match wanted.as_slice() {
            [one] => format!("no enabled infra offers {one}"),
            several => format!("no enabled infra offers any of {}", several.join(", ")),
        };
        let hints = hints(shapes, ruled_out);
        hints
            .into_iter()
            .fold(Error::new(Kind::ResourcesUnavailable, message), Error::hint)
    };
    if let Ok(list) = serde_json::to_value(ruled_out) {
        error = error.attribute("ruled_out", list);
    }
    error
}

/// Says what to change: what was ruled out, and why, and what would help.
fn hints(shapes: &[Shape], ruled_out: &[RuledOut]) -> Vec<String> {
    /// The most lines about what was ruled out.
    const MOST: usize = 6;
    let mut hints: Vec<String> = Vec::new();
    let mut add = |hint: String| {
        if !hints.contains(&hint) {
            hints.push(hint);
        }
    };
    let has = |is: fn(&Why) -> bool| ruled_out.iter().any(|one| is(&one.why));
    if has(|why| matches!(why, Why::Accelerators { .. })) {
        for wanted in shapes
            .iter()
            .filter_map(|shape| shape.accelerators.as_ref())
        {
            let near = close_accelerators(&wanted.name);
            if !near.is_empty() {
                add(format!("did you mean {}?", near.join(", ")));
            }
        }
    }
    for one in ruled_out.iter().take(MOST) {
        add(one.to_string());
    }
    if has(|why| matches!(why, Why::Accelerators { .. } | Why::InstanceType { .. })) {
        add("sky gpus list shows which accelerators there are".to_owned());
    }
    if has(|why| matches!(why, Why::Cpus { have: None } | Why::Memory { have: None })) {
        add("append `+` to cpus or memory to accept larger machines".to_owned());
    }
    if has(|why| matches!(why, Why::Spot)) {
        add("leave out --use-spot to take machines on demand".to_owned());
    }
    if has(|why| matches!(why, Why::Cost { .. })) {
        add("raise max_hourly_cost".to_owned());
    }
    add("ask for less, or enable more infra: sky check".to_owned());
    hints
}
