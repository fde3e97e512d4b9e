//! The price list of one cloud: tens of thousands of rows in about a megabyte.
//!
//! A row is twelve bytes in four columns: which machine type, which place, both prices. Types and places, of which there
//! are hundreds, are kept once each and sorted by name, so that comparing their numbers is comparing their names: what a
//! question answers does not depend on the order of the rows.

use super::ask::is_general;
use super::words::{Interner, Word, Words};
use crate::base::units::Dollars;

/// A price: hundred-thousandths of a dollar an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Price(u32);

impl Price {
    /// Not known, or not sold: greater than any price.
    pub(super) const NONE: Self = Self(u32::MAX);

    /// Rounds dollars; none when they are not a price (negative, or above 42,949 $ an hour).
    pub(super) fn of(dollars: f64) -> Option<Self> {
        let units = (dollars * 1e5).round();
        let fits = (0.0..f64::from(u32::MAX)).contains(&units);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked above"
        )]
        fits.then_some(Self(units as u32))
    }

    /// Returns dollars, where there is a price.
    pub(super) fn dollars(self) -> Option<Dollars> {
        (self != Self::NONE).then(|| Dollars(f64::from(self.0) / 1e5))
    }
}

/// A machine type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Kind {
    /// Its name; empty for an accelerator that is sold apart from machines.
    pub(super) name: Word,
    /// Virtual CPUs; 0 = not known.
    pub(super) vcpus: f64,
    /// Gigabytes; 0 = not known.
    pub(super) memory_gb: f64,
    /// Accelerator; empty = none.
    pub(super) accelerator: Word,
    /// How many.
    pub(super) count: f64,
    /// Gigabytes of each accelerator; 0 = not known.
    pub(super) device_gb: f64,
    /// Whether the list describes the accelerator as a GPU or the like (an FPGA is none).
    pub(super) is_gpu: bool,
    /// `x86_64`, `arm64`; empty = not known.
    pub(super) arch: Word,
    /// Gigabytes of disk inside the machine.
    pub(super) disk_gb: f64,
    /// Whether that disk is NVMe.
    pub(super) nvme: bool,
    /// Whether it is for tasks that ask for CPUs and memory only.
    pub(super) is_general: bool,
}

/// A place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Region.
    pub(super) region: Word,
    /// Zone; empty = the whole region.
    pub(super) zone: Word,
    /// The place whose name means the same to every account: itself, or its region where the zone is known by an id
    /// only (`use1-az1`), which each account of AWS knows by another name.
    pub(super) seen_as: u16,
}

/// Where a list comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Part of this program.
    BuiltIn,
    /// A file.
    File,
}

/// The price list of one cloud.
#[derive(Debug)]
pub(crate) struct Table {
    /// The cloud.
    pub(super) cloud: String,
    /// Where it comes from.
    pub(super) origin: Origin,
    /// All texts.
    pub(super) words: Words,
    /// Machine types, by name.
    pub(super) kinds: Vec<Kind>,
    /// Places, by name.
    pub(super) places: Vec<Place>,
    /// The first row of each machine type, and the end of the last: rows stand by type, then place.
    pub(super) first_row: Vec<u32>,
    /// Column: place.
    pub(super) place_of: Vec<u16>,
    /// Column: price on demand.
    pub(super) hourly: Vec<Price>,
    /// Column: price of spot.
    pub(super) spot: Vec<Price>,
    /// Regions that exist, but not in this list.
    pub(super) unlisted: Vec<Word>,
}

impl Table {
    /// Returns the cloud.
    pub(crate) fn cloud(&self) -> &str {
        &self.cloud
    }

    /// Returns where it comes from.
    pub(crate) fn origin(&self) -> Origin {
        self.origin
    }

    /// Returns the number of rows.
    pub(crate) fn len(&self) -> usize {
        self.place_of.len()
    }

    /// Returns the rows of a machine type.
    pub(super) fn rows(&self, kind: usize) -> std::ops::Range<usize> {
        let at = |kind: usize| self.first_row.get(kind).map_or(0, |row| *row as usize);
        at(kind)..at(kind + 1)
    }

    /// Returns the number of machine types.
    pub(crate) fn type_count(&self) -> usize {
        self.kinds
            .iter()
            .filter(|kind| !kind.name.is_empty())
            .count()
    }

