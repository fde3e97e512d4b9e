//! Tests of the whole part against a dispatch that each test writes.

mod life;

use std::path::Path;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::*;
use crate::base::Result;
use crate::base::cx::{Caller, Cx, Role};
use crate::base::ids::{RequestId, UserId};
use crate::store::Db;

/// What a test's requests do.
type Work = dyn Fn(Cx, Arc<Record>) -> BoxFuture<'static, Result<Verdict>> + Send + Sync;
/// What follows a cancel.
type CleanUp = dyn Fn(Cx, Arc<Record>) -> BoxFuture<'static, Option<String>> + Send + Sync;

/// A dispatch made of closures.
pub(super) struct Fake {
    work: Box<Work>,
    clean_up: Box<CleanUp>,
}

impl Fake {
    /// Runs `work`; nothing follows a cancel.
    pub(super) fn new<F>(work: impl Fn(Cx, Arc<Record>) -> F + Send + Sync + 'static) -> Arc<Self>
    where
        F: Future<Output = Result<Verdict>> + Send + 'static,
    {
        Self::with_clean_up(work, |_, _| async { None })
    }

    /// Runs `work`, and `clean_up` after a cancel.
    pub(super) fn with_clean_up<F, G>(
        work: impl Fn(Cx, Arc<Record>) -> F + Send + Sync + 'static,
        clean_up: impl Fn(Cx, Arc<Record>) -> G + Send + Sync + 'static,
    ) -> Arc<Self>
    where
        F: Future<Output = Result<Verdict>> + Send + 'static,
        G: Future<Output = Option<String>> + Send + 'static,
    {
        Arc::new(Self {
            work: Box::new(move |cx, record| Box::pin(work(cx, record))),
            clean_up: Box::new(move |cx, record| Box::pin(clean_up(cx, record))),
        })
    }

    /// Succeeds with its own body at once.
    pub(super) fn echo() -> Arc<Self> {
        Self::new(|_, record| async move { Ok(Verdict::Done(record.body.clone())) })
    }
}

impl Dispatch for Fake {
    fn run(&self, cx: Cx, request: Arc<Record>) -> BoxFuture<'static, Result<Verdict>> {
        (self.work)(cx, request)
    }

    fn on_cancelled(&self, cx: Cx, request: Arc<Record>) -> BoxFuture<'static, Option<String>> {
        (self.clean_up)(cx, request)
    }
}

/// A caller.
pub(super) fn caller(name: &str) -> Caller {
    Caller {
        id: user(name),
        name: name.to_owned(),
        role: Role::User,
    }
}

/// A user.
pub(super) fn user(name: &str) -> UserId {
    name.parse().expect("a user id")
}

/// An admission of the long lane without a cluster.
pub(super) fn long(name: &str) -> Admission {
    Admission {
        name: name.to_owned(),
        body: json!({ "of": name }),
        caller: caller("ann"),
        key: None,
        profile: Profile {
            lane: Lane::Long,
            cluster: None,
            exclusive: false,
            preempts: false,
            blob: None,
            listed: true,
        },
    }
}

/// An admission of the short lane.
pub(super) fn short(name: &str) -> Admission {
    let mut admission = long(name);
    admission.profile.lane = Lane::Short;
    admission
}

/// An admission that changes a cluster.
pub(super) fn on(name: &str, cluster: &str) -> Admission {
    let mut admission = long(name);
    admission.profile.cluster = Some(cluster.parse().expect("a cluster name"));
    admission.profile.exclusive = true;
    admission
}

/// An admission that preempts what a cluster has.
pub(super) fn down(cluster: &str) -> Admission {
    let mut admission = on("down", cluster);
    admission.profile.preempts = true;
    admission
}

/// Starts requests in a directory.
pub(super) async fn start(dir: &Path, dispatch: Arc<dyn Dispatch>, options: Options) -> Requests {
    let db = Db::open(&dir.join("store.redb"), crate::store::Options::default()).expect("it opens");
    Requests::start(db, dir.join("logs"), dispatch, options)
        .await
        .expect("it starts")
}

/// Submits and returns the id.
pub(super) async fn submit(requests: &Requests, admission: Admission) -> RequestId {
    requests.submit(admission).await.expect("it is accepted").id
}

/// The result of a request, when it has one.
pub(super) async fn result(requests: &Requests, id: RequestId) -> Option<Value> {
    requests.wait(id).await.expect("it ends").result().cloned()
}
