//! Reading a price list as a whole: accelerators for `sky gpus list`, machine types for `sky catalog show`.

use std::collections::HashMap;

use super::table::{Kind, Price, Table};
use crate::base::units::Dollars;

/// What to list.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    /// The accelerator's name contains this, in any case.
    pub(crate) accelerator: Option<String>,
    /// The machine type's name contains this, in any case.
    pub(crate) instance_type: Option<String>,
    /// The region's name contains this, in any case.
    pub(crate) region: Option<String>,
    /// Exactly so many accelerators.
    pub(crate) quantity: Option<f64>,
    /// Each region, not only the cheapest.
    pub(crate) all_regions: bool,
}

/// A machine type, at its cheapest (or in one region).
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Listing {
    /// Machine type; none for an accelerator that is sold apart.
    pub(crate) instance_type: Option<String>,
    /// Accelerators: name and number.
    pub(crate) accelerator: Option<(String, f64)>,
    /// Whether the accelerators are GPUs or the like.
    pub(crate) is_gpu: bool,
    /// Virtual CPUs.
    pub(crate) vcpus: Option<f64>,
    /// Gigabytes of each accelerator.
    pub(crate) device_gb: Option<f64>,
    /// Gigabytes.
    pub(crate) memory_gb: Option<f64>,
    /// `x86_64`, `arm64`.
    pub(crate) arch: Option<String>,
    /// Price on demand.
    pub(crate) hourly: Option<Dollars>,
    /// Price of spot.
    pub(crate) spot: Option<Dollars>,
    /// Where this price holds.
    pub(crate) region: Option<String>,
}

impl Table {
    /// Lists machine types by accelerator, number and name.
    pub(crate) fn list(&self, filter: &Filter) -> Vec<Listing> {
        let kinds: Vec<bool> = self
            .kinds
            .iter()
            .map(|kind| self.is_listed(filter, kind))
            .collect();
        let region = filter.region.as_deref().map(str::to_ascii_lowercase);
        let places: Vec<bool> = self
            .places
            .iter()
            .map(|place| contains(self.words.get(place.region), region.as_deref()))
            .collect();
        // The cheapest row of each type, or of each type and region.
        let mut best: HashMap<(usize, Option<super::words::Word>), (Price, Price, u16)> =
            HashMap::new();
        for (kind, _) in kinds
            .iter()
            .enumerate()
            .filter(|(_, is_listed)| **is_listed)
        {
            for row in self.rows(kind) {
                let place = self.place_of[row];
                if !places[usize::from(place)] {
                    continue;
                }
                let region = self.places[usize::from(place)].region;
                let key = (kind, filter.all_regions.then_some(region));
                let found = (self.hourly[row], self.spot[row], place);
                let known = best.entry(key).or_insert(found);
                *known = found.min(*known);
            }
        }
        let mut sorted: Vec<_> = best
            .into_iter()
            .map(|((kind, _), found)| (kind, found))
            .collect();
        sorted.sort_by(|(a, found_a), (b, found_b)| {
            let key = |kind: usize| {
                let kind = &self.kinds[kind];
                (self.words.get(kind.accelerator), kind.count)
            };
            let ((name_a, count_a), (name_b, count_b)) = (key(*a), key(*b));
            let kind = name_a.cmp(name_b).then_with(|| count_a.total_cmp(&count_b));
            kind.then_with(|| (a, found_a).cmp(&(b, found_b)))
        });
        sorted
            .into_iter()
            .map(|(kind, found)| self.listing(kind, found))
            .collect()
    }

    /// Returns whether a machine type is listed.
    fn is_listed(&self, filter: &Filter, kind: &Kind) -> bool {
        let accelerator = self.words.get(kind.accelerator);
        let lower = |text: &Option<String>| text.as_deref().map(str::to_ascii_lowercase);
        contains(accelerator, lower(&filter.accelerator).as_deref())
            && contains(
                self.words.get(kind.name),
                lower(&filter.instance_type).as_deref(),
            )
            && filter
                .quantity
                .is_none_or(|wanted| (kind.count - wanted).abs() < 1e-3)
    }

    /// Makes a listing of a row.
    fn listing(&self, kind: usize, (hourly, spot, place): (Price, Price, u16)) -> Listing {
        let kind = &self.kinds[kind];
        let text = |word| {
            Some(self.words.get(word))
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
        };
        let known = |number: f64| (number > 0.0).then_some(number);
        Listing {
            instance_type: text(kind.name),
            accelerator: text(kind.accelerator).map(|name| (name, kind.count)),
            is_gpu: kind.is_gpu,
            vcpus: known(kind.vcpus),
            device_gb: known(kind.device_gb),
            memory_gb: known(kind.memory_gb),
            arch: text(kind.arch),
            hourly: hourly.dollars(),
            spot: spot.dollars(),
            region: text(self.places[usize::from(place)].region),
        }
    }
}

/// Returns whether a name contains a part, given in lower case.
fn contains(name: &str, part: Option<&str>) -> bool {
    part.is_none_or(|part| name.to_ascii_lowercase().contains(part))
}
