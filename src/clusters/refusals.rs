//! What a launch says that places refused.

use super::Cluster;
use super::provision::Refused;
use crate::base::ids::ClusterName;
use crate::base::{Error, Kind};
use crate::catalog::Offer;
use crate::clouds::{Category, CloudId};

/// The refusals of one launch, in order.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// Where, and what.
    all: Vec<(String, Refused)>,
}

impl Refusals {
    /// Adds one.
    pub(super) fn add(&mut self, place: String, refused: Refused) {
        self.all.push((place, refused));
    }

    /// Returns the last one: where and why.
    pub(super) fn last(&self) -> Option<(String, String)> {
        let (place, refused) = self.all.last()?;
        Some((place.clone(), refused.error.error.one_line()))
    }

    /// Makes the error of a launch: the real causes, one for each place.
    pub(super) fn into_error(self, name: &ClusterName) -> Error {
        let mut error = Error::new(
            Kind::ResourcesUnavailable,
            format!(
                "failed to provision cluster `{name}` (tried {} infra)",
                self.all.len()
            ),
        );
        let lines: Vec<String> = self
            .all
            .iter()
            .map(|(place, refused)| format!("{place}: {}", refused.error.error.one_line()))
            .collect();
        for line in &lines {
            error = error.caused_by(&Error::new(Kind::ResourcesUnavailable, line.clone()));
        }
        for hint in self.all.iter().flat_map(|(_, r)| r.error.error.hints()) {
            if !error.hints().contains(hint) {
                error = error.hint(hint.clone());
            }
        }
        let waits = self.all.iter().any(|(_, refused)| {
            let cause = refused.block.as_ref().map(|block| block.cause);
            cause.is_some_and(|cause| !cause.is_the_users())
        });
        let ended = self.all.iter().any(|(_, refused)| refused.block.is_none());
        let is_short = |refused: &Refused| {
            matches!(refused.error.category, Category::Capacity | Category::Quota)
        };
        if waits && !ended {
            error = error.hint(if self.all.iter().any(|(_, refused)| is_short(refused)) {
                "relax the task's resources, or try until there is room: sky launch --retry-until-up"
            } else {
                "try until there is an answer: sky launch --retry-until-up"
            });
        }
        if self
            .all
            .iter()
            .any(|(_, refused)| refused.error.category == Category::Auth)
        {
            error = error.hint("see what is missing: sky check -v");
        }
        error
            .attribute("failover_history", lines)
            .attribute("no_failover", ended || !waits)
    }
}

/// Whether the same launch may succeed later, without anybody changing anything.
pub(crate) fn may_change(error: &Error) -> bool {
    let attributes = error.attributes();
    error.kind() == Kind::ResourcesUnavailable
        && attributes.contains_key("failover_history")
        && attributes.get("no_failover") == Some(&false.into())
}

/// Names where a cluster's machines are: `AWS us-east-1 (us-east-1b)`, `Local`.
pub(super) fn place_of(cluster: &Cluster) -> String {
    place(cluster.cloud, &cluster.set.offer)
}

/// Names the place of an offer.
pub(super) fn place(cloud: CloudId, offer: &Offer) -> String {
    let mut text = cloud.display_name().to_owned();
    if let Some(region) = &offer.region {
        text = format!("{text} {region}");
    }
    if let Some(zone) = &offer.zone {
        text = format!("{text} ({zone})");
    }
    text
}
