//! What a task asks of each node.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::accelerator::Accelerator;
use super::amount::{Amount, PortRange};
use super::infra::Infra;
use crate::api::bodies::WaitFor;

/// The most alternatives that `any_of`, `ordered` and accelerator lists may add up to.
pub(super) const MAX_ALTERNATIVES: usize = 100;

/// What will do, each alternative complete in itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ResourcesSpec {
    /// Never empty; [`Shape::default`] asks for nothing in particular.
    pub(crate) alternatives: Vec<Shape>,
    /// Which alternative is preferred.
    pub(crate) order: Order,
}

impl ResourcesSpec {
    /// Makes a specification; an empty list asks for nothing in particular, and one alternative has no order.
    pub(crate) fn new(mut alternatives: Vec<Shape>, order: Order) -> Self {
        if alternatives.is_empty() {
            alternatives.push(Shape::default());
        }
        let order = if alternatives.len() == 1 {
            Order::Cheapest
        } else {
            order
        };
        Self {
            alternatives,
            order,
        }
    }

    /// Returns the first alternative: what is the same in all of them can be read there.
    pub(crate) fn first(&self) -> &Shape {
        &self.alternatives[0]
    }
}

impl Default for ResourcesSpec {
    fn default() -> Self {
        Self::new(Vec::new(), Order::Cheapest)
    }
}

/// Which alternative is preferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    /// The one that costs least.
    Cheapest,
    /// The one that the user named first.
    AsListed,
}

/// The shape of a node; what is absent does not matter.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Shape {
    /// Where.
    pub(crate) infra: Infra,
    /// Virtual CPUs.
    pub(crate) cpus: Option<Amount>,
    /// Gigabytes.
    pub(crate) memory: Option<Amount>,
    /// Accelerators.
    pub(crate) accelerators: Option<Accelerator>,
    /// Settings of accelerators (TPU).
    pub(crate) accelerator_args: Option<Map<String, Value>>,
    /// The cloud's name for a machine type.
    pub(crate) instance_type: Option<String>,
    /// Spot or not.
    pub(crate) use_spot: Option<bool>,
    /// How managed jobs recover.
    pub(crate) job_recovery: Option<Value>,
    /// Gigabytes of disk.
    pub(crate) disk_size: Option<u64>,
    /// `low`, `medium`, `high`, `ultra`, `best`.
    pub(crate) disk_tier: Option<String>,
    /// `standard`, `best`.
    pub(crate) network_tier: Option<String>,
    /// `nvme:1000+`.
    pub(crate) local_disk: Option<String>,
    /// Ports to open.
    pub(crate) ports: Vec<PortRange>,
    /// Machine or container image.
    pub(crate) image_id: Option<ImageId>,
    /// Tags on what the cloud makes.
    pub(crate) labels: BTreeMap<String, String>,
    /// When to stop without work.
    pub(crate) autostop: Option<AutostopSpec>,
    /// −1000 to 1000.
    pub(crate) priority: Option<i64>,
    /// Name of a priority.
    pub(crate) priority_class: Option<String>,
    /// Dollars an hour that a node may cost.
    pub(crate) max_hourly_cost: Option<f64>,
    /// Extra disks.
    pub(crate) volumes: Vec<Value>,
    /// Keys that begin with `_`: notes between `SkyPilot`'s programs, kept and passed on.
    pub(crate) internal: Map<String, Value>,
}

/// An image: one everywhere, or one per region.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum ImageId {
    /// The same everywhere; `docker:…` is a container image.
    One(String),
    /// Region → image.
    PerRegion(BTreeMap<String, String>),
}

/// When a cluster stops by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AutostopSpec {
    /// Minutes without work; negative = never.
    pub(crate) idle_minutes: i64,
    /// Tear down instead of stop.
    pub(crate) down: bool,
    /// What keeps the timer from running.
    pub(crate) wait_for: WaitFor,
}

impl AutostopSpec {
    /// Never.
    pub(crate) const OFF: Self = Self {
        idle_minutes: -1,
        down: false,
        wait_for: WaitFor::JobsAndSsh,
    };
}
