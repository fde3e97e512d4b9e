//! `sky gpus`: accelerators and where they are offered.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::args::{ConfigArgs, OutputArgs};
use super::{App, help};
use crate::api::bodies::AcceleratorsBody;
use crate::base::{Error, Kind, Result};
use crate::client::exit::{Exit, Outcome};
use crate::client::session::Session;
use crate::client::ui::{Cell, Table};
use crate::task::Infra;

/// The columns of `/list_accelerators`, in the order of its rows.
type Row = (
    String,
    Option<String>,
    String,
    f64,
    Option<f64>,
    Option<f64>,
    Option<f64>,
    Option<f64>,
    Option<f64>,
    Option<String>,
);

/// Show accelerators and where they are offered
#[derive(Debug, Args)]
#[command(after_help = help::GPUS)]
pub(crate) struct GpusArgs {
    /// What to do.
    #[command(subcommand)]
    command: Option<GpusCommand>,
}

/// The commands of `sky gpus`.
#[derive(Debug, Subcommand)]
enum GpusCommand {
    /// List accelerators
    List(ListArgs),
}

/// List accelerators
#[derive(Debug, Args)]
#[command(after_help = help::GPUS)]
struct ListArgs {
    /// Name, with the number wanted: `H100`, `H100:8`
    #[arg(value_name = "NAME[:N]")]
    accelerator: Option<String>,
    /// Everything, also rare accelerators
    #[arg(short, long, conflicts_with = "accelerator")]
    all: bool,
    /// Only of this infra: `aws`, `aws/us-east-1`, `local`
    #[arg(long, value_name = "INFRA")]
    infra: Option<String>,
    /// Use `--infra`
    #[arg(long, value_name = "CLOUD", hide = true, conflicts_with = "infra")]
    cloud: Option<String>,
    /// Only in regions whose name contains this
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// Each region, not only the cheapest
    #[arg(long, requires = "accelerator")]
    all_regions: bool,
    /// With more detail
    #[arg(short, long, hide = true)]
    verbose: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Runs the command.
pub(super) async fn run(app: &App, args: GpusArgs) -> Outcome {
    match args.command {
        None => Ok(super::print_group_help(app, &["gpus"])),
        Some(GpusCommand::List(args)) => list(app, args).await,
    }
}

/// Lists accelerators.
async fn list(app: &App, args: ListArgs) -> Outcome {
    let (name, quantity) = wanted(args.accelerator.as_deref())?;
    let (cloud, region) = args.place()?;
    let session = app.open(&args.config).await?;
    let body = AcceleratorsBody {
        common: session.common(),
        name_filter: name.clone(),
        region_filter: region,
        quantity_filter: quantity,
        clouds: cloud.map(Value::from),
        gpus_only: true,
        all_regions: args.all_regions,
    };
    let Some(name) = name else {
        return list_all(app, &session, &args, &body).await;
    };
    let found: BTreeMap<String, Vec<Row>> = session.ask("/list_accelerators", &body).await?;
    if found.is_empty() {
        let number = quantity.map_or_else(String::new, |n| format!(":{n}"));
        let what = format!("no known infra offers the accelerator `{name}{number}` there");
        return Err(Error::new(Kind::NotFound, what)
            .hint("sky gpus list -a lists all that are known")
            .hint("sky catalog update gets complete price lists")
            .into());
    }
    if args.output.is_json() {
        app.ui.out_json(&found)?;
    } else {
        show(app, &offers(found));
    }
    Ok(Exit::Success)
}

/// Lists the names of accelerators; with `--all` the rare ones, too, and where each is offered.
async fn list_all(
    app: &App,
    session: &Session,
    args: &ListArgs,
    body: &AcceleratorsBody,
) -> Outcome {
    let found: BTreeMap<String, Vec<f64>> = session.ask("/list_accelerator_counts", body).await?;
    if args.output.is_json() {
        app.ui.out_json(&found)?;
        return Ok(Exit::Success);
    }
    if found.is_empty() {
        app.ui.out("No accelerators found.");
        app.ui
            .err("`sky catalog list` shows which price lists there are.");
        return Ok(Exit::Success);
    }
    let mut parts = counts(&found, args.all);
    if args.all {
        let found: BTreeMap<String, Vec<Row>> = session.ask("/list_accelerators", body).await?;
        parts.push(offers(found));
    }
    for (i, part) in parts.iter().enumerate() {
        if i > 0 {
            app.ui.out("");
        }
        show(app, part);
    }
    if args.all {
        app.ui
            .err("Prices: sky catalog list. What can be used: sky check.");
    } else {
        app.ui.err(
            "`-a` shows all; `sky gpus list NAME` shows where one is offered, and for how much.",
        );
    }
    Ok(Exit::Success)
}

/// Prints a table.
fn show(app: &App, table: &Table) {
    app.ui
        .out(table.render(app.ui.out_colors()).trim_end_matches('\n'));
}

impl ListArgs {
    /// Returns cloud and region that are asked for.
    fn place(&self) -> Result<(Option<String>, Option<String>)> {
        let text = self.infra.as_ref().or(self.cloud.as_ref());
        let infra = match text {
            Some(text) => text
                .parse::<Infra>()
                .map_err(|what| Error::new(Kind::Usage, format!("--infra: {what}")))?,
            None => Infra::default(),
        };
        if infra.region.is_some() && self.region.is_some() {
            return Err(Error::new(
                Kind::Usage,
                "--region and the region in --infra exclude each other",
            ));
        }
        Ok((infra.cloud, infra.region.or_else(|| self.region.clone())))
    }
}

/// Splits `H100:8`.
fn wanted(text: Option<&str>) -> Result<(Option<String>, Option<u32>)> {
    let Some(text) = text else {
        return Ok((None, None));
    };
    let Some((name, count)) = text.split_once(':') else {
        return Ok((Some(text.to_owned()), None));
    };
    match count.parse() {
        Ok(count) if count > 0 => Ok((Some(name.to_owned()), Some(count))),
        Ok(_) | Err(_) => Err(Error::new(
            Kind::Usage,
            format!(
                "`{}`: the number must be a whole number from 1",
                crate::base::ids::clip(text)
            ),
        )),
    }
}

/// The accelerators that most people use, in the order of the table.
const COMMON: [&str; 14] = [
    "A10",
    "A10G",
    "A100",
    "A100-80GB",
    "B200",
    "H100",
    "H200",
    "L4",
    "L40S",
    "RTX5090",
    "RTXPRO6000",
    "T4",
    "V100",
    "V100-32GB",
];

/// The tables of names: common ones, TPUs, and with `all` the others; without rows none is shown. Where nothing is common, the
/// others are shown anyway.
fn counts(found: &BTreeMap<String, Vec<f64>>, all: bool) -> Vec<Table> {
    let is_common = |name: &str| COMMON.contains(&name);
    let is_tpu = |name: &str| name.starts_with("tpu-");
    let row = |name: &str| -> Option<[Cell; 2]> {
        let counts: Vec<String> = found.get(name)?.iter().map(f64::to_string).collect();
        Some([name.into(), counts.join(", ").into()])
    };
    let tpus = found.keys().map(String::as_str).filter(|name| is_tpu(name));
    let mut groups: Vec<(&str, Vec<[Cell; 2]>)> = vec![
        ("COMMON_GPU", COMMON.into_iter().filter_map(row).collect()),
        ("GOOGLE_TPU", tpus.filter_map(row).collect()),
    ];
    let none_yet = groups.iter().all(|(_, rows)| rows.is_empty());
    if all || none_yet {
        let others = found
            .keys()
            .map(String::as_str)
            .filter(|name| !is_common(name) && !is_tpu(name));
        groups.push(("OTHER_GPU", others.filter_map(row).collect()));
    }
    groups.retain(|(_, rows)| !rows.is_empty());
    let table = |(title, rows): (&str, Vec<[Cell; 2]>)| {
        let mut table = Table::new([title, "AVAILABLE_QUANTITIES"]);
        for row in rows {
            table.row(row);
        }
        table
    };
    groups.into_iter().map(table).collect()
}

/// The table of where one is offered.
fn offers(found: BTreeMap<String, Vec<Row>>) -> Table {
    let mut table = Table::new([
        "GPU",
        "QTY",
        "CLOUD",
        "INSTANCE_TYPE",
        "DEVICE_MEM",
        "vCPUs",
        "HOST_MEM",
        "HOURLY_PRICE",
        "HOURLY_SPOT_PRICE",
        "REGION",
    ]);
    let gigabytes = |n: Option<f64>| n.map_or_else(|| "-".to_owned(), |n| format!("{n}GB"));
    let price = |n: Option<f64>| n.map_or_else(|| "-".to_owned(), |n| format!("$ {n:.3}"));
    for (cloud, instance, name, count, vcpus, device, memory, hourly, spot, region) in
        found.into_values().flatten()
    {
        table.row([
            name.into(),
            count.to_string().into(),
            cloud.into(),
            instance.unwrap_or_else(|| "-".to_owned()).into(),
            gigabytes(device).into(),
            vcpus
                .map_or_else(|| "-".to_owned(), |n| n.to_string())
                .into(),
            gigabytes(memory).into(),
            price(hourly).into(),
            price(spot).into(),
            region.unwrap_or_else(|| "-".to_owned()).into(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_carry_a_number() {
        assert_eq!(wanted(None).expect("fine"), (None, None));
        assert_eq!(
            wanted(Some("H100:8")).expect("fine"),
            (Some("H100".into()), Some(8))
        );
        for bad in ["H100:", "H100:0", "H100:x"] {
            assert!(wanted(Some(bad)).is_err(), "{bad}");
        }
    }
}
