//! What hosts offer: pure.

use super::LEAST_CPUS;
use crate::base::units::Dollars;
use crate::catalog::Offer;
use crate::clouds::CloudId;
use crate::node::protocol::Facts;
use crate::task::{Accelerator, Shape};

/// What a host offers for a wish: all that is free, and of what is not named a part in proportion to what is.
pub(super) fn offer_of(pool: &str, facts: &Facts, wish: &Shape) -> Offer {
    let (free, whole) = (facts.free(), &facts.machine);
    let part = |wished: Option<f64>, of: f64| wished.map_or(1.0, |w| (w / of).clamp(0.0, 1.0));
    let by_cpus = part(
        wish.cpus.filter(|a| !a.at_least).map(|a| a.value),
        whole.cpus,
    );
    let by_memory = part(
        wish.memory.filter(|a| !a.at_least).map(|a| a.value),
        whole.memory_gb,
    );
    let by_devices = wish.accelerators.as_ref().map_or(1.0, |wished| {
        let have = whole.gpus_named(&wished.name);
        have.map_or(1.0, |(_, count)| {
            part(Some(wished.count.ceil()), f64::from(count))
        })
    });
    let round = |value: f64| (value * 10.0).floor() / 10.0;
    let memory_gb = match (wish.memory, wish.cpus) {
        (None, None) => free.memory_gb.min(round(whole.memory_gb * by_devices)),
        (None, Some(_)) => free.memory_gb.min(round(whole.memory_gb * by_cpus)),
        (Some(_), _) => free.memory_gb,
    };
    let vcpus = match (wish.cpus, wish.memory) {
        (None, None) => free
            .cpus
            .min(round(whole.cpus * by_devices).max(LEAST_CPUS)),
        (None, Some(_)) => free.cpus.min(round(whole.cpus * by_memory).max(1.0)),
        (Some(_), _) => free.cpus,
    };
    let accelerators = wish.accelerators.as_ref().and_then(|wished| {
        free.accelerators
            .iter()
            .find(|(name, count)| name.eq_ignore_ascii_case(&wished.name) && **count > 0.0)
            .map(|(name, count)| Accelerator {
                name: name.clone(),
                count: *count,
            })
    });
    Offer {
        cloud: CloudId::Ssh.as_str().to_owned(),
        display: CloudId::Ssh.display_name().to_owned(),
        region: Some(pool.to_owned()),
        zone: None,
        instance_type: None,
        vcpus,
        memory_gb,
        accelerators,
        hourly: Dollars(0.0),
        spot: false,
        arch: None,
    }
}
