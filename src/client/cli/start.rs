//! `sky start`: stopped clusters again.

use clap::Args;
use clap_complete::engine::ArgValueCandidates;

use super::args::{AsyncArgs, ClustersArgs, ConfigArgs, WaitFor, YesArgs};
use super::many::{self, Verb, counted};
use super::{App, help};
use crate::api::bodies::{Refresh, StartBody};
use crate::api::records::ClusterRecord;
use crate::api::status::ClusterStatus;
use crate::base::{Error, Kind};
use crate::client::completion;
use crate::client::exit::Outcome;
use crate::client::session::Session;

/// Start stopped clusters again
#[derive(Debug, Args)]
#[command(after_help = help::START)]
pub(crate) struct StartArgs {
    /// Names or patterns; may be left out when you have one cluster only
    #[arg(value_name = "CLUSTER", add = ArgValueCandidates::new(completion::clusters))]
    clusters: Vec<String>,
    /// All clusters of yours
    #[arg(short, long)]
    all: bool,
    /// Stop again after so many idle minutes; -1 = never
    #[arg(short, long, value_name = "MINUTES", allow_negative_numbers = true)]
    idle_minutes_to_autostop: Option<i64>,
    /// Tear down instead of stop
    #[arg(long, requires = "idle_minutes_to_autostop")]
    down: bool,
    /// What counts as not idle: `jobs_and_ssh`, `jobs` or `none`
    #[arg(long, value_enum, value_name = "WHAT", hide_possible_values = true)]
    wait_for: Option<WaitFor>,
    /// When nothing has capacity, try again for ever
    #[arg(short, long)]
    retry_until_up: bool,
    /// Also when it is up: start its agents anew
    #[arg(short, long)]
    force: bool,
    #[command(flatten)]
    yes: YesArgs,
    #[command(flatten)]
    detach: AsyncArgs,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Runs the command.
pub(super) async fn run(app: &App, args: StartArgs) -> Outcome {
    let session = app.open(&args.config).await?;
    let found = wanted(&session, &args).await?;
    let mut names = Vec::new();
    for record in found {
        if record.status == ClusterStatus::Up && !args.force {
            session
                .ui
                .out(&format!("Cluster {} already has status UP.", record.name));
        } else {
            names.push(record.name);
        }
    }
    let verb = Verb {
        path: "/start",
        doing: "Starting",
        question: &|names| format!("Restarting {}. Proceed?", counted(names)),
        body: &|name| StartBody {
            common: session.common(),
            cluster_name: name.to_owned(),
            idle_minutes_to_autostop: args.idle_minutes_to_autostop,
            wait_for: args.wait_for.map(Into::into),
            retry_until_up: args.retry_until_up,
            down: args.down,
            force: args.force,
        },
        done: &|session, name| session.ui.out(&format!("Cluster {name} started.")),
        unmade: &[],
        hint: None,
    };
    many::run(&session, &names, args.yes.yes, args.detach, &verb).await
}

/// Finds the clusters that are meant.
async fn wanted(session: &Session, args: &StartArgs) -> Outcome<Vec<ClusterRecord>> {
    if args.all || !args.clusters.is_empty() {
        let clusters = ClustersArgs {
            clusters: args.clusters.clone(),
            all: args.all,
            all_users: false,
        };
        return many::resolve(session, &clusters, "start").await;
    }
    let own = many::list(session, None, false, Refresh::None).await?;
    if own.len() == 1 {
        return Ok(own);
    }
    Err(Error::new(
        Kind::Usage,
        format!("which clusters? You have {}", own.len()),
    )
    .hint("sky start NAME")
    .hint("sky start --all")
    .into())
}
