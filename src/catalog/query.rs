//! Does an offer meet a shape? If so, what node comes of it?

use super::offer::Offer;
use crate::base::units::Dollars;
use crate::task::{Amount, Infra, Shape};

/// What a machine has if nothing is asked for, where machine types are sold.
const DEFAULT_CPUS: Amount = Amount {
    value: 8.0,
    at_least: true,
};
/// Its gigabytes.
const DEFAULT_MEMORY: Amount = Amount {
    value: 32.0,
    at_least: true,
};

/// Why an offer is not what a shape asks for; the first reason in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Miss {
    /// Another cloud, region or zone.
    Place,
    /// Another machine type.
    InstanceType,
    /// Spot where on-demand is asked for, or the other way round.
    Spot,
    /// No such accelerators, or not so many.
    Accelerators,
    /// Fewer CPUs, or not exactly so many.
    Cpus,
    /// Less memory, or not exactly so much.
    Memory,
    /// Dearer than permitted.
    Cost,
}

/// Returns the node that the offer gives for the shape.
///
/// Where nodes are cut to size, it has the CPUs, memory and accelerators that are asked for as long as the machine
/// has them; an amount with `+`, or none, gives the whole machine. Elsewhere the offer is taken as it is.
pub(crate) fn tailor(shape: &Shape, offer: &Offer) -> Result<Offer, Miss> {
    if !is_at(&shape.infra, offer) {
        return Err(Miss::Place);
    }
    if let Some(wanted) = &shape.instance_type
        && offer.instance_type.as_ref() != Some(wanted)
    {
        return Err(Miss::InstanceType);
    }
    if offer.spot != shape.use_spot.unwrap_or(false) {
        return Err(Miss::Spot);
    }
    let node = if offer.is_cut_to_size() {
        cut(shape, offer)?
    } else {
        pick(shape, offer)?
    };
    match shape.max_hourly_cost {
        Some(most) if node.hourly > Dollars(most) => Err(Miss::Cost),
        Some(_) | None => Ok(node),
    }
}

/// Returns whether the offer is where the shape wants to be.
pub(crate) fn is_at(infra: &Infra, offer: &Offer) -> bool {
    let meets = |wanted: &Option<String>, have: Option<&String>| {
        wanted.is_none() || wanted.as_ref() == have
    };
    meets(&infra.cloud, Some(&offer.cloud))
        // A price list by region leaves the zone open.
        && meets(&infra.region, offer.region.as_ref())
        && (offer.zone.is_none() || meets(&infra.zone, offer.zone.as_ref()))
}

/// Cuts a node out of a machine.
fn cut(shape: &Shape, offer: &Offer) -> Result<Offer, Miss> {
    let mut node = offer.clone();
    match &shape.accelerators {
        // The whole machine without asking for its accelerators: they stay with those who ask.
        None => node.accelerators = None,
        Some(wanted) => {
            let enough = |have: &crate::task::Accelerator| {
                have.is_same_kind(wanted) && have.count >= wanted.count
            };
            if !offer.accelerators.as_ref().is_some_and(enough) {
                return Err(Miss::Accelerators);
            }
            node.accelerators = Some(wanted.clone());
        }
    }
    node.vcpus = cut_amount(shape.cpus, offer.vcpus).ok_or(Miss::Cpus)?;
    node.memory_gb = cut_amount(shape.memory, offer.memory_gb).ok_or(Miss::Memory)?;
    Ok(node)
}

/// Returns how much of what a machine has goes to the node.
fn cut_amount(wanted: Option<Amount>, have: f64) -> Option<f64> {
    match wanted {
        None => Some(have),
        Some(amount)
            if !(Amount {
                at_least: true,
                ..amount
            })
            .is_met_by(have) =>
        {
            None
        }
        Some(amount) if amount.at_least => Some(have),
        Some(amount) => Some(amount.value),
    }
}

/// Takes a machine type as it is, if it is what was asked for.
fn pick(shape: &Shape, offer: &Offer) -> Result<Offer, Miss> {
    match (&shape.accelerators, &offer.accelerators) {
        (None, None) => {}
        (None, Some(_)) if shape.instance_type.is_some() => {}
        (Some(wanted), Some(have))
            if have.is_same_kind(wanted) && is_count(have.count, wanted.count) => {}
        (None, Some(_)) | (Some(_), None | Some(_)) => return Err(Miss::Accelerators),
    }
    let is_default = shape.cpus.is_none()
        && shape.memory.is_none()
        && shape.accelerators.is_none()
        && shape.instance_type.is_none();
    let (cpus, memory) = if is_default {
        (Some(DEFAULT_CPUS), Some(DEFAULT_MEMORY))
    } else {
        (shape.cpus, shape.memory)
    };
    if cpus.is_some_and(|amount| !amount.is_met_by(offer.vcpus)) {
        return Err(Miss::Cpus);
    }
    if memory.is_some_and(|amount| !amount.is_met_by(offer.memory_gb)) {
        return Err(Miss::Memory);
    }
    Ok(offer.clone())
}

/// Returns whether a machine with so many accelerators serves a wish for so many: a share needs one.
fn is_count(have: f64, wanted: f64) -> bool {
    (have - wanted.max(1.0)).abs() < 1e-9
}