    /// Returns the regions with a row, by name.
    pub(crate) fn regions(&self) -> Vec<&str> {
        let mut regions: Vec<&str> = self
            .places
            .iter()
            .map(|place| self.words.get(place.region))
            .collect();
        regions.retain(|region| !region.is_empty());
        regions.dedup();
        regions
    }

    /// Returns bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        self.words.bytes()
            + self.kinds.capacity() * size_of::<Kind>()
            + self.places.capacity() * size_of::<Place>()
            + self.first_row.capacity() * size_of::<u32>()
            + self.place_of.capacity() * size_of::<u16>()
            + (self.hourly.capacity() + self.spot.capacity()) * size_of::<Price>()
    }
}

/// A row before it is part of a table.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Row<'a> {
    /// Machine type.
    pub(super) name: &'a str,
    /// Virtual CPUs; 0 = not known.
    pub(super) vcpus: f64,
    /// Gigabytes; 0 = not known.
    pub(super) memory_gb: f64,
    /// Accelerator.
    pub(super) accelerator: &'a str,
    /// How many.
    pub(super) count: f64,
    /// Gigabytes of each.
    pub(super) device_gb: f64,
    /// See [`Kind::is_gpu`].
    pub(super) is_gpu: bool,
    /// Architecture.
    pub(super) arch: &'a str,
    /// Gigabytes.
    pub(super) disk_gb: f64,
    /// NVMe.
    pub(super) nvme: bool,
    /// On demand.
    pub(super) hourly: Option<Price>,
    /// Spot.
    pub(super) spot: Option<Price>,
    /// Region.
    pub(super) region: &'a str,
    /// Zone.
    pub(super) zone: &'a str,
}

/// What makes a machine type the same as another: its words, and the bits of its numbers.
type KindKey = ([Word; 3], [u64; 5], [bool; 2]);

/// Makes a table of rows.
pub(super) struct Builder {
    /// The texts.
    words: Interner,
    /// Known machine types.
    kind_ids: std::collections::HashMap<KindKey, u16>,
    /// Known places.
    place_ids: std::collections::HashMap<(Word, Word), u16>,
    /// Column: machine type.
    kind_of: Vec<u16>,
    /// The table, whose types, places and rows are not sorted yet.
    table: Table,
}

