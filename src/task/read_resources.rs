//! The section `resources`: fields to shapes, alternatives spelled out.

use serde_json::Value;

use super::accelerator::Accelerator;
use super::amount::{self, Amount};
use super::fields::{Fields, Place};
use super::infra::{Infra, canonical_cloud};
use super::read::text_map;
use super::resources::{AutostopSpec, ImageId, MAX_ALTERNATIVES, Order, ResourcesSpec, Shape};
use super::sections::Hook;
use crate::api::bodies::WaitFor;
use crate::base::Result;

/// Fields of resources.
pub(super) const FIELDS: [&str; 28] = [
    "infra",
    "cloud",
    "region",
    "zone",
    "cpus",
    "memory",
    "accelerators",
    "gpus",
    "accelerator_args",
    "instance_type",
    "use_spot",
    "job_recovery",
    "disk_size",
    "disk_tier",
    "network_tier",
    "local_disk",
    "ports",
    "image_id",
    "labels",
    "autostop",
    "priority",
    "priority_class",
    "max_hourly_cost",
    "volumes",
    "any_of",
    "ordered",
    "ephemeral_storage",
    "spot_recovery",
];
/// Words for `disk_tier`.
pub(super) const DISK_TIERS: [&str; 6] = ["low", "medium", "high", "ultra", "best", "none"];
/// Words for `network_tier`.
pub(super) const NETWORK_TIERS: [&str; 2] = ["standard", "best"];
/// Minutes of an `autostop` mapping that names none.
const DEFAULT_IDLE_MINUTES: i64 = 5;

/// Reads the section.
pub(super) fn resources(place: &Place<'_>) -> Result<ResourcesSpec> {
    let fields = place.fields(&FIELDS)?;
    fields.exclude("any_of", "ordered")?;
    let (entries, mut order) = match (fields.get("any_of"), fields.get("ordered")) {
        (Some(any), _) => (Some(any), Order::Cheapest),
        (None, Some(ordered)) => (Some(ordered), Order::AsListed),
        (None, None) => (None, Order::Cheapest),
    };
    let base = read_shapes(&fields, &Shape::default())?;
    let Some(entries) = entries else {
        if base.as_listed {
            order = Order::AsListed;
        }
        return Ok(ResourcesSpec::new(base.shapes, order));
    };
    let mut shapes: Vec<Shape> = Vec::new();
    let items = entries.list()?;
    if items.is_empty() {
        return Err(entries.error("it names no alternative"));
    }
    for item in &items {
        let inner = item.fields(&FIELDS)?;
        for nested in ["any_of", "ordered"] {
            if let Some(place) = inner.get(nested) {
                return Err(place.error("alternatives cannot be nested"));
            }
        }
        for outer in &base.shapes {
            for shape in read_shapes(&inner, outer)?.shapes {
                // Accelerators of the entry replace those outside: then several outer shapes give the same.
                if !shapes.contains(&shape) {
                    shapes.push(shape);
                }
            }
        }
        if shapes.len() > MAX_ALTERNATIVES {
            let what = format!(
                "more than {MAX_ALTERNATIVES} alternatives, lists of accelerators multiplied"
            );
            return Err(item.error(what));
        }
    }
    Ok(ResourcesSpec::new(shapes, order))
}

/// Shapes that one mapping stands for.
struct Shapes {
    /// One per accelerator that would do.
    shapes: Vec<Shape>,
    /// They were given as a list, which is an order.
    as_listed: bool,
}

/// Reads a mapping over the values of an outer one.
fn read_shapes(fields: &Fields<'_>, outer: &Shape) -> Result<Shapes> {
    let mut shape = outer.clone();
    read_place(fields, &mut shape)?;
    read_machine(fields, &mut shape)?;
    read_policy(fields, &mut shape)?;
    fields.exclude("accelerators", "gpus")?;
    let Some(place) = fields.get("accelerators").or(fields.get("gpus")) else {
        return Ok(Shapes {
            shapes: vec![shape],
            as_listed: false,
        });
    };
    let kinds = accelerators(place)?;
    if kinds.len() > MAX_ALTERNATIVES {
        return Err(place.error(format!("more than {MAX_ALTERNATIVES} alternatives")));
    }
    let shapes = kinds
        .into_iter()
        .map(|kind| Shape {
            accelerators: Some(kind),
            ..shape.clone()
        })
        .collect();
    Ok(Shapes {
        shapes,
        as_listed: place.is_list(),
    })
}

