//! What was refused a short time ago, and is left out until then.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Offer;
use crate::base::clock::Moment;
use crate::task::{Accelerator, Infra};

/// What kind of refusal it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Cause {
    /// No machine of this kind was free.
    Capacity,
    /// The account may not have more.
    Quota,
    /// Credentials were missing or refused.
    Auth,
    /// Something that is set up does not fit.
    Configuration,
    /// It did not answer, or asked for fewer calls, however often it was tried.
    Outage,
}

impl Cause {
    /// Returns whether it ends when the user has changed something, and not by itself.
    pub(crate) const fn is_the_users(self) -> bool {
        match self {
            Self::Auth | Self::Configuration => true,
            Self::Capacity | Self::Quota | Self::Outage => false,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Capacity => "a capacity error",
            Self::Quota => "a quota",
            Self::Auth => "refused credentials",
            Self::Configuration => "a configuration that does not fit",
            Self::Outage => "an outage",
        })
    }
}

/// The size of a node that is cut out of a machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Size {
    /// CPUs.
    vcpus: f64,
    /// Gigabytes.
    memory_gb: f64,
    /// Accelerators.
    accelerators: Option<Accelerator>,
}

impl Size {
    /// Returns the size of a node that is cut to size; none where machine types are sold.
    pub(crate) fn of(offer: &Offer) -> Option<Self> {
        offer.is_cut_to_size().then(|| Self {
            vcpus: offer.vcpus,
            memory_gb: offer.memory_gb,
            accelerators: offer.accelerators.clone(),
        })
    }

    /// Returns whether a node asks for at least as much.
    fn fits_into(&self, offer: &Offer) -> bool {
        let accelerators = match (&self.accelerators, &offer.accelerators) {
            (None, _) => true,
            (Some(mine), Some(other)) => mine.is_same_kind(other) && other.count >= mine.count,
            (Some(_), None) => false,
        };
        accelerators && offer.vcpus >= self.vcpus && offer.memory_gb >= self.memory_gb
    }
}

/// A place (or a kind of machine in it) that is not to be tried for a while.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Block {
    /// Where; a part that is absent is any.
    pub(crate) infra: Infra,
    /// Which machine type; none = all.
    pub(crate) instance_type: Option<String>,
    /// Machine types of which quota, see [`quota_family`]; none = all.
    pub(crate) family: Option<String>,
    /// Spot or on demand only; none = both.
    pub(crate) spot: Option<bool>,
    /// Nodes of at least this size, where they are cut to size; none = all.
    pub(crate) size: Option<Size>,
    /// Sets of at least so many nodes.
    pub(crate) nodes: u32,
    /// Until when.
    pub(crate) until: Moment,
    /// What kind of refusal it was.
    pub(crate) cause: Cause,
    /// In the words of whoever refused.
    pub(crate) reason: String,
}

impl Block {
    /// Returns whether a set of so many nodes of an offer is not to be tried.
    ///
    /// An offer that leaves the zone open is not covered by a block of one zone: another may do.
    pub(crate) fn covers(&self, offer: &Offer, nodes: u32) -> bool {
        let is = |mine: Option<&String>, other: Option<&String>| mine.is_none() || mine == other;
        let infra = &self.infra;
        is(infra.cloud.as_ref(), Some(&offer.cloud))
            && is(infra.region.as_ref(), offer.region.as_ref())
            && is(infra.zone.as_ref(), offer.zone.as_ref())
            && is(self.instance_type.as_ref(), offer.instance_type.as_ref())
            && self.family.as_deref().is_none_or(|family| {
                let other = offer.instance_type.as_deref();
                other.is_some_and(|other| quota_family(&offer.cloud, other) == family)
            })
            && self.spot.is_none_or(|spot| spot == offer.spot)
            && self.size.as_ref().is_none_or(|size| size.fits_into(offer))
            && nodes >= self.nodes
    }

    /// Returns what it is about, as a key: a later refusal of the same replaces it.
    pub(crate) fn key(&self) -> String {
        let part = |text: Option<&str>| text.unwrap_or("*").to_owned();
        let size = self.size.as_ref().map(|size| {
            let accelerators = size.accelerators.as_ref().map(ToString::to_string);
            format!(
                "{}/{}/{}",
                size.vcpus,
                size.memory_gb,
                accelerators.unwrap_or_default()
            )
        });
        [
            self.infra.to_string(),
            part(self.instance_type.as_deref()),
            part(self.family.as_deref()),
            part(
                self.spot
                    .map(|spot| if spot { "spot" } else { "on demand" }),
            ),
            part(size.as_deref()),
            self.nodes.to_string(),
        ]
        .join("|")
    }
}

/// Returns the machine types that share a quota with one: AWS counts vCPUs of groups of families, others count types.
pub(crate) fn quota_family<'a>(cloud: &str, instance_type: &'a str) -> &'a str {
    if cloud != "aws" {
        return instance_type;
    }
    let letters = instance_type
        .find(|c: char| !c.is_ascii_alphabetic())
        .unwrap_or(instance_type.len());
    match &instance_type[..letters] {
        "a" | "c" | "d" | "h" | "i" | "im" | "is" | "m" | "r" | "t" | "z" => "standard",
        "g" | "gr" | "vt" => "g",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_that_share_a_quota_are_told() {
        assert_eq!(
            quota_family("aws", "m6i.large"),
            quota_family("aws", "c7gn.large")
        );
        assert_eq!(quota_family("aws", "g5.xlarge"), "g");
        assert_eq!(quota_family("aws", "p5.48xlarge"), "p");
        assert_eq!(quota_family("aws", "u-6tb1.56xlarge"), "u");
        assert_ne!(
            quota_family("x", "m6i.large"),
            quota_family("x", "m6i.xlarge")
        );
    }
}
