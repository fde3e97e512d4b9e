//! `sky autostop`: when clusters stop by themselves.

use clap::Args;

use super::args::{AsyncArgs, ClustersArgs, ConfigArgs, WaitFor, YesArgs};
use super::many::{self, Verb, counted};
use super::{App, help};
use crate::api::bodies::AutostopBody;
use crate::api::status::ClusterStatus;
use crate::client::exit::Outcome;

/// Minutes, unless the user says otherwise.
const DEFAULT_MINUTES: i64 = 5;

/// Stop or tear down clusters when they are idle
#[derive(Debug, Args)]
#[command(after_help = help::AUTOSTOP)]
pub(crate) struct AutostopArgs {
    #[command(flatten)]
    clusters: ClustersArgs,
    /// Idle minutes until then [default: 5]; negative = never
    #[arg(
        short,
        long,
        value_name = "MINUTES",
        allow_negative_numbers = true,
        conflicts_with = "cancel"
    )]
    idle_minutes: Option<i64>,
    /// Tear down instead of stop
    #[arg(long, conflicts_with = "cancel")]
    down: bool,
    /// Do not stop by itself any more
    #[arg(long)]
    cancel: bool,
    /// What counts as not idle: `jobs_and_ssh`, `jobs` or `none`
    #[arg(long, value_enum, value_name = "WHAT", hide_possible_values = true)]
    wait_for: Option<WaitFor>,
    #[command(flatten)]
    yes: YesArgs,
    #[command(flatten)]
    detach: AsyncArgs,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Runs the command.
pub(super) async fn run(app: &App, args: AutostopArgs) -> Outcome {
    many::some_named(&args.clusters, "autostop")?;
    let session = app.open(&args.config).await?;
    let mut found = many::resolve(&session, &args.clusters, "autostop").await?;
    if args.clusters.all || args.clusters.all_users {
        found.retain(|record| record.status == ClusterStatus::Up);
    }
    let names: Vec<String> = found.into_iter().map(|record| record.name).collect();
    let minutes = if args.cancel {
        -1
    } else {
        args.idle_minutes.unwrap_or(DEFAULT_MINUTES)
    };
    let doing = if minutes < 0 {
        "Cancelling auto{stop,down}"
    } else if args.down {
        "Scheduling autodown"
    } else {
        "Scheduling autostop"
    };
    let verb = Verb {
        path: "/autostop",
        doing,
        question: &|names| format!("{doing} on {}. Proceed?", counted(names)),
        body: &|name| AutostopBody {
            common: session.common(),
            cluster_name: name.to_owned(),
            idle_minutes: minutes,
            wait_for: args.wait_for.map(Into::into),
            down: args.down,
        },
        done: &|session, name| {
            session
                .ui
                .out(&format!("{doing} on cluster '{name}'...done"));
            if minutes >= 0 {
                let what = if args.down {
                    "autodowned"
                } else {
                    "autostopped"
                };
                let plural = if minutes == 1 { "" } else { "s" };
                session.ui.out(&format!(
                    "  The cluster will be {what} after {minutes} minute{plural} of idleness."
                ));
                session.ui.out(&format!(
                    "  To cancel the autostop, run: sky autostop {name} --cancel"
                ));
            }
        },
        unmade: &[],
        hint: None,
    };
    many::run(&session, &names, args.yes.yes, args.detach, &verb).await
}
