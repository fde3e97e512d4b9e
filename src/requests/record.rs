//! What a request is: what comes in, what is stored, what is shown.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::state::State;
use crate::api::status::RequestStatus;
use crate::base::clock::Moment;
use crate::base::cx::{Caller, Cx};
use crate::base::ids::{BlobId, ClusterName, IdempotencyKey, RequestId, UserId};
use crate::base::{Error, Result};

/// Which limit a request counts against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Lane {
    /// Looks something up.
    Short,
    /// Changes the world.
    Long,
}

/// Who drives a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Home {
    /// A worker of the lanes.
    Lanes,
    /// The connection that made it.
    Attached,
}

/// How a request is to be treated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Profile {
    /// Which limit it counts against.
    pub(crate) lane: Lane,
    /// The cluster it concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cluster: Option<ClusterName>,
    /// One at a time on its cluster, in order of arrival.
    #[serde(default)]
    pub(crate) exclusive: bool,
    /// Cancels the cluster's other unfinished requests first, then runs ahead of what is queued.
    #[serde(default)]
    pub(crate) preempts: bool,
    /// The upload that it refers to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) blob: Option<BlobId>,
    /// Whether lists show it.
    pub(crate) listed: bool,
}

/// A request that asks to be accepted.
#[derive(Debug, Clone)]
pub(crate) struct Admission {
    /// The verb: `launch`.
    pub(crate) name: String,
    /// The verb's body.
    pub(crate) body: Value,
    /// Who asks.
    pub(crate) caller: Caller,
    /// Makes the submission repeatable.
    pub(crate) key: Option<IdempotencyKey>,
    /// How it is to be treated.
    pub(crate) profile: Profile,
}

/// The answer to an admission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Admitted {
    /// The request.
    pub(crate) id: RequestId,
    /// False when the key was known: this is the request that came with it first.
    pub(crate) new: bool,
}

/// How a run of a request's work ends, when it does not fail.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Verdict {
    /// It is done.
    Done(Value),
    /// Call it again later; it holds no place in its lane meanwhile, but keeps its cluster.
    Park {
        /// When.
        until: Moment,
        /// Why, for people.
        reason: String,
    },
}

/// Does the work of requests. What the verbs are is its business alone.
pub(crate) trait Dispatch: Send + Sync + 'static {
    /// Runs the request; called again after a restart or a park: `cx.step` skips what is done.
    fn run(&self, cx: Cx, request: Arc<Record>) -> BoxFuture<'static, Result<Verdict>>;

    /// Cleans up after a cancelled run, within a deadline; returns what was left or undone, for people.
    fn on_cancelled(&self, cx: Cx, request: Arc<Record>) -> BoxFuture<'static, Option<String>>;
}

/// A request as it stands.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    /// Id.
    pub(crate) id: RequestId,
    /// The verb: `launch`.
    pub(crate) name: String,
    /// The verb's body; null in lists that did not ask for it.
    pub(crate) body: Value,
    /// Who asked.
    pub(crate) caller: Caller,
    /// When it was accepted.
    pub(crate) created: Moment,
    /// How it is treated.
    pub(crate) profile: Profile,
    /// Who drives it.
    pub(crate) home: Home,
    /// Where it stands.
    pub(crate) state: State,
    /// Names of the steps that it has recorded; empty in lists.
    pub(crate) steps: Vec<String>,
    /// Why it waits.
    pub(crate) status_msg: Option<String>,
}

impl Record {
    /// Returns the status that the wire shows.
    pub(crate) const fn status(&self) -> RequestStatus {
        self.state.status()
    }

    /// Returns the cluster that it concerns.
    pub(crate) const fn cluster(&self) -> Option<&ClusterName> {
        self.profile.cluster.as_ref()
    }

    /// Returns the result; none before it succeeded, null in lists.
    pub(crate) const fn result(&self) -> Option<&Value> {
        match &self.state {
            State::Succeeded { result, .. } => Some(result),
            State::Pending
            | State::Waiting { .. }
            | State::Running { .. }
            | State::Failed { .. }
            | State::Cancelled { .. } => None,
        }
    }

    /// Returns why it failed.
    pub(crate) const fn error(&self) -> Option<&Error> {
        match &self.state {
            State::Failed { error, .. } => Some(error),
            State::Pending
            | State::Waiting { .. }
            | State::Running { .. }
            | State::Succeeded { .. }
            | State::Cancelled { .. } => None,
        }
    }

    /// Returns when it became final.
    pub(crate) const fn finished_at(&self) -> Option<Moment> {
        self.state.finished_at()
    }
}

/// Which requests to list, newest first.
#[derive(Debug, Clone, Default)]
pub(crate) struct ListQuery {
    /// Prefixes of ids; with them no other filter but `user` applies.
    pub(crate) prefixes: Vec<String>,
    /// Finished ones too.
    pub(crate) all_status: bool,
    /// At most so many.
    pub(crate) limit: Option<usize>,
    /// Only those of this cluster.
    pub(crate) cluster: Option<ClusterName>,
    /// Only those of this user.
    pub(crate) user: Option<UserId>,
    /// With bodies, results and steps.
    pub(crate) full: bool,
}

/// Which requests to cancel.
#[derive(Debug, Clone)]
pub(crate) enum Which {
    /// These.
    Ids(Vec<RequestId>),
    /// The unfinished ones of a user.
    OfUser(UserId),
    /// All unfinished ones.
    All,
}
