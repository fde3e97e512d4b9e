//! `sky cost-report`: what clusters cost, the torn down ones included.

use clap::Args;

use super::args::{ConfigArgs, OutputArgs};
use super::{App, help};
use crate::api::bodies::CostReportBody;
use crate::api::records::CostRecord;
use crate::base::clock::Moment;
use crate::base::units::Dollars;
use crate::client::exit::{Exit, Outcome};
use crate::client::ui::{Cell, Table, Tone, style, times};

/// Rows without `--all`.
const FEW: usize = 5;

/// Show what clusters cost
#[derive(Debug, Args)]
#[command(after_help = help::COST_REPORT)]
pub(crate) struct CostReportArgs {
    /// All clusters, not only the newest
    #[arg(short, long)]
    all: bool,
    /// Clusters of the last N days; 0 = of all times
    #[arg(long, value_name = "N", default_value_t = 30)]
    days: u64,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Runs the command.
pub(super) async fn run(app: &App, args: CostReportArgs) -> Outcome {
    let session = app.open(&args.config).await?;
    let body = CostReportBody {
        common: session.common(),
        days: Some(args.days).filter(|days| *days > 0),
    };
    let mut records: Vec<CostRecord> = session.ask("/cost_report", &body).await?;
    if args.output.is_json() {
        app.ui.out_json(&records)?;
        return Ok(Exit::Success);
    }
    records.sort_by_key(|record| std::cmp::Reverse(record.launched_at));
    let ui = &app.ui;
    let title = if args.days == 0 {
        "Clusters".to_owned()
    } else {
        format!("Clusters (last {} days)", args.days)
    };
    ui.out(&ui.paint(&title, Tone::Title));
    let total: f64 = records.iter().map(|record| record.total_cost).sum();
    let count = records.len();
    if !args.all {
        records.truncate(FEW);
    }
    if records.is_empty() {
        ui.out("No clusters.");
        return Ok(Exit::Success);
    }
    ui.out(
        table(&records, Moment::now())
            .render(ui.out_colors())
            .trim_end_matches('\n'),
    );
    if count > records.len() {
        ui.out(&format!(
            "... {} more; -a shows all.",
            count - records.len()
        ));
    }
    ui.out("");
    ui.out(&format!("Total Cost: ${}", Dollars(total)));
    ui.err_markup("[yellow]Estimates: recorded time of use times the listed price.[/]");
    Ok(Exit::Success)
}

/// The table.
fn table(records: &[CostRecord], now: Moment) -> Table {
    let mut table = Table::new([
        "NAME",
        "LAUNCHED",
        "DURATION",
        "RESOURCES",
        "STATUS",
        "COST/hr",
        "COST (est.)",
    ]);
    for record in records {
        let status = match record.status {
            Some(status) => Cell::toned(status.as_str(), style::of_cluster(status)),
            None => Cell::toned("TERMINATED", Tone::Dim),
        };
        let from = now.secs().saturating_sub(record.duration);
        let duration = times::exact(
            Moment::from_micros(from.saturating_mul(1_000_000)),
            Moment::from_micros(now.secs() * 1_000_000),
        );
        table.row([
            record.name.as_str().into(),
            times::ago(
                Moment::from_micros(record.launched_at.saturating_mul(1_000_000)),
                now,
            )
            .into(),
            duration.into(),
            resources(record).into(),
            status,
            dollars(record.hourly_cost).into(),
            dollars(Some(record.total_cost)).into(),
        ]);
    }
    table
}

/// `$ 0.10`, or nothing where the server does not say.
fn dollars(amount: Option<f64>) -> String {
    amount.map_or_else(
        || times::NONE.to_owned(),
        |amount| format!("$ {}", Dollars(amount)),
    )
}

/// `1x Local(cpus=2, …)`: the cloud takes the place of the bracket's beginning.
fn resources(record: &CostRecord) -> String {
    let text = record.resources_str.as_deref().unwrap_or(times::NONE);
    match (&record.cloud, text.split_once("x(")) {
        (Some(cloud), Some((count, rest))) => format!("{count}x {cloud}({rest}"),
        (Some(_) | None, _) => text.to_owned(),
    }
}
