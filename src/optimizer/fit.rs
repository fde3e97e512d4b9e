//! Does a task fit on a cluster that exists?

use crate::base::{Error, Kind, Result};
use crate::catalog::Offer;
use crate::task::{Accelerator, Amount, Shape, Task};

use super::text::{resources_text, shape_text};

/// Checks that a cluster of so many such nodes offers what the task asks for; the error names what is missing.
///
/// Ports and image are not part of an offer: the caller compares those.
pub(crate) fn fits(existing: &Offer, existing_nodes: u32, task: &Task) -> Result<()> {
    let mut missing = Vec::new();
    if task.num_nodes > existing_nodes {
        missing.push(format!(
            "{} nodes (it has {existing_nodes})",
            task.num_nodes
        ));
    }
    // Of several alternatives the one that lacks least is worth telling.
    let lacks = task
        .resources
        .alternatives
        .iter()
        .map(|shape| lacking(existing, shape));
    missing.extend(lacks.min_by_key(Vec::len).unwrap_or_default());
    if missing.is_empty() {
        return Ok(());
    }
    let wanted = shape_text(task.num_nodes, task.resources.first());
    let have = resources_text(existing_nodes, existing, true);
    Err(Error::new(
        Kind::ResourcesMismatch,
        format!(
            "the cluster does not offer what the task asks for: {} missing; asked for {wanted}, it is {} {have}",
            missing.join(", "),
            existing.infra_text(),
        ),
    )
    .hint("use a new cluster name, or `sky down` this cluster first"))
}

/// Returns what a node lacks for a shape.
fn lacking(existing: &Offer, shape: &Shape) -> Vec<String> {
    let mut missing = Vec::new();
    let mut place = |what: &str, wanted: &Option<String>, have: Option<&String>| {
        if let Some(wanted) = wanted.as_ref().filter(|wanted| Some(*wanted) != have) {
            missing.push(format!("{what} {wanted}"));
        }
    };
    place("infra", &shape.infra.cloud, Some(&existing.cloud));
    place("region", &shape.infra.region, existing.region.as_ref());
    place("zone", &shape.infra.zone, existing.zone.as_ref());
    place(
        "instance type",
        &shape.instance_type,
        existing.instance_type.as_ref(),
    );
    if shape.use_spot.is_some_and(|spot| spot != existing.spot) {
        missing.push(
            if existing.spot {
                "on-demand nodes"
            } else {
                "spot nodes"
            }
            .to_owned(),
        );
    }
    if let Some(wanted) = &shape.accelerators {
        let enough = |have: &Accelerator| have.is_same_kind(wanted) && have.count >= wanted.count;
        if !existing.accelerators.as_ref().is_some_and(enough) {
            missing.push(format!("accelerators {wanted}"));
        }
    }
    // A larger machine serves an exact wish as well.
    let enough = |wanted: Amount, have: f64| {
        Amount::at_least(wanted.for_cpus(existing.vcpus).value).is_met_by(have)
    };
    if let Some(wanted) = shape.cpus.filter(|wanted| !enough(*wanted, existing.vcpus)) {
        missing.push(format!("cpus {wanted}"));
    }
    if let Some(wanted) = shape
        .memory
        .filter(|wanted| !enough(*wanted, existing.memory_gb))
    {
        missing.push(format!("memory {wanted}"));
    }
    missing
}
