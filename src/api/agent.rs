//! What the server and a node's agent say to each other: JSON over HTTP on any byte stream.
//!
//! | method and path | body → answer |
//! | --- | --- |
//! | `GET /v1/info` | → [`AgentInfo`] |
//! | `PUT /v1/config` | [`NodeConfig`] → `null`; sets peers and cluster facts, idempotent |
//! | `POST /v1/jobs` | [`SubmitJob`] → [`Submitted`]; idempotent by `key` |
//! | `GET /v1/jobs` | → `Vec<`[`JobInfo`]`>`, newest first; `?unfinished=true`, `?limit=` |
//! | `GET /v1/jobs/latest`, `/v1/jobs/{id}` | → [`JobInfo`]; 404 without one |
//! | `POST /v1/jobs/cancel` | [`CancelJobs`] → [`Cancelled`] |
//! | `GET /v1/jobs/{id}/log?offset=&follow=` | → framed stream (`api::frames`) of the combined log; begins at byte `offset`, or `tail=` lines or `back=` bytes before its end; at most `limit=` bytes |
//! | `GET /v1/jobs/{id}/files` | → tar stream of the job's log directory |
//! | `PUT /v1/autostop` | [`AutostopSetting`] or `null` → `null` |
//! | `GET /v1/events?since=` | → stream of JSON lines [`AgentEvent`], for ever |
//! | `POST /v1/files/compare?dest=&digest=` | a compressed [`Manifest`](super::manifest::Manifest), or nothing when only its digest is asked about → [`Lacking`](super::manifest::Lacking), or nothing when the digest is unknown; `dest` under the node's home |
//! | `PUT /v1/files/content?dest=&digest=&packed=` | [`Record`](super::manifest::Record)s, with `packed=true` compressed → what was put in its place |
//! | `POST /v1/files/fetch` | [`FetchFiles`] → what was put in its place |
//! | `POST /v1/files/git` | [`GitWorkdir`] → [`GitState`] when the repository is there |
//! | `POST /v1/ranks` | [`StartRank`] → `null`; head to worker, idempotent by (job, rank, phase) |
//! | `GET /v1/ranks/{job}/{rank}/{phase}` | → [`RankInfo`]; `?wait=true` answers when it has ended |
//! | `GET /v1/ranks/{job}/{rank}/{phase}/log?offset=` | → framed stream of the raw output |
//! | `POST /v1/ranks/{job}/{rank}/stop` | → `null` when the process tree is gone |
//! | `POST /v1/poweroff` | head to worker → `null`; switches the machine off, where it is the node's alone |
//! | `POST /v1/shutdown` | → `null`; stops all jobs' processes (bounded by a grace), then the agent |
//!
//! Errors are `{"error": base::Error}` with the status of the error's kind.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::bodies::WaitFor;
use super::status::JobStatus;
use crate::base::clock::Moment;
use crate::base::ids::{JobId, NodeRank, UserId};

/// The variable that tells an agent the secret of its set, where it listens on the network.
pub(crate) const AGENT_TOKEN: &str = "SKY_AGENT_TOKEN";
/// The variable that tells an agent which GPUs of its machine are its node's: indices between commas. Unset: all.
pub(crate) const AGENT_DEVICES: &str = "SKY_AGENT_DEVICES";

/// What an agent says of itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AgentInfo {
    /// [`super::versions::AGENT_PROTOCOL`].
    pub(crate) protocol: u32,
    /// Release of the binary.
    pub(crate) version: String,
    /// Its process.
    pub(crate) pid: u32,
    /// Its node.
    pub(crate) rank: NodeRank,
    /// When this process began.
    pub(crate) started: Moment,
    /// Jobs that are not finished.
    pub(crate) unfinished: u64,
    /// The autostop setting.
    pub(crate) autostop: Option<AutostopSetting>,
    /// Hash of the [`NodeConfig`] in force, as 16 hex digits; empty without one.
    pub(crate) config_hash: String,
}

/// Files of a list that a node gets from elsewhere. The URLs hold permissions: no `Debug`.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct FetchFiles {
    /// Under the node's home.
    pub(crate) dest: String,
    /// Names the list of files.
    pub(crate) digest: String,
    /// The files.
    pub(crate) files: Vec<FetchFile>,
}

