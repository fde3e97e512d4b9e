//! Tests of the whole part against a dispatch that each test writes.

mod cancel;
mod fair;
mod full;
mod keys;
mod life;
mod lists;
mod logs;
mod machine;
mod order;
mod rate;
mod restart;
mod retention;

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
    let db = open_when_free(&dir.join("store.redb"));
    Requests::start(db, dir.join("logs"), dispatch, options)
        .await
        .expect("it starts")
}

/// Opens a store. A killed process lets go of everything at once; in here the last commit of the life before, which
/// nobody waits for any more, may still be under way on its writer thread.
fn open_when_free(path: &Path) -> Db {
    let began = crate::base::clock::monotonic();
    loop {
        match Db::open(path, crate::store::Options::default()) {
            Ok(db) => return db,
            Err(error) if error.kind() == crate::base::Kind::Conflict => {
                assert!(began.elapsed().as_secs() < 20, "{}", error.one_line());
                std::thread::yield_now();
            }
            Err(error) => panic!("{}", error.one_line()),
        }
    }
}

/// Submits and returns the id.
pub(super) async fn submit(requests: &Requests, admission: Admission) -> RequestId {
    requests.submit(admission).await.expect("it is accepted").id
}

/// The result of a request, when it has one.
pub(super) async fn result(requests: &Requests, id: RequestId) -> Option<Value> {
    requests.wait(id).await.expect("it ends").result().cloned()
}

/// One life of a server: starts, does `script`, and is killed: nothing is drained, every task is dropped where it is.
pub(super) fn life<T>(
    dir: &Path,
    dispatch: Arc<dyn Dispatch>,
    options: Options,
    script: impl AsyncFnOnce(Requests) -> T,
) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let requests = start(dir, dispatch, options).await;
        script(requests).await
    })
}

/// Waits until a request shows this status: looks again and again, with a deadline and the last record in the failure.
pub(super) async fn reaches(
    requests: &Requests,
    id: RequestId,
    status: crate::api::status::RequestStatus,
) -> Arc<Record> {
    let within = std::time::Duration::from_secs(20);
    let reached = tokio::time::timeout(within, async {
        loop {
            let record = requests.get(id).await.expect("it exists");
            if record.status() == status {
                return record;
            }
            tokio::task::yield_now().await;
        }
    });
    let Ok(record) = reached.await else {
        panic!("never {status}: {:?}", requests.get(id).await);
    };
    record
}

/// Something that tests wait for and works fire.
#[derive(Clone)]
pub(super) struct Signal(tokio_util::sync::CancellationToken);

impl Signal {
    /// Makes one that has not fired.
    pub(super) fn new() -> Self {
        Self(tokio_util::sync::CancellationToken::new())
    }

    /// Fires.
    pub(super) fn fire(&self) {
        self.0.cancel();
    }

    /// Waits until it fires.
    pub(super) async fn wait(&self) {
        let within = std::time::Duration::from_secs(20);
        let fired = tokio::time::timeout(within, self.0.cancelled()).await;
        assert!(fired.is_ok(), "the signal never fired");
    }
}
