//! `sky logs`: what a job says, how it stands, or how its cluster was made.

use std::collections::BTreeMap;

use clap::Args;
use clap_complete::engine::ArgValueCandidates;

use super::args::ConfigArgs;
use super::{App, help, sync_down};
use crate::api::bodies::{JobStatusBody, LogsBody, ProvisionLogsBody};
use crate::api::frames::Outcome as End;
use crate::api::status::JobStatus;
use crate::base::ids::ClusterName;
use crate::base::{Error, Kind, Result};
use crate::client::completion;
use crate::client::exit::{Exit, Outcome, Stop};
use crate::client::follow::{What, follow};
use crate::client::session::Session;
use crate::client::ui::{Tone, paint, report, style};

/// Lines that are shown of a long log, unless the user says otherwise.
const RECENT_LINES: i64 = 1000;

/// Follow the log of a job
#[derive(Debug, Args)]
#[command(after_help = help::LOGS)]
pub(crate) struct LogsArgs {
    /// The cluster
    #[arg(value_name = "CLUSTER", add = ArgValueCandidates::new(completion::clusters))]
    cluster: String,
    /// The job [default: the latest]; several with --sync-down
    #[arg(value_name = "JOB_ID")]
    jobs: Vec<String>,
    /// Go on until the job ends (the default)
    #[arg(long, overrides_with = "no_follow")]
    follow: bool,
    /// Show what is there and return
    #[arg(long, overrides_with = "follow")]
    no_follow: bool,
    /// Only the last N lines; 0 = everything
    #[arg(long, value_name = "N", allow_negative_numbers = true, default_value_t = -1, hide_default_value = true)]
    tail: i64,
    /// Download the logs of all nodes to `~/sky_logs`
    #[arg(short, long, conflicts_with_all = ["status", "provision"])]
    sync_down: bool,
    /// Only the status of the job, also as exit code
    #[arg(long, conflicts_with = "provision")]
    status: bool,
    /// The log of how the cluster was made
    #[arg(long)]
    provision: bool,
    /// The part of one worker, from 1 (with --provision)
    #[arg(short, long, value_name = "N", requires = "provision", value_parser = clap::value_parser!(u32).range(1..))]
    worker: Option<u32>,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Runs the command.
pub(super) async fn run(app: &App, args: LogsArgs) -> Outcome {
    let cluster: ClusterName = args.cluster.parse()?;
    let jobs = job_ids(&args)?;
    let session = app.open(&args.config).await?;
    let name = cluster.as_str();
    if args.provision {
        return provision(&session, name, &args).await;
    }
    if args.sync_down {
        return sync_down::run(&session, name, &jobs).await;
    }
    let job = match jobs.first() {
        Some(job) => Some(*job),
        None => latest(&session, name).await?,
    };
    let Some(job) = job else {
        session
            .ui
            .err_markup(&format!("[yellow]Cluster '{name}' has no jobs yet.[/]"));
        return Ok(Exit::JobNotFound);
    };
    if args.status {
        return status(&session, name, job).await;
    }
    let which = if jobs.is_empty() {
        format!("the last job ({job})")
    } else {
        format!("job {job}")
    };
    session.ui.err_markup(&format!(
        "[yellow]Tailing logs of {which} on cluster '{name}'...[/]"
    ));
    let tail = match args.tail {
        n if n >= 0 => n,
        _ if args.no_follow => 0,
        _ => {
            session.ui.err_markup(&format!(
                "[dim]Showing the last {RECENT_LINES} lines; --tail 0 shows everything.[/]"
            ));
            RECENT_LINES
        }
    };
    show_job(&session, name, job, tail, !args.no_follow).await
}

/// Follows a job that was just submitted, from its first line.
///
/// A blank line sets it off from what was said about the submission.
pub(super) async fn tail_job(session: &Session, cluster: &str, job: u64) -> Outcome {
    session.ui.out("");
    show_job(session, cluster, job, 0, true).await
}

/// Shows the log of a job; the exit says how the job stands.
async fn show_job(session: &Session, cluster: &str, job: u64, tail: i64, follows: bool) -> Outcome {
    let body = LogsBody {
        common: session.common(),
        cluster_name: cluster.to_owned(),
        job_id: Some(job),
        follow: follows,
        tail,
    };
    let end = match follow(session, &What::Job(Box::new(body))).await {
        Err(Stop::Aborted) => {
            leave_job(session, cluster, job);
            return Err(Stop::Detached);
        }
        other => other?,
    };
    let status = match end {
        Some(End::Job { status, .. }) => {
            if let Some(status) = status.filter(|status| status.is_final()) {
                say_finished(session, status);
            }
            status
        }
        Some(End::Request { .. } | End::File | End::Interrupted { .. }) | None => {
            // SkyPilot's server: the stream is text, the status is another question.
            statuses(session, cluster, Some(job))
                .await?
                .remove(&job)
                .flatten()
        }
    };
    match status {
        None => {
            session.ui.err_markup(&format!(
                "[red]Job {job} not found (see `sky queue {cluster}`).[/]"
            ));
            Ok(Exit::JobNotFound)
        }
        Some(status) if !follows && !status.is_final() => Ok(Exit::Success),
        Some(status) => Ok(Exit::of_job(Some(status))),
    }
}

/// Says how a job ended.
fn say_finished(session: &Session, status: JobStatus) {
    let ui = &session.ui;
    let mark = ui.paint(status.mark(), style::of_job(status));
    ui.out(&format!("{mark} {}", status.closing_words()));
}

/// Says that a job goes on without this terminal.
fn leave_job(session: &Session, cluster: &str, job: u64) {
    let ui = &session.ui;
    let bold = |command: String| paint(&command, Tone::Bold, ui.err_colors());
    let facts = [
        format!(
            "To stream its logs again: {}",
            bold(format!("sky logs {cluster} {job}"))
        ),
        format!(
            "To cancel it:             {}",
            bold(format!("sky cancel {cluster} {job}"))
        ),
    ];
    if ui.is_interactive() {
        ui.err("");
    }
    ui.err(&format!(
        "⚙︎ Job {job} continues to run on cluster '{cluster}'."
    ));
    ui.err(report::tree(&facts, ui.err_colors()).trim_end());
}

/// Shows how the cluster was made.
async fn provision(session: &Session, cluster: &str, args: &LogsArgs) -> Outcome {
    let what = What::Provision {
        body: Box::new(ProvisionLogsBody {
            common: session.common(),
            cluster_name: cluster.to_owned(),
            worker: args.worker,
        }),
        tail: args.tail,
        follow: !args.no_follow,
    };
    follow(session, &what).await?;
    Ok(Exit::Success)
}

/// Prints how a job stands.
async fn status(session: &Session, cluster: &str, job: u64) -> Outcome {
    let status = statuses(session, cluster, Some(job))
        .await?
        .remove(&job)
        .flatten();
    let text = status.map_or("None", JobStatus::as_str);
    session.ui.out(&format!("Job {job}: {text}"));
    if status.is_none() {
        session.ui.err_markup(&format!(
            "[red]Job {job} not found (see `sky queue {cluster}`).[/]"
        ));
    }
    Ok(Exit::of_job(status))
}

/// Returns the number of the latest job.
async fn latest(session: &Session, cluster: &str) -> Outcome<Option<u64>> {
    Ok(statuses(session, cluster, None).await?.into_keys().max())
}

/// Returns how jobs stand; without a number, the latest.
async fn statuses(
    session: &Session,
    cluster: &str,
    job: Option<u64>,
) -> Outcome<BTreeMap<u64, Option<JobStatus>>> {
    let body = JobStatusBody {
        common: session.common(),
        cluster_name: cluster.to_owned(),
        job_ids: job.map(|job| vec![job]),
    };
    let found: BTreeMap<String, Option<JobStatus>> = session.ask("/job_status", &body).await?;
    Ok(found
        .into_iter()
        .filter_map(|(job, status)| Some((job.parse().ok()?, status)))
        .collect())
}

/// Reads the job numbers.
fn job_ids(args: &LogsArgs) -> Result<Vec<u64>> {
    if args.provision && !args.jobs.is_empty() {
        return Err(Error::new(
            Kind::Usage,
            "--provision shows no job: leave the job id out",
        ));
    }
    if args.jobs.len() > 1 && !args.sync_down {
        return Err(Error::new(
            Kind::Usage,
            "one job at a time; several only with --sync-down",
        ));
    }
    args.jobs.iter().map(|text| job_id(text)).collect()
}

/// Reads a job number.
pub(super) fn job_id(text: &str) -> Result<u64> {
    text.parse().ok().filter(|n| *n > 0).ok_or_else(|| {
        Error::new(
            Kind::Usage,
            format!(
                "`{}` is not a job id (a number from 1)",
                crate::base::ids::clip(text)
            ),
        )
    })
}