/// More different types or places than a table can number.
#[derive(Debug)]
pub(super) struct TooMany(pub(super) &'static str);

impl Builder {
    /// Begins.
    pub(super) fn new(cloud: &str, origin: Origin) -> Self {
        Self {
            words: Interner::new(),
            kind_ids: std::collections::HashMap::new(),
            place_ids: std::collections::HashMap::new(),
            kind_of: Vec::new(),
            table: Table {
                cloud: cloud.to_owned(),
                origin,
                words: Words::default(),
                kinds: Vec::new(),
                places: Vec::new(),
                first_row: Vec::new(),
                place_of: Vec::new(),
                hourly: Vec::new(),
                spot: Vec::new(),
                unlisted: Vec::new(),
            },
        }
    }

    /// Adds a row.
    pub(super) fn add(&mut self, row: &Row<'_>) -> Result<(), TooMany> {
        let kind = self.kind(row)?;
        let place = self.place(row.region, row.zone)?;
        self.kind_of.push(kind);
        self.table.place_of.push(place);
        self.table.hourly.push(row.hourly.unwrap_or(Price::NONE));
        self.table.spot.push(row.spot.unwrap_or(Price::NONE));
        Ok(())
    }

    /// Says that a region exists although no row may name it.
    pub(super) fn region_exists(&mut self, region: &str) {
        let word = self.words.word(region);
        self.table.unlisted.push(word);
    }

    /// Returns the number of a machine type.
    fn kind(&mut self, row: &Row<'_>) -> Result<u16, TooMany> {
        let kind = Kind {
            name: self.words.word(row.name),
            vcpus: row.vcpus,
            memory_gb: row.memory_gb,
            accelerator: self.words.word(row.accelerator),
            count: row.count,
            device_gb: row.device_gb,
            is_gpu: row.is_gpu,
            arch: self.words.word(row.arch),
            disk_gb: row.disk_gb,
            nvme: row.nvme,
            is_general: is_general(&self.table.cloud, row.name),
        };
        let numbers = [
            row.vcpus,
            row.memory_gb,
            row.count,
            row.device_gb,
            row.disk_gb,
        ];
        let key = (
            [kind.name, kind.accelerator, kind.arch],
            numbers.map(f64::to_bits),
            [kind.is_gpu, kind.nvme],
        );
        if let Some(id) = self.kind_ids.get(&key) {
            return Ok(*id);
        }
        let id = u16::try_from(self.table.kinds.len()).map_err(|_| TooMany("machine types"))?;
        self.kind_ids.insert(key, id);
        self.table.kinds.push(kind);
        Ok(id)
    }

    /// Returns the number of a place.
    fn place(&mut self, region: &str, zone: &str) -> Result<u16, TooMany> {
        let key = (self.words.word(region), self.words.word(zone));
        if let Some(id) = self.place_ids.get(&key) {
            return Ok(*id);
        }
        let whole = is_zone_id(zone)
            .then(|| self.place(region, ""))
            .transpose()?;
        let id = u16::try_from(self.table.places.len()).map_err(|_| TooMany("places"))?;
        self.place_ids.insert(key, id);
        self.table.places.push(Place {
            region: key.0,
            zone: key.1,
            seen_as: whole.unwrap_or(id),
        });
        Ok(id)
    }

    /// Ends: sorts types and places, and numbers the rows accordingly.
    pub(super) fn finish(self) -> Table {
        let Self {
            words,
            mut kind_of,
            mut table,
            ..
        } = self;
        let kinds = std::mem::take(&mut table.kinds);
        let facts = |kind: &Kind| {
            let numbers = [
                kind.vcpus,
                kind.memory_gb,
                kind.count,
                kind.device_gb,
                kind.disk_gb,
            ];
            (
                [
                    words.get(kind.name),
                    words.get(kind.accelerator),
                    words.get(kind.arch),
                ],
                numbers.map(f64::to_bits),
                [kind.is_gpu, kind.nvme],
            )
        };
        let (order, rank) = sorted(kinds.len(), |i| facts(&kinds[i]));
        table.kinds = order.iter().map(|i| kinds[*i]).collect();
        for kind in &mut kind_of {
            *kind = rank[usize::from(*kind)];
        }
        let places = std::mem::take(&mut table.places);
        let (order, rank) = sorted(places.len(), |i| {
            (words.get(places[i].region), words.get(places[i].zone))
        });
        table.places = order.iter().map(|i| places[*i]).collect();
        for place in &mut table.places {
            place.seen_as = rank[usize::from(place.seen_as)];
        }
        for place in &mut table.place_of {
            *place = rank[usize::from(*place)];
        }
        table
            .unlisted
            .retain(|region| places.iter().all(|place| place.region != *region));
        by_kind(&mut table, &kind_of);
        table.words = words.finish();
        table
    }
}

/// Puts the rows in the order of their types and places, so that a question reads those of the types that fit, and no others.
fn by_kind(table: &mut Table, kind_of: &[u16]) {
    let mut order: Vec<usize> = (0..kind_of.len()).collect();
    order.sort_by_key(|row| (kind_of[*row], table.place_of[*row]));
    let prices = |column: &[Price]| order.iter().map(|row| column[*row]).collect();
    table.hourly = prices(&table.hourly);
    table.spot = prices(&table.spot);
    table.place_of = order.iter().map(|row| table.place_of[*row]).collect();
    let mut first_row = vec![0_u32; table.kinds.len() + 1];
    for kind in kind_of {
        first_row[usize::from(*kind) + 1] += 1;
    }
    for kind in 1..first_row.len() {
        first_row[kind] += first_row[kind - 1];
    }
    table.first_row = first_row;
}

/// Sorts the numbers below `count` by a key; also returns which place each got.
fn sorted<K: Ord>(count: usize, key: impl Fn(usize) -> K) -> (Vec<usize>, Vec<u16>) {
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by_cached_key(|i| key(*i));
    let mut rank = vec![0; count];
    for (at, i) in order.iter().enumerate() {
        rank[*i] = u16::try_from(at).unwrap_or(u16::MAX);
    }
    (order, rank)
}

/// Returns whether a zone is given by its id (`use1-az1`) and not by a name.
fn is_zone_id(zone: &str) -> bool {
    zone.rsplit_once("-az")
        .is_some_and(|(_, number)| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}
