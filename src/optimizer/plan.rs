//! Ranking.

use std::cmp::Ordering;

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
    /// It is set up, but does not say what it has.
    Failing(Error),
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
///
/// There may be thousands of offers, each with half a dozen texts: they are moved out of the markets, and numbers are sorted.
pub(crate) fn plan(task: &Task, mut markets: Vec<Market>, blocks: &[Block]) -> Result<Plan> {
    let is_shut = |market: &Market| matches!(market.state, Standing::Shut { .. });
    if markets.iter().all(is_shut) {
        return Err(Error::new(Kind::NoCloudAccess, "no infra is enabled")
            .hint("sky check shows what is missing"));
    }
    let mut ruled_out = Vec::new();
    let (mut fitting, mut blocked) = (Vec::new(), Vec::new());
    for (cloud, market) in markets.iter_mut().enumerate() {
        for candidate in take(task, market, &mut ruled_out) {
            let block = blocks
                .iter()
                .find(|block| block.covers(&candidate.offer, task.num_nodes));
            if let Some(block) = block {
                note_block(task, &mut ruled_out, &candidate, block);
                blocked.push((cloud, candidate));
            } else {
                fitting.push((cloud, candidate));
            }
        }
    }
    let all_blocked = fitting.is_empty() && !blocked.is_empty();
    if all_blocked {
        fitting = blocked;
    }
    if fitting.is_empty() {
        return Err(explain(task, &markets, &ruled_out));
    }
    Ok(Plan {
        num_nodes: task.num_nodes,
        candidates: ranked(fitting, task.resources.order),
        ruled_out,
        all_blocked,
    })
}

/// Returns whether a market's cloud can be used.
fn is_open(market: &Market) -> bool {
    matches!(market.state, Standing::Open(_))
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

/// Takes the candidates out of one cloud, and notes what is left out.
fn take(task: &Task, market: &mut Market, ruled_out: &mut Vec<RuledOut>) -> Vec<Candidate> {
    let shapes = &task.resources.alternatives;
    let mut candidates = Vec::new();
    let mut leave_out = |infra: String, shape: &Shape, why: Why| {
        let wish = shape_text(task.num_nodes, shape);
        let one = RuledOut { infra, wish, why };
        if !ruled_out.contains(&one) {
            ruled_out.push(one);
        }
    };
    let Market {
        cloud,
        display,
        state,
    } = market;
    let supplies = match state {
        Standing::Open(supplies) => supplies,
        Standing::Failing(error) => {
            for shape in shapes.iter().filter(|shape| is_meant(cloud, shape)) {
                let reason = error.one_line();
                leave_out(display.clone(), shape, Why::NoAnswer { reason });
            }
            return candidates;
        }
        Standing::Shut { reason, would } => {
            for (index, shape) in shapes
                .iter()
                .enumerate()
                .filter(|(_, shape)| is_meant(cloud, shape))
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
                leave_out(display.clone(), shape, Why::NotEnabled { reason, instead });
            }
            return candidates;
        }
    };
    for (alternative, (shape, supply)) in shapes.iter().zip(supplies).enumerate() {
        // What is written twice is had once: the same node through two alternatives is one candidate, unless they ask for
        // other things around it.
        if shapes[..alternative].contains(shape) {
            continue;
        }
        if let Some(why) = &supply.lack {
            leave_out(display.clone(), shape, why.clone());
        }
        let offers = std::mem::take(&mut supply.offers).into_iter();
        candidates.extend(offers.map(|offer| Candidate {
            alternative,
            cost: Dollars(offer.hourly.0 * f64::from(task.num_nodes)),
            offer,
        }));
    }
    candidates
}

/// Returns whether a shape may be placed in a cloud, as far as it names one.
fn is_meant(cloud: &str, shape: &Shape) -> bool {
    let named = shape.infra.cloud.as_deref();
    named.is_none_or(|named| named == cloud)
}

/// What candidates are sorted by before their names.
#[derive(Clone, Copy)]
struct Rank {
    /// The alternative, where the task's order counts.
    listed: usize,
    /// Dollars of all nodes.
    cost: f64,
    /// The number of the cloud.
    cloud: usize,
    /// The number of the alternative.
    alternative: usize,
    /// Which candidate it is.
    number: usize,
}

impl Rank {
    /// Compares all but the last.
    fn compare(&self, other: &Self) -> Ordering {
        let places = |rank: &Self| (rank.cloud, rank.alternative);
        (self.listed.cmp(&other.listed))
            .then_with(|| self.cost.total_cmp(&other.cost))
            .then_with(|| places(self).cmp(&places(other)))
    }
}

/// Sorts candidates, each with the number of its cloud; of those that are the same in everything one is left.
fn ranked(fitting: Vec<(usize, Candidate)>, order: Order) -> Vec<Candidate> {
    let rank = |(number, (cloud, candidate)): (usize, &(usize, Candidate))| Rank {
        listed: match order {
            Order::Cheapest => 0,
            Order::AsListed => candidate.alternative,
        },
        cost: candidate.cost.0,
        cloud: *cloud,
        alternative: candidate.alternative,
        number,
    };
    let mut ranks: Vec<Rank> = fitting.iter().enumerate().map(rank).collect();
    let key = |rank: &Rank| node_key(&fitting[rank.number].1.offer);
    ranks.sort_by(|a, b| a.compare(b).then_with(|| key(a).cmp(&key(b))));
    let mut fitting: Vec<Option<Candidate>> =
        fitting.into_iter().map(|(_, one)| Some(one)).collect();
    let mut candidates: Vec<Candidate> = Vec::with_capacity(fitting.len());
    for candidate in ranks.iter().filter_map(|rank| fitting[rank.number].take()) {
        // Those of the same name stand side by side.
        let mut twins = (candidates.iter().rev()).take_while(|other| {
            other.alternative == candidate.alternative
                && node_key(&other.offer) == node_key(&candidate.offer)
        });
        if twins.all(|twin| twin.offer != candidate.offer) {
            candidates.push(candidate);
        }
    }
    candidates
}

/// What a node is called, and where it is.
fn node_key(offer: &Offer) -> (Option<&str>, Option<&str>, Option<&str>) {
    (
        offer.instance_type.as_deref(),
        offer.region.as_deref(),
        offer.zone.as_deref(),
    )
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
    let open: Vec<&Market> = markets.iter().filter(|market| is_open(market)).collect();
    let disabled = |shape: &Shape| {
        let named = shape.infra.cloud.clone();
        named.filter(|cloud| open.iter().all(|market| market.cloud != *cloud))
    };
    let all_disabled: Option<Vec<String>> = shapes.iter().map(disabled).collect();
    let first_disabled = all_disabled.and_then(|clouds| clouds.into_iter().next());
    let failing = first_disabled.as_ref().and_then(|cloud| {
        let market = markets.iter().find(|market| market.cloud == *cloud)?;
        match &market.state {
            Standing::Failing(error) => Some((cloud, error)),
            Standing::Open(_) | Standing::Shut { .. } => None,
        }
    });
    let mut error = if let Some((cloud, why)) = failing {
        cannot_be_used(cloud, why)
    } else if let Some(cloud) = first_disabled {
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

/// Says what keeps a cloud that is set up from being used.
fn cannot_be_used(cloud: &str, why: &Error) -> Error {
    let what = format!("the infra `{cloud}` cannot be used now");
    let error = Error::new(Kind::ResourcesUnavailable, what);
    let error = error.caused_by(&Error::new(why.kind(), why.one_line()));
    let hints = why.hints().iter().cloned();
    hints.fold(error, Error::hint)
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
