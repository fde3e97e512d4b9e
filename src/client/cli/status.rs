//! `sky status`: the clusters, and what hangs on them.

use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use serde_json::{Map, Value};

use super::args::{ConfigArgs, OutputArgs};
use super::{App, help, many};
use crate::api::bodies::{EndpointsBody, Refresh};
use crate::api::records::ClusterRecord;
use crate::api::status::ClusterStatus;
use crate::base::clock::Moment;
use crate::base::{Error, Kind, Result};
use crate::client::completion;
use crate::client::exit::{Exit, Outcome};
use crate::client::session::Session;
use crate::client::ui::table::cut_middle;
use crate::client::ui::{Cell, Table, Tone, style, times};

/// Characters of INFRA without `-v`.
const INFRA_WIDTH: usize = 25;

/// Show clusters
#[derive(Debug, Args)]
#[command(after_help = help::STATUS)]
pub(crate) struct StatusArgs {
    /// Names or patterns [default: all of yours]
    #[arg(value_name = "CLUSTER", add = ArgValueCandidates::new(completion::clusters))]
    clusters: Vec<String>,
    /// More columns, nothing cut
    #[arg(short, long)]
    verbose: bool,
    /// Ask the infra instead of the records
    #[arg(short, long)]
    refresh: bool,
    /// Only the address of the head node
    #[arg(long, conflicts_with_all = ["endpoints", "endpoint"])]
    ip: bool,
    /// Only the addresses of opened ports
    #[arg(long, conflicts_with = "endpoint")]
    endpoints: bool,
    /// Only the address of this opened port
    #[arg(long, value_name = "PORT")]
    endpoint: Option<u16>,
    /// Managed jobs are not in this release; accepted for scripts
    #[arg(long, hide = true)]
    show_managed_jobs: bool,
    /// Accepted for scripts
    #[arg(long, hide = true)]
    no_show_managed_jobs: bool,
    /// Accepted for scripts
    #[arg(long, hide = true)]
    show_services: bool,
    /// Accepted for scripts
    #[arg(long, hide = true)]
    no_show_services: bool,
    /// Accepted for scripts
    #[arg(long, hide = true)]
    show_pools: bool,
    /// Accepted for scripts
    #[arg(long, hide = true)]
    no_show_pools: bool,
    /// Clusters of everybody
    #[arg(short = 'u', long)]
    all_users: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Runs the command.
pub(super) async fn run(app: &App, args: StatusArgs) -> Outcome {
    let query = args.ip || args.endpoints || args.endpoint.is_some();
    if query && args.refresh {
        return Err(Error::new(
            Kind::Usage,
            "--refresh and a question for an address exclude each other",
        )
        .into());
    }
    if query && args.clusters.is_empty() {
        return Err(Error::new(
            Kind::Usage,
            "an address is asked of exactly one cluster, and none is named",
        )
        .hint("sky status --ip CLUSTER")
        .into());
    }
    let session = app.open(&args.config).await?;
    if query {
        return address(&session, &args).await;
    }
    let refresh = if args.refresh {
        Refresh::Force
    } else {
        Refresh::None
    };
    if args.refresh {
        app.ui
            .spin("[bold cyan]Refreshing the status of clusters[/]");
    }
    let names = (!args.clusters.is_empty()).then(|| args.clusters.clone());
    let everybody = args.all_users || names.is_some();
    let mut found = if args.refresh && !args.output.is_json() {
        many::refreshed(&session, names, everybody).await?
    } else {
        many::list(&session, names, everybody, refresh).await?
    };
    app.ui.end_spin();
    found.sort_by_key(|record| std::cmp::Reverse(record.launched_at));
    let all = many::demand_all(&args.clusters, &found);
    if args.output.is_json() {
        all?;
        print_json(app, &found)?;
        return Ok(Exit::Success);
    }
    show(app, &session, &args, &found).await?;
    all?;
    Ok(Exit::Success)
}

/// Prints records without credentials and handles.
fn print_json(app: &App, found: &[ClusterRecord]) -> Result<()> {
    let mut shown = Vec::new();
    for record in found {
        let mut record = record.clone();
        record.credentials = None;
        record.handle = None;
        shown.push(record);
    }
    app.ui.out_json(&shown)
}

/// Prints the table and what belongs to it.
async fn show(
    app: &App,
    session: &Session,
    args: &StatusArgs,
    found: &[ClusterRecord],
) -> Outcome<()> {
    let ui = &app.ui;
    if args.clusters.is_empty() {
        let id = session.submit_get("/enabled_clouds?expand=true").await?;
        let enabled: Vec<String> = session.result(id).await?;
        let enabled = if enabled.is_empty() {
            "none (see: sky check)".to_owned()
        } else {
            enabled.join(", ")
        };
        ui.out(&format!(
            "{} {enabled}",
            ui.paint("Enabled Infra:", Tone::Title)
        ));
        ui.out("");
        ui.out(&ui.paint("Clusters", Tone::Title));
        if found.is_empty() {
            ui.out("No existing clusters.");
        }
    }
    if !found.is_empty() {
        ui.out(
            table(found, args, Moment::now())
                .render(ui.out_colors())
                .trim_end_matches('\n'),
        );
    }
    let scheduled = found.iter().filter(|record| record.autostop >= 0).count();
    if scheduled > 0 {
        let (noun, verb) = if scheduled == 1 {
            ("cluster", "has")
        } else {
            ("clusters", "have")
        };
        ui.out("");
        ui.out(&format!(
            "* {scheduled} {noun} {verb} auto{{stop,down}} scheduled. Refresh statuses with: sky status --refresh"
        ));
    }
    Ok(())
}

/// The table.
fn table(found: &[ClusterRecord], args: &StatusArgs, now: Moment) -> Table {
    let several_workspaces = found
        .windows(2)
        .any(|pair| pair[0].workspace != pair[1].workspace);
    let columns = [
        ("NAME", true),
        ("USER", args.all_users),
        ("USER_ID", args.all_users && args.verbose),
        ("WORKSPACE", several_workspaces || args.verbose),
        ("INFRA", true),
        ("RESOURCES", true),
        ("STATUS", true),
        ("AUTOSTOP", true),
        ("LAUNCHED", true),
        ("HEAD_IP", args.verbose),
        ("COMMAND", args.verbose),
        ("LAST_EVENT", args.verbose),
    ];
    let mut table = Table::new(
        columns
            .iter()
            .filter(|(_, shown)| *shown)
            .map(|(name, _)| *name),
    );
    for record in found {
        let cells = row(record, args.verbose, now);
        table.row(
            cells
                .into_iter()
                .zip(&columns)
                .filter(|(_, (_, shown))| *shown)
                .map(|(cell, _)| cell),
        );
    }
    table
}

/// All cells of a cluster.
fn row(record: &ClusterRecord, verbose: bool, now: Moment) -> [Cell; 12] {
    let or_none = |text: &Option<String>| -> Cell {
        text.as_deref()
            .filter(|t| !t.is_empty())
            .unwrap_or(times::NONE)
            .into()
    };
    let infra = infra(record);
    let resources = if verbose {
        record
            .resources_str_full
            .as_ref()
            .or(record.resources_str.as_ref())
    } else {
        record.resources_str.as_ref()
    };
    [
        record.name.as_str().into(),
        record.user_name.as_str().into(),
        record.user_hash.as_str().into(),
        record.workspace.as_str().into(),
        if verbose {
            infra
        } else {
            cut_middle(&infra, INFRA_WIDTH)
        }
        .into(),
        or_none(&resources.cloned()),
        Cell::toned(record.status.as_str(), style::of_cluster(record.status)),
        times::autostop(record.autostop, record.to_down).into(),
        times::ago(
            Moment::from_micros(record.launched_at.saturating_mul(1_000_000)),
            now,
        )
        .into(),
        or_none(&record.head_ip),
        or_none(&record.last_use),
        or_none(&record.last_event),
    ]
}

/// `AWS (us-east-1b)`, `Local`.
fn infra(record: &ClusterRecord) -> String {
    let Some(cloud) = &record.cloud else {
        return times::NONE.to_owned();
    };
    match record.zone.as_ref().or(record.region.as_ref()) {
        Some(place) if !place.eq_ignore_ascii_case(cloud) => format!("{cloud} ({place})"),
        Some(_) | None => cloud.clone(),
    }
}

/// Prints the address of the head node or of ports.
async fn address(session: &Session, args: &StatusArgs) -> Outcome {
    let found = many::list(session, Some(args.clusters.clone()), true, Refresh::None).await?;
    many::demand_all(&args.clusters, &found)?;
    let [record] = found.as_slice() else {
        let names: Vec<String> = found.iter().map(|record| record.name.clone()).collect();
        let what = format!(
            "an address is asked of exactly one cluster, and this is {}",
            many::counted(&names)
        );
        return Err(Error::new(Kind::Usage, what).into());
    };
    if record.status != ClusterStatus::Up {
        let what = format!(
            "Cluster '{}' is not up (it is {}).",
            record.name, record.status
        );
        return Err(Error::new(Kind::ClusterNotUp, what)
            .hint(format!("sky start {}", record.name))
            .into());
    }
    if args.ip {
        let Some(ip) = &record.head_ip else {
            let what = format!("the address of cluster '{}' is not known", record.name);
            let error = Error::new(Kind::NotFound, what);
            return Err(if session.is_ours() {
                error.into()
            } else {
                error
                    .hint("SkyPilot's server tells addresses to Python programs only")
                    .into()
            });
        };
        session.ui.out(ip);
        return Ok(Exit::Success);
    }
    let body = EndpointsBody {
        common: session.common(),
        cluster: record.name.clone(),
        port: args.endpoint.map(Value::from),
    };
    let found: Map<String, Value> = session.ask("/endpoints", &body).await?;
    let text = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    match args.endpoint.map(|port| port.to_string()) {
        Some(port) => {
            let closed = || {
                let what = format!("port {port} of cluster '{}' is not open", record.name);
                Error::new(Kind::NotFound, what)
            };
            session.ui.out(&text(found.get(&port).ok_or_else(closed)?));
        }
        None if found.is_empty() => {
            session
                .ui
                .err(&format!("Cluster '{}' has no opened ports.", record.name));
        }
        None => {
            for (port, url) in &found {
                session.ui.out(&format!("{port}: {}", text(url)));
            }
        }
    }
    Ok(Exit::Success)
}
