//! The sync steps of launch and exec: the work directory and file mounts, onto every node.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use super::{Ops, Origin, bucket};
use crate::api::agent::GitWorkdir;
use crate::api::bodies::Common;
use crate::base::cx::Cx;
use crate::base::units::Bytes;
use crate::base::{Error, Kind, Result};
use crate::clusters::{Cluster, Shipment, Shipped};
use crate::task::{GIT_SSH_KEY, GIT_TOKEN, MountSource, Task, Workdir};

/// Where the work directory is on a node.
const WORKDIR: &str = "sky_workdir";
/// A sync that takes longer says how much it was.
const LONG: Duration = Duration::from_secs(2);

/// Where the paths in a task lead on this machine.
pub(super) struct Sources<'a> {
    /// The task.
    task: &'a Task,
    /// The root under which its paths lie: an upload; none = this machine's own paths.
    root: Option<PathBuf>,
}

impl<'a> Sources<'a> {
    /// Decides where the task's paths lead; a remote caller only ever reads uploads of their own.
    pub(super) fn new(
        ops: &Ops,
        cx: &Cx,
        common: &Common,
        origin: Origin,
        task: &'a Task,
    ) -> Result<Self> {
        let blob = common.file_mounts_blob_id.as_ref().map(|id| {
            ops.clients
                .join(cx.caller().id.as_str())
                .join("file_mounts/blobs")
                .join(id.as_str())
        });
        if blob.is_none() && origin == Origin::Remote && needs_files(task) {
            return Err(Error::new(
                Kind::InvalidTask,
                "the task names local files, but nothing was uploaded for it",
            )
            .hint("submit it again with an up-to-date client, which uploads them"));
        }
        let root = blob;
        Ok(Self { task, root })
    }

    /// Returns where a path of the task is on this machine.
    fn locate(&self, written: &str) -> Result<PathBuf> {
        let Some(root) = &self.root else {
            return expand_home(written);
        };
        let mapped = self
            .task
            .file_mounts_mapping
            .get(written)
            .map_or(written, String::as_str);
        let inside: PathBuf = Path::new(mapped.trim_start_matches("~/"))
            .components()
            .filter(|c| !matches!(c, Component::RootDir | Component::CurDir))
            .collect();
        if inside
            .components()
            .any(|c| matches!(c, Component::ParentDir))
        {
            return Err(Error::new(
                Kind::InvalidTask,
                format!("path `{written}` leads out of the upload"),
            ));
        }
        Ok(root.join(inside))
    }
}

/// Whether a task names files of the caller's machine.
fn needs_files(task: &Task) -> bool {
    matches!(task.workdir, Some(Workdir::Local(_)))
        || task
            .file_mounts
            .values()
            .any(|source| matches!(source, MountSource::Local(_)))
}

/// Expands `~` at the beginning of a path to the home directory of this account.
fn expand_home(path: &str) -> Result<PathBuf> {
    let expanded = match path.strip_prefix('~') {
        Some("") => crate::sys::env::home(),
        Some(rest) if rest.starts_with('/') => crate::sys::env::home().join(&rest[1..]),
        _ => PathBuf::from(path),
    };
    if expanded.is_absolute() {
        Ok(expanded)
    } else {
        Err(Error::new(
            Kind::InvalidTask,
            format!("path `{path}` is not absolute, so the server cannot find it"),
        ))
    }
}

/// Sees that the mounts can be carried out, before anything is launched for them.
pub(super) async fn check(ops: &Ops, cx: &Cx, sources: &Sources<'_>) -> Result<()> {
    for (dest, source) in &sources.task.file_mounts {
        match (source, bucket::Place::of(source, dest)?) {
            (_, Some(place)) => {
                cx.unless_cancelled(Box::pin(bucket::check(ops, &place)))
                    .await?;
            }
            (MountSource::Local(path), None) => {
                let path = sources.locate(path)?;
                path.metadata().map_err(|e| {
                    let what = format!("cannot read `{}`", path.display());
                    Error::new(Kind::InvalidTask, what).caused_by(&e)
                })?;
            }
            (MountSource::Uri(_) | MountSource::Storage(_), None) => {}
        }
    }
    Ok(())
}

/// Puts the work directory on the nodes.
pub(super) async fn workdir(
    ops: &Ops,
    cx: &Cx,
    cluster: &Cluster,
    sources: &Sources<'_>,
) -> Result<()> {
    let written = match &sources.task.workdir {
        None => return Ok(()),
        Some(Workdir::Local(path)) => path,
        Some(Workdir::Git { url, git_ref }) => {
            return repository(ops, cx, cluster, sources.task, (url, git_ref.as_deref())).await;
        }
    };
    cx.spinner("[bold cyan]Syncing workdir[/]");
    cx.line("⚙︎ Syncing files.");
    cx.line(format!(
        "  Syncing workdir (to {}): {written} -> ~/{WORKDIR}",
        nodes(cluster)
    ));
    let shipment = Shipment {
        source: sources.locate(written)?,
        dest: WORKDIR.to_owned(),
        doing: "Syncing workdir".to_owned(),
    };
    ship(ops, cx, cluster, &shipment).await?;
    cx.line("✓ Synced workdir.");
    Ok(())
}