/// One file that a node gets from elsewhere.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct FetchFile {
    /// Its index in the list.
    pub(crate) index: usize,
    /// Bytes of it that the node has from an earlier attempt.
    pub(crate) have: u64,
    /// Where it is; permits to get it for some hours.
    pub(crate) url: String,
    /// Names its version: another one is not taken.
    pub(crate) etag: String,
}

/// A repository that becomes a directory of a node. It holds secrets: no `Debug`.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct GitWorkdir {
    /// Under the node's home.
    pub(crate) dest: String,
    /// Where it is cloned from. It may hold credentials: show `shown()`.
    pub(crate) url: String,
    /// Branch, tag or commit; the remote's own branch without one.
    pub(crate) git_ref: Option<String>,
    /// Password for https.
    pub(crate) token: Option<String>,
    /// Private key for ssh.
    pub(crate) ssh_key: Option<String>,
}

impl GitWorkdir {
    /// Returns the URL as it may be shown.
    pub(crate) fn shown(&self) -> String {
        match self.url.split_once("://") {
            Some((scheme, rest)) if scheme.starts_with("http") => {
                let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                let host = authority.rsplit('@').next().unwrap_or(authority);
                format!("{scheme}://{host}{path}")
            }
            _ => self.url.clone(),
        }
    }
}

/// How a repository on a node stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GitState {
    /// The commit that is checked out.
    pub(crate) commit: String,
    /// The one that was before, if there was one.
    pub(crate) before: Option<String>,
    /// Files of the repository that jobs had changed, and that are as in the commit again.
    pub(crate) discarded: u64,
}

/// What a node must know of its cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct NodeConfig {
    /// The cluster's name.
    pub(crate) cluster: String,
    /// This node.
    pub(crate) rank: NodeRank,
    /// All nodes by rank, this one included.
    pub(crate) nodes: Vec<Peer>,
    /// Text of `SKYPILOT_CLUSTER_INFO`.
    pub(crate) cluster_info: String,
    /// CPUs of a node, for the queue.
    pub(crate) cpus: f64,
    /// Accelerators of a node: name and count.
    #[serde(default)]
    pub(crate) accelerators: BTreeMap<String, f64>,
    /// Seconds between TERM and KILL.
    #[serde(default = "default_grace")]
    pub(crate) kill_grace_secs: f64,
    /// The machine is the node's alone: when the idle time is over and no server listens, it is switched off.
    #[serde(default)]
    pub(crate) owns_machine: bool,
}

/// Thirty seconds, as the tool users come from gives.
const fn default_grace() -> f64 {
    30.0
}

/// How to reach a node of the same cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Peer {
    /// Its rank.
    pub(crate) rank: NodeRank,
    /// Its address, as jobs see it in `SKYPILOT_NODE_IPS`.
    pub(crate) ip: String,
    /// Where its agent listens, seen from the other nodes.
    pub(crate) address: PeerAddress,
}

/// Where an agent listens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum PeerAddress {
    /// A Unix socket on the same machine.
    Unix {
        /// Its path.
        path: String,
    },
    /// A TCP address, with the cluster's token.
    Tcp {
        /// `host:port`.
        address: String,
        /// Bearer token.
        token: String,
    },
}

/// A job to run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SubmitJob {
    /// Who submits: the request's id. The same key gives the same job, never a second one.
    pub(crate) key: String,
    /// What to run.
    pub(crate) spec: JobSpec,
}

/// What a job is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct JobSpec {
    /// Task name; none = `-` in paths and queue.
    pub(crate) name: Option<String>,
    /// Owner.
    pub(crate) user: UserId,
    /// Owner's display name.
    pub(crate) user_name: String,
    /// Script to run on every node of the cluster first; none = no setup phase.
    pub(crate) setup: Option<String>,
    /// Script to run on `num_nodes` nodes; none = only setup.
    pub(crate) run: Option<String>,
    /// Gang size.
    pub(crate) num_nodes: u32,
    /// Environment: envs and secrets of the task.
    pub(crate) envs: BTreeMap<String, String>,
    /// Names in `envs` whose values are secret: never printed, never shown.
    #[serde(default)]
    pub(crate) secret_names: Vec<String>,
    /// CPUs of each node that the job occupies in the queue (0.5 when not asked for).
    pub(crate) cpus: f64,
    /// Accelerators of each node.
    #[serde(default)]
    pub(crate) accelerators: BTreeMap<String, f64>,
    /// `1x[CPU:1+]`, for the queue table.
    pub(crate) resources_text: String,
    /// Text of `SKYPILOT_TASK_ID` without the job id at the end: `sky-<time stamp>_<cluster>_`.
    pub(crate) task_id_prefix: String,
}

