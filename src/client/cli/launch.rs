//! `sky launch`: a cluster, made or reused, and a task on it.

use clap::Args;
use clap_complete::engine::ArgValueCandidates;

use super::args::{AsyncArgs, ConfigArgs, WaitFor, YesArgs};
use super::logs::tail_job;
use super::overrides::TaskArgs;
use super::submit::{see_through, submit};
use super::task_file::{self, Prepared};
use super::{App, entry, help, many};
use crate::api::bodies::{
    LaunchBody, OptimizeBody, Refresh, RequestOptions, StatusBody, ValidateBody,
};
use crate::api::records::{ClusterRecord, LaunchResult};
use crate::api::status::ClusterStatus;
use crate::base::ids::ClusterName;
use crate::base::{Error, Kind, Result};
use crate::client::completion;
use crate::client::exit::{Exit, Outcome};
use crate::client::identity::Identity;
use crate::client::session::Session;
use crate::client::ui::{OnEnter, Tone, report};
use crate::client::upload;
use crate::task::{AutostopSpec, to_wire};

/// Launch a cluster and run a task on it
#[derive(Debug, Args)]
#[command(after_help = help::LAUNCH)]
pub(crate) struct LaunchArgs {
    /// A YAML file, or a command
    #[arg(value_name = "ENTRYPOINT", value_hint = clap::ValueHint::FilePath)]
    entrypoint: Vec<String>,
    /// Name of the cluster; made if there is none of that name [default: a new name]
    #[arg(short, long, value_name = "NAME", add = ArgValueCandidates::new(completion::clusters))]
    cluster: Option<String>,
    /// Show what would be used, and stop
    #[arg(long)]
    dryrun: bool,
    /// Also say what was ruled out, and why
    #[arg(short, long)]
    verbose: bool,
    /// Return once the job is submitted
    #[arg(short, long, overrides_with = "no_detach_run")]
    detach_run: bool,
    /// Follow the job (the default)
    #[arg(long, hide = true, overrides_with = "detach_run")]
    no_detach_run: bool,
    /// Stop the cluster after so many idle minutes; -1 = never
    #[arg(short, long, value_name = "MINUTES", allow_negative_numbers = true)]
    idle_minutes_to_autostop: Option<i64>,
    /// Tear down instead of stop; without -i as soon as all jobs are done
    #[arg(long)]
    down: bool,
    /// What counts as not idle: `jobs_and_ssh`, `jobs` or `none`
    #[arg(long, value_enum, value_name = "WHAT", hide_possible_values = true)]
    wait_for: Option<WaitFor>,
    /// When nothing has capacity, try again for ever
    #[arg(short, long)]
    retry_until_up: bool,
    #[command(flatten)]
    yes: YesArgs,
    /// Skip `setup`
    #[arg(long)]
    no_setup: bool,
    /// Skip provisioning and setup when the cluster is up and fits
    #[arg(long)]
    fast: bool,
    /// Grow or shrink the cluster to `--num-nodes`
    #[arg(
        long,
        requires = "cluster",
        requires = "num_nodes",
        hide_short_help = true
    )]
    resize: bool,
    /// Start with a copy of the disk of this cluster
    #[arg(
        long,
        visible_alias = "clone",
        value_name = "CLUSTER",
        hide_short_help = true
    )]
    clone_disk_from: Option<String>,
    /// Work in this workspace
    #[arg(short, long, value_name = "NAME", hide_short_help = true)]
    workspace: Option<String>,
    #[command(flatten)]
    detach: AsyncArgs,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    task: TaskArgs,
}

