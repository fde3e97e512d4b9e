//! GPUs of the user's own hosts as SkyPilot's clients ask for them: pools stand for contexts of Kubernetes, hosts for nodes.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::Ops;
use crate::api::bodies::{DevicesBody, NodeInfoBody};
use crate::base::{Kind, Result};
use crate::clouds::{HostReport, Stock, quantities_of};

/// What the name of a pool begins with where contexts are named.
const PREFIX: &str = "ssh-";

/// What a pool has of one model.
#[derive(Default)]
struct Model {
    /// How many a node can ask for.
    counts: BTreeSet<u32>,
    /// All.
    capacity: u32,
    /// Those that nobody has taken.
    free: u32,
}

/// Lists models with what is free, by pool: `[["ssh-lab", [["A100", [1, 2], 4, 3]]]]`.
pub(super) async fn availability(ops: &Ops, body: DevicesBody) -> Result<Value> {
    if body.is_ssh != Some(true) {
        return Ok(json!([]));
    }
    let mut pools: BTreeMap<String, BTreeMap<String, Model>> = BTreeMap::new();
    for (pool, _, stock) in hosts(ops, body.context.as_deref()).await? {
        for (name, count) in &stock.gpus {
            if fits(&body, name, *count) {
                let models = pools.entry(pool.clone()).or_default();
                let model = models.entry(name.clone()).or_default();
                model.counts.extend(quantities_of(*count));
                model.capacity += count;
                model.free += free(&stock, name);
            }
        }
    }
    let pools = pools.into_iter().map(|(pool, models)| {
        let rows = models.into_iter().map(|(name, model)| {
            let wanted = |count: &&u32| body.quantity_filter.is_none_or(|wanted| **count >= wanted);
            let counts: Vec<_> = model.counts.iter().filter(wanted).collect();
            json!([name, counts, model.capacity, model.free])
        });
        json!([format!("{PREFIX}{pool}"), rows.collect::<Vec<_>>()])
    });
    Ok(pools.collect())
}

/// Describes the hosts of a pool.
pub(super) async fn nodes(ops: &Ops, body: NodeInfoBody) -> Result<Value> {
    let mut nodes = Map::new();
    for (_, host, stock) in hosts(ops, body.context.as_deref()).await? {
        let model = stock.gpus.keys().next();
        let free = model.map_or(0, |name| free(&stock, name));
        let node = json!({
            "name": host,
            "accelerator_type": model,
            "total": { "accelerator_count": stock.gpus.values().sum::<u32>() },
            "free": { "accelerators_available": free },
            "ip_address": null,
            "cpu_count": stock.cpus,
            "memory_gb": stock.memory_gb,
            "cpu_free": stock.free.cpus,
            "memory_free_gb": stock.free.memory_gb,
            "is_ready": true,
        });
        nodes.insert(host, node);
    }
    Ok(json!({ "node_info_dict": nodes, "hint": "" }))
}

/// Asks the hosts of a pool, or of all; those that do not answer are left out, as are those that are not ready.
async fn hosts(ops: &Ops, context: Option<&str>) -> Result<Vec<(String, String, Stock)>> {
    let pool = context.map(|name| name.strip_prefix(PREFIX).unwrap_or(name));
    let reports = match ops.clusters.clouds().hosts().inventory(pool).await {
        // Whoever has no pools has no devices in them.
        Err(error) if matches!(error.kind(), Kind::NoCloudAccess | Kind::NotFound) => Vec::new(),
        reports => reports?,
    };
    let with_stock = |report: HostReport| Some((report.pool, report.host, report.stock?));
    Ok(reports.into_iter().filter_map(with_stock).collect())
}

/// Whole devices of a model that nobody has taken.
fn free(stock: &Stock, name: &str) -> u32 {
    let free = stock.free.accelerators.get(name).copied().unwrap_or(0.0);
    // As many as fit: a device of which a part is taken is not free.
    (0..=stock.gpus.get(name).copied().unwrap_or(0))
        .rev()
        .find(|count| f64::from(*count) <= free)
        .unwrap_or(0)
}

/// Whether a model is asked for.
fn fits(body: &DevicesBody, name: &str, count: u32) -> bool {
    let part = body.name_filter.as_ref();
    let named = part.is_none_or(|part| {
        name.to_ascii_lowercase()
            .contains(&part.to_ascii_lowercase())
    });
    named && body.quantity_filter.is_none_or(|wanted| count >= wanted)
}
