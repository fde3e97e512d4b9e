//! The verbs: one file each, from a checked body to the result that the wire shows.
//!
//! A verb validates, calls the domain (`clusters`, `optimizer`, `clouds`), says what happens through its context and
//! returns the result as JSON. It knows no HTTP, no store, and not how requests are queued: `Op::facts` says what
//! the queue must know.

mod accelerators;
mod autostop;
mod bucket;
mod cancel;
mod check;
mod cost_report;
mod devices;
mod down;
mod endpoints;
mod exec;
mod idle;
mod launch;
mod logs;
mod optimize;
mod queue;
mod retry;
mod ssh;
mod start;
mod status;
mod stop;
mod submission;
mod sync;
mod validate;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::api::bodies::{
    AcceleratorsBody, AutostopBody, CancelBody, CheckBody, CostReportBody, DevicesBody,
    DownloadLogsBody, EmptyBody, EndpointsBody, ExecBody, JobStatusBody, LaunchBody, NodeInfoBody,
    OptimizeBody, QueueBody, SshPoolsBody, StartBody, StatusBody, StopBody,
};
use crate::base::clock::Moment;
use crate::base::cx::Cx;
use crate::base::ids::{BlobId, ClusterName};
use crate::base::{Error, Result};
use crate::clusters::Clusters;

pub(crate) use idle::idle_order;
pub(crate) use validate::validate;

/// A verb with what it needs. One variant per verb: a new one does not compile until every place knows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "op", content = "body", rename_all = "snake_case")]
pub(crate) enum Op {
    /// Optimise, provision, sync, set up, submit.
    Launch(LaunchBody),
    /// Sync and submit.
    Exec(ExecBody),
    /// List clusters.
    Status(StatusBody),
    /// List jobs.
    Queue(QueueBody),
    /// States of jobs.
    JobStatus(JobStatusBody),
    /// Stop jobs.
    Cancel(CancelBody),
    /// Collect logs of jobs on the server.
    DownloadLogs(DownloadLogsBody),
    /// Stop machines.
    Stop(StopBody),
    /// Remove machines.
    Down(StopBody),
    /// Start stopped machines.
    Start(StartBody),
    /// Set or remove the idle timer.
    Autostop(AutostopBody),
    /// Addresses of opened ports.
    Endpoints(EndpointsBody),
    /// What clusters cost.
    CostReport(CostReportBody),
    /// Which infra can be used.
    Check(CheckBody),
    /// Names of the infra that can be used.
    EnabledClouds(EmptyBody),
    /// The workspaces.
    Workspaces(EmptyBody),
    /// Accelerators with instance types.
    ListAccelerators(AcceleratorsBody),
    /// Accelerators with quantities.
    ListAcceleratorCounts(AcceleratorsBody),
    /// Accelerators of the user's own hosts, and which are free.
    Devices(DevicesBody),
    /// The user's own hosts, as nodes.
    NodeInfo(NodeInfoBody),
    /// The plan of a launch.
    Optimize(OptimizeBody),
    /// Get SSH hosts ready.
    SshUp(SshPoolsBody),
    /// Remove what is ours from SSH hosts.
    SshDown(SshPoolsBody),
    /// SSH hosts and what of them is free.
    SshList(SshPoolsBody),
}

/// Where the caller's files are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Origin {
    /// On this machine, in the account that runs the server: paths are read as they are.
    Local,
    /// Elsewhere: only uploads are read.
    Remote,
}

/// A verb as it is queued and stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Order {
    /// The verb.
    #[serde(flatten)]
    pub(crate) op: Op,
    /// Where the caller's files are.
    pub(crate) origin: Origin,
}

/// What the queue must know of a verb.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    /// It takes long: it must not hold up short ones.
    pub(crate) long: bool,
    /// The cluster it concerns.
    pub(crate) cluster: Option<ClusterName>,
    /// Verbs on one cluster that change it run one at a time.
    pub(crate) exclusive: bool,
    /// It cancels the cluster's other requests first.
    pub(crate) preempts: bool,
    /// The upload it reads.
    pub(crate) blob: Option<BlobId>,
}

