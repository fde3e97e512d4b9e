//! One node: its directory, its agent, its end.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tokio_util::task::TaskTracker;

use super::Standing;
use super::share::Deed;
use crate::api::agent::{AGENT_DEVICES, AGENT_TOKEN};
use crate::api::versions::AGENT_PROTOCOL;
use crate::base::ids::NodeRank;
use crate::base::{Error, Kind, Result};
use crate::sys::process;
use crate::sys::ready::{READY_FD, Start, Started, start};
use crate::sys::{fs, lock::FileLock};
use crate::transport::agent_client::AgentClient;
use crate::transport::local::Local;

/// How long an agent may take to be ready (it adopts its jobs first).
const AGENT_DEADLINE: Duration = Duration::from_secs(30);
/// How long an agent may take to be gone after it has answered a shutdown.
const EXIT_DEADLINE: Duration = Duration::from_secs(10);
/// Prefixes of the server's variables that a node must not see.
const NOT_INHERITED: &[&str] = &["SKY", "AWS_", "AZURE_", "GOOGLE_", "KUBECONFIG"];

/// How a node's agent answers.
enum Agent {
    /// As this release does.
    Ours,
    /// As an older one does: its process.
    Older(u32),
    /// Not at all.
    None,
}

/// A node's directory.
pub(crate) struct Node {
    /// The directory.
    dir: PathBuf,
    /// Its place in the set.
    rank: NodeRank,
}

impl Node {
    /// Names the node of a set; it need not exist.
    pub(crate) fn new(set_dir: &Path, rank: NodeRank) -> Self {
        Self {
            dir: set_dir.join(rank.to_string()),
            rank,
        }
    }

    /// Returns where it lies.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns its place in the set.
    pub(crate) const fn rank(&self) -> NodeRank {
        self.rank
    }

    /// Returns its address: a loopback address of its own, so that ranks can listen on the same port.
    pub(crate) fn ip(&self) -> String {
        format!("127.0.0.{}", self.rank.0 + 1)
    }

    /// Returns where its agent listens.
    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.join("agent.sock")
    }

    /// The file that says: stopped.
    fn stopped_mark(&self) -> PathBuf {
        self.dir.join("stopped")
    }

    /// Makes the node, or switches a stopped one on; its home is a directory of its own, or a link to this one.
    pub(crate) fn create(&self, login_home: Option<&Path>) -> Result<()> {
        let home = self.dir.join("home");
        match login_home {
            Some(target) if home.symlink_metadata().is_err() => {
                std::os::unix::fs::symlink(target, &home)
                    .map_err(|e| Error::io(format!("make `{}`", home.display()), &e))?;
            }
            Some(_) => {}
            None => fs::private_dir(&home)?,
        }
        match std::fs::remove_file(self.stopped_mark()) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io(
                format!("switch on node `{}`", self.dir.display()),
                &e,
            )),
            _ => Ok(()),
        }
    }

    /// Says how it stands.
    pub(crate) fn observe(&self) -> Standing {
        if !self.dir.join("home").is_dir() {
            Standing::Gone
        } else if self.stopped_mark().exists() {
            Standing::Stopped
        } else {
            Standing::Running
        }
    }

    /// Makes a client of its agent.
    fn client(&self) -> AgentClient {
        AgentClient::new(Arc::new(Local::new(self.socket())))
    }

    /// Asks its agent.
    async fn agent(&self) -> Agent {
        match self.client().info().await {
            Ok(info) if info.protocol < AGENT_PROTOCOL => Agent::Older(info.pid),
            Ok(_) => Agent::Ours,
            Err(_) => Agent::None,
        }
    }

    /// Starts its agent unless one answers; one of an older release is replaced, and its jobs go on. Callers that race start
    /// one: the lock decides.
    pub(crate) async fn ensure_agent(&self, reapers: &TaskTracker) -> Result<()> {
        if matches!(self.agent().await, Agent::Ours) {
            return Ok(());
        }
        let path = self.dir.join("start.lock");
        let lock = blocking(move || FileLock::acquire_within(&path, AGENT_DEADLINE)).await?;
        match self.agent().await {
            Agent::Ours => return Ok(()),
            Agent::Older(pid) => retire(pid).await?,
            Agent::None => {}
        }
        let dir = self.dir.clone();
        let mut started = blocking(move || start_agent(&dir, &lock)).await?;
        reapers.spawn(async move {
            if let Err(e) = wait_exit(started.child.id()).await {
                tracing::warn!(error = %e.one_line(), "cannot watch an agent");
            }
            if let Err(e) = started.child.try_wait() {
                tracing::warn!(error = %e, "cannot reap an agent");
            }
        });
        Ok(())
    }

    /// Ends all its processes and marks it stopped. A node that is stopped or gone is left alone.
    pub(crate) async fn stop(&self, reapers: &TaskTracker) -> Result<()> {
        match self.observe() {
            Standing::Gone | Standing::Stopped => return Ok(()),
            Standing::Running => {}
        }
        // The agent knows the process trees, also those that it has to adopt first.
        self.ensure_agent(reapers).await?;
        let client = self.client();
        let info = client.info().await?;
        client.shutdown().await?;
        let gone = tokio::time::timeout(EXIT_DEADLINE, wait_exit(info.pid)).await;
        if gone.is_err() {
            return Err(Error::new(
                Kind::Timeout,
                format!(
                    "the agent of node `{}` (process {}) did not end",
                    self.dir.display(),
                    info.pid
                ),
            ));
        }
        fs::write_atomic(&self.stopped_mark(), b"", 0o600)
    }
}

