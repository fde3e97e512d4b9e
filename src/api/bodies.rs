//! Bodies of the POSTs. Unknown fields are ignored: newer clients send more.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::base::ids::BlobId;

/// Fields that every JSON body has.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Common {
    /// The client's `SKYPILOT_*` variables; always user id and name.
    #[serde(default)]
    pub(crate) env_vars: BTreeMap<String, String>,
    /// Name of the calling function.
    #[serde(default)]
    pub(crate) entrypoint: String,
    /// The command line typed.
    #[serde(default)]
    pub(crate) entrypoint_command: String,
    /// Whether the server is on another machine: then files are uploaded.
    #[serde(default)]
    pub(crate) using_remote_api_server: bool,
    /// The client's merged configuration.
    #[serde(default)]
    pub(crate) override_skypilot_config: Option<Map<String, Value>>,
    /// The upload that the task's paths refer to.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(crate) file_mounts_blob_id: Option<BlobId>,
}

/// A body of a POST: whatever it asks for, it says who asks.
pub(crate) trait HasCommon {
    /// Returns the fields of every body.
    fn common_mut(&mut self) -> &mut Common;
}

/// Declares body structs: [`Common`] flattened in front, defaults for what is left out.
macro_rules! body {
    ($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident : $type:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
        pub(crate) struct $name {
            /// Fields of every body.
            #[serde(flatten)]
            pub(crate) common: Common,
            $($(#[$fdoc])* pub(crate) $field: $type,)*
        }

        impl HasCommon for $name {
            fn common_mut(&mut self) -> &mut Common {
                &mut self.common
            }
        }
    };
}

body!(
    /// `/validate`.
    ValidateBody {
        /// The task text.
        dag: String,
        /// What is meant to happen to it; `SkyPilot`'s server insists on the key.
        #[serde(default)]
        request_options: Option<RequestOptions>,
    }
);
body!(
    /// `/optimize`.
    OptimizeBody {
        /// The task text.
        dag: String,
        /// What is meant to happen to it; `SkyPilot`'s server insists on the key.
        #[serde(default)]
        request_options: Option<RequestOptions>,
    }
);
body!(
    /// `/launch`.
    LaunchBody {
        /// The task text.
        task: String,
        /// The cluster; the client always names it.
        cluster_name: String,
        /// Try for ever on lack of capacity.
        #[serde(default)]
        retry_until_up: bool,
        /// Deprecated place of the autostop setting; inside the task now.
        #[serde(default)]
        idle_minutes_to_autostop: Option<i64>,
        /// Stop after the table.
        #[serde(default)]
        dryrun: bool,
        /// Deprecated place of the autostop setting.
        #[serde(default)]
        down: bool,
        /// Skip `setup`.
        #[serde(default)]
        no_setup: bool,
        /// Skip provisioning and setup when the cluster is UP and fits.
        #[serde(default)]
        fast: bool,
        /// Do not show the table.
        #[serde(default)]
        quiet_optimizer: bool,
        /// Say what was ruled out, and why (an addition of ours, sent only when set).
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        verbose: bool,
        /// Grow or shrink the existing cluster.
        #[serde(default)]
        resize: bool,
        /// Answer the credentials with the result.
        #[serde(default)]
        include_credentials: bool,
        /// Copy the disk of this cluster.
        #[serde(default)]
        clone_disk_from: Option<String>,
    }
);
body!(
    /// `/exec`.
    ExecBody {
        /// The task text.
        task: String,
        /// The cluster.
        cluster_name: String,
        /// Only check.
        #[serde(default)]
        dryrun: bool,
    }
);
body!(
    /// `/status`.
    StatusBody {
        /// Names or patterns; none = all.
        #[serde(default)]
        cluster_names: Option<Vec<String>>,
        /// `NONE`, `AUTO`, `FORCE`.
        #[serde(default)]
        refresh: Refresh,
        /// Clusters of everybody.
        #[serde(default = "yes")]
        all_users: bool,
        /// With SSH keys.
        #[serde(default = "yes")]
        include_credentials: bool,
        /// With handles.
        #[serde(default = "yes")]
        include_handle: bool,
        /// Leave out what tables do not show.
        #[serde(default)]
        summary_response: bool,
    }
);
body!(
    /// What is refused, whatever it asks for.
    RefusedBody {
        /// Whether the client comes back for the result of a stream.
        #[serde(default)]
        follow: Option<bool>,
    }
);
body!(
    /// `/queue`.
    QueueBody {
        /// The cluster.
        cluster_name: String,
        /// Only unfinished jobs.
        #[serde(default)]
        skip_finished: bool,
        /// Jobs of everybody.
        #[serde(default)]
        all_users: bool,
    }
);
body!(
    /// `/job_status`.
    JobStatusBody {
        /// The cluster.
        cluster_name: String,
        /// The jobs; none = the latest.
        #[serde(default)]
        job_ids: Option<Vec<u64>>,
    }
);
body!(
    /// `/cancel`.
    CancelBody {
        /// The cluster.
        cluster_name: String,
        /// The jobs.
        #[serde(default)]
        job_ids: Option<Vec<u64>>,
        /// All of the caller.
        #[serde(default)]
        all: bool,
        /// All of everybody.
        #[serde(default)]
        all_users: bool,
    }
);
body!(
    /// `/logs`. Our clients add `?offset=` and `Accept: application/x-sky-frames`.
    LogsBody {
        /// The cluster.
        cluster_name: String,
        /// The job; none = the latest.
        #[serde(default)]
        job_id: Option<u64>,
        /// Go on until the job ends.
        #[serde(default = "yes")]
        follow: bool,
        /// Only the last so many lines; 0 = everything.
        #[serde(default)]
        tail: i64,
    }
);
body!(
    /// `/download_logs`.
    DownloadLogsBody {
        /// The cluster.
        cluster_name: String,
        /// The jobs; none = the latest.
        #[serde(default)]
        job_ids: Option<Vec<String>>,
    }
);
body!(
    /// `/download`.
    DownloadBody {
        /// Directories that an earlier result named.
        folder_paths: Vec<String>,
    }
);
body!(
    /// `/provision_logs`.
    ProvisionLogsBody {
        /// The cluster.
        cluster_name: String,
        /// Of this worker.
        #[serde(default)]
        worker: Option<u32>,
    }
);
body!(
    /// `/stop` and `/down`.
    StopBody {
        /// The cluster.
        cluster_name: String,
        /// Forget the record although deletion failed.
        #[serde(default)]
        purge: bool,
        /// Cancel jobs and wait for their writes first.
        #[serde(default)]
        graceful: bool,
        /// At most so many seconds.
        #[serde(default)]
        graceful_timeout: Option<u64>,
    }
);
body!(
    /// `/start`.
    StartBody {
        /// The cluster.
        cluster_name: String,
        /// Autostop to set.
        #[serde(default)]
        idle_minutes_to_autostop: Option<i64>,
        /// What keeps the idle timer from running.
        #[serde(default)]
        wait_for: Option<WaitFor>,
        /// Try for ever.
        #[serde(default)]
        retry_until_up: bool,
        /// Tear down instead of stop.
        #[serde(default)]
        down: bool,
        /// Also when UP: start the agents anew.
        #[serde(default)]
        force: bool,
    }
);
body!(
    /// `/autostop`.
    AutostopBody {
        /// The cluster.
        cluster_name: String,
        /// Minutes; negative cancels.
        idle_minutes: i64,
        /// What keeps the idle timer from running.
        #[serde(default)]
        wait_for: Option<WaitFor>,
        /// Tear down instead of stop.
        #[serde(default)]
        down: bool,
    }
);
body!(
    /// `/endpoints`.
    EndpointsBody {
        /// The cluster.
        cluster: String,
        /// One port, or all.
        #[serde(default)]
        port: Option<Value>,
    }
);
body!(
    /// `/cost_report`.
    CostReportBody {
        /// Clusters of the last so many days; none or 0 = all.
        #[serde(default)]
        days: Option<u64>,
    }
);
body!(
    /// `/check`.
    CheckBody {
        /// Infra to check; none = all.
        #[serde(default)]
        clouds: Option<Vec<String>>,
        /// With more detail.
        #[serde(default)]
        verbose: bool,
    }
);
body!(
    /// `/list_accelerators` and `/list_accelerator_counts`.
    AcceleratorsBody {
        /// Name contains.
        #[serde(default)]
        name_filter: Option<String>,
        /// Region contains.
        #[serde(default)]
        region_filter: Option<String>,
        /// Exactly so many.
        #[serde(default)]
        quantity_filter: Option<u32>,
        /// One cloud or several.
        #[serde(default)]
        clouds: Option<Value>,
        /// No accelerators that are not described as GPUs (FPGAs).
        #[serde(default = "yes")]
        gpus_only: bool,
        /// Each region, not only the cheapest.
        #[serde(default)]
        all_regions: bool,
    }
);
body!(
    /// `/realtime_kubernetes_gpu_availability`: of the user's own hosts, too.
    DevicesBody {
        /// One pool: `ssh-NAME`.
        #[serde(default)]
        context: Option<String>,
        /// Name contains.
        #[serde(default)]
        name_filter: Option<String>,
        /// At least so many on a host.
        #[serde(default)]
        quantity_filter: Option<u32>,
        /// Pools of hosts, and no contexts of Kubernetes.
        #[serde(default)]
        is_ssh: Option<bool>,
    }
);
body!(
    /// `/kubernetes_node_info`: hosts stand for nodes.
    NodeInfoBody {
        /// One pool: `ssh-NAME`.
        #[serde(default)]
        context: Option<String>,
    }
);
body!(
    /// `/api/cancel`.
    ApiCancelBody {
        /// Ids or prefixes; none = all of `user_id`.
        #[serde(default)]
        request_ids: Option<Vec<String>>,
        /// Whose; none = everybody's.
        #[serde(default)]
        user_id: Option<String>,
    }
);
body!(
    /// `/ssh_node_pools/deploy`, `/down`, `/list`.
    SshPoolsBody {
        /// The pool; none = all.
        #[serde(default)]
        infra: Option<String>,
    }
);
body!(
    /// A body with nothing beyond the common fields.
    EmptyBody {}
);

/// What the caller means to do with a task, for the policies of administrators.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub(crate) struct RequestOptions {
    /// The cluster to make or to use.
    #[serde(default)]
    pub(crate) cluster_name: Option<String>,
    /// Idle minutes until autostop.
    #[serde(default)]
    pub(crate) idle_minutes_to_autostop: Option<i64>,
    /// Tear down instead of stop.
    #[serde(default)]
    pub(crate) down: bool,
    /// Nothing is to be made.
    #[serde(default)]
    pub(crate) dryrun: bool,
}

/// How fresh a status must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub(crate) enum Refresh {
    /// As stored.
    #[default]
    #[serde(rename = "NONE")]
    None,
    /// Stored unless it may have changed by itself (autostop).
    #[serde(rename = "AUTO")]
    Auto,
    /// Ask the nodes and the cloud.
    #[serde(rename = "FORCE")]
    Force,
}

/// What keeps the idle timer of autostop from running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WaitFor {
    /// Jobs and open SSH sessions.
    #[default]
    JobsAndSsh,
    /// Jobs.
    Jobs,
    /// Nothing: the timer runs from when it was set.
    None,
}

/// Reads a truth value as clients write it in queries: `true`, `True`, `1` and their opposites.
pub(crate) fn lenient_bool<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Given {
        Bool(bool),
        Text(String),
    }
    match Given::deserialize(deserializer)? {
        Given::Bool(value) => Ok(value),
        Given::Text(text) => match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" => Ok(true),
            "false" | "0" | "no" | "" => Ok(false),
            _ => Err(serde::de::Error::custom(format!(
                "`{text}` is neither true nor false"
            ))),
        },
    }
}

/// The default of switches that are on.
const fn yes() -> bool {
    true
}
