//! `sky gpus list`: the accelerators that can be asked for.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Ops;
use crate::api::bodies::AcceleratorsBody;
use crate::base::Result;

/// What was found: accelerator, cloud's display name, quantity.
struct Found {
    /// The accelerator.
    name: String,
    /// Where.
    cloud: &'static str,
    /// How many at once.
    count: f64,
}

/// Lists accelerators with quantities.
pub(super) async fn counts(ops: &Ops, body: AcceleratorsBody) -> Result<Value> {
    let mut counts: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for found in find(ops, &body).await? {
        let all = counts.entry(found.name).or_default();
        if !all.contains(&found.count) {
            all.push(found.count);
        }
    }
    for all in counts.values_mut() {
        all.sort_by(f64::total_cmp);
    }
    Ok(json!(counts))
}

/// Lists accelerators with where they are: ten positions each, as the HTTP API defines them.
pub(super) async fn list(ops: &Ops, body: AcceleratorsBody) -> Result<Value> {
    let mut listed: Map<String, Value> = Map::new();
    for Found { name, cloud, count } in find(ops, &body).await? {
        let row = json!([cloud, "-", name, count, null, null, null, 0.0, null, "-"]);
        match listed.entry(name).or_insert_with(|| json!([])) {
            Value::Array(rows) => rows.push(row),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Object(_) => {}
        }
    }
    Ok(Value::Object(listed))
}

/// Asks the clouds, with the filters of the body.
async fn find(ops: &Ops, body: &AcceleratorsBody) -> Result<Vec<Found>> {
    let clouds: Option<Vec<String>> = match &body.clouds {
        Some(Value::String(name)) => Some(vec![name.to_ascii_lowercase()]),
        Some(Value::Array(names)) => Some(
            names
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_ascii_lowercase)
                .collect(),
        ),
        _ => None,
    };
    let filter = body.name_filter.as_ref().map(|f| f.to_ascii_lowercase());
    let mut all = Vec::new();
    let all_clouds = ops.clusters.clouds();
    for cloud in all_clouds.iter() {
        let id = cloud.id();
        let is_named = |names: &Vec<String>| names.iter().any(|n| n == id.as_str());
        if all_clouds.barred().contains(&id) || !clouds.as_ref().is_none_or(is_named) {
            continue;
        }
        for (name, quantities) in cloud.accelerators().await? {
            if filter
                .as_ref()
                .is_some_and(|f| !name.to_ascii_lowercase().contains(f))
            {
                continue;
            }
            all.extend(
                quantities
                    .into_iter()
                    .filter(|q| {
                        body.quantity_filter
                            .is_none_or(|wanted| f64::from(wanted).total_cmp(q).is_eq())
                    })
                    .map(|count| Found {
                        name: name.clone(),
                        cloud: id.display_name(),
                        count,
                    }),
            );
        }
    }
    Ok(all)
}