/// Runs the command.
pub(super) async fn run(app: &App, mut args: LaunchArgs) -> Outcome {
    refuse_file_as_name(args.cluster.as_deref())?;
    if let Some(workspace) = &args.workspace {
        args.config
            .config
            .push(format!("active_workspace={workspace}"));
    }
    let mut prepared = task_file::read(app, &args.entrypoint).await?;
    prepared.demand_one_task("launch")?;
    warn_about_service(app, &prepared);
    let overrides = args.task.overrides(args.autostop()?)?;
    prepared.finish(app, &overrides)?;
    if let Some(headline) = &prepared.headline {
        app.ui.out(headline);
    }
    let session = app.open(&args.config).await?;
    let cluster = match &args.cluster {
        Some(name) => name.parse()?,
        None => fresh_name(&session.identity)?,
    };
    let validate = ValidateBody {
        common: session.common(),
        dag: to_wire(&prepared.dag),
        request_options: Some(args.request_options(&cluster)),
    };
    session
        .patiently(crate::client::session::Repeat::Always, || {
            session.calls.validate(&validate)
        })
        .await?;
    let asked = confirm(app, &session, &args, &cluster, &validate.dag).await?;
    launch(&session, &args, &cluster, &mut prepared, asked).await
}

/// Submits the launch and sees it through.
async fn launch(
    session: &Session,
    args: &LaunchArgs,
    cluster: &ClusterName,
    prepared: &mut Prepared,
    asked: Asked,
) -> Outcome {
    let mut common = session.common();
    common.file_mounts_blob_id = upload::files(session, &mut prepared.dag).await?;
    let body = LaunchBody {
        common,
        task: to_wire(&prepared.dag),
        cluster_name: cluster.to_string(),
        retry_until_up: args.retry_until_up,
        idle_minutes_to_autostop: None,
        dryrun: args.dryrun,
        down: false,
        no_setup: args.no_setup,
        fast: args.fast,
        quiet_optimizer: asked == Asked::TableShown,
        verbose: args.verbose,
        resize: args.resize,
        include_credentials: true,
        clone_disk_from: args.clone_disk_from.clone(),
    };
    let Some(result) = submit(session, "/launch", &body, args.detach).await? else {
        return Ok(Exit::Success);
    };
    if args.dryrun {
        return Ok(Exit::Success);
    }
    let result: Option<LaunchResult> = serde_json::from_value(result)
        .map_err(|e| Error::internal("read the result of the launch", &e))?;
    let job = result.and_then(|result| result.job_id);
    let exit = match job {
        Some(job) if !args.detach_run => tail_job(session, cluster.as_str(), job).await?,
        Some(_) | None => Exit::Success,
    };
    show_commands(session, cluster, job);
    Ok(exit)
}

impl LaunchArgs {
    /// Returns what is meant, for the policies of the server.
    fn request_options(&self, cluster: &ClusterName) -> RequestOptions {
        RequestOptions {
            cluster_name: Some(cluster.to_string()),
            idle_minutes_to_autostop: self.idle_minutes_to_autostop,
            down: self.down,
            dryrun: self.dryrun,
        }
    }

    /// Returns what `-i`, `--down` and `--wait-for` say together.
    fn autostop(&self) -> Result<Option<AutostopSpec>> {
        if self.idle_minutes_to_autostop.is_none() && !self.down {
            if self.wait_for.is_some() {
                return Err(Error::new(Kind::Usage, "--wait-for needs -i or --down"));
            }
            return Ok(None);
        }
        Ok(Some(AutostopSpec {
            idle_minutes: self.idle_minutes_to_autostop.unwrap_or(0),
            down: self.down,
            wait_for: self.wait_for.map(Into::into).unwrap_or_default(),
        }))
    }
}

/// What the user has seen before the launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// The table of candidates.
    TableShown,
    /// Nothing yet.
    Nothing,
}

/// Asks unless that was ruled out, or the user's own cluster is up already.
async fn confirm(
    app: &App,
    session: &Session,
    args: &LaunchArgs,
    cluster: &ClusterName,
    dag: &str,
) -> Outcome<Asked> {
    if args.yes.yes || args.dryrun {
        return Ok(Asked::Nothing);
    }
    let status = StatusBody {
        common: session.common(),
        cluster_names: Some(vec![cluster.to_string()]),
        refresh: Refresh::None,
        all_users: true,
        include_credentials: false,
        include_handle: false,
        summary_response: false,
    };
    let found: Vec<ClusterRecord> = session.ask("/status", &status).await?;
    let question = match found.first() {
        None => {
            let optimize = OptimizeBody {
                common: session.common(),
                dag: dag.to_owned(),
                request_options: Some(args.request_options(cluster)),
            };
            let id = session.submit("/optimize", &optimize).await?;
            see_through(session, id).await?;
            let question = format!("Launching a new cluster '{cluster}'. Proceed?");
            app.ui.confirm(&question, OnEnter::Yes).await?;
            return Ok(Asked::TableShown);
        }
        Some(record) => question_about(record, session.own_id()),
    };
    if let Some(question) = question {
        app.ui.confirm(&question, OnEnter::Yes).await?;
    }
    Ok(Asked::Nothing)
}

