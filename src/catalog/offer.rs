//! The offer.

use serde::{Deserialize, Serialize};

use crate::base::units::Dollars;
use crate::task::Accelerator;

/// A kind of node that a cloud can give, in one place at one price; also what a node of a cluster is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Offer {
    /// The cloud: `local`, `ssh`, `aws` …
    pub(crate) cloud: String,
    /// Its name in tables: `Local`, `SSH`, `AWS` …
    pub(crate) display: String,
    /// Region; pool, context or cluster elsewhere.
    pub(crate) region: Option<String>,
    /// Zone; partition elsewhere.
    pub(crate) zone: Option<String>,
    /// Machine type; none where a node is cut to the size that is asked for.
    pub(crate) instance_type: Option<String>,
    /// Virtual CPUs; of the whole machine where a node is cut out of it.
    pub(crate) vcpus: f64,
    /// Gigabytes.
    pub(crate) memory_gb: f64,
    /// Accelerators.
    pub(crate) accelerators: Option<Accelerator>,
    /// Price of a node.
    pub(crate) hourly: Dollars,
    /// May be taken back at any time.
    pub(crate) spot: bool,
    /// Architecture of its CPUs where it is known: `x86_64`, `arm64`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) arch: Option<String>,
}

impl Offer {
    /// Returns whether a node is cut to the size that is asked for.
    pub(crate) fn is_cut_to_size(&self) -> bool {
        self.instance_type.is_none()
    }

    /// Returns the place as tables show it: `AWS (us-east-1b)`, `Local`.
    pub(crate) fn infra_text(&self) -> String {
        match self.zone.as_ref().or(self.region.as_ref()) {
            Some(place) => format!("{} ({place})", self.display),
            None => self.display.clone(),
        }
    }
}
