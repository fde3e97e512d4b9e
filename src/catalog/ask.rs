//! The one question to a price list: what do you have for this shape?

use super::names::{display_name, near};
use super::offer::Offer;
use super::query::{Facts, Miss, pick};
use super::supply::Supply;
use super::table::{Kind, Place, Price, Table};
use super::why::Why;
use crate::task::{Accelerator, Infra, Shape};

/// The most offers of one answer: enough to fail over to, in order of price.
pub(super) const MOST_OFFERS: usize = 256;

/// Families of AWS for tasks that ask for CPUs and memory only: not burstable, x86-64, current.
const AWS_GENERAL: [&str; 9] = [
    "m6i", "m6id", "m7i", "r6i", "r6id", "r7i", "c6i", "c6id", "c7i",
];

/// A row that fits: what it costs, and the numbers of its type and place, by which equal prices are ordered.
type Fit = (Price, u16, u16);

impl Table {
    /// Returns the cheapest offers for a shape (up to 256 of them), or why there is none.
    ///
    /// Zones that are known by an id only are one offer, that of their region; a zone that is asked for is then taken on trust.
    pub(crate) fn supply(&self, shape: &Shape) -> Supply {
        if shape
            .infra
            .cloud
            .as_ref()
            .is_some_and(|cloud| *cloud != self.cloud)
        {
            return Supply::default();
        }
        let here: Vec<bool> = self
            .places
            .iter()
            .map(|place| self.is_here(&shape.infra, *place))
            .collect();
        let spot = shape.use_spot.unwrap_or(false);
        let prices = if spot { &self.spot } else { &self.hourly };
        let most = shape
            .max_hourly_cost
            .map_or(Price::NONE, |most| Price::of(most).unwrap_or(Price::NONE));
        let mut fits = Cheapest::among(self.places.len());
        let mut miss = Miss::Place;
        let mut cheapest = Price::NONE;
        let is_here = |row: &usize| here[usize::from(self.place_of[*row])];
        for (number, kind) in self.kinds.iter().enumerate() {
            if let Err(other) = self.fits(shape, kind) {
                // Whether it is sold here matters only to the reason, and then the first place tells.
                if other > miss && self.rows(number).any(|row| is_here(&row)) {
                    miss = other;
                }
                continue;
            }
            let kind = u16::try_from(number).unwrap_or(u16::MAX);
            for row in self.rows(number).filter(is_here) {
                let price = prices[row];
                if price == Price::NONE {
                    miss = miss.max(if spot { Miss::Spot } else { Miss::NoPrice });
                } else if price > most {
                    miss = Miss::Cost;
                    cheapest = cheapest.min(price);
                } else {
                    fits.see(self.places[usize::from(self.place_of[row])].seen_as, price);
                }
            }
            fits.end_kind(kind);
        }
        let fits = fits.finish();
        if fits.is_empty() {
            return Supply::lacking(self.lack(shape, miss, cheapest, &here));
        }
        Supply::of(
            fits.into_iter()
                .map(|fit| self.offer(shape, fit, spot))
                .collect(),
        )
    }

    /// Returns whether a machine type is what was asked for.
    fn fits(&self, shape: &Shape, kind: &Kind) -> Result<(), Miss> {
        if kind.name.is_empty() {
            // An accelerator without a machine cannot be launched.
            return Err(Miss::InstanceType);
        }
        let name = self.words.get(kind.name);
        let accelerator = self.words.get(kind.accelerator);
        let facts = Facts {
            name: Some(name),
            vcpus: kind.vcpus,
            memory_gb: kind.memory_gb,
            accelerator: (!kind.accelerator.is_empty()).then_some((accelerator, kind.count)),
            device_gb: kind.device_gb,
            disk: (kind.disk_gb, kind.nvme),
            is_general: kind.is_general,
        };
        pick(shape, &facts)
    }

    /// Returns whether a place is where the shape wants to be.
    fn is_here(&self, infra: &Infra, place: Place) -> bool {
        let region = self.words.get(place.region);
        if infra
            .region
            .as_ref()
            .is_some_and(|wanted| !wanted.eq_ignore_ascii_case(region))
        {
            return false;
        }
        let Some(wanted) = &infra.zone else {
            return true;
        };
        let seen = self.places[usize::from(place.seen_as)];
        if !seen.zone.is_empty() {
            return wanted.eq_ignore_ascii_case(self.words.get(seen.zone));
        }
        // `us-east-1a` is in `us-east-1`, and not in `us-east-10`.
        let rest = wanted.strip_prefix(region).unwrap_or_default();
        self.cloud != "aws" || rest.starts_with(|c: char| !c.is_ascii_digit())
    }

    /// Makes the offer of a row.
    fn offer(&self, shape: &Shape, (price, kind, place): Fit, spot: bool) -> Offer {
        let kind = &self.kinds[usize::from(kind)];
        let place = self.places[usize::from(place)];
        let text = |word| {
            Some(self.words.get(word))
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
        };
        Offer {
            cloud: self.cloud.clone(),
            display: display_name(&self.cloud),
            region: text(place.region),
            zone: text(place.zone).or_else(|| shape.infra.zone.clone()),
            instance_type: text(kind.name),
            vcpus: kind.vcpus,
            memory_gb: kind.memory_gb,
            accelerators: text(kind.accelerator).map(|name| Accelerator {
                name,
                count: kind.count,
            }),
            hourly: price.dollars().unwrap_or_default(),
            spot,
            arch: text(kind.arch),
        }
    }