/// How a run of a verb ends.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Outcome {
    /// With this result.
    Done(Value),
    /// Not yet: to be run again then.
    Park {
        /// When.
        until: Moment,
        /// Why, for people.
        reason: String,
    },
}

impl Op {
    /// Returns the verb as the HTTP API names it.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Launch(_) => "launch",
            Self::Exec(_) => "exec",
            Self::Status(_) => "status",
            Self::Queue(_) => "queue",
            Self::JobStatus(_) => "job_status",
            Self::Cancel(_) => "cancel",
            Self::DownloadLogs(_) => "download_logs",
            Self::Stop(_) => "stop",
            Self::Down(_) => "down",
            Self::Start(_) => "start",
            Self::Autostop(_) => "autostop",
            Self::Endpoints(_) => "endpoints",
            Self::CostReport(_) => "cost_report",
            Self::Check(_) => "check",
            Self::EnabledClouds(_) => "enabled_clouds",
            Self::Workspaces(_) => "workspaces.get",
            Self::ListAccelerators(_) => "list_accelerators",
            Self::Devices(_) => "realtime_kubernetes_gpu_availability",
            Self::NodeInfo(_) => "kubernetes_node_info",
            Self::ListAcceleratorCounts(_) => "list_accelerator_counts",
            Self::Optimize(_) => "optimize",
            Self::SshUp(_) => "ssh_node_pools.up",
            Self::SshDown(_) => "ssh_node_pools.down",
            Self::SshList(_) => "ssh_node_pools.list",
        }
    }

    /// Returns what the queue must know; fails when a name in the body is not valid.
    pub(crate) fn facts(&self) -> Result<Facts> {
        let reads = |cluster: Option<&str>| -> Result<Facts> {
            Ok(Facts {
                long: false,
                cluster: cluster.map(str::parse).transpose()?,
                exclusive: false,
                preempts: false,
                blob: None,
            })
        };
        let changes = |cluster: &str| -> Result<Facts> {
            Ok(Facts {
                long: true,
                exclusive: true,
                ..reads(Some(cluster))?
            })
        };
        match self {
            Self::Launch(b) if b.dryrun => Ok(Facts {
                long: true,
                ..reads(Some(&b.cluster_name))?
            }),
            Self::Launch(b) => Ok(Facts {
                blob: b.common.file_mounts_blob_id.clone(),
                ..changes(&b.cluster_name)?
            }),
            Self::Exec(b) => Ok(Facts {
                blob: b.common.file_mounts_blob_id.clone(),
                ..changes(&b.cluster_name)?
            }),
            Self::Stop(b) | Self::Down(b) => Ok(Facts {
                preempts: true,
                ..changes(&b.cluster_name)?
            }),
            Self::Start(b) => changes(&b.cluster_name),
            Self::Autostop(b) => changes(&b.cluster_name),
            Self::Queue(b) => reads(Some(&b.cluster_name)),
            Self::JobStatus(b) => reads(Some(&b.cluster_name)),
            Self::Cancel(b) => reads(Some(&b.cluster_name)),
            Self::DownloadLogs(b) => reads(Some(&b.cluster_name)),
            Self::Endpoints(b) => reads(Some(&b.cluster)),
            Self::Status(b) => Ok(Facts {
                long: b.refresh == crate::api::bodies::Refresh::Force,
                ..reads(None)?
            }),
            Self::SshUp(_) | Self::SshDown(_) => Ok(Facts {
                long: true,
                ..reads(None)?
            }),
            Self::CostReport(_)
            | Self::SshList(_)
            | Self::Check(_)
            | Self::EnabledClouds(_)
            | Self::Workspaces(_)
            | Self::ListAccelerators(_)
            | Self::Devices(_)
            | Self::NodeInfo(_)
            | Self::ListAcceleratorCounts(_)
            | Self::Optimize(_) => reads(None),
        }
    }
}

impl Order {
    /// Returns the order as it is stored.
    pub(crate) fn to_value(&self) -> Result<Value> {
        serde_json::to_value(self).map_err(|e| Error::internal("write an order", &e))
    }

