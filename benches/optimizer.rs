//! The optimiser on a price list as large as AWS's: `cargo bench --bench optimizer`.
//!
//! The modules under measurement are part of this program, since they are private to `sky`. It prints rows for
//! `docs/performance.md`.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "a measuring program: it reads clocks and prints"
)]

#[expect(unused, reason = "only what is measured is used")]
#[path = "../src/api/mod.rs"]
mod api;
#[expect(unused, reason = "only what is measured is used")]
#[path = "../src/base/mod.rs"]
mod base;
#[expect(unused, reason = "only what is measured is used")]
#[path = "../src/catalog/mod.rs"]
mod catalog;
#[expect(unused, reason = "only what is measured is used")]
#[path = "../src/optimizer/mod.rs"]
mod optimizer;
#[expect(unused, reason = "only what is measured is used")]
#[path = "../src/task/mod.rs"]
mod task;

use std::fmt::Write as _;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

use catalog::Table;
use optimizer::{Market, Standing};

/// How often each wish is optimised.
const RUNS: usize = 1000;

/// What is wished for.
const WISHES: [(&str, &str); 7] = [
    ("nothing in particular", "run: x"),
    (
        "`cpus: 2+, memory: 2x`, every region",
        "resources: {cpus: 2+, memory: 2x}",
    ),
    (
        "the same at spot",
        "resources: {cpus: 2+, memory: 2x, use_spot: true}",
    ),
    ("`H100:8`", "resources: {accelerators: 'H100:8'}"),
    (
        "any of 8 accelerators, on demand or spot",
        "resources: {any_of: [{accelerators: {G0: 1, G1: 1, G2: 1, G3: 1, G4: 1, G5: 1, G6: 1, H100: 8}}, {use_spot: true, accelerators: {G0: 1, G1: 1, G2: 1, G3: 1, G4: 1, G5: 1, G6: 1, H100: 8}}]}",
    ),
    (
        "16 alternatives, every region",
        "resources: {any_of: [{cpus: 2+, memory: 1x}, {cpus: 3+, memory: 2x}, {cpus: 4+, memory: 3x}, {cpus: 5+, memory: 1x}, {cpus: 6+, memory: 2x}, {cpus: 7+, memory: 3x}, {cpus: 8+, memory: 1x}, {cpus: 9+, memory: 2x}, {cpus: 10+, memory: 3x}, {cpus: 11+, memory: 1x}, {cpus: 12+, memory: 2x}, {cpus: 13+, memory: 3x}, {cpus: 14+, memory: 1x}, {cpus: 15+, memory: 2x}, {cpus: 16+, memory: 3x}, {cpus: 17+, memory: 1x}]}",
    ),
    ("what nobody has", "resources: {accelerators: 'H1000:3'}"),
];

/// A list with the size and the shape of AWS's: 900 machine types, 23 regions of 3 zones.
fn list() -> String {
    let mut text =
        "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,Price,SpotPrice,Region,AvailabilityZone,Arch\n"
            .to_owned();
    for kind in 0..900_u32 {
        let family = ["m6i", "r6i", "c7i", "m5", "t3", "x9", "c5", "r5", "g9"][kind as usize % 9];
        let vcpus = 2_u32 << (kind / 9 % 6);
        let accelerator = match kind % 9 {
            8 if kind > 700 => "H100,8",
            8 => ["G0,1", "G1,1", "G2,1", "G3,1", "G4,1", "G5,1", "G6,1"][kind as usize / 9 % 7],
            _ => ",",
        };
        let gpu = if accelerator == "," {
            ""
        } else {
            "\"{'Gpus': [{'MemoryInfo': {'SizeInMiB': 81920}}]}\""
        };
        for region in 0..23_u32 {
            for zone in 0..3_u32 {
                let price = f64::from(vcpus) * (0.05 + f64::from(kind * 7 % 31 + region) / 1000.0);
                let spot = price * (0.3 + f64::from(zone) / 20.0);
                writeln!(
                    text,
                    "{family}.{kind},{accelerator},{vcpus},{},{gpu},{price:.4},{spot:.4},region-{region},reg{region}-az{zone},x86_64",
                    vcpus * 4
                )
                .unwrap();
            }
        }
    }
    text
}

fn main() -> ExitCode {
    let text = list();
    let start = Instant::now();
    let table = Table::read("aws", text.as_bytes()).unwrap();
    let read_ms = start.elapsed().as_secs_f64() * 1e3;
    println!("| what | figure | budget |\n| --- | --- | --- |");
    println!(
        "| price list of {} rows ({} MB): read and checked | {read_ms:.0} ms | |",
        table.len(),
        text.len() >> 20
    );
    println!(
        "| … memory | {:.2} MB | |",
        table.bytes() as f64 / f64::from(1 << 20)
    );
    let mut all_met = true;
    for (what, yaml) in WISHES {
        let dag = task::parse(yaml, "bench").unwrap();
        let task = dag.only_task().unwrap();
        let mut times: Vec<f64> = (0..RUNS)
            .map(|_| {
                let start = Instant::now();
                let wishes = task.resources.alternatives.iter();
                let market = Market {
                    cloud: "aws".to_owned(),
                    display: "AWS".to_owned(),
                    state: Standing::Open(wishes.map(|wish| table.supply(wish)).collect()),
                };
                black_box(optimizer::plan(task, vec![market], &[])).ok();
                start.elapsed().as_secs_f64() * 1e3
            })
            .collect();
        times.sort_by(f64::total_cmp);
        let (median, p99) = (times[RUNS / 2], times[RUNS * 99 / 100]);
        let is_met = p99 < 5.0;
        all_met &= is_met;
        let met = if is_met { "met" } else { "missed" };
        println!(
            "| one optimisation: {what}, p99 (median) | {p99:.2} ms ({median:.2}) | < 5 ms, {met} |"
        );
    }
    if all_met {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