/// Returns what to ask before a cluster that exists is used.
fn question_about(record: &ClusterRecord, own_id: &str) -> Option<String> {
    let name = &record.name;
    let foreign = many::is_foreign(record, own_id);
    match record.status {
        ClusterStatus::Stopped => {
            Some(format!("Restarting the stopped cluster '{name}'. Proceed?"))
        }
        ClusterStatus::Init
        | ClusterStatus::Up
        | ClusterStatus::Autostopping
        | ClusterStatus::Pending => foreign.then(|| {
            let owner = many::owner(record);
            format!("Cluster '{name}' was created by another user ({owner}). Reuse it?")
        }),
    }
}

/// `-c task.yaml` is a slip.
fn refuse_file_as_name(name: Option<&str>) -> Result<()> {
    let Some(name) = name.filter(|name| entry::looks_like_yaml(name)) else {
        return Ok(());
    };
    Err(Error::new(
        Kind::Usage,
        format!("`-c {name}`: that is the name of a file, not of a cluster"),
    )
    .hint(format!("did you mean `sky launch {name}`?")))
}

/// A task with a service is meant for another command.
fn warn_about_service(app: &App, prepared: &Prepared) {
    if prepared.dag.tasks.iter().any(|task| task.service.is_some()) {
        app.ui.err_markup(
            "[yellow]This YAML describes a service; `sky launch` runs its task once and ignores `service`. \
             Services run with `sky serve up`.[/]",
        );
    }
}

/// Returns a name for a cluster that nobody named: `sky-1f2e-ann`.
fn fresh_name(identity: &Identity) -> Result<ClusterName> {
    let random = uuid::Uuid::new_v4().simple().to_string();
    let user: String = identity
        .name
        .to_ascii_lowercase()
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .take(40)
        .collect();
    let user = if user.is_empty() { "user" } else { &user };
    format!("sky-{}-{user}", &random[..4]).parse()
}

/// Says what can be done with the cluster and the job now.
fn show_commands(session: &Session, cluster: &ClusterName, job: Option<u64>) {
    let ui = &session.ui;
    let command = |label: &str, text: String| format!("{label:<28}{}", ui.paint(&text, Tone::Bold));
    let show = |facts: &[String]| ui.out(report::tree(facts, ui.out_colors()).trim_end());
    ui.out("");
    ui.out(&ui.paint("📋 Useful Commands", Tone::Title));
    if let Some(job) = job {
        ui.out(&format!("Job ID: {job}"));
        show(&[
            command("To cancel the job:", format!("sky cancel {cluster} {job}")),
            command("To stream job logs:", format!("sky logs {cluster} {job}")),
            command("To view job queue:", format!("sky queue {cluster}")),
        ]);
    }
    ui.out(&format!("Cluster name: {cluster}"));
    show(&[
        command("To submit a job:", format!("sky exec {cluster} yaml_file")),
        command("To stop the cluster:", format!("sky stop {cluster}")),
        command("To teardown the cluster:", format!("sky down {cluster}")),
    ]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_names_are_names() {
        for name in ["ann", "Jürgen Müller", "", "1234"] {
            let identity = Identity {
                id: "a1b2c3d4".parse().expect("valid"),
                name: name.to_owned(),
            };
            let fresh = fresh_name(&identity).expect("a valid name");
            assert!(fresh.as_str().starts_with("sky-"), "{fresh}");
        }
    }

    #[test]
    fn a_file_is_not_a_cluster() {
        let error = refuse_file_as_name(Some("task.yaml")).expect_err("a file");
        assert_eq!(error.kind(), Kind::Usage);
        assert_eq!(error.hints(), ["did you mean `sky launch task.yaml`?"]);
        assert!(refuse_file_as_name(Some("demo")).is_ok());
    }
}
