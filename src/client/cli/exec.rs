//! `sky exec`: a task on a cluster that is up.

use clap::Args;
use clap_complete::engine::ArgValueCandidates;

use super::args::{AsyncArgs, ConfigArgs};
use super::logs::tail_job;
use super::overrides::TaskArgs;
use super::submit::submit;
use super::{App, help, task_file};
use crate::api::bodies::{ExecBody, RequestOptions, ValidateBody};
use crate::api::records::LaunchResult;
use crate::base::ids::ClusterName;
use crate::base::{Error, Kind};
use crate::client::completion;
use crate::client::exit::{Exit, Outcome};
use crate::client::session::Repeat;
use crate::client::upload;
use crate::task::to_wire;

/// Run a task or command on an existing cluster
#[derive(Debug, Args)]
#[command(after_help = help::EXEC)]
pub(crate) struct ExecArgs {
    /// The cluster
    #[arg(value_name = "CLUSTER", add = ArgValueCandidates::new(completion::clusters))]
    target: Option<String>,
    /// A YAML file, or a command
    #[arg(value_name = "ENTRYPOINT", value_hint = clap::ValueHint::FilePath)]
    entrypoint: Vec<String>,
    /// The cluster; then everything else is the entry point
    #[arg(short, long, value_name = "NAME", hide = true)]
    cluster: Option<String>,
    /// Return once the job is submitted
    #[arg(short, long, overrides_with = "no_detach_run")]
    detach_run: bool,
    /// Follow the job (the default)
    #[arg(long, hide = true, overrides_with = "detach_run")]
    no_detach_run: bool,
    /// Only check
    #[arg(long, hide = true)]
    dryrun: bool,
    #[command(flatten)]
    detach: AsyncArgs,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    task: TaskArgs,
}

/// Runs the command.
pub(super) async fn run(app: &App, args: ExecArgs) -> Outcome {
    let (cluster, words) = args.cluster_and_words()?;
    let cluster: ClusterName = cluster.parse()?;
    let mut prepared = task_file::read(app, &words).await?;
    prepared.demand_one_task("exec")?;
    let ignored = args.task.ignored_by_exec();
    if !ignored.is_empty() {
        app.ui.err_markup(&format!(
            "[yellow]Ignored, because the cluster exists already: {}[/]",
            ignored.join(", ")
        ));
    }
    prepared.finish(app, &args.task.overrides(None)?)?;
    if let Some(headline) = &prepared.headline {
        app.ui.out(headline);
    }
    let session = app.open(&args.config).await?;
    let validate = ValidateBody {
        common: session.common(),
        dag: to_wire(&prepared.dag),
        request_options: Some(RequestOptions {
            cluster_name: Some(cluster.to_string()),
            dryrun: args.dryrun,
            ..RequestOptions::default()
        }),
    };
    session
        .patiently(Repeat::Always, || session.calls.validate(&validate))
        .await?;
    let mut common = session.common();
    common.file_mounts_blob_id = upload::files(&session, &mut prepared.dag).await?;
    let body = ExecBody {
        common,
        task: to_wire(&prepared.dag),
        cluster_name: cluster.to_string(),
        dryrun: args.dryrun,
    };
    if !args.detach.detach {
        app.ui.out(&format!("Submitting job to cluster: {cluster}"));
    }
    let Some(result) = submit(&session, "/exec", &body, args.detach).await? else {
        return Ok(Exit::Success);
    };
    let result: Option<LaunchResult> = serde_json::from_value(result)
        .map_err(|e| Error::internal("read the result of the submission", &e))?;
    match result.and_then(|result| result.job_id) {
        Some(job) if !args.detach_run => tail_job(&session, cluster.as_str(), job).await,
        Some(_) | None => Ok(Exit::Success),
    }
}

impl ExecArgs {
    /// Tells the cluster from the entry point.
    fn cluster_and_words(&self) -> crate::base::Result<(String, Vec<String>)> {
        let mut words = self.entrypoint.clone();
        let cluster = match (&self.cluster, &self.target) {
            (Some(cluster), first) => {
                words.splice(0..0, first.clone());
                cluster.clone()
            }
            (None, Some(cluster)) => cluster.clone(),
            (None, None) => {
                return Err(Error::new(Kind::Usage, "which cluster? None is named")
                    .hint("sky exec CLUSTER COMMAND"));
            }
        };
        if words.is_empty() {
            return Err(Error::new(
                Kind::Usage,
                "what should run? Neither a command nor a YAML file is given",
            )
            .hint(format!("sky exec {cluster} COMMAND")));
        }
        Ok((cluster, words))
    }
}