/// Reads where to run.
fn read_place(fields: &Fields<'_>, shape: &mut Shape) -> Result<()> {
    for old in ["cloud", "region", "zone"] {
        fields.exclude("infra", old)?;
    }
    if let Some(infra) = fields.read("infra", |place| place.parsed(str::parse::<Infra>))? {
        shape.infra = infra;
    }
    if let Some(cloud) = fields.read("cloud", |place| place.parsed(canonical_cloud))?
        && shape.infra.cloud.as_ref() != Some(&cloud)
    {
        shape.infra = Infra {
            cloud: Some(cloud),
            ..Infra::default()
        };
    }
    if let Some(region) = fields.read("region", Place::filled_text)? {
        shape.infra.region = Some(region);
        shape.infra.zone = None;
    }
    if let Some(zone) = fields.read("zone", Place::filled_text)? {
        shape.infra.zone = Some(zone);
    }
    Ok(())
}

/// Reads what the machine must be.
fn read_machine(fields: &Fields<'_>, shape: &mut Shape) -> Result<()> {
    if let Some(place) = fields.get("ephemeral_storage") {
        return Err(place.error("it was removed; use `disk_size`"));
    }
    set(
        &mut shape.cpus,
        fields.read("cpus", |place| place.parsed(str::parse::<Amount>))?,
    );
    set(
        &mut shape.memory,
        fields.read("memory", |place| place.parsed(Amount::memory))?,
    );
    set(
        &mut shape.accelerator_args,
        fields.read("accelerator_args", Place::map)?,
    );
    set(
        &mut shape.instance_type,
        fields.read("instance_type", Place::filled_text)?,
    );
    set(&mut shape.use_spot, fields.read("use_spot", Place::truth)?);
    set(
        &mut shape.disk_size,
        fields.read("disk_size", |place| place.parsed(amount::disk_size))?,
    );
    set(
        &mut shape.disk_tier,
        fields.read("disk_tier", |place| place.word(&DISK_TIERS))?,
    );
    set(
        &mut shape.network_tier,
        fields.read("network_tier", |place| place.word(&NETWORK_TIERS))?,
    );
    set(
        &mut shape.local_disk,
        fields.read("local_disk", |place| place.parsed(local_disk))?,
    );
    set(&mut shape.image_id, fields.read("image_id", image_id)?);
    if let Some(ports) = fields.get("ports") {
        shape.ports.clear();
        for place in ports.items() {
            for range in place.parsed(amount::ports)? {
                if !shape.ports.contains(&range) {
                    shape.ports.push(range);
                }
            }
        }
    }
    Ok(())
}

/// Reads what is not about the machine.
fn read_policy(fields: &Fields<'_>, shape: &mut Shape) -> Result<()> {
    let recovery = if fields.get("job_recovery").is_some() {
        "job_recovery"
    } else {
        "spot_recovery"
    };
    set(
        &mut shape.job_recovery,
        fields.read(recovery, job_recovery)?,
    );
    set(&mut shape.autostop, fields.read("autostop", autostop)?);
    set(
        &mut shape.priority,
        fields.read("priority", |place| place.integer(-1000, 1000))?,
    );
    set(
        &mut shape.priority_class,
        fields.read("priority_class", Place::filled_text)?,
    );
    let cost = |place: &Place<'_>| match place.number()? {
        cost if cost > 0.0 => Ok(cost),
        _ => Err(place.error("it must be above 0")),
    };
    set(
        &mut shape.max_hourly_cost,
        fields.read("max_hourly_cost", cost)?,
    );
    if let Some(labels) = fields.read("labels", text_map)? {
        // Into this shape only: an entry of `any_of` never changes its siblings.
        shape.labels.extend(labels);
    }
    if let Some(place) = fields.get("volumes") {
        shape.volumes = place
            .list()?
            .iter()
            .map(Place::value)
            .collect::<Result<_>>()?;
    }
    shape.internal.extend(fields.internal()?);
    Ok(())
}

/// Replaces a value by one that is given.
fn set<T>(slot: &mut Option<T>, given: Option<T>) {
    if given.is_some() {
        *slot = given;
    }
}

