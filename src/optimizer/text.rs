//! Plans and nodes as people see them.

use unicode_width::UnicodeWidthStr;

use crate::catalog::{Offer, RuledOut};
use crate::task::Shape;

use super::plan::{Candidate, Plan};

/// Columns of the table.
const COLUMNS: [&str; 7] = [
    "INFRA", "INSTANCE", "vCPUs", "Mem(GB)", "GPUS", "COST ($)", "CHOSEN",
];
/// The longest instance type in the short form.
const INSTANCE_WIDTH: usize = 15;

/// Returns the table of what was considered, without a line end at its end.
///
/// One row per cloud (or pool, context, cluster), accelerator and spot setting: the best of each; the first row is chosen.
pub(crate) fn table(plan: &Plan) -> String {
    let mut rows: Vec<[String; 7]> = Vec::new();
    let mut shown: Vec<&Candidate> = Vec::new();
    for candidate in &plan.candidates {
        let same_row = |other: &&&Candidate| {
            market(&other.offer) == market(&candidate.offer)
                && other.offer.accelerators == candidate.offer.accelerators
                && other.offer.spot == candidate.offer.spot
        };
        if shown.iter().find(same_row).is_none() {
            rows.push(row(candidate, shown.is_empty()));
            shown.push(candidate);
        }
    }
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].width());
        cells.max().unwrap_or(0).max(COLUMNS[column].width())
    };
    let widths: Vec<usize> = (0..COLUMNS.len()).map(width).collect();
    let line = |cells: &[&str]| {
        let mut line = String::from(" ");
        for (cell, width) in cells.iter().zip(&widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width - cell.width() + 3));
        }
        line
    };
    let rule = "-".repeat(1 + widths.iter().map(|width| width + 3).sum::<usize>());
    let mut lines = vec![
        format!("Considered resources ({}):", nodes(plan.num_nodes)),
        rule.clone(),
    ];
    lines.push(line(&COLUMNS));
    lines.push(rule.clone());
    lines.extend(
        rows.iter()
            .map(|row| line(&row.each_ref().map(String::as_str))),
    );
    lines.push(rule);
    lines.join("\n")
}

/// What rows tell apart: a cloud where machine types are sold, for which regions are a detail, else a pool, context or cluster.
fn market(offer: &Offer) -> (&str, Option<&String>) {
    let place = offer.region.as_ref().filter(|_| offer.is_cut_to_size());
    (&offer.cloud, place)
}

/// Returns what was left out and why, one line each, without a line end at the end; empty when nothing was.
pub(crate) fn ruled_out(plan: &Plan) -> String {
    let line = |one: &RuledOut| format!("  {one} (by {}; wanted {})", one.why.by(), one.wish);
    let lines: Vec<String> = plan.ruled_out.iter().map(line).collect();
    if lines.is_empty() {
        return String::new();
    }
    format!("Ruled out:\n{}", lines.join("\n"))
}

/// Returns "1 node", "2 nodes".
fn nodes(count: u32) -> String {
    if count == 1 {
        "1 node".to_owned()
    } else {
        format!("{count} nodes")
    }
}

/// Returns a row of the table.
fn row(candidate: &Candidate, chosen: bool) -> [String; 7] {
    let offer = &candidate.offer;
    let spot = if offer.spot { "[Spot]" } else { "" };
    let instance = offer.instance_type.as_ref();
    let gpus = offer
        .accelerators
        .as_ref()
        .map_or_else(|| "-".to_owned(), ToString::to_string);
    [
        offer.infra_text(),
        instance.map_or_else(
            || format!("-{spot}"),
            |instance| format!("{instance}{spot}"),
        ),
        short(offer.vcpus),
        short(offer.memory_gb),
        gpus,
        candidate.cost.to_string(),
        if chosen { "   ✔" } else { "" }.to_owned(),
    ]
}

/// Returns a number without a fraction where it has none, else with one digit.
pub(super) fn short(number: f64) -> String {
    let text = format!("{number:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// Returns what nodes are, as status lists it: `1x(cpus=2, mem=8, ...)`; long, with everything that is known.
pub(crate) fn resources_text(num_nodes: u32, offer: &Offer, long: bool) -> String {
    let mut parts = Vec::new();
    if let Some(kind) = &offer.accelerators {
        parts.push(format!("gpus={kind}"));
    }
    if long || offer.accelerators.is_none() {
        parts.push(format!("cpus={}", short(offer.vcpus)));
        parts.push(format!("mem={}", short(offer.memory_gb)));
    }
    if let Some(instance) = &offer.instance_type {
        let cut = !long && instance.chars().count() > INSTANCE_WIDTH;
        let text: String = instance
            .chars()
            .take(if cut { INSTANCE_WIDTH - 3 } else { usize::MAX })
            .collect();
        parts.push(if cut { format!("{text}...") } else { text });
    }
    if !long {
        parts.push("...".to_owned());
    }
    let spot = if offer.spot { "[spot]" } else { "" };
    format!("{num_nodes}x{spot}({})", parts.join(", "))
}

/// Returns what is asked for: `2x(infra=aws, cpus=4+, gpus=H100:8)`.
pub(crate) fn shape_text(num_nodes: u32, shape: &Shape) -> String {
    let mut parts = Vec::new();
    let mut add = |name: &str, value: Option<String>| {
        parts.extend(value.map(|value| format!("{name}={value}")));
    };
    add(
        "infra",
        (!shape.infra.is_any()).then(|| shape.infra.to_string()),
    );
    add("instance_type", shape.instance_type.clone());
    add("cpus", shape.cpus.map(|amount| amount.to_string()));
    add("mem", shape.memory.map(|amount| amount.to_string()));
    add("gpus", shape.accelerators.as_ref().map(ToString::to_string));
    add(
        "max_hourly_cost",
        shape.max_hourly_cost.map(|cost| cost.to_string()),
    );
    let spot = if shape.use_spot == Some(true) {
        "[spot]"
    } else {
        ""
    };
    if parts.is_empty() {
        format!("{num_nodes}x{spot}(any machine)")
    } else {
        format!("{num_nodes}x{spot}({})", parts.join(", "))
    }
}
