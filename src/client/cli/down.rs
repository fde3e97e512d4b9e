//! `sky down`: machines and disks go.

use clap::Args;

use super::args::{AsyncArgs, ClustersArgs, ConfigArgs, YesArgs};
use super::many::{self, Meant, Missing, Verb, counted};
use super::{App, help};
use crate::api::bodies::StopBody;
use crate::client::exit::Outcome;

/// Tear down clusters: machines and disks go
#[derive(Debug, Args)]
#[command(after_help = help::DOWN)]
pub(crate) struct DownArgs {
    #[command(flatten)]
    clusters: ClustersArgs,
    /// Forget a cluster although the infra refused to delete it; remove machines that no cluster owns
    #[arg(short, long)]
    purge: bool,
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
pub(super) async fn run(app: &App, args: DownArgs) -> Outcome {
    many::some_named(&args.clusters, "down")?;
    let session = app.open(&args.config).await?;
    let how = if args.purge {
        Missing::MayBeStray
    } else {
        Missing::IsError
    };
    let Meant {
        found,
        unmade,
        strays,
    } = many::resolve_with_unmade(&session, &args.clusters, "down", how).await?;
    let names: Vec<String> = found
        .into_iter()
        .map(|record| record.name)
        .chain(unmade.iter().cloned())
        .chain(strays)
        .collect();
    let verb = Verb {
        path: "/down",
        doing: "Terminating",
        question: &|names| format!("Terminating {}. Proceed?", counted(names)),
        body: &|name| StopBody {
            common: session.common(),
            cluster_name: name.to_owned(),
            purge: args.purge,
            graceful: args.graceful,
            graceful_timeout: args.graceful_timeout,
        },
        done: &|session, name| {
            session
                .ui
                .out(&format!("Terminating cluster {name}...done."));
        },
        unmade: &unmade,
        hint: Some(
            "Some clusters were not torn down; `--purge` forgets them although machines may remain.",
        ),
    };
    many::run(&session, &names, args.yes.yes, args.detach, &verb).await
}
