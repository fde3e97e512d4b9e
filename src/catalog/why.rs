//! Why not: what was considered and ruled out, and by whom.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::block::Cause;
use crate::base::clock::Moment;
use crate::base::units::Dollars;

/// Why a cloud does not serve a wish.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub(crate) enum Why {
    /// It cannot be used: `sky check`.
    NotEnabled {
        /// Why not.
        reason: String,
        /// What it would have given.
        instead: Option<String>,
    },
    /// It is set up, but does not say what it has.
    NoAnswer {
        /// What it said instead.
        reason: String,
    },
    /// It has no such region or zone.
    Place {
        /// Names that look alike.
        near: Vec<String>,
    },
    /// Its price list says nothing about this region.
    Unlisted {
        /// The region.
        region: String,
    },
    /// It has no such machine type.
    InstanceType {
        /// Names that look alike.
        near: Vec<String>,
    },
    /// It has no such accelerators, or not in this number.
    Accelerators {
        /// What it has instead: `A100:8`.
        near: Vec<String>,
    },
    /// No machine has so many CPUs, or exactly so many.
    Cpus {
        /// What its machine has, where nodes are cut out of one.
        have: Option<f64>,
    },
    /// No machine has so much memory, or exactly so much.
    Memory {
        /// What its machine has, where nodes are cut out of one.
        have: Option<f64>,
    },
    /// No machine has such a disk inside.
    LocalDisk,
    /// It has none as spot, or none on demand.
    Spot,
    /// Its nodes share their machines, and files go where only a machine of one's own has room.
    Shared {
        /// The destination outside of the home.
        dest: String,
    },
    /// What fits has no known price.
    NoPrice,
    /// What fits costs more than permitted.
    Cost {
        /// The least it costs.
        cheapest: Dollars,
    },
    /// What fits was refused a short time ago.
    Blocked {
        /// It is tried again after this.
        until: Moment,
        /// What kind of refusal it was.
        cause: Cause,
        /// In the words of whoever refused.
        reason: String,
    },
}

impl Why {
    /// Returns who ruled it out.
    pub(crate) const fn by(&self) -> &'static str {
        match self {
            Self::NotEnabled { .. } => "sky check",
            Self::NoAnswer { .. }
            | Self::Place { .. }
            | Self::Unlisted { .. }
            | Self::InstanceType { .. }
            | Self::Accelerators { .. }
            | Self::Cpus { .. }
            | Self::Memory { .. }
            | Self::LocalDisk
            | Self::Spot
            | Self::NoPrice => "what is offered",
            Self::Shared { .. } => "file_mounts",
            Self::Cost { .. } => "max_hourly_cost",
            Self::Blocked { .. } => "an earlier refusal",
        }
    }
}

/// Something that was ruled out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RuledOut {
    /// What: a cloud, or a place in it, as tables show it.
    pub(crate) infra: String,
    /// For which wish.
    pub(crate) wish: String,
    /// Why.
    #[serde(flatten)]
    pub(crate) why: Why,
}

impl fmt::Display for RuledOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let infra = &self.infra;
        let or = |f: &mut fmt::Formatter<'_>, near: &[String]| match near {
            [] => Ok(()),
            near => write!(f, "; did you mean {}?", near.join(", ")),
        };
        match &self.why {
            Why::NotEnabled { reason, instead } => {
                write!(f, "{infra} is not enabled: {reason}")?;
                match instead {
                    Some(offer) => write!(f, " (it would give {offer})"),
                    None => Ok(()),
                }
            }
            Why::NoAnswer { reason } => write!(f, "{infra} cannot be used now: {reason}"),
            Why::Place { near } => {
                write!(f, "{infra} has no such place")?;
                or(f, near)
            }
            Why::Unlisted { region } => {
                write!(
                    f,
                    "the price list of {infra} has no prices for {region}; get them: sky catalog update"
                )
            }
            Why::InstanceType { near } => {
                write!(f, "{infra} has no such machine type there")?;
                or(f, near)
            }
            Why::Accelerators { near } if near.is_empty() => {
                write!(f, "{infra} has no such accelerators")
            }
            Why::Accelerators { near } => {
                write!(
                    f,
                    "{infra} has no such accelerators, but {}",
                    near.join(", ")
                )
            }
            Why::Cpus { have: Some(have) } => write!(f, "{infra} has {have} CPUs"),
            Why::Cpus { have: None } => write!(f, "{infra} has no machine type with these CPUs"),
            Why::Memory { have: Some(have) } => {
                write!(
                    f,
                    "{infra} has {} GB of memory",
                    (have * 10.0).round() / 10.0
                )
            }
            Why::Memory { have: None } => write!(f, "{infra} has no machine type with this memory"),
            Why::LocalDisk => write!(f, "{infra} has no machine type with such a disk inside"),
            Why::Shared { dest } => write!(
                f,
                "nodes of {infra} share their machine, so nothing can be mounted at {dest}; mount it at ~{dest}"
            ),
            Why::Spot => write!(f, "{infra} has no spot capacity of this kind"),
            Why::NoPrice => write!(
                f,
                "the price list of {infra} has no price of what fits; get them: sky catalog update"
            ),
            Why::Cost { cheapest } => {
                write!(f, "the cheapest fit of {infra} costs ${cheapest} an hour")
            }
            Why::Blocked {
                until,
                cause,
                reason,
            } => {
                let until = until.timestamp().strftime("%H:%M:%S UTC");
                write!(f, "{infra} is blocked by {cause} until {until}: {reason}")
            }
        }
    }
}
