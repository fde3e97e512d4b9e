//! `sky stop`: machines go, disks stay.

use clap::Args;

use super::args::{AsyncArgs, ClustersArgs, ConfigArgs, YesArgs};
use super::many::{self, Missing, Verb, counted};
use super::{App, help};
use crate::api::bodies::StopBody;
use crate::api::status::ClusterStatus;
use crate::client::exit::Outcome;

/// Stop clusters: disks stay, machines go
#[derive(Debug, Args)]
#[command(after_help = help::STOP)]
pub(crate) struct StopArgs {
    #[command(flatten)]
    clusters: ClustersArgs,
    /// Cancel jobs, and wait until their writes to buckets are done
    #[arg(long, hide_short_help = true)]
    graceful: bool,
    /// Wait at most so long
    #[arg(
        long,
        value_name = "SECONDS",
        requires = "graceful",
        hide_short_help = true
    )]
    graceful_timeout: Option<u64>,
    #[command(flatten)]
    yes: YesArgs,
    #[command(flatten)]
    detach: AsyncArgs,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Runs the command.
pub(super) async fn run(app: &App, args: StopArgs) -> Outcome {
    many::some_named(&args.clusters, "stop")?;
    let session = app.open(&args.config).await?;
    let meant =
        many::resolve_with_unmade(&session, &args.clusters, "stop", Missing::IsError).await?;
    let (mut found, unmade) = (meant.found, meant.unmade);
    if args.clusters.all || args.clusters.all_users {
        found.retain(|record| record.status != ClusterStatus::Stopped);
    }
    // They are stopped all the same: a request that would start one again has to go.
    let at_rest: Vec<String> = found
        .iter()
        .filter(|record| record.status == ClusterStatus::Stopped)
        .map(|record| record.name.clone())
        .collect();
    let names: Vec<String> = found
        .into_iter()
        .map(|record| record.name)
        .chain(unmade.iter().cloned())
        .collect();
    let verb = Verb {
        path: "/stop",
        doing: "Stopping",
        question: &|names| format!("Stopping {}. Proceed?", counted(names)),
        body: &|name| StopBody {
            common: session.common(),
            cluster_name: name.to_owned(),
            purge: false,
            graceful: args.graceful,
            graceful_timeout: args.graceful_timeout,
        },
        done: &|session, name| {
            let said = if at_rest.iter().any(|stopped| stopped == name) {
                format!("Cluster {name} is stopped already.")
            } else {
                format!("Stopping cluster {name}...done.")
            };
            session.ui.out(&said);
            session
                .ui
                .out(&format!("  To restart the cluster, run: sky start {name}"));
        },
        unmade: &unmade,
        hint: None,
    };
    many::run(&session, &names, args.yes.yes, args.detach, &verb).await
}
