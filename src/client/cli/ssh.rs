//! `sky ssh`: the user's own hosts, beside the clusters on them.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};

use super::args::{AsyncArgs, ConfigArgs, OutputArgs, YesArgs};
use super::submit::submit;
use super::{App, help};
use crate::api::bodies::SshPoolsBody;
use crate::client::exit::{Exit, Outcome};
use crate::client::ui::{Cell, OnEnter, Table, Tone};

/// Prepare, list and clean your own SSH hosts
#[derive(Debug, Args)]
#[command(after_help = help::SSH)]
pub(crate) struct SshArgs {
    /// What to do.
    #[command(subcommand)]
    command: Option<SshCommand>,
}

/// The commands of `sky ssh`.
#[derive(Debug, Subcommand)]
enum SshCommand {
    /// Connect to hosts, check them, and get them ready for launches
    Up(UpArgs),
    /// Remove everything of sky from hosts that no cluster uses
    Down(DownArgs),
    /// List hosts, and what of them is free
    List(ListArgs),
}

/// Connect to hosts, check them, and get them ready for launches
#[derive(Debug, Args)]
#[command(after_help = help::SSH)]
struct UpArgs {
    /// Only this pool of `~/.sky/ssh_node_pools.yaml` [default: all]
    #[arg(long, value_name = "POOL")]
    infra: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    detach: AsyncArgs,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Remove everything of sky from hosts that no cluster uses
#[derive(Debug, Args)]
#[command(after_help = help::SSH)]
struct DownArgs {
    /// Only this pool of `~/.sky/ssh_node_pools.yaml` [default: all]
    #[arg(long, value_name = "POOL")]
    infra: Option<String>,
    #[command(flatten)]
    yes: YesArgs,
    #[command(flatten)]
    detach: AsyncArgs,
    #[command(flatten)]
    config: ConfigArgs,
}

/// List hosts, and what of them is free
#[derive(Debug, Args)]
#[command(after_help = help::SSH)]
struct ListArgs {
    /// Only this pool of `~/.sky/ssh_node_pools.yaml` [default: all]
    #[arg(long, value_name = "POOL")]
    infra: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    config: ConfigArgs,
}

/// A host as the server reports it.
#[derive(Debug, Serialize, Deserialize)]
struct HostRecord {
    /// The pool.
    pool: String,
    /// Its name there.
    host: String,
    /// CPUs; none = it was not asked.
    cpus: Option<f64>,
    /// Memory in GB.
    memory_gb: Option<f64>,
    /// GPUs by model.
    #[serde(default)]
    gpus: BTreeMap<String, u32>,
    /// What nobody has taken.
    free: Option<FreeRecord>,
    /// The sets of nodes on it.
    #[serde(default)]
    used_by: Vec<String>,
    /// Why it cannot be used.
    error: Option<String>,
}

/// What nobody has taken.
#[derive(Debug, Serialize, Deserialize)]
struct FreeRecord {
    /// CPUs.
    cpus: f64,
    /// Memory in GB.
    memory_gb: f64,
    /// GPUs by model.
    #[serde(default)]
    accelerators: BTreeMap<String, f64>,
}

/// Runs the command.
pub(super) async fn run(app: &App, args: SshArgs) -> Outcome {
    match args.command {
        None => Ok(super::print_group_help(app, &["ssh"])),
        Some(SshCommand::Up(args)) => up(app, args).await,
        Some(SshCommand::Down(args)) => down(app, args).await,
        Some(SshCommand::List(args)) => list(app, args).await,
    }
}

/// Gets hosts ready.
async fn up(app: &App, args: UpArgs) -> Outcome {
    let session = app.open(&args.config).await?;
    let body = SshPoolsBody {
        common: session.common(),
        infra: args.infra.map(pool_name),
    };
    if args.output.is_json() {
        let hosts: Vec<HostRecord> = session.ask("/ssh_node_pools/deploy", &body).await?;
        app.ui.out_json(&hosts)?;
        return Ok(Exit::Success);
    }
    submit(&session, "/ssh_node_pools/deploy", &body, args.detach).await?;
    Ok(Exit::Success)
}

/// Cleans hosts.
async fn down(app: &App, args: DownArgs) -> Outcome {
    let session = app.open(&args.config).await?;
    let which = args.infra.as_ref().map_or_else(
        || "all pools".to_owned(),
        |pool| format!("pool {}", pool_name(pool.clone())),
    );
    let question = format!("Removing everything of sky from the hosts of {which}. Proceed?");
    if !args.yes.yes {
        app.ui.confirm(&question, OnEnter::Yes).await?;
    }
    let body = SshPoolsBody {
        common: session.common(),
        infra: args.infra.map(pool_name),
    };
    submit(&session, "/ssh_node_pools/down", &body, args.detach).await?;
    Ok(Exit::Success)
}

/// Lists hosts.
async fn list(app: &App, args: ListArgs) -> Outcome {
    let session = app.open(&args.config).await?;
    let body = SshPoolsBody {
        common: session.common(),
        infra: args.infra.map(pool_name),
    };
    let hosts: Vec<HostRecord> = session.ask("/ssh_node_pools/list", &body).await?;
    if args.output.is_json() {
        app.ui.out_json(&hosts)?;
        return Ok(Exit::Success);
    }
    let mut table = Table::new([
        "POOL", "HOST", "CPUS", "MEM(GB)", "GPUS", "USED BY", "STATUS",
    ]);
    for host in &hosts {
        table.row(row(host));
    }
    app.ui
        .out(table.render(app.ui.out_colors()).trim_end_matches('\n'));
    for host in &hosts {
        if let Some(error) = &host.error {
            app.ui.err(&format!("{}: {error}", host.host));
        }
    }
    Ok(Exit::Success)
}

/// A host in the table: what is free of what there is.
fn row(host: &HostRecord) -> [Cell; 7] {
    const NONE: &str = "-";
    let free = host.free.as_ref();
    let of = |free: Option<f64>, all: Option<f64>| match (free, all) {
        (Some(free), Some(all)) => format!("{} of {all} free", round(free)),
        _ => NONE.to_owned(),
    };
    let gpus = host.gpus.iter().map(|(model, count)| {
        let left = free.and_then(|free| free.accelerators.get(model)).copied();
        format!("{model}: {} of {count} free", left.unwrap_or(0.0))
    });
    let gpus: Vec<String> = gpus.collect();
    let listed = |list: &[String]| match list {
        [] => NONE.to_owned(),
        list => list.join(", "),
    };
    let status = match (&host.error, host.cpus) {
        (Some(_), _) => Cell::toned("UNREACHABLE", Tone::Red),
        (None, None) => Cell::toned("NOT PREPARED", Tone::Dim),
        (None, Some(_)) => Cell::toned("READY", Tone::Green),
    };
    [
        host.pool.as_str().into(),
        host.host.as_str().into(),
        of(free.map(|free| free.cpus), host.cpus).into(),
        of(free.map(|free| free.memory_gb), host.memory_gb).into(),
        listed(&gpus).into(),
        listed(&host.used_by).into(),
        status,
    ]
}

/// To one decimal.
fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// The pool of `ssh/POOL` or `POOL`.
fn pool_name(infra: String) -> String {
    infra
        .strip_prefix("ssh/")
        .map(str::to_owned)
        .unwrap_or(infra)
}
