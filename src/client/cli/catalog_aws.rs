//! A price list out of AWS's own API: what each zone has, what it is, and what spot costs now.
//!
//! What machines cost on demand is taken from the list in use: the API of EC2 does not tell it. Where that list does not know a
//! price, there is none, and such a type is only offered as spot.

use std::collections::HashMap;
use std::path::Path;

use futures_util::StreamExt as _;

use crate::aws::{Aws, MachineType};
use crate::base::{Error, Result};
use crate::catalog::{Filter, Table as Prices};

/// Regions that are asked at a time.
const AT_ONCE: usize = 6;
/// The columns, as SkyPilot names them.
const COLUMNS: [&str; 15] = [
    "InstanceType",
    "AcceleratorName",
    "AcceleratorCount",
    "vCPUs",
    "MemoryGiB",
    "GpuInfo",
    "Price",
    "SpotPrice",
    "Region",
    "AvailabilityZone",
    "Arch",
    "LocalDiskType",
    "LocalDiskSize",
    "LocalDiskCount",
    "NVMeSupported",
];

/// What the list in use knows of a machine type.
#[derive(Default)]
struct Known {
    /// Dollars an hour on demand, by region.
    prices: HashMap<(String, String), f64>,
    /// What its accelerators are called: AWS says A100 of two kinds.
    accelerators: HashMap<String, (String, f64)>,
}

impl Known {
    /// Reads a list.
    fn of(list: Option<&Prices>) -> Self {
        let mut known = Self::default();
        let filter = Filter {
            all_regions: true,
            ..Filter::default()
        };
        for one in list.map(|list| list.list(&filter)).unwrap_or_default() {
            let Some(name) = one.instance_type else {
                continue;
            };
            if let Some(accelerator) = one.accelerator {
                known.accelerators.insert(name.clone(), accelerator);
            }
            if let (Some(price), Some(region)) = (one.hourly, one.region) {
                known.prices.insert((name, region), price.0);
            }
        }
        known
    }

    /// Returns the accelerators of a machine type, as users call them.
    fn accelerator(&self, machine: &MachineType) -> Option<(String, f64)> {
        if let Some(known) = self.accelerators.get(&machine.name) {
            return Some(known.clone());
        }
        let found = machine.accelerators()?;
        let family = machine.name.split('.').next().unwrap_or_default();
        let name = match (found.name.as_str(), family) {
            ("A100", "p4de") => "A100-80GB".to_owned(),
            ("V100", "p3dn") => "V100-32GB".to_owned(),
            (name, _) => name.replace(' ', "-"),
        };
        Some((name, f64::from(found.count)))
    }
}

/// Asks AWS and writes a list in SkyPilot's layout; `region` limits it to one.
pub(super) async fn fetch(
    home: &Path,
    region: Option<&str>,
    list: Option<&Prices>,
) -> Result<Vec<u8>> {
    let aws = Aws::new(home);
    let regions = match region {
        Some(region) => vec![region.to_owned()],
        None => aws.regions().await?,
    };
    let known = Known::of(list);
    let mut rows = futures_util::stream::iter(regions)
        .map(|region| of_region(&aws, &known, region))
        .buffer_unordered(AT_ONCE);
    let mut all: Vec<Vec<String>> = Vec::new();
    while let Some(found) = rows.next().await {
        all.extend(found?);
    }
    all.sort();
    let mut writer = csv::Writer::from_writer(Vec::new());
    let failed = |e: &dyn std::error::Error| Error::internal("write a price list", e);
    writer.write_record(COLUMNS).map_err(|e| failed(&e))?;
    for row in all {
        writer.write_record(row).map_err(|e| failed(&e))?;
    }
    writer.into_inner().map_err(|e| failed(&e))
}

/// Makes the rows of a region.
async fn of_region(aws: &Aws, known: &Known, region: String) -> Result<Vec<Vec<String>>> {
    let (types, offerings, spot) = tokio::try_join!(
        aws.machine_types(&region),
        aws.offerings(&region),
        aws.spot_prices(&region),
    )
    .map_err(|fault| Error::from(fault).context(format!("cannot ask AWS about {region}")))?;
    let types: HashMap<&str, &MachineType> =
        types.iter().map(|one| (one.name.as_str(), one)).collect();
    // The history holds changes: the last one counts.
    let mut now: HashMap<(&str, &str), (&str, f64)> = HashMap::new();
    for one in &spot {
        let key = (one.instance_type.as_str(), one.availability_zone.as_str());
        let found = (one.timestamp.as_str(), one.dollars);
        let latest = now.entry(key).or_insert(found);
        if latest.0 < found.0 {
            *latest = found;
        }
    }
    let mut rows = Vec::new();
    for offering in &offerings {
        let name = offering.instance_type.as_str();
        let Some(machine) = types.get(name) else {
            continue;
        };
        let spot = now.get(&(name, offering.location.as_str()));
        let spot = spot.map(|(_, price)| *price);
        let price = known.prices.get(&(name.to_owned(), region.clone()));
        rows.push(row(
            known,
            machine,
            price.copied(),
            spot,
            [&region, &offering.location],
        ));
    }
    Ok(rows)
}

/// Makes a row.
fn row(
    known: &Known,
    machine: &MachineType,
    price: Option<f64>,
    spot: Option<f64>,
    [region, zone]: [&String; 2],
) -> Vec<String> {
    let number = |value: Option<f64>| value.map(|n| n.to_string()).unwrap_or_default();
    let accelerator = known.accelerator(machine);
    let disks = machine.disks();
    let about = machine.accelerators().map(|found| {
        let (name, count, mib) = (&found.name, found.count, found.mib);
        format!("{{'Gpus': [{{'Name': '{name}', 'Count': {count}, 'MemoryInfo': {{'SizeInMiB': {mib}}}}}]}}")
    });
    vec![
        machine.name.clone(),
        accelerator
            .as_ref()
            .map(|a| a.0.clone())
            .unwrap_or_default(),
        number(accelerator.map(|a| a.1)),
        machine.vcpus().to_string(),
        machine.memory_gib().to_string(),
        about.unwrap_or_default(),
        number(price),
        number(spot),
        region.clone(),
        zone.clone(),
        machine.arch().to_owned(),
        disks.as_ref().map(|d| d.kind.clone()).unwrap_or_default(),
        number(disks.as_ref().map(|d| d.gb)),
        number(disks.as_ref().map(|d| f64::from(d.count))),
        disks.map(|d| d.nvme.to_string()).unwrap_or_default(),
    ]
}
