//! `sky gpus`: accelerators and where they are offered.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::args::{ConfigArgs, OutputArgs};
use super::{App, help};
use crate::api::bodies::AcceleratorsBody;
use crate::base::{Error, Kind, Result};
use crate::client::exit::{Exit, Outcome};
use crate::client::ui::Table;

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
    /// Each region, not only the cheapest
    #[arg(long, requires = "accelerator")]
    all_regions: bool,
    /// With more detail
    #[arg(short, long)]
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
    let mut infra = args.infra.as_deref().unwrap_or("").splitn(2, '/');
    let cloud = infra
        .next()
        .filter(|cloud| !cloud.is_empty() && *cloud != "*");
    let session = app.open(&args.config).await?;
    let body = AcceleratorsBody {
        common: session.common(),
        name_filter: name.clone(),
        region_filter: infra.next().map(str::to_owned),
        quantity_filter: quantity,
        clouds: cloud.map(|cloud| Value::from(cloud.to_owned())),
    };
    if let Some(name) = name {
        let found: BTreeMap<String, Vec<Row>> = session.ask("/list_accelerators", &body).await?;
        if found.is_empty() {
            let what = format!("no enabled infra offers the accelerator `{name}`");
            return Err(Error::new(Kind::NotFound, what)
                .hint("sky gpus list")
                .into());
        }
        if args.output.is_json() {
            app.ui.out_json(&found)?;
        } else {
            app.ui.out(
                offers(found)
                    .render(app.ui.out_colors())
                    .trim_end_matches('\n'),
            );
        }
        return Ok(Exit::Success);
    }
    let found: BTreeMap<String, Vec<f64>> = session.ask("/list_accelerator_counts", &body).await?;
    if args.output.is_json() {
        app.ui.out_json(&found)?;
    } else if found.is_empty() {
        app.ui.out("No accelerators found on the enabled infra.");
        app.ui.err("`sky check` shows which infra is enabled.");
    } else {
        app.ui.out(
            counts(&found)
                .render(app.ui.out_colors())
                .trim_end_matches('\n'),
        );
        app.ui
            .err("`sky gpus list NAME` shows where an accelerator is offered, and for how much.");
    }
    Ok(Exit::Success)
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

/// The table of all names.
fn counts(found: &BTreeMap<String, Vec<f64>>) -> Table {
    let mut table = Table::new(["COMMON_GPU", "AVAILABLE_QUANTITIES"]);
    for (name, counts) in found {
        let counts: Vec<String> = counts.iter().map(f64::to_string).collect();
        table.row([name.as_str().into(), counts.join(", ").into()]);
    }
    table
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
