//! The sections `service` and `pool`: kept as the user wrote them, checked for typing errors.

use serde_json::Value;

use super::fields::Place;
use super::model::Task;
use crate::base::Result;

/// Fields of a service.
const SERVICE_FIELDS: [&str; 8] = [
    "readiness_probe",
    "replicas",
    "replica_policy",
    "load_balancing_policy",
    "load_balancer",
    "ports",
    "tls",
    "pool",
];
/// Fields of a replica policy.
const POLICY_FIELDS: [&str; 9] = [
    "min_replicas",
    "max_replicas",
    "num_overprovision",
    "target_qps_per_replica",
    "upscale_delay_seconds",
    "downscale_delay_seconds",
    "dynamic_ondemand_fallback",
    "base_ondemand_fallback_replicas",
    "spot_placer",
];
/// Fields of a readiness probe.
const PROBE_FIELDS: [&str; 7] = [
    "path",
    "initial_delay_seconds",
    "timeout_seconds",
    "endpoint_probe_interval_seconds",
    "consecutive_failure_threshold_timeout",
    "post_data",
    "headers",
];
/// How requests are spread over replicas.
const BALANCING: [&str; 3] = ["least_load", "round_robin", "instance_aware_least_load"];
/// The most replicas or workers.
const MAX_REPLICAS: i64 = 100_000;

/// Reads the section `service`; on the wire a pool stands inside of it.
pub(super) fn service(place: &Place<'_>, task: &mut Task) -> Result<()> {
    let fields = place.fields(&SERVICE_FIELDS)?;
    if let Some(inner) = fields.get("pool").filter(|inner| inner.is_map()) {
        task.pool = Some(pool(inner)?);
        return Ok(());
    }
    fields.exclude("replicas", "replica_policy")?;
    let Some(probe) = fields.get("readiness_probe") else {
        return Err(
            place.error("a service needs `readiness_probe`, such as `readiness_probe: /health`")
        );
    };
    readiness_probe(probe)?;
    fields.read("replicas", |place| place.integer(0, MAX_REPLICAS))?;
    if let Some(policy) = fields.get("replica_policy") {
        replica_policy(policy)?;
    }
    fields.read("load_balancing_policy", |place| place.word(&BALANCING))?;
    fields.read("load_balancer", |place| {
        place.fields(&["stream_timeout_seconds"]).map(|_| ())
    })?;
    fields.read("ports", |place| place.integer(1, 65_535))?;
    fields.read("tls", |place| {
        place.fields(&["keyfile", "certfile"]).map(|_| ())
    })?;
    task.service = Some(place.value()?);
    Ok(())
}

/// Checks how a service is probed.
fn readiness_probe(place: &Place<'_>) -> Result<()> {
    let path = |place: &Place<'_>| {
        let path = place.text()?;
        if path.starts_with('/') {
            return Ok(());
        }
        // The path may come from a variable.
        if path.starts_with('$') {
            Ok(())
        } else {
            Err(place.error("the path must begin with `/`"))
        }
    };
    if !place.is_map() {
        return path(place);
    }
    let fields = place.fields(&PROBE_FIELDS)?;
    if fields.read("path", path)?.is_none() {
        return Err(place.error("it needs `path`"));
    }
    for name in &PROBE_FIELDS[1..5] {
        fields.read(name, Place::number)?;
    }
    fields.read("headers", Place::map)?;
    Ok(())
}

/// Checks how many replicas there are.
fn replica_policy(place: &Place<'_>) -> Result<()> {
    let fields = place.fields(&POLICY_FIELDS)?;
    let count = |place: &Place<'_>| place.integer(0, MAX_REPLICAS);
    let Some(least) = fields.read("min_replicas", count)? else {
        return Err(place.error("it needs `min_replicas`"));
    };
    let most = fields.read("max_replicas", count)?;
    if let (Some(most), Some(at)) = (most, fields.get("max_replicas")) {
        if most < least {
            return Err(at.error(format!("it is below `min_replicas` ({least})")));
        }
        if most > least && fields.get("target_qps_per_replica").is_none() {
            return Err(at.error("a range of replicas needs `target_qps_per_replica`"));
        }
    }
    if let Some(target) = fields
        .get("target_qps_per_replica")
        .filter(|target| !target.is_map())
        && target.number()? <= 0.0
    {
        return Err(target.error("it must be above 0"));
    }
    for name in ["num_overprovision", "base_ondemand_fallback_replicas"] {
        fields.read(name, count)?;
    }
    for name in ["upscale_delay_seconds", "downscale_delay_seconds"] {
        fields.read(name, Place::number)?;
    }
    fields.read("dynamic_ondemand_fallback", Place::truth)?;
    Ok(())
}

/// Reads the section `pool`.
pub(super) fn pool(place: &Place<'_>) -> Result<Value> {
    let known = [
        "workers",
        "min_workers",
        "max_workers",
        "queue_length_threshold",
        "upscale_delay_seconds",
        "downscale_delay_seconds",
    ];
    let fields = place.fields(&known)?;
    let count = |place: &Place<'_>| place.integer(0, MAX_REPLICAS);
    fields.exclude("workers", "min_workers")?;
    fields.exclude("workers", "max_workers")?;
    for name in ["workers", "min_workers", "queue_length_threshold"] {
        fields.read(name, count)?;
    }
    let least = fields.read("min_workers", count)?.unwrap_or(0);
    if let Some(place) = fields.get("max_workers")
        && count(place)? < least
    {
        return Err(place.error(format!("it is below `min_workers` ({least})")));
    }
    place.value()
}
