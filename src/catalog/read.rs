//! Reading a list: the layout of `SkyPilot`'s hosted catalogues, checked row by row.

use std::io::Read;

use super::table::{Builder, Origin, Price, Row, Table, TooMany};
use crate::base::ids::clip;
use crate::base::{Error, Kind, Result};

/// Columns without which a list is none.
const NEEDED: [&str; 5] = ["InstanceType", "vCPUs", "MemoryGiB", "Price", "Region"];
/// The most mistakes that are told.
const TOLD: usize = 5;
/// The most rows of a list: twenty times what the largest cloud has.
const MOST_ROWS: u64 = 2_000_000;

impl Table {
    /// Reads a list as comma-separated values; the error names each line that is wrong (the first few of them).
    ///
    /// Needed are the columns `InstanceType`, `vCPUs`, `MemoryGiB`, `Price`, `Region`; known are `AcceleratorName`,
    /// `AcceleratorCount`, `GpuInfo`, `SpotPrice`, `AvailabilityZone`, `Arch`, `LocalDiskType`, `NVMeSupported`,
    /// `LocalDiskSize`, `LocalDiskCount`; others are ignored. An empty price is one that is not known.
    pub(crate) fn read(cloud: &str, input: impl Read) -> Result<Self> {
        let mut reader = csv::ReaderBuilder::new().from_reader(input);
        let header = reader.headers().map_err(|e| broken(&e))?.clone();
        let columns = Columns::find(&header)?;
        let mut builder = Builder::new(cloud, Origin::File);
        let mut mistakes = Mistakes::default();
        let mut record = csv::StringRecord::new();
        loop {
            let line = reader.position().line();
            match reader.read_record(&mut record) {
                Ok(false) => break,
                Ok(true) => {}
                Err(e) if e.is_io_error() => return Err(broken(&e)),
                Err(e) => {
                    mistakes.add(line, &malformed(&e));
                    continue;
                }
            }
            let line = record.position().map_or(line, csv::Position::line);
            if record.position().is_some_and(|at| at.record() > MOST_ROWS) {
                return Err(Error::new(
                    Kind::TooLarge,
                    format!("the list has more than {MOST_ROWS} rows"),
                ));
            }
            match columns.row(&record) {
                Ok(row) => builder.add(&row).map_err(|TooMany(what)| {
                    Error::new(
                        Kind::TooLarge,
                        format!("the list has too many different {what}"),
                    )
                })?,
                Err(what) => mistakes.add(line, &what),
            }
        }
        mistakes.into_result()?;
        Ok(builder.finish())
    }
}

/// The input could not be read.
fn broken(error: &csv::Error) -> Error {
    Error::new(Kind::Invalid, "the list cannot be read").caused_by(error)
}

/// Says in words what is wrong with the form of a line.
fn malformed(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => {
            format!("it has {len} values, the header has {expected_len}")
        }
        csv::ErrorKind::Utf8 { .. } => "it is not UTF-8".to_owned(),
        _ => "it is malformed".to_owned(),
    }
}

/// Lines that are wrong.
#[derive(Default)]
struct Mistakes {
    /// The first of them, in words.
    told: Vec<String>,
    /// How many there are.
    count: usize,
}

impl Mistakes {
    /// Notes one.
    fn add(&mut self, line: u64, what: &str) {
        self.count += 1;
        if self.told.len() < TOLD {
            self.told.push(format!("line {line}: {what}"));
        }
    }

    /// Fails when there was one.
    fn into_result(self) -> Result<()> {
        if self.count == 0 {
            return Ok(());
        }
        let lines = if self.count == 1 {
            "1 line".to_owned()
        } else {
            format!("{} lines", self.count)
        };
        let mut error = Error::new(Kind::Invalid, format!("{lines} of the list cannot be used"));
        for what in self.told {
            error = error.hint(what);
        }
        Err(error)
    }
}

/// Where each column is.
struct Columns {
    instance: usize,
    accelerator: Option<usize>,
    count: Option<usize>,
    vcpus: usize,
    memory: usize,
    gpu_info: Option<usize>,
    price: usize,
    spot: Option<usize>,
    region: usize,
    zone: Option<usize>,
    arch: Option<usize>,
    disk_type: Option<usize>,
    nvme: Option<usize>,
    disk_size: Option<usize>,
    disk_count: Option<usize>,
}

