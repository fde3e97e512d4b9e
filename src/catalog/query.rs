//! Does an offer meet a shape? If so, what node comes of it?

use super::offer::Offer;
use crate::base::units::Dollars;
use crate::task::{Accelerator, Amount, Infra, LocalDisk, Shape};

/// CPUs of a machine if neither CPUs nor memory are asked for, where machine types are sold.
const DEFAULT_CPUS: Amount = Amount::at_least(8.0);
/// Its memory if none is asked for: 4 GB for each of its CPUs.
const DEFAULT_MEMORY: Amount = Amount::per_cpu(4.0);

/// Why an offer is not what a shape asks for; the first reason in this order, so that the greatest is the closest miss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Miss {
    /// Another cloud, region or zone.
    Place,
    /// Another machine type.
    InstanceType,
    /// Not of a family for tasks that do not name a machine type.
    Family,
    /// No such accelerators, or not so many.
    Accelerators,
    /// Fewer CPUs, or not exactly so many.
    Cpus,
    /// Less memory, or not exactly so much.
    Memory,
    /// No such disk inside.
    LocalDisk,
    /// Spot where on-demand is asked for, or the other way round.
    Spot,
    /// It has no known price.
    NoPrice,
    /// Dearer than permitted.
    Cost,
}

/// What is known of a machine type.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts<'a> {
    /// Its name.
    pub(super) name: Option<&'a str>,
    /// Virtual CPUs.
    pub(super) vcpus: f64,
    /// Gigabytes.
    pub(super) memory_gb: f64,
    /// Accelerators: name and count.
    pub(super) accelerator: Option<(&'a str, f64)>,
    /// Gigabytes of each; 0 = not known.
    pub(super) device_gb: f64,
    /// Gigabytes of disk inside, and whether it is NVMe.
    pub(super) disk: (f64, bool),
    /// Whether it serves tasks that name no machine type and no accelerator.
    pub(super) is_general: bool,
}

/// Returns the node that the offer gives for the shape.
///
/// Where nodes are cut to size, it has the CPUs, memory and accelerators that are asked for as long as the machine
/// has them; an amount with `+`, or none, gives the whole machine. Elsewhere the offer is taken as it is.
pub(crate) fn tailor(shape: &Shape, offer: &Offer) -> Result<Offer, Miss> {
    if !is_at(&shape.infra, offer) {
        return Err(Miss::Place);
    }
    let node = if offer.is_cut_to_size() {
        cut(shape, offer)?
    } else {
        pick(shape, &facts(offer))?;
        offer.clone()
    };
    if offer.spot != shape.use_spot.unwrap_or(false) {
        return Err(Miss::Spot);
    }
    match shape.max_hourly_cost {
        Some(most) if node.hourly > Dollars(most) => Err(Miss::Cost),
        Some(_) | None => Ok(node),
    }
}

/// What is known of an offer.
fn facts(offer: &Offer) -> Facts<'_> {
    Facts {
        name: offer.instance_type.as_deref(),
        vcpus: offer.vcpus,
        memory_gb: offer.memory_gb,
        accelerator: offer
            .accelerators
            .as_ref()
            .map(|a| (a.name.as_str(), a.count)),
        device_gb: 0.0,
        disk: (0.0, false),
        is_general: true,
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
    if shape.instance_type.is_some() {
        return Err(Miss::InstanceType);
    }
    let mut node = offer.clone();
    match &shape.accelerators {
        // The whole machine without asking for its accelerators: they stay with those who ask.
        None => node.accelerators = None,
        Some(wanted) => {
            let enough =
                |have: &Accelerator| have.is_same_kind(wanted) && have.count >= wanted.count;
            if !offer.accelerators.as_ref().is_some_and(enough) {
                return Err(Miss::Accelerators);
            }
            // Shares of a device are for jobs: nodes have whole ones.
            node.accelerators = Some(Accelerator {
                name: wanted.name.clone(),
                count: wanted.count.ceil(),
            });
        }
    }
    node.vcpus = cut_amount(shape.cpus, offer.vcpus).ok_or(Miss::Cpus)?;
    let memory = shape.memory.map(|amount| amount.for_cpus(node.vcpus));
    node.memory_gb = cut_amount(memory, offer.memory_gb).ok_or(Miss::Memory)?;
    Ok(node)
}

/// Returns how much of what a machine has goes to the node.
fn cut_amount(wanted: Option<Amount>, have: f64) -> Option<f64> {
    match wanted {
        None => Some(have),
        Some(amount) if !Amount::at_least(amount.value).is_met_by(have) => None,
        Some(amount) if amount.at_least => Some(have),
        Some(amount) => Some(amount.value),
    }
}

/// Returns whether a machine type is what was asked for.
pub(super) fn pick(shape: &Shape, facts: &Facts<'_>) -> Result<(), Miss> {
    if let Some(wanted) = &shape.instance_type
        && facts.name != Some(wanted.as_str())
    {
        return Err(Miss::InstanceType);
    }
    match (&shape.accelerators, facts.accelerator) {
        (None, Some(_)) if shape.instance_type.is_some() => {}
        (None, Some(_)) => return Err(Miss::Family),
        (None, None) if !facts.is_general && shape.instance_type.is_none() => {
            return Err(Miss::Family);
        }
        (None, None) => {}
        (Some(wanted), Some(have)) if has(wanted, have, facts.device_gb) => {}
        (Some(_), None | Some(_)) => return Err(Miss::Accelerators),
    }
    let (cpus, memory) = sizes(shape);
    if cpus.is_some_and(|amount| !amount.is_met_by(facts.vcpus)) {
        return Err(Miss::Cpus);
    }
    if memory.is_some_and(|amount| !amount.for_cpus(facts.vcpus).is_met_by(facts.memory_gb)) {
        return Err(Miss::Memory);
    }
    if let Some(wanted) = shape.local_disk.as_deref().and_then(LocalDisk::read)
        && !wanted.is_met_by(facts.disk.0, facts.disk.1)
    {
        return Err(Miss::LocalDisk);
    }
    Ok(())
}

/// Returns CPUs and memory that a machine type must have: what is asked for, else the defaults. Who names a machine type or
/// accelerators gets no defaults.
fn sizes(shape: &Shape) -> (Option<Amount>, Option<Amount>) {
    if shape.accelerators.is_some() || shape.instance_type.is_some() {
        return (shape.cpus, shape.memory);
    }
    let cpus = match (shape.cpus, shape.memory) {
        (None, None) => Some(DEFAULT_CPUS),
        (cpus, _) => cpus,
    };
    (cpus, shape.memory.or(Some(DEFAULT_MEMORY)))
}

/// Returns whether accelerators are the wanted ones, by name or by memory, in the wanted number.
fn has(wanted: &Accelerator, (name, count): (&str, f64), device_gb: f64) -> bool {
    let is_kind = match wanted.memory_wish() {
        Some(wish) => wish.is_met_by(name, device_gb),
        None => wanted.name.eq_ignore_ascii_case(name),
    };
    is_kind && is_count(count, wanted.count)
}

/// Returns whether a machine with so many accelerators serves a wish for so many. A share of one is served by a machine
/// that sells just that share, or a whole one.
fn is_count(have: f64, wanted: f64) -> bool {
    (have - wanted).abs() < 0.01 || (wanted < 1.0 && (have - 1.0).abs() < 1e-9)
}