    /// Says why there is nothing.
    fn lack(&self, shape: &Shape, miss: Miss, cheapest: Price, here: &[bool]) -> Why {
        match miss {
            Miss::Place => self.no_such_place(&shape.infra),
            Miss::InstanceType | Miss::Family if shape.instance_type.is_some() => {
                let wanted = shape.instance_type.as_deref().unwrap_or_default();
                self.no_such_type(wanted)
            }
            Miss::InstanceType | Miss::Family | Miss::Accelerators => match &shape.accelerators {
                Some(wanted) => self.no_such_accelerators(wanted, here),
                None => Why::Cpus { have: None },
            },
            Miss::Cpus => Why::Cpus { have: None },
            Miss::Memory => Why::Memory { have: None },
            Miss::LocalDisk => Why::LocalDisk,
            Miss::Spot => Why::Spot,
            Miss::NoPrice => Why::NoPrice,
            Miss::Cost => Why::Cost {
                cheapest: cheapest.dollars().unwrap_or_default(),
            },
        }
    }

    /// No place is where the shape wants to be.
    fn no_such_place(&self, infra: &Infra) -> Why {
        let regions = self.regions();
        let Some(wanted) = &infra.region else {
            let zone = infra.zone.as_deref().unwrap_or_default();
            return Why::Place {
                near: near(zone, regions.into_iter()),
            };
        };
        let unlisted: Vec<&str> = self
            .unlisted
            .iter()
            .map(|region| self.words.get(*region))
            .collect();
        if unlisted
            .iter()
            .any(|region| region.eq_ignore_ascii_case(wanted))
        {
            return Why::Unlisted {
                region: wanted.clone(),
            };
        }
        if regions
            .iter()
            .any(|region| region.eq_ignore_ascii_case(wanted))
        {
            return Why::Place { near: Vec::new() };
        }
        Why::Place {
            near: near(wanted, regions.into_iter().chain(unlisted)),
        }
    }

    /// No machine type of this name is there; it may have no price, or be elsewhere.
    fn no_such_type(&self, wanted: &str) -> Why {
        let names = || self.kinds.iter().map(|kind| self.words.get(kind.name));
        let elsewhere = names().any(|name| name == wanted);
        Why::InstanceType {
            near: if elsewhere {
                Vec::new()
            } else {
                near(wanted, names())
            },
        }
    }

    /// No machine type has these accelerators: others of a similar name and at least that number may do.
    fn no_such_accelerators(&self, wanted: &Accelerator, here: &[bool]) -> Why {
        let lower = wanted.name.to_ascii_lowercase();
        let mut others: Vec<(&str, f64)> = Vec::new();
        for (number, kind) in self.kinds.iter().enumerate() {
            let mut rows = self.rows(number);
            if !rows.any(|row| here[usize::from(self.place_of[row])]) {
                continue;
            }
            let name = self.words.get(kind.accelerator);
            let other = (name, kind.count);
            let alike = name.to_ascii_lowercase().contains(&lower) && kind.count >= wanted.count;
            if !name.is_empty() && alike && !others.contains(&other) {
                others.push(other);
            }
        }
        others.sort_by(|a, b| a.0.cmp(b.0).then_with(|| a.1.total_cmp(&b.1)));
        Why::Accelerators {
            near: others
                .into_iter()
                .take(4)
                .map(|(name, count)| format!("{name}:{count}"))
                .collect(),
        }
    }
}

/// Returns whether a machine type of a cloud is for tasks that ask for CPUs and memory only.
pub(super) fn is_general(cloud: &str, name: &str) -> bool {
    let family = name.split('.').next().unwrap_or_default();
    cloud != "aws" || AWS_GENERAL.contains(&family)
}

/// Collects the cheapest fits, each machine type and place once; no more are held than are needed.
struct Cheapest {
    /// The least price of the machine type that is being read, by place.
    least: Vec<Price>,
    /// The places where it is sold.
    places: Vec<u16>,
    /// The cheapest so far, in no order.
    kept: Vec<Fit>,
    /// What is not before this is not among the cheapest.
    limit: Fit,
}

impl Cheapest {
    /// Begins; so many places there are.
    fn among(places: usize) -> Self {
        Self {
            least: vec![Price::NONE; places],
            places: Vec::new(),
            kept: Vec::new(),
            limit: (Price::NONE, u16::MAX, u16::MAX),
        }
    }

    /// Takes a row of the machine type that is being read: several zones of a region may be one place.
    fn see(&mut self, place: u16, price: Price) {
        if price > self.limit.0 {
            return;
        }
        let least = &mut self.least[usize::from(place)];
        if *least == Price::NONE {
            self.places.push(place);
        }
        *least = price.min(*least);
    }

    /// Takes what was seen as the rows of this machine type.
    fn end_kind(&mut self, kind: u16) {
        for place in self.places.drain(..) {
            let price = std::mem::replace(&mut self.least[usize::from(place)], Price::NONE);
            let fit = (price, kind, place);
            if fit < self.limit {
                self.kept.push(fit);
            }
        }
        if self.kept.len() > 2 * MOST_OFFERS {
            let (_, limit, _) = self.kept.select_nth_unstable(MOST_OFFERS);
            self.limit = *limit;
            self.kept.truncate(MOST_OFFERS);
        }
    }

    /// Returns the cheapest in order.
    fn finish(mut self) -> Vec<Fit> {
        self.kept.sort_unstable();
        self.kept.truncate(MOST_OFFERS);
        self.kept
    }
}