impl Columns {
    /// Finds them in the header.
    fn find(header: &csv::StringRecord) -> Result<Self> {
        let find = |name: &str| {
            let is_it = |given: &str| given.trim().trim_start_matches('\u{feff}') == name;
            header.iter().position(is_it)
        };
        let missing: Vec<&str> = NEEDED
            .into_iter()
            .filter(|name| find(name).is_none())
            .collect();
        if !missing.is_empty() {
            let first: Vec<&str> = header.iter().take(8).collect();
            return Err(Error::new(
                Kind::Invalid,
                format!("the list lacks the columns {}", missing.join(", ")),
            )
            .hint(format!("its first line is `{}`", clip(&first.join(",")))));
        }
        let needed = |name: &str| find(name).unwrap_or(usize::MAX);
        Ok(Self {
            instance: needed("InstanceType"),
            accelerator: find("AcceleratorName"),
            count: find("AcceleratorCount"),
            vcpus: needed("vCPUs"),
            memory: needed("MemoryGiB"),
            gpu_info: find("GpuInfo"),
            price: needed("Price"),
            spot: find("SpotPrice"),
            region: needed("Region"),
            zone: find("AvailabilityZone"),
            arch: find("Arch"),
            disk_type: find("LocalDiskType"),
            nvme: find("NVMeSupported"),
            disk_size: find("LocalDiskSize"),
            disk_count: find("LocalDiskCount"),
        })
    }

    /// Reads a row; the error says in words what is wrong.
    fn row<'a>(&self, record: &'a csv::StringRecord) -> Result<Row<'a>, String> {
        let text = |column: Option<usize>| {
            let text = column
                .and_then(|at| record.get(at))
                .unwrap_or_default()
                .trim();
            if text.eq_ignore_ascii_case("nan") {
                ""
            } else {
                text
            }
        };
        let (name, accelerator) = (text(Some(self.instance)), text(self.accelerator));
        if name.is_empty() && accelerator.is_empty() {
            return Err("it names neither a machine type nor an accelerator".to_owned());
        }
        let region = text(Some(self.region));
        if region.is_empty() {
            return Err("column `Region` is empty".to_owned());
        }
        let gpu_info = text(self.gpu_info);
        let count = match number("AcceleratorCount", text(self.count))? {
            None if !accelerator.is_empty() => {
                return Err(
                    "column `AcceleratorCount` is empty, but there is an accelerator".to_owned(),
                );
            }
            count => count.unwrap_or(0.0),
        };
        let disk = number("LocalDiskSize", text(self.disk_size))?.unwrap_or(0.0)
            * number("LocalDiskCount", text(self.disk_count))?.unwrap_or(0.0);
        Ok(Row {
            name,
            vcpus: number("vCPUs", text(Some(self.vcpus)))?.unwrap_or(0.0),
            memory_gb: number("MemoryGiB", text(Some(self.memory)))?.unwrap_or(0.0),
            accelerator,
            count: if accelerator.is_empty() { 0.0 } else { count },
            device_gb: device_gb(gpu_info),
            is_gpu: !gpu_info.is_empty(),
            arch: text(self.arch),
            disk_gb: if text(self.disk_type) == "ssd" {
                disk
            } else {
                0.0
            },
            nvme: text(self.nvme).eq_ignore_ascii_case("true"),
            hourly: price("Price", text(Some(self.price)))?,
            spot: price("SpotPrice", text(self.spot))?,
            region,
            zone: text(self.zone),
        })
    }
}

/// Reads a number from 0; none for an empty cell.
fn number(column: &str, text: &str) -> Result<Option<f64>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    match text.parse::<f64>() {
        Ok(number) if (0.0..1e9).contains(&number) => Ok(Some(number)),
        Ok(_) | Err(_) => Err(format!(
            "column `{column}`: `{}` is not a number from 0",
            clip(text)
        )),
    }
}

/// Reads a price; none for an empty cell.
fn price(column: &str, text: &str) -> Result<Option<Price>, String> {
    let Some(dollars) = number(column, text)? else {
        return Ok(None);
    };
    match Price::of(dollars) {
        Some(price) => Ok(Some(price)),
        None => Err(format!(
            "column `{column}`: `{}` is no price of an hour",
            clip(text)
        )),
    }
}

/// Reads the memory of a device out of `{'Gpus': [{…, 'MemoryInfo': {'SizeInMiB': 16384}}], …}`; 0 where it is not said.
pub(super) fn device_gb(gpu_info: &str) -> f64 {
    let Some((_, rest)) = gpu_info.split_once("SizeInMiB") else {
        return 0.0;
    };
    let digits = rest.trim_start_matches(|c: char| !c.is_ascii_digit());
    let end = digits
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(digits.len());
    let mib: f64 = digits[..end].parse().unwrap_or(0.0);
    // To one decimal, as tables show it.
    (mib / 1024.0 * 10.0).round() / 10.0
}
