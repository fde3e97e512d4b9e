//! `sky gpus list`: the accelerators that can be asked for, and where price lists have them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Ops;
use crate::api::bodies::AcceleratorsBody;
use crate::base::Result;
use crate::base::units::Dollars;
use crate::catalog::{Filter, Listing, Table, display_name};
use crate::clouds::CloudId;

/// What was found: where, and what.
struct Found {
    /// The cloud's display name.
    cloud: String,
    /// The accelerator.
    name: String,
    /// How many at once.
    count: f64,
    /// The machine, where a price list has it.
    listing: Option<Listing>,
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
    for found in find(ops, &body).await? {
        let row = row(&found);
        match listed.entry(found.name).or_insert_with(|| json!([])) {
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

/// Makes the ten positions of a row.
fn row(found: &Found) -> Value {
    let (cloud, name, count) = (&found.cloud, &found.name, number(found.count));
    let Some(listing) = &found.listing else {
        // Of this machine or of a scheduler: nothing to pay, no machine type.
        return json!([cloud, "-", name, count, null, null, null, 0.0, null, "-"]);
    };
    let price = |price: Option<Dollars>| price.map(|dollars| dollars.0);
    json!([
        cloud,
        listing.instance_type,
        name,
        count,
        listing.vcpus,
        listing.device_gb,
        listing.memory_gb,
        price(listing.hourly),
        price(listing.spot),
        listing.region.as_deref().unwrap_or("-"),
    ])
}

/// Writes a whole number as one: clients print it as it comes.
fn number(count: f64) -> Value {
    format!("{count}")
        .parse()
        .map_or(Value::Null, Value::Number)
}

/// Asks the clouds and the price lists, with the filters of the body.
async fn find(ops: &Ops, body: &AcceleratorsBody) -> Result<Vec<Found>> {
    let named: Option<Vec<String>> = match &body.clouds {
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
    let is_wanted = |name: &str| {
        named
            .as_ref()
            .is_none_or(|names| names.iter().any(|n| n == name))
    };
    let mut all = Vec::new();
    // Nothing of these has a region.
    let clouds = ops.clusters.clouds();
    let real = clouds.iter().filter(|_| body.region_filter.is_none());
    let is_open = |id: CloudId| is_wanted(id.as_str()) && !clouds.barred().contains(&id);
    for cloud in real.filter(|cloud| is_open(cloud.id())) {
        for (name, quantities) in cloud.accelerators().await? {
            let fitting = quantities
                .into_iter()
                .filter(|count| fits(body, &name, *count));
            all.extend(fitting.map(|count| Found {
                cloud: cloud.id().display_name().to_owned(),
                name: name.clone(),
                count,
                listing: None,
            }));
        }
    }
    for table in clouds.catalogs().all().await? {
        if is_wanted(table.cloud()) {
            all.extend(offered(&table, body));
        }
    }
    Ok(all)
}

/// Returns whether a number of accelerators is asked for.
fn fits(body: &AcceleratorsBody, name: &str, count: f64) -> bool {
    let part = body
        .name_filter
        .as_ref()
        .map(|part| part.to_ascii_lowercase());
    part.is_none_or(|part| name.to_ascii_lowercase().contains(&part))
        && body
            .quantity_filter
            .is_none_or(|wanted| f64::from(wanted).total_cmp(&count).is_eq())
}

/// Finds accelerators in a price list.
fn offered(table: &Table, body: &AcceleratorsBody) -> Vec<Found> {
    let filter = Filter {
        accelerator: body.name_filter.clone(),
        region: body.region_filter.clone(),
        quantity: body.quantity_filter.map(f64::from),
        all_regions: body.all_regions,
        ..Filter::default()
    };
    let found = |listing: Listing| {
        let (name, count) = listing.accelerator.clone()?;
        Some(Found {
            cloud: display_name(table.cloud()),
            name,
            count,
            listing: Some(listing),
        })
    };
    let listings = table.list(&filter).into_iter();
    listings
        .filter(|listing| listing.is_gpu || !body.gpus_only)
        .filter_map(found)
        .collect()
}
