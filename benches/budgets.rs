//! The budgets of the product, measured on the real binary: figure and budget beside each other.
//!
//! `cargo bench --bench budgets [-- NAME…]` runs all, or those whose name contains one of the words. It must be a
//! release build (`cargo bench` makes one), on a machine that does nothing else. A budget that is missed makes it fail.
//! `docs/performance.md` keeps the results.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    clippy::too_many_lines,
    reason = "a measuring program: it starts processes, reads clocks and prints"
)]

#[path = "../tests/it/world.rs"]
#[expect(
    dead_code,
    reason = "the world of the tests has more than is measured here"
)]
mod world;

#[path = "../tests/it/sshd.rs"]
#[expect(
    dead_code,
    reason = "the hosts of the tests do more than is measured here"
)]
mod sshd;

#[path = "../tests/it/testbed.rs"]
#[expect(
    dead_code,
    unused_imports,
    reason = "the machines of the tests fail in more ways than are measured here"
)]
mod testbed;

mod parts;

use std::process::ExitCode;

use parts::Report;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| !a.starts_with('-'))
        .collect();
    let wanted = |name: &str| words.is_empty() || words.iter().any(|w| name.contains(w.as_str()));
    let mut report = Report::default();
    for (name, part) in parts::ALL {
        if wanted(name) {
            part(&mut report);
        }
    }
    if report.print() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
