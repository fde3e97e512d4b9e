//! Results of requests: records of clusters, jobs and costs.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::status::{ClusterStatus, JobStatus};

/// A cluster, as `/status` lists it. Fields that are absent are unknown.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ClusterRecord {
    /// Name.
    pub(crate) name: String,
    /// Seconds since the epoch.
    pub(crate) launched_at: i64,
    /// State.
    pub(crate) status: ClusterStatus,
    /// Idle minutes until autostop; -1 = none.
    #[serde(default = "minus_one")]
    pub(crate) autostop: i64,
    /// Autostop tears down.
    #[serde(default)]
    pub(crate) to_down: bool,
    /// Unique id of this life of the name.
    #[serde(default)]
    pub(crate) cluster_hash: String,
    /// Was UP at least once.
    #[serde(default)]
    pub(crate) cluster_ever_up: bool,
    /// Owner.
    #[serde(default)]
    pub(crate) user_hash: String,
    /// Owner's display name.
    #[serde(default)]
    pub(crate) user_name: String,
    /// Workspace.
    #[serde(default = "default_workspace")]
    pub(crate) workspace: String,
    /// Made by a managed job or service.
    #[serde(default)]
    pub(crate) is_managed: bool,
    /// Number of nodes.
    #[serde(default)]
    pub(crate) nodes: u32,
    /// `1x(cpus=2, mem=8, …)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) resources_str: Option<String>,
    /// The same with everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) resources_str_full: Option<String>,
    /// Cloud's display name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cloud: Option<String>,
    /// Region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) region: Option<String>,
    /// Zone (ours).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) zone: Option<String>,
    /// CPUs of a node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cpus: Option<String>,
    /// Memory of a node in GB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) memory: Option<String>,
    /// Accelerators of a node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) accelerators: Option<String>,
    /// Address of the head node (ours).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) head_ip: Option<String>,
    /// What happened last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_event: Option<String>,
    /// The command line of the last launch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_use: Option<String>,
    /// Seconds since the epoch.
    #[serde(default)]
    pub(crate) status_updated_at: i64,
    /// The handle: plain JSON here; a pickle for SkyPilot's clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) handle: Option<Value>,
    /// SSH credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) credentials: Option<Value>,
}

/// No autostop.
const fn minus_one() -> i64 {
    -1
}

/// The workspace of those who name none.
fn default_workspace() -> String {
    "default".to_owned()
}

/// A job, as `/queue` lists it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct JobRecord {
    /// Number on its cluster.
    pub(crate) job_id: u64,
    /// Task name; `-` without one.
    pub(crate) job_name: String,
    /// Owner's display name.
    pub(crate) username: String,
    /// Owner.
    pub(crate) user_hash: String,
    /// Seconds since the epoch.
    pub(crate) submitted_at: f64,
    /// Seconds since the epoch.
    pub(crate) start_at: Option<f64>,
    /// Seconds since the epoch.
    pub(crate) end_at: Option<f64>,
    /// `1x[CPU:1+]`.
    pub(crate) resources: String,
    /// State.
    pub(crate) status: JobStatus,
    /// Log directory on the head node.
    pub(crate) log_path: String,
    /// Exit code of each rank, where known (ours).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) exit_codes: Vec<Option<i32>>,
    /// Why it is in this state, where it is not plain (ours).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// For extensions.
    #[serde(default)]
    pub(crate) metadata: Value,
}

/// Result of `/launch` and `/exec`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LaunchResult {
    /// The job; none when the task has no `run`.
    pub(crate) job_id: Option<u64>,
    /// The cluster's handle.
    #[serde(default)]
    pub(crate) handle: Value,
    /// SSH credentials, when asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) credentials: Option<Value>,
}

/// A cluster's life in money, as `/cost_report` lists it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct CostRecord {
    /// Name.
    pub(crate) name: String,
    /// Seconds since the epoch.
    pub(crate) launched_at: i64,
    /// Seconds of use.
    pub(crate) duration: i64,
    /// Number of nodes.
    pub(crate) num_nodes: u32,
    /// Resource shape, plain JSON.
    #[serde(default)]
    pub(crate) resources: Value,
    /// Unique id of this life of the name.
    pub(crate) cluster_hash: String,
    /// Begin and end of each use; the end of a running one is absent.
    pub(crate) usage_intervals: Vec<(i64, Option<i64>)>,
    /// State; none = terminated.
    pub(crate) status: Option<ClusterStatus>,
    /// Owner.
    pub(crate) user_hash: String,
    /// Owner's display name.
    #[serde(default)]
    pub(crate) user_name: String,
    /// Dollars.
    pub(crate) total_cost: f64,
    /// Dollars an hour (ours).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hourly_cost: Option<f64>,
    /// Cloud's display name.
    #[serde(default)]
    pub(crate) cloud: Option<String>,
    /// `1x(…)`.
    #[serde(default)]
    pub(crate) resources_str: Option<String>,
}

/// What a cancelled request was doing (`/api/cancel`'s receipt, ours).
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub(crate) struct CancelReceipt {
    /// The ids really cancelled.
    pub(crate) cancelled: Vec<String>,
    /// For each id that was named but not cancelled: why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) left: Vec<(String, String)>,
    /// The names among them that no request of the caller has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) unknown: Vec<String>,
}