/// Puts a repository on the nodes as the work directory.
async fn repository(
    ops: &Ops,
    cx: &Cx,
    cluster: &Cluster,
    task: &Task,
    (url, git_ref): (&str, Option<&str>),
) -> Result<()> {
    let secret = |name: &str| task.secrets.get(name).map(|s| s.reveal().to_owned());
    // SkyPilot's clients find out that a repository with an ssh URL can be had over https without a key.
    let https = task.envs.get("GIT_URL").filter(|found| {
        let url = url.trim_end_matches('/').trim_end_matches(".git");
        let path = |text: &str| text.rsplit([':', '/']).next().map(str::to_owned);
        found.starts_with("https://") && path(found.trim_end_matches(".git")) == path(url)
    });
    let ssh_key = secret(GIT_SSH_KEY);
    let url = match https {
        Some(https) if ssh_key.is_none() => https,
        Some(_) | None => url,
    };
    let workdir = GitWorkdir {
        dest: WORKDIR.to_owned(),
        url: url.to_owned(),
        git_ref: git_ref.map(str::to_owned),
        token: secret(GIT_TOKEN),
        ssh_key,
    };
    let shown = workdir.shown();
    let at = git_ref.map(|name| format!(" ({name})")).unwrap_or_default();
    cx.spinner("[bold cyan]Syncing workdir[/]");
    cx.line("⚙︎ Syncing files.");
    cx.line(format!(
        "  Syncing workdir (to {}): {shown}{at} -> ~/{WORKDIR}",
        nodes(cluster)
    ));
    let state = cx
        .unless_cancelled(ops.clusters.bring(cluster, &workdir))
        .await?;
    let short = |commit: &str| commit[..commit.len().min(12)].to_owned();
    let commit = short(&state.commit);
    cx.line(match &state.before {
        Some(before) if *before != state.commit => {
            format!("  at commit {commit}, before: {}", short(before))
        }
        Some(_) | None => format!("  at commit {commit}"),
    });
    if state.discarded > 0 {
        cx.line(format!(
            "  {} files that were changed on the node are as in the commit again",
            state.discarded
        ));
    }
    cx.line("✓ Synced workdir.");
    Ok(())
}

/// Puts the file mounts on the nodes.
pub(super) async fn file_mounts(
    ops: &Ops,
    cx: &Cx,
    cluster: &Cluster,
    sources: &Sources<'_>,
) -> Result<()> {
    if sources.task.file_mounts.is_empty() {
        return Ok(());
    }
    cx.spinner("[bold cyan]Syncing file mounts[/]");
    if sources.task.workdir.is_none() {
        cx.line("⚙︎ Syncing files.");
    }
    for (dest, source) in &sources.task.file_mounts {
        let place = bucket::Place::of(source, dest)?;
        let written = match (source, &place) {
            (MountSource::Local(path), _) => path.clone(),
            (_, Some(place)) => place.shown(),
            (MountSource::Uri(_) | MountSource::Storage(_), None) => continue,
        };
        cx.line(format!(
            "  Syncing (to {}): {written} -> {dest}",
            nodes(cluster)
        ));
        if let Some(place) = &place {
            let copied = bucket::copy(ops, cx, cluster, place, dest);
            report(cx, &cx.unless_cancelled(Box::pin(copied)).await?);
            continue;
        }
        let shipment = Shipment {
            source: sources.locate(&written)?,
            dest: dest.clone(),
            doing: "Syncing file mounts".to_owned(),
        };
        ship(ops, cx, cluster, &shipment).await?;
    }
    cx.line("✓ Synced file_mounts.");
    Ok(())
}

/// Puts a file or tree on the nodes, and says what is worth saying of it.
async fn ship(ops: &Ops, cx: &Cx, cluster: &Cluster, shipment: &Shipment) -> Result<()> {
    let shipped = cx
        .unless_cancelled(ops.clusters.ship(cx, cluster, shipment))
        .await
        .map_err(|error| match error.kind() {
            Kind::Unreachable | Kind::Timeout => {
                let dest = &shipment.dest;
                error.context(format!("cannot sync files to `{dest}`"))
            }
            _ => error,
        })?;
    report(cx, &shipped);
    Ok(())
}

/// Says what is worth saying of a sync.
fn report(cx: &Cx, shipped: &Shipped) {
    if shipped.took >= LONG {
        let (files, bytes) = (shipped.files, Bytes(shipped.bytes));
        let seconds = shipped.took.as_secs_f64();
        cx.line(format!("  {files} files, {bytes} in {seconds:.1} s"));
    }
    if shipped.torn > 0 {
        cx.line(format!(
            "  {} files were written to while they were read; the next sync looks at them again",
            shipped.torn
        ));
    }
}

/// Counts nodes in words.
fn nodes(cluster: &Cluster) -> String {
    match cluster.set.count {
        1 => "1 node".to_owned(),
        n => format!("{n} nodes"),
    }
}
