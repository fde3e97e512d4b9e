//! Price lists: reading, checking, asking, listing.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::ask::MOST_OFFERS;
use super::query::tailor;
use super::*;
use crate::base::units::Dollars;
use crate::task::{Amount, Shape};

/// A list as SkyPilot publishes it for AWS, shortened.
const HOSTED: &str = r#"InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,Price,SpotPrice,Region,AvailabilityZone,Arch,LocalDiskType,NVMeSupported,LocalDiskSize,LocalDiskCount,MaximumEfaInterfaces
m6i.large,,,2.0,8.0,,0.096,0.0382,us-east-1,use1-az1,x86_64,,False,,,
m6i.large,,,2.0,8.0,,0.096,0.0371,us-east-1,use1-az2,x86_64,,False,,,
m6i.large,,,2.0,8.0,,0.107,0.0411,eu-west-1,euw1-az1,x86_64,,False,,,
p3.2xlarge,V100,1.0,8.0,61.0,"{'Gpus': [{'Name': 'V100', 'Manufacturer': 'NVIDIA', 'Count': 1, 'MemoryInfo': {'SizeInMiB': 16384}}], 'TotalGpuMemoryInMiB': 16384}",3.06,0.918,us-east-1,use1-az1,x86_64,,False,,,
p3.2xlarge,V100,1.0,8.0,61.0,"{'Gpus': [{'Name': 'V100', 'Manufacturer': 'NVIDIA', 'Count': 1, 'MemoryInfo': {'SizeInMiB': 16384}}], 'TotalGpuMemoryInMiB': 16384}",3.305,,eu-west-1,euw1-az1,x86_64,,False,,,
m6id.large,,,2.0,8.0,,0.11865,0.04,us-east-1,use1-az1,x86_64,ssd,True,118.0,1.0,
f1.2xlarge,Virtex,1.0,8.0,122.0,,1.65,,us-east-1,use1-az1,x86_64,ssd,True,470.0,1.0,
"#;

fn read(text: &str) -> crate::base::Result<Table> {
    Table::read("aws", text.as_bytes())
}

fn spot(instance: &str) -> Shape {
    Shape {
        instance_type: Some(instance.to_owned()),
        use_spot: Some(true),
        ..Shape::default()
    }
}

#[test]
fn a_hosted_list_is_read() {
    let table = read(HOSTED).expect("good");
    assert_eq!((table.len(), table.type_count()), (7, 4));
    assert_eq!(table.regions(), ["eu-west-1", "us-east-1"]);
    assert_eq!(table.origin(), Origin::File);
    let offers = table.supply(&spot("m6i.large")).offers;
    // Zones that are known by an id only are one offer: the cheapest.
    let places: Vec<_> = offers
        .iter()
        .map(|one| (one.region.as_deref(), one.zone.as_deref(), one.hourly))
        .collect();
    assert_eq!(
        places,
        [
            (Some("us-east-1"), None, Dollars(0.0371)),
            (Some("eu-west-1"), None, Dollars(0.0411))
        ]
    );
    let in_zone = Shape {
        infra: "aws/us-east-1/us-east-1b".parse().expect("good"),
        ..spot("m6i.large")
    };
    let offers = table.supply(&in_zone).offers;
    assert_eq!(offers.len(), 1);
    assert_eq!(offers[0].zone.as_deref(), Some("us-east-1b"));
    let other = Shape {
        infra: "gcp".parse().expect("good"),
        ..Shape::default()
    };
    assert_eq!(table.supply(&other), Supply::default());
}

#[test]
fn accelerators_are_listed_at_their_cheapest_or_by_region() {
    let table = read(HOSTED).expect("good");
    let named = |name: &str, all_regions: bool| {
        let filter = Filter {
            accelerator: Some(name.to_owned()),
            all_regions,
            ..Filter::default()
        };
        let listed = table.list(&filter);
        listed
            .into_iter()
            .map(|one| {
                (
                    one.region.unwrap_or_default(),
                    one.hourly,
                    one.spot,
                    one.device_gb,
                )
            })
            .collect::<Vec<_>>()
    };
    let here = (
        "us-east-1".to_owned(),
        Some(Dollars(3.06)),
        Some(Dollars(0.918)),
        Some(16.0),
    );
    let there = (
        "eu-west-1".to_owned(),
        Some(Dollars(3.305)),
        None,
        Some(16.0),
    );
    assert_eq!(named("v100", false), std::slice::from_ref(&here));
    assert_eq!(named("V100", true), [here, there]);
    assert_eq!(named("Virtex", false).len(), 1);
    assert!(
        !table.list(&Filter {
            accelerator: Some("Virtex".to_owned()),
            ..Filter::default()
        })[0]
            .is_gpu
    );
}

