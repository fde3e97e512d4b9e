//! `sky launch`: optimise, provision (or reuse), sync, set up, submit.

use std::sync::Arc;

use serde_json::{Value, json};

use super::optimize::Detail;
use super::retry::{or_wait, patience};
use super::submission::{self, Setup};
use super::sync::{self, Sources};
use super::{Ops, Origin, Outcome, validate};
use crate::api::agent::AutostopSetting;
use crate::api::bodies::LaunchBody;
use crate::base::clock::Moment;
use crate::base::cx::Cx;
use crate::base::ids::ClusterName;
use crate::base::timings::{self, Part};
use crate::base::{Error, Kind, Result};
use crate::clouds::CloudId;
use crate::clusters::{Choice, Cluster, Patience, Placed, State, handle};
use crate::optimizer::Candidate;
use crate::task::{Shape, Task};

/// Runs the verb.
pub(super) async fn run(ops: &Ops, cx: &Cx, body: LaunchBody, origin: Origin) -> Result<Outcome> {
    let ended = timings::recorded(attempt(ops, cx, &body, origin)).await;
    let patience = patience(body.retry_until_up);
    or_wait(ops, cx, &body.cluster_name, patience, ended).await
}

/// One attempt, in steps that a restart does not repeat.
async fn attempt(ops: &Ops, cx: &Cx, body: &LaunchBody, origin: Origin) -> Result<Value> {
    let name: ClusterName = body.cluster_name.parse()?;
    let task = validate::single(&body.task)?;
    if body.resize || body.clone_disk_from.is_some() {
        let flag = if body.resize {
            "--resize"
        } else {
            "--clone-disk-from"
        };
        return Err(Error::new(
            Kind::NotSupported,
            format!("this release does not have `{flag}`"),
        ));
    }
    let sources = Sources::new(ops, cx, &body.common, origin, &task)?;
    cx.spinner("[bold cyan]Optimizing[/]");
    let Some(candidates) = candidates(ops, cx, &name, &task, body).await? else {
        cx.end_spinner();
        cx.line("Dryrun finished.");
        return Ok(Value::Null);
    };
    sync::check(ops, cx, &sources).await?;
    let placed = place(ops, cx, &name, &task, &candidates).await?;
    let up = existing_up(ops, &placed).await?;
    let is_new = up.is_none() && placed.created;
    let cluster = if let Some(cluster) = up {
        if !body.fast {
            ops.clusters.ensure_agents(&cluster).await?;
        }
        cluster
    } else {
        let patience = patience(body.retry_until_up);
        machines(ops, cx, &placed, candidates, patience).await?
    };
    let cluster = remember(ops, cx, &cluster, body, &task).await?;
    cx.step("workdir", || {
        timings::during(Part::Sync, sync::workdir(ops, cx, &cluster, &sources))
    })
    .await?;
    cx.step("file_mounts", || {
        timings::during(Part::Sync, sync::file_mounts(ops, cx, &cluster, &sources))
    })
    .await?;
    cx.step("autostop", || autostop(ops, &cluster, &task))
        .await?;
    let setup = if body.no_setup || (body.fast && !placed.created) {
        Setup::Skip
    } else {
        Setup::Run
    };
    let job = cx
        .step("submit", || {
            timings::during(
                Part::Submit,
                submission::submit(ops, cx, &cluster, &task, setup),
            )
        })
        .await?;
    cx.end_spinner();
    if is_new {
        say_what_it_took(cx, &cluster);
    }
    let mut result = json!({ "job_id": job, "handle": handle(&cluster) });
    if body.include_credentials {
        // Nodes of this release have no SSH server. The key itself tells that there is no need to ask again.
        result["credentials"] = Value::Null;
    }
    Ok(result)
}

/// Says how long a new cluster has taken, and where the time went. What is on this machine takes none that is worth telling.
fn say_what_it_took(cx: &Cx, cluster: &Cluster) {
    if cluster.cloud != CloudId::Local
        && let Some(spent) = timings::so_far()
    {
        cx.line(format!("Launched in {spent}"));
    }
}

/// Finds where the cluster could be, and shows it; none after a dry run. An existing cluster is its own candidate.
async fn candidates(
    ops: &Ops,
    cx: &Cx,
    name: &ClusterName,
    task: &Task,
    body: &LaunchBody,
) -> Result<Option<Vec<Choice>>> {
    let existing = ops.clusters.find(name).await?;
    let mine = existing
        .as_ref()
        .is_some_and(|c| c.provisioned_by == cx.request());
    if let Some(cluster) = existing {
        submission::require_fit(&cluster, task)?;
        if body.dryrun {
            return Ok(None);
        }
        if !mine && cluster.state.is_in_use() {
            cx.line(format!("Running on cluster: {name}"));
        }
        if !mine || cluster.ever_up {
            return Ok(Some(vec![Choice::of(&cluster)]));
        }
        // A launch that goes on after a restart or a wait: it may go elsewhere still.
    }
    let plan = super::optimize::plan(
        ops,
        task,
        if body.verbose {
            Detail::Priced
        } else {
            Detail::Named
        },
    )
    .await?;
    if plan.all_blocked {
        cx.line("Everything that fits was refused a short time ago; trying it all the same.");
    }
    if !body.quiet_optimizer {
        cx.line(crate::optimizer::table(&plan).trim_end());
    }
    if body.verbose {
        cx.line(crate::optimizer::ruled_out(&plan));
    }
    if body.dryrun {
        return Ok(None);
    }
    let alternatives = task.resources.alternatives.iter().cloned();
    let wishes: Vec<Arc<Shape>> = alternatives.map(Arc::new).collect();
    let choice = |candidate: Candidate| Choice {
        wish: wishes
            .get(candidate.alternative)
            .cloned()
            .unwrap_or_default(),
        offer: candidate.offer,
    };
    Ok(Some(plan.candidates.into_iter().map(choice).collect()))
}

