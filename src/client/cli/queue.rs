//! `sky queue`: the jobs of clusters.

use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use futures_util::future::join_all;
use serde::Serialize;

use super::args::{ConfigArgs, OutputArgs};
use super::{App, help, many};
use crate::api::bodies::{QueueBody, Refresh};
use crate::api::records::JobRecord;
use crate::api::status::ClusterStatus;
use crate::base::Result;
use crate::base::clock::Moment;
use crate::base::ids::ClusterName;
use crate::client::completion;
use crate::client::exit::{Exit, Outcome, Stop};
use crate::client::session::Session;
use crate::client::ui::{Cell, Table, report, style, times};

/// Show the job queues of clusters
#[derive(Debug, Args)]
#[command(after_help = help::QUEUE)]
pub(crate) struct QueueArgs {
    /// Names or patterns [default: all of yours that are up]
    #[arg(value_name = "CLUSTER", add = ArgValueCandidates::new(completion::clusters))]
    clusters: Vec<String>,
    /// Jobs of everybody
    #[arg(short = 'u', long)]
    all_users: bool,
    /// Only jobs that have not finished
    #[arg(short, long)]
    skip_finished: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    config: ConfigArgs,
}

/// A job with its cluster, for JSON.
#[derive(Serialize)]
struct Listed<'a> {
    /// The cluster.
    cluster: &'a str,
    /// The job.
    #[serde(flatten)]
    job: &'a JobRecord,
}

/// Prints the jobs of all clusters in one list.
fn print_json(app: &App, listed: &[(&String, Vec<JobRecord>)]) -> Result<()> {
    let all: Vec<Listed<'_>> = listed
        .iter()
        .flat_map(|(cluster, jobs)| jobs.iter().map(|job| Listed { cluster, job }))
        .collect();
    app.ui.out_json(&all)
}

/// Runs the command.
pub(super) async fn run(app: &App, args: QueueArgs) -> Outcome {
    for name in &args.clusters {
        if !many::is_pattern(name) {
            name.parse::<ClusterName>()?;
        }
    }
    let session = app.open(&args.config).await?;
    let names = clusters(&session, &args).await?;
    if names.is_empty() && !args.output.is_json() {
        app.ui.out("No cluster is up.");
        return Ok(Exit::Success);
    }
    let answers = join_all(names.iter().map(|name| ask(&session, name, &args))).await;
    let mut exit = Exit::Success;
    let mut listed = Vec::new();
    for (name, answer) in names.iter().zip(answers) {
        match answer {
            Ok(jobs) => listed.push((name, jobs)),
            Err(Stop::Failed(error)) => {
                exit = Exit::Failure;
                let error =
                    error.context(format!("failed to get the job queue of cluster '{name}'"));
                app.ui
                    .err_text(&report::render(&error, app.ui.err_colors()));
            }
            Err(stop @ (Stop::Aborted | Stop::Detached)) => return Err(stop),
        }
    }
    if args.output.is_json() {
        if exit != Exit::Success {
            return Ok(exit);
        }
        print_json(app, &listed)?;
        return Ok(exit);
    }
    for (i, (name, jobs)) in listed.iter().enumerate() {
        if i > 0 {
            app.ui.out("");
        }
        let whose = if args.all_users {
            "all users"
        } else {
            "current user"
        };
        app.ui
            .out(&format!("Job queue of {whose} on cluster {name}"));
        if jobs.is_empty() {
            app.ui.out(if args.skip_finished {
                "No unfinished jobs."
            } else {
                "No jobs."
            });
            continue;
        }
        app.ui.out(
            table(name, jobs, Moment::now())
                .render(app.ui.out_colors())
                .trim_end_matches('\n'),
        );
    }
    Ok(exit)
}

/// Finds the clusters that are meant.
async fn clusters(session: &Session, args: &QueueArgs) -> Outcome<Vec<String>> {
    if args.clusters.iter().any(|name| many::is_pattern(name)) {
        return many::up(session, &args.clusters).await;
    }
    if !args.clusters.is_empty() {
        return Ok(args.clusters.clone());
    }
    let found = many::list(session, None, args.all_users, Refresh::None).await?;
    let up = found
        .into_iter()
        .filter(|record| record.status == ClusterStatus::Up);
    Ok(up.map(|record| record.name).collect())
}

/// Asks for the queue of one cluster.
async fn ask(session: &Session, name: &str, args: &QueueArgs) -> Outcome<Vec<JobRecord>> {
    let body = QueueBody {
        common: session.common(),
        cluster_name: name.to_owned(),
        skip_finished: args.skip_finished,
        all_users: args.all_users,
    };
    session.ask("/queue", &body).await
}

/// Returns where `sky logs -s` puts the log of a job, whose directory on the node is given.
fn place_of_log(cluster: &str, on_node: &str) -> String {
    let name = on_node.rsplit('/').next().unwrap_or(on_node);
    format!("~/sky_logs/{cluster}/{name}")
}

/// The table, newest first.
fn table(cluster: &str, jobs: &[JobRecord], now: Moment) -> Table {
    let mut table = Table::new([
        "ID",
        "NAME",
        "USER",
        "SUBMITTED",
        "STARTED",
        "DURATION",
        "RESOURCES",
        "STATUS",
        "LOG",
        "GIT COMMIT",
    ]);
    let mut jobs: Vec<&JobRecord> = jobs.iter().collect();
    jobs.sort_by_key(|job| std::cmp::Reverse(job.job_id));
    for job in jobs {
        table.row([
            job.job_id.to_string().into(),
            job.job_name.as_str().into(),
            job.username.as_str().into(),
            times::ago_secs(Some(job.submitted_at), now).into(),
            times::ago_secs(job.start_at, now).into(),
            times::exact_secs(job.start_at, job.end_at, now).into(),
            job.resources.as_str().into(),
            Cell::toned(job.status.as_str(), style::of_job(job.status)),
            place_of_log(cluster, &job.log_path).into(),
            job.metadata["git_commit"]
                .as_str()
                .unwrap_or(times::NONE)
                .into(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_newest_first() {
        let job = |id: u64, status: &str, start: Option<f64>| -> JobRecord {
            serde_json::from_value(serde_json::json!({
                "job_id": id, "job_name": "sky-cmd", "username": "ann", "user_hash": "a1",
                "submitted_at": 999_954.0, "start_at": start, "end_at": start.map(|s| s + 6.0),
                "resources": "1x[CPU:1+]", "status": status, "log_path": "~/sky_logs/1-sky-cmd",
            }))
            .expect("a record")
        };
        let jobs = [job(1, "FAILED", Some(999_981.0)), job(2, "PENDING", None)];
        let now = Moment::from_micros(1_000_000_000_000);
        insta::assert_snapshot!(
            table("demo", &jobs, now)
                .render(false)
                .replace("  \n", "|\n")
        );
    }
}