/// Ends an agent, but not its jobs: their supervisors hold them until the next agent takes them up.
async fn retire(pid: u32) -> Result<()> {
    let Some(agent) = process::identity(pid) else {
        return Ok(());
    };
    tracing::info!(pid, "replacing an agent of an older release");
    process::signal(agent, Signal::TERM);
    tokio::time::timeout(EXIT_DEADLINE, wait_exit(pid))
        .await
        .unwrap_or_else(|_| {
            Err(Error::new(
                Kind::Timeout,
                format!("the agent of an older release (process {pid}) did not end"),
            ))
        })
}

/// Runs what blocks where it may.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Error::internal("start the agent", &e))?
}

/// Waits until a process has ended.
async fn wait_exit(pid: u32) -> Result<()> {
    let Some(identity) = process::identity(pid) else {
        return Ok(());
    };
    let watch = || format!("watch process {pid}");
    match process::Exit::of(identity).map_err(|e| Error::io(watch(), &e))? {
        None => Ok(()),
        Some(exit) => exit.wait().await.map_err(|e| Error::io(watch(), &e)),
    }
}

/// Starts the agent of a node.
fn start_agent(dir: &Path, lock: &FileLock) -> Result<Started> {
    let mut args: Vec<OsString> = vec![
        "__agent".into(),
        "--dir".into(),
        dir.into(),
        "--ready-fd".into(),
        READY_FD.into(),
    ];
    let mut envs: Vec<(OsString, OsString)> = Vec::new();
    let deed = Deed::read(dir)?;
    if let Some(devices) = deed.as_ref().and_then(|deed| deed.devices.as_ref()) {
        let devices: Vec<String> = devices.iter().map(u32::to_string).collect();
        envs.push((AGENT_DEVICES.into(), devices.join(",").into()));
    }
    if let Some(network) = deed.and_then(|deed| deed.network) {
        args.extend(["--port".into(), network.port.to_string().into()]);
        // Arguments are for everybody to see, the environment is not.
        envs.push((AGENT_TOKEN.into(), network.token.into()));
    }
    start(&Start {
        args: &args,
        log: &dir.join("agent.log"),
        envs: &envs,
        without: NOT_INHERITED,
        lock,
        deadline: AGENT_DEADLINE,
    })
}

/// Prefix of directories that are being removed.
const TRASH: &str = ".removed-";

/// Removes a set: out of sight at once, then file by file. Finishes what an earlier removal left.
pub(crate) async fn remove_set(root: PathBuf, name: String) -> Result<()> {
    let remove = move || -> Result<()> {
        let trash = root.join(format!("{TRASH}{}", uuid::Uuid::new_v4().simple()));
        match std::fs::rename(root.join(&name), &trash) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io(format!("remove the nodes of `{name}`"), &e));
            }
            _ => {}
        }
        for entry in std::fs::read_dir(&root).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(TRASH) {
                match std::fs::remove_dir_all(entry.path()) {
                    Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                        return Err(Error::io(
                            format!("remove `{}`", entry.path().display()),
                            &e,
                        ));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    };
    tokio::task::spawn_blocking(remove)
        .await
        .map_err(|e| Error::internal("remove nodes", &e))?
}

/// Lists the sets that exist.
pub(crate) fn sets(root: &Path) -> Result<Vec<String>> {
    let mut names = names_in(root)?;
    names.retain(|name| !name.starts_with('.'));
    Ok(names)
}

/// Lists the nodes that a set's directory holds.
pub(crate) fn nodes_in(set_dir: &Path) -> Result<Vec<Node>> {
    let ranks = names_in(set_dir)?.into_iter();
    let ranks = ranks.filter_map(|name| name.parse().ok().map(NodeRank));
    Ok(ranks.map(|rank| Node::new(set_dir, rank)).collect())
}

/// Lists what is in a directory; nothing when it does not exist.
fn names_in(dir: &Path) -> Result<Vec<String>> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io(format!("list `{}`", dir.display()), &e)),
    };
    Ok(entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect())
}