    /// Reads a stored order.
    pub(crate) fn from_value(value: Value) -> Result<Self> {
        serde_json::from_value(value).map_err(|e| Error::internal("read a stored order", &e))
    }
}

/// Runs verbs. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Ops {
    /// The clusters.
    pub(crate) clusters: Clusters,
    /// Where uploads of users are unpacked, and where their downloads are made: `<clients>/<user>/…`.
    pub(crate) clients: PathBuf,
}

impl Ops {
    /// Runs a verb to its end. Called again after a restart: steps that finished are not repeated.
    pub(crate) async fn run(&self, cx: &Cx, order: Order) -> Result<Outcome> {
        let Order { op, origin } = order;
        let done = |value: Result<Value>| value.map(Outcome::Done);
        match op {
            Op::Launch(body) => launch::run(self, cx, body, origin).await,
            Op::Exec(body) => done(exec::run(self, cx, body, origin).await),
            Op::Status(body) => done(status::run(self, cx, body).await),
            Op::Queue(body) => done(queue::run(self, cx, body).await),
            Op::JobStatus(body) => done(queue::job_status(self, cx, body).await),
            Op::Cancel(body) => done(cancel::run(self, cx, body).await),
            Op::DownloadLogs(body) => done(logs::download(self, cx, body).await),
            Op::Stop(body) => done(stop::run(self, cx, body).await),
            Op::Down(body) => done(down::run(self, cx, body).await),
            Op::Start(body) => start::run(self, cx, body).await,
            Op::Autostop(body) => done(autostop::run(self, cx, body).await),
            Op::Endpoints(body) => done(endpoints::run(self, cx, body).await),
            Op::CostReport(body) => done(cost_report::run(self, cx, body).await),
            Op::Check(body) => done(check::run(self, cx, body).await),
            Op::EnabledClouds(_) => done(check::enabled(self).await),
            Op::Workspaces(_) => Ok(Outcome::Done(check::workspaces())),
            Op::ListAccelerators(body) => done(accelerators::list(self, body).await),
            Op::Devices(body) => done(devices::availability(self, body).await),
            Op::NodeInfo(body) => done(devices::nodes(self, body).await),
            Op::ListAcceleratorCounts(body) => done(accelerators::counts(self, body).await),
            Op::Optimize(body) => done(optimize::run(self, cx, body).await),
            Op::SshUp(body) => done(ssh::up(self, cx, body).await),
            Op::SshDown(body) => done(ssh::down(self, cx, body).await),
            Op::SshList(body) => done(ssh::list(self, body).await),
        }
    }

    /// Cleans up after a cancelled run and says what it left: nothing that was half made stays unnamed.
    pub(crate) async fn on_cancelled(&self, cx: &Cx, order: Order) -> Option<String> {
        match order.op {
            Op::Launch(body) => launch::on_cancelled(self, cx, &body.cluster_name).await,
            Op::Exec(body) => exec::on_cancelled(self, cx, &body.cluster_name).await,
            Op::Start(body) => launch::on_cancelled(self, cx, &body.cluster_name).await,
            Op::Stop(body) => Some(format!(
                "cluster `{0}` may be half stopped; to finish: sky stop {0}",
                body.cluster_name
            )),
            Op::Down(body) => Some(format!(
                "cluster `{0}` may be half removed; to finish: sky down {0}",
                body.cluster_name
            )),
            Op::Status(_)
            | Op::Queue(_)
            | Op::JobStatus(_)
            | Op::Cancel(_)
            | Op::DownloadLogs(_)
            | Op::Autostop(_)
            | Op::Endpoints(_)
            | Op::CostReport(_)
            | Op::Check(_)
            | Op::EnabledClouds(_)
            | Op::Workspaces(_)
            | Op::ListAccelerators(_)
            | Op::Devices(_)
            | Op::NodeInfo(_)
            | Op::ListAcceleratorCounts(_)
            | Op::Optimize(_)
            | Op::SshUp(_)
            | Op::SshDown(_)
            | Op::SshList(_) => None,
        }
    }
}
