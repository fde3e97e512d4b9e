//! The list that is part of this program: common machine types of AWS, with the prices that are known for sure.
//!
//! `aws.csv` says where its facts come from and of which date they are. It has no spot prices, and prices in three
//! regions only; what it does not know it leaves out, and a question about it is answered so.

use super::table::{Builder, Origin, Price, Row, Table};

/// The facts.
const AWS: &str = include_str!("aws.csv");
/// Their date.
pub(crate) const DATE: &str = "August 2025";

/// AWS's commercial regions. That they exist is known; what they sell, and for how much, only as far as `aws.csv` says it.
const AWS_REGIONS: [&str; 33] = [
    "af-south-1",
    "ap-east-1",
    "ap-east-2",
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-south-1",
    "ap-south-2",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-southeast-3",
    "ap-southeast-4",
    "ap-southeast-5",
    "ap-southeast-7",
    "ca-central-1",
    "ca-west-1",
    "eu-central-1",
    "eu-central-2",
    "eu-north-1",
    "eu-south-1",
    "eu-south-2",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "il-central-1",
    "me-central-1",
    "me-south-1",
    "mx-central-1",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
];

impl Table {
    /// Returns the built-in list of a cloud, if there is one.
    pub(crate) fn built_in(cloud: &str) -> Option<Self> {
        (cloud == "aws").then(aws)
    }
}

/// Reads the built-in list. That each line can be read is a test.
fn aws() -> Table {
    let mut builder = Builder::new("aws", Origin::BuiltIn);
    for line in AWS.lines().filter(|line| !line.starts_with('#')).skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        let [
            name,
            vcpus,
            memory,
            accelerator,
            count,
            device,
            arch,
            disk,
            price,
            regions,
        ] = cells.as_slice()
        else {
            continue;
        };
        let number = |text: &str| text.parse::<f64>().unwrap_or(0.0);
        let row = Row {
            name,
            vcpus: number(vcpus),
            memory_gb: number(memory),
            accelerator,
            count: number(count),
            device_gb: number(device),
            is_gpu: !accelerator.is_empty(),
            arch,
            disk_gb: number(disk),
            nvme: !disk.is_empty(),
            hourly: price.parse().ok().and_then(Price::of),
            ..Row::default()
        };
        for region in regions.split(' ') {
            // 262 types in a handful of regions: within the numbers of a table.
            if builder.add(&Row { region, ..row }).is_err() {
                break;
            }
        }
    }
    for region in AWS_REGIONS {
        builder.region_exists(region);
    }
    builder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_facts_is_one() {
        let table = aws();
        let lines = AWS.lines().filter(|line| !line.starts_with('#')).skip(1);
        let mut count = 0;
        for line in lines {
            count += 1;
            let cells: Vec<&str> = line.split(',').collect();
            assert_eq!(cells.len(), 10, "{line}");
            for at in [1, 2] {
                assert!(cells[at].parse::<f64>().expect(line) > 0.0, "{line}");
            }
            for at in [4, 5, 7, 8] {
                assert!(
                    cells[at].is_empty() || cells[at].parse::<f64>().expect(line) > 0.0,
                    "{line}"
                );
            }
            assert!(["x86_64", "arm64"].contains(&cells[6]), "{line}");
            // A price belongs to a region.
            assert_eq!(cells[8].is_empty(), cells[9].is_empty(), "{line}");
            for region in cells[9].split(' ').filter(|region| !region.is_empty()) {
                assert!(AWS_REGIONS.contains(&region), "{line}");
            }
        }
        assert_eq!(table.type_count(), count);
        assert_eq!(table.regions(), ["us-east-1", "us-east-2", "us-west-2"]);
        assert_eq!(table.unlisted.len(), AWS_REGIONS.len() - 3);
        assert!(AWS.contains(DATE));
        assert!(table.bytes() < 64 * 1024, "{}", table.bytes());
    }
}
