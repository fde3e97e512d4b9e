//! One file per family of budgets.

mod aws;
mod commands;
mod hosts;
mod logs;
mod submits;
mod sync;

/// A measured figure beside its budget.
pub(crate) struct Line {
    what: String,
    figure: String,
    budget: &'static str,
    met: bool,
}

/// All that was measured.
#[derive(Default)]
pub(crate) struct Report {
    lines: Vec<Line>,
}

/// A family of budgets: its name and what measures it.
type Part = (&'static str, fn(&mut Report));

/// All families, in the order of the report.
pub(crate) const ALL: &[Part] = &[
    ("command", commands::latency),
    ("first", commands::first_command),
    ("idle", commands::idle_server),
    ("launch", commands::local_launch),
    ("submit", submits::durable),
    ("short", submits::short_request),
    ("pending", submits::pending),
    ("finished", submits::finished),
    ("followers", logs::followers),
    ("log", logs::finished_log),
    ("sync", sync::ten_thousand),
    ("hosts", hosts::fresh_host),
    ("aws", aws::fresh_machine),
];

impl Report {
    /// Adds a figure.
    pub(crate) fn add(&mut self, what: &str, figure: String, budget: &'static str, met: bool) {
        println!(
            "{what}: {figure} (budget {budget}) {}",
            if met { "ok" } else { "MISSED" }
        );
        self.lines.push(Line {
            what: what.to_owned(),
            figure,
            budget,
            met,
        });
    }

    /// Prints the table for `docs/performance.md`; returns whether all budgets are met.
    pub(crate) fn print(&self) -> bool {
        println!("\n| what | figure | budget | |\n| --- | --- | --- | --- |");
        for line in &self.lines {
            let met = if line.met { "met" } else { "missed" };
            println!(
                "| {} | {} | {} | {met} |",
                line.what, line.figure, line.budget
            );
        }
        self.lines.iter().all(|line| line.met)
    }
}

/// The value at a share of the sorted values.
pub(crate) fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index"
    )]
    let at = ((values.len() - 1) as f64 * share).round() as usize;
    values[at]
}