/// Answer to a submission.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Submitted {
    /// The job's number.
    pub(crate) job_id: JobId,
    /// False when the key was known already.
    pub(crate) new: bool,
}

/// A job as the agent knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct JobInfo {
    /// Its number.
    pub(crate) job_id: JobId,
    /// Who submitted it.
    pub(crate) key: String,
    /// Task name.
    pub(crate) name: Option<String>,
    /// Owner.
    pub(crate) user: UserId,
    /// Owner's display name.
    pub(crate) user_name: String,
    /// State.
    pub(crate) status: JobStatus,
    /// When it was accepted.
    pub(crate) submitted: Moment,
    /// When its `run` (or `setup`) began.
    pub(crate) started: Option<Moment>,
    /// When it ended.
    pub(crate) ended: Option<Moment>,
    /// `1x[CPU:1+]`.
    pub(crate) resources_text: String,
    /// Log directory, beginning with `~`.
    pub(crate) log_dir: String,
    /// Exit code of each rank (137 for those killed because another failed).
    pub(crate) exit_codes: Vec<Option<i32>>,
    /// Why it waits or failed, where that is not plain.
    pub(crate) reason: Option<String>,
    /// Length of the combined log.
    pub(crate) log_len: u64,
}

/// Which jobs to stop.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "which", rename_all = "snake_case")]
pub(crate) enum CancelJobs {
    /// These; finished ones are left alone, unknown ones are an error.
    Ids {
        /// The numbers.
        ids: Vec<JobId>,
    },
    /// All unfinished of one user.
    OfUser {
        /// The user.
        user: UserId,
    },
    /// All unfinished.
    All,
    /// The latest running one of a user.
    Latest {
        /// The user.
        user: UserId,
    },
    /// The one with this submission key, also when it has not arrived yet: a later submission is refused.
    Key {
        /// The key.
        key: String,
    },
}

/// What was stopped: answered when the processes are gone.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Cancelled {
    /// The jobs.
    pub(crate) ids: Vec<JobId>,
}

/// When an idle node stops itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct AutostopSetting {
    /// After so many idle minutes.
    pub(crate) idle_minutes: u64,
    /// Tear down instead of stop.
    pub(crate) down: bool,
    /// What keeps the timer from running.
    pub(crate) wait_for: WaitFor,
}

/// What happens on a node, as the server hears of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum AgentEvent {
    /// Sent first: the connection is up.
    Hello {
        /// What the agent says of itself.
        info: AgentInfo,
    },
    /// A job changed.
    Job {
        /// As it is now.
        job: JobInfo,
    },
    /// The idle time is over: stop or tear down this cluster. Repeated at each connection until it happens.
    Idle {
        /// The setting that fired.
        setting: AutostopSetting,
    },
    /// Nothing for a while.
    Heartbeat,
}

/// A process of a job, as the head asks a node to run it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StartRank {
    /// The job.
    pub(crate) job_id: JobId,
    /// The rank within the job.
    pub(crate) rank: NodeRank,
    /// Setup or run.
    pub(crate) phase: Phase,
    /// The script.
    pub(crate) script: String,
    /// The whole documented environment.
    pub(crate) envs: BTreeMap<String, String>,
    /// Log directory name: `<id>-<task name>`.
    pub(crate) log_dir: String,
    /// File name under `tasks/` in it: `run.log`, `setup.log`, `0-head.log`.
    pub(crate) log_name: String,
}

/// Which script of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    /// `setup`.
    Setup,
    /// `run`.
    Run,
}

/// How a process of a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(crate) enum RankInfo {
    /// Not started here.
    Absent,
    /// It runs.
    Running {
        /// Process id of the script's shell.
        pid: u32,
    },
    /// It ended.
    Exited {
        /// Process id it had.
        pid: u32,
        /// Exit code; 128 + signal when killed.
        code: i32,
    },
    /// Its supervisor vanished without a word (node restarted, supervisor killed).
    Lost,
}