#[test]
fn wrong_lists_are_refused_with_the_line() {
    let header = "InstanceType,vCPUs,MemoryGiB,Price,Region,AcceleratorName,AcceleratorCount\n";
    let says = |rows: &str| {
        let error = read(&format!("{header}{rows}")).expect_err(rows);
        format!("{}; {}", error.message(), error.hints().join("; "))
    };
    insta::assert_snapshot!(says("a,2,8,x,r,,\n"), @r#"1 line of the list cannot be used; line 2: column `Price`: `x` is not a number from 0"#);
    insta::assert_snapshot!(says("a,2,8,0.1,r,,\n,2,8,0.1,r,,\na,-2,8,0.1,r,,\na,2,8,0.1,,,\na,2,8\n"), @r#"4 lines of the list cannot be used; line 3: it names neither a machine type nor an accelerator; line 4: column `vCPUs`: `-2` is not a number from 0; line 5: column `Region` is empty; line 6: it has 3 values, the header has 7"#);
    insta::assert_snapshot!(says("a,2,8,1e9,r,,\na,2,8,99999,r,,\na,2,8,1,r,T4,\n"), @r#"3 lines of the list cannot be used; line 2: column `Price`: `1e9` is not a number from 0; line 3: column `Price`: `99999` is no price of an hour; line 4: column `AcceleratorCount` is empty, but there is an accelerator"#);
    insta::assert_snapshot!(says(&"a,2,8,?,r,,\n".repeat(1000)), @r#"1000 lines of the list cannot be used; line 2: column `Price`: `?` is not a number from 0; line 3: column `Price`: `?` is not a number from 0; line 4: column `Price`: `?` is not a number from 0; line 5: column `Price`: `?` is not a number from 0; line 6: column `Price`: `?` is not a number from 0"#);
    let error = read("<!doctype html>\n<title>Not found").expect_err("a page");
    insta::assert_snapshot!(format!("{}; {}", error.message(), error.hints().join("; ")), @r#"the list lacks the columns InstanceType, vCPUs, MemoryGiB, Price, Region; its first line is `<!doctype html>`"#);
    let bytes = [header.as_bytes(), b"\xff\xfe,2,8,1,r,,\n"].concat();
    let error = Table::read("aws", bytes.as_slice()).expect_err("no UTF-8");
    assert_eq!(error.hints(), ["line 2: it is not UTF-8"]);
    // Empty cells are what is not known.
    assert_eq!(
        read(&format!("{header}a,,,,r,,\n,,,2.4,r,tpu-v2-8,1\n"))
            .expect("good")
            .len(),
        2
    );
    assert_eq!(read(header).expect("good").len(), 0);
}

#[test]
fn of_thousands_of_rows_the_cheapest_answer() {
    let mut text = "InstanceType,vCPUs,MemoryGiB,Price,Region,AvailabilityZone\n".to_owned();
    let mut dice = 1_u32;
    let mut best = std::collections::BTreeMap::new();
    for kind in 0..40 {
        for region in 0..30 {
            for zone in 1..4 {
                dice = dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                // Few prices, so that many are the same.
                let cents = 1 + (dice >> 16) % 100;
                let (name, place) = (format!("m6i.{kind:02}"), format!("reg-{region:02}"));
                writeln!(
                    text,
                    "{name},8,32,{},{place},r{region}-az{zone}",
                    f64::from(cents) / 100.0
                )
                .expect("written");
                let known = best.entry((name, place)).or_insert(cents);
                *known = cents.min(*known);
            }
        }
    }
    let mut model: Vec<_> = best.into_iter().map(|(key, cents)| (cents, key)).collect();
    model.sort();
    model.truncate(MOST_OFFERS);
    let offers = read(&text).expect("good").supply(&Shape::default()).offers;
    let found = offers.into_iter().map(|offer| {
        let name = |text: Option<String>| text.unwrap_or_default();
        let key = (name(offer.instance_type), name(offer.region));
        (offer.hourly, key)
    });
    let wanted = model
        .into_iter()
        .map(|(cents, key)| (Dollars(f64::from(cents) / 100.0), key));
    assert!(found.eq(wanted));
}

/// Rows of a made-up list.
fn rows() -> impl Strategy<Value = Vec<String>> {
    let row = (
        0_u32..12,
        0_usize..4,
        prop::option::of(1_u32..2000),
        prop::option::of(1_u32..2000),
    )
        .prop_map(|(kind, region, price, spot)| {
            let region = ["us-east-1", "us-west-2", "eu-west-1", "us-east-10"][region];
            let (family, size) = (["m6i", "r6i", "c7i", "t3"][kind as usize % 4], kind / 4);
            let (vcpus, ratio) = (2 << size, [4, 8, 2, 4][kind as usize % 4]);
            let cents = |price: Option<u32>| {
                price
                    .map(|n| format!("{}", f64::from(n) / 1000.0))
                    .unwrap_or_default()
            };
            format!(
                "{family}.{size},{vcpus},{},{},{},{region}\n",
                vcpus * ratio,
                cents(price),
                cents(spot)
            )
        });
    prop::collection::vec(row, 0..80)
}

/// The list of these rows.
fn table_of(rows: &[String]) -> Table {
    let mut text = "InstanceType,vCPUs,MemoryGiB,Price,SpotPrice,Region\n".to_owned();
    for row in rows {
        write!(text, "{row}").expect("written");
    }
    read(&text).expect("good")
}

fn wish() -> impl Strategy<Value = Shape> {
    let place = prop::option::of(prop::sample::select(vec![
        "aws/us-east-1",
        "*/eu-west-1",
        "aws/*/us-east-1a",
    ]));
    (
        prop::option::of((1_u32..9, any::<bool>())),
        prop::option::of(1_u32..9),
        any::<bool>(),
        place,
        prop::option::of(1_u32..2000),
    )
        .prop_map(|(cpus, ratio, spot, place, cost)| Shape {
            infra: place
                .map(|place| place.parse().expect("good"))
                .unwrap_or_default(),
            cpus: cpus.map(|(value, at_least)| Amount {
                value: f64::from(value),
                at_least,
                per_cpu: false,
            }),
            memory: ratio.map(|ratio| Amount::per_cpu(f64::from(ratio))),
            use_spot: spot.then_some(true),
            max_hourly_cost: cost.map(|n| f64::from(n) / 1000.0),
            ..Shape::default()
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// The columns answer what a look at each row answers.
    #[test]
    fn a_list_answers_as_its_rows_do(rows in rows(), wish in wish()) {
        let table = table_of(&rows);
        let supply = table.supply(&wish);
        prop_assert_eq!(supply.offers.is_empty(), supply.lack.is_some());
        let cheapest = supply.offers.first().map(|offer| offer.hourly);
        let mut least: Option<f64> = None;
        for row in &rows {
            let one = table_of(std::slice::from_ref(row));
            for offer in one.supply(&wish).offers {
                prop_assert!(tailor(&wish, &offer).is_ok(), "{:?}", offer);
                least = Some(least.map_or(offer.hourly.0, |known| known.min(offer.hourly.0)));
                let is_same = |other: &&Offer| (&other.instance_type, &other.region) == (&offer.instance_type, &offer.region);
                let known = supply.offers.iter().find(is_same);
                prop_assert!(known.is_some_and(|known| known.hourly <= offer.hourly));
            }
        }
        prop_assert_eq!(cheapest.map(|dollars| dollars.0), least);
        prop_assert!(supply.offers.is_sorted_by(|a, b| a.hourly <= b.hourly));
    }

    #[test]
    fn the_order_of_rows_does_not_matter(
        (rows, shuffled) in rows().prop_flat_map(|rows| (Just(rows.clone()), Just(rows).prop_shuffle())), wish in wish(),
    ) {
        let (one, other) = (table_of(&rows), table_of(&shuffled));
        prop_assert_eq!(one.supply(&wish), other.supply(&wish));
        prop_assert_eq!(one.list(&Filter::default()), other.list(&Filter::default()));
    }
}
