//! `sky cancel`: jobs on a cluster.

use clap::Args;
use clap_complete::engine::ArgValueCandidates;

use super::args::{AsyncArgs, ConfigArgs, YesArgs};
use super::logs::job_id;
use super::submit::submit;
use super::{App, help, many};
use crate::api::bodies::CancelBody;
use crate::base::{Error, Kind};
use crate::client::completion;
use crate::client::exit::{Exit, Outcome};
use crate::client::session::Session;
use crate::client::ui::OnEnter;

/// Cancel jobs
#[derive(Debug, Args)]
#[command(after_help = help::CANCEL)]
pub(crate) struct CancelArgs {
    /// The cluster, or a pattern
    #[arg(value_name = "CLUSTER", add = ArgValueCandidates::new(completion::clusters))]
    cluster: String,
    /// The jobs [default: the latest running one of yours]
    #[arg(value_name = "JOB_ID")]
    jobs: Vec<String>,
    /// All jobs of yours
    #[arg(short, long)]
    all: bool,
    /// All jobs of everybody
    #[arg(short = 'u', long)]
    all_users: bool,
    #[command(flatten)]
    yes: YesArgs,
    #[command(flatten)]
    detach: AsyncArgs,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Runs the command.
pub(super) async fn run(app: &App, args: CancelArgs) -> Outcome {
    let jobs = args
        .jobs
        .iter()
        .map(|text| job_id(text))
        .collect::<crate::base::Result<Vec<u64>>>()?;
    let everything = args.all || args.all_users;
    let session = app.open(&args.config).await?;
    let clusters = clusters(&session, &args.cluster).await?;
    if clusters.len() > 1 && !jobs.is_empty() {
        let what = format!(
            "job ids go with one cluster, and `{}` matches {}",
            args.cluster,
            many::counted(&clusters)
        );
        return Err(Error::new(Kind::Usage, what).into());
    }
    if !jobs.is_empty() && everything {
        app.ui
            .err_markup("[yellow]The job ids are ignored: --all or --all-users is given.[/]");
    }
    if jobs.is_empty() && !everything {
        app.ui.err_markup(
            "[yellow]No job IDs or --all/--all-users provided; cancelling the latest running job.[/]",
        );
    }
    let which = if everything {
        "all jobs".to_owned()
    } else if jobs.is_empty() {
        "the latest running job".to_owned()
    } else {
        let ids: Vec<String> = jobs.iter().map(u64::to_string).collect();
        format!("job(s) {}", ids.join(" "))
    };
    if !args.yes.yes {
        let question = format!(
            "Cancelling {which} on cluster(s): {}. Proceed?",
            clusters.join(", ")
        );
        app.ui.confirm(&question, OnEnter::Yes).await?;
    }
    for cluster in &clusters {
        if clusters.len() > 1 && !args.detach.detach {
            app.ui
                .out(&format!("Cancelling {which} on cluster '{cluster}'..."));
        }
        let body = CancelBody {
            common: session.common(),
            cluster_name: cluster.clone(),
            job_ids: (!jobs.is_empty() && !everything).then(|| jobs.clone()),
            all: args.all,
            all_users: args.all_users,
        };
        submit(&session, "/cancel", &body, args.detach).await?;
    }
    Ok(Exit::Success)
}

/// Finds the clusters that a name or pattern means; jobs are only on those that are up.
async fn clusters(session: &Session, pattern: &str) -> Outcome<Vec<String>> {
    if !many::is_pattern(pattern) {
        return Ok(vec![pattern.to_owned()]);
    }
    many::up(session, &[pattern.to_owned()]).await
}