/// Reads accelerators: one, a mapping or set of any, or a list in order.
fn accelerators(place: &Place<'_>) -> Result<Vec<Accelerator>> {
    let parsed = |place: &Place<'_>| place.parsed(str::parse::<Accelerator>);
    let mut kinds = Vec::new();
    if place.is_map() {
        for (key, place) in place.entries()? {
            let kind = if place.is_null() {
                key.text.parse()
            } else {
                Accelerator::new(&key.text, place.number()?)
            };
            kinds.push(kind.map_err(|what| place.error(what))?);
        }
    } else if place.is_list() {
        for item in place.items() {
            if item.is_map() {
                kinds.extend(accelerators(&item)?);
            } else {
                kinds.push(parsed(&item)?);
            }
        }
    } else {
        kinds.push(parsed(place)?);
    }
    if kinds.is_empty() {
        return Err(place.error("it names no accelerator"));
    }
    Ok(kinds)
}

/// Reads an image: text, or region → text.
fn image_id(place: &Place<'_>) -> Result<ImageId> {
    if place.is_map() {
        let images = text_map(place)?;
        if images.is_empty() {
            return Err(place.error("it names no image"));
        }
        return Ok(ImageId::PerRegion(images));
    }
    Ok(ImageId::One(place.filled_text()?))
}

/// Checks `nvme:1000+`, `ssd:500`, `nvme`, `1000+`.
pub(super) fn local_disk(text: &str) -> Result<String, String> {
    let wrong = || {
        format!(
            "`{}` is not a local disk such as `nvme:1000+`",
            crate::base::ids::clip(text)
        )
    };
    let lower = text.trim().to_ascii_lowercase();
    let (mode, size) = match lower.split_once(':') {
        Some((mode, size)) => (Some(mode), Some(size)),
        None if lower.starts_with(|c: char| c.is_ascii_digit()) => (None, Some(lower.as_str())),
        None => (Some(lower.as_str()), None),
    };
    if mode.is_some_and(|mode| !["nvme", "ssd"].contains(&mode)) {
        return Err(wrong());
    }
    if let Some(size) = size {
        amount::gigabytes(size.strip_suffix('+').unwrap_or(size)).map_err(|_| wrong())?;
    }
    Ok(lower)
}

/// Reads how managed jobs recover: a strategy, or a mapping.
fn job_recovery(place: &Place<'_>) -> Result<Value> {
    if !place.is_map() {
        return Ok(Value::String(place.filled_text()?));
    }
    let fields = place.fields(&[
        "strategy",
        "max_restarts_on_errors",
        "recover_on_exit_codes",
    ])?;
    fields.read("strategy", Place::filled_text)?;
    fields.read("max_restarts_on_errors", |place| {
        place.integer(0, i64::from(u32::MAX))
    })?;
    if let Some(codes) = fields.get("recover_on_exit_codes") {
        for place in codes.items() {
            place.integer(0, 255)?;
        }
    }
    place.value()
}

/// Reads when to stop: truth value, time, or mapping.
fn autostop(place: &Place<'_>) -> Result<AutostopSpec> {
    if !place.is_map() {
        let idle_minutes = match place.truth_if_any() {
            Some(false) => return Ok(AutostopSpec::OFF),
            Some(true) => 0,
            None => place.parsed(amount::minutes)?,
        };
        return Ok(AutostopSpec {
            idle_minutes,
            ..AutostopSpec::OFF
        });
    }
    let fields = place.fields(&["idle_minutes", "down", "wait_for", "hook", "hook_timeout"])?;
    let wait_for = fields.read("wait_for", |place| {
        place.word(&["jobs_and_ssh", "jobs", "none"])
    })?;
    Ok(AutostopSpec {
        idle_minutes: fields
            .read("idle_minutes", |place| place.parsed(amount::minutes))?
            .unwrap_or(DEFAULT_IDLE_MINUTES),
        down: fields.read("down", Place::truth)?.unwrap_or(false),
        wait_for: match wait_for.as_deref() {
            Some("jobs") => WaitFor::Jobs,
            Some("none") => WaitFor::None,
            Some(_) | None => WaitFor::JobsAndSsh,
        },
    })
}

/// Returns the hook in `autostop`, its old place.
pub(super) fn deprecated_hook(place: &Place<'_>) -> Result<Option<Hook>> {
    let Some(place) = place
        .fields(&FIELDS)?
        .get("autostop")
        .filter(|place| place.is_map())
        .cloned()
    else {
        return Ok(None);
    };
    let fields = place.fields(&["idle_minutes", "down", "wait_for", "hook", "hook_timeout"])?;
    let Some(run) = fields.read("hook", Place::filled_text)? else {
        return Ok(None);
    };
    let timeout = fields.read("hook_timeout", |place| {
        place.integer(1, i64::from(u32::MAX))
    })?;
    Ok(Some(Hook::before_stop(run, timeout)))
}