/// The step that stores the intent.
async fn place(
    ops: &Ops,
    cx: &Cx,
    name: &ClusterName,
    task: &Task,
    candidates: &[Choice],
) -> Result<Placed> {
    let Some(first) = candidates.first() else {
        return Err(Error::new(
            Kind::Internal,
            "the optimizer returned no candidate",
        ));
    };
    cx.step("intend", || {
        ops.clusters.intend(cx, name, task.num_nodes, first)
    })
    .await
}

/// Returns the cluster if it is up already; an error when it is another one by now.
async fn existing_up(ops: &Ops, placed: &Placed) -> Result<Option<Cluster>> {
    let name = &placed.name;
    let cluster = ops.clusters.get(name).await?;
    if cluster.hash != placed.hash {
        return Err(Error::new(
            Kind::Conflict,
            format!("cluster `{name}` was removed while it was being launched"),
        ));
    }
    Ok(Some(cluster).filter(|c| matches!(c.state, State::Up { .. })))
}

/// The steps that make machines and agents run.
pub(super) async fn machines(
    ops: &Ops,
    cx: &Cx,
    placed: &Placed,
    choices: Vec<Choice>,
    patience: Patience,
) -> Result<Cluster> {
    let name = &placed.name;
    // Between two attempts a cluster that was stopped is stopped, and the record of a new one waits.
    ops.clusters.resume(cx, placed).await?;
    cx.step("provision", || async {
        ops.clusters
            .provision(cx, placed, choices, patience)
            .await
            .map(drop)
    })
    .await?;
    let cluster = ops.clusters.bring_up(cx, placed).await?;
    cx.line(format!(
        "✓ Cluster launched: {name}.  View logs: sky logs --provision {name}"
    ));
    Ok(cluster)
}

/// Notes the command that used the cluster last, and an autostop setting that comes with the task.
async fn remember(
    ops: &Ops,
    cx: &Cx,
    cluster: &Cluster,
    body: &LaunchBody,
    task: &Task,
) -> Result<Cluster> {
    cx.check()?;
    let command = Some(body.common.entrypoint_command.clone()).filter(|c| !c.is_empty());
    let wish = autostop_wish(task);
    ops.clusters
        .adjust(cluster, move |c| {
            c.launched_at = Moment::now();
            c.last_command = command;
            if let Wish::Set(setting) = wish {
                c.autostop = setting;
            }
        })
        .await
}

/// What a task says about autostop.
enum Wish {
    /// Nothing: what was set before stays.
    Keep,
    /// This; none switches it off.
    Set(Option<AutostopSetting>),
}

/// Returns what a task says about autostop.
fn autostop_wish(task: &Task) -> Wish {
    match task.resources.first().autostop {
        None => Wish::Keep,
        Some(spec) => Wish::Set(super::autostop::setting(
            spec.idle_minutes,
            spec.down,
            Some(spec.wait_for),
        )),
    }
}

/// The step that hands the autostop setting to the head.
async fn autostop(ops: &Ops, cluster: &Cluster, task: &Task) -> Result<()> {
    match autostop_wish(task) {
        Wish::Keep => Ok(()),
        Wish::Set(setting) => super::autostop::hand_over(ops, cluster, setting.as_ref()).await,
    }
}

/// After a cancelled run: a cluster that this request began and that never came up is removed; others stay usable.
pub(super) async fn on_cancelled(ops: &Ops, cx: &Cx, name: &str) -> Option<String> {
    let parsed: ClusterName = name.parse().ok()?;
    let cluster = match ops.clusters.find(&parsed).await {
        Ok(Some(cluster)) => cluster,
        Ok(None) => return Some(format!("no cluster `{name}` was made")),
        Err(error) => {
            return Some(format!(
                "cannot tell whether cluster `{name}` exists: {}",
                error.one_line()
            ));
        }
    };
    match cluster.state {
        State::Up { .. } | State::Unhealthy { .. } => submission::revoke(ops, cx, name).await,
        State::Launching { .. } if cluster.provisioned_by == cx.request() => {
            undo(ops, cx, &cluster).await
        }
        State::Stopped { .. } if cluster.waits.is_some() => {
            let over = ops.clusters.adjust(&cluster, |c| c.waits = None).await;
            over.err().map(|error| error.one_line())
        }
        State::Launching { .. }
        | State::Stopping { .. }
        | State::Stopped { .. }
        | State::Terminating { .. } => None,
    }
}

/// Takes back a cluster that is being made: removes a new one, stops one that was being started again.
async fn undo(ops: &Ops, cx: &Cx, cluster: &Cluster) -> Option<String> {
    let name = &cluster.name;
    let (undone, what) = if cluster.ever_up && !cluster.was_stopped() {
        // It was being repaired: its jobs may run.
        let why = "it was cancelled";
        ops.clusters.put_back(cluster, why).await;
        (Ok(()), "is as it was; to repair it: sky start")
    } else if cluster.ever_up {
        (
            ops.clusters.stop(cluster, false).await.map(drop),
            "is stopped again",
        )
    } else {
        (
            ops.clusters.terminate(cluster, false, false).await,
            "was removed again",
        )
    };
    match undone {
        Ok(()) => Some(format!("cluster `{name}` {what}")),
        Err(error) => {
            tracing::warn!(request = %cx.request(), cluster = %name, error = %error.one_line(), "cannot undo a cancelled launch");
            Some(format!(
                "cluster `{name}` is half made ({}); remove it: sky down {name}",
                error.one_line()
            ))
        }
    }
}
