//! Launches against a cloud in memory: what is tried, what is left, what the record says.

mod crashes;
mod places;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{Choice, Cluster, Clusters, Event, Patience, Placed};
use crate::base::Result;
use crate::base::cx::{Caller, Cx, Event as Shown, EventSink, Role, StepLedger};
use crate::base::ids::{ClusterName, RequestId};
use crate::clouds::fake::Fake;
use crate::clouds::{CloudId, Clouds};
use crate::store::{self, Db};
use crate::sys::paths::Paths;

/// Two clouds and a server's records.
pub(super) struct World {
    /// Removed at the end.
    _dir: tempfile::TempDir,
    /// The cheaper cloud: two regions, of which the first has two zones.
    pub(super) near: Fake,
    /// The dearer one.
    pub(super) far: Fake,
    /// The records.
    pub(super) clusters: Clusters,
    /// What the launch said.
    heard: Arc<Heard>,
    /// The launch.
    request: RequestId,
}

/// Takes what a request says, and its steps.
#[derive(Default)]
struct Heard {
    /// Lines.
    lines: Mutex<Vec<String>>,
    /// Reasons of waits.
    waits: Mutex<Vec<String>>,
    /// Steps.
    steps: Mutex<HashMap<String, Value>>,
}

impl EventSink for Heard {
    fn emit(&self, event: Shown) {
        match event {
            Shown::Line(line) => self.lines.lock().expect("whole").push(line),
            Shown::Waiting(Some(why)) => self.waits.lock().expect("whole").push(why),
            Shown::Spinner(_) | Shown::Waiting(None) => {}
        }
    }
}

impl StepLedger for Heard {
    fn recorded(&self, name: &str) -> Option<Value> {
        self.steps.lock().expect("whole").get(name).cloned()
    }

    fn record(&self, name: &str, output: Value) -> BoxFuture<'_, Result<()>> {
        let mut steps = self.steps.lock().expect("whole");
        steps.insert(name.to_owned(), output);
        Box::pin(async { Ok(()) })
    }
}

impl World {
    /// Makes it.
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let db = Db::open(&dir.path().join("store"), store::Options::default()).expect("a store");
        let near = Fake::new(CloudId::Local, &[("r1", &["a", "b"]), ("r2", &[])]);
        let far = Fake::new(CloudId::Ssh, &[("far", &[])]);
        let paths = Paths::of_user(Some(dir.path()));
        let clouds = Clouds::of(&paths, vec![Arc::new(near.clone()), Arc::new(far.clone())]);
        Self {
            _dir: dir,
            near,
            far,
            clusters: Clusters::new(db, clouds, CancellationToken::new()),
            heard: Arc::default(),
            request: RequestId::generate(),
        }
    }

    /// The context of the launch.
    pub(super) fn cx(&self) -> Cx {
        let caller = Caller {
            id: "a1b2c3d4".parse().expect("an id"),
            name: "me".to_owned(),
            role: Role::User,
        };
        let (heard, token) = (Arc::clone(&self.heard), CancellationToken::new());
        Cx::new(self.request, caller, token, heard.clone(), heard)
    }

    /// The places, best first.
    pub(super) fn choices(&self) -> Vec<Choice> {
        let offers = [self.near.offer(0), self.near.offer(1), self.far.offer(0)];
        let choice = |offer| Choice {
            offer,
            wish: Arc::default(),
        };
        offers.into_iter().map(choice).collect()
    }

    /// The intent.
    pub(super) async fn intend(&self, nodes: u32) -> Placed {
        self.try_intend(nodes).await.expect("intended")
    }

    /// The intent, which a record that is being removed forbids.
    async fn try_intend(&self, nodes: u32) -> Result<Placed> {
        let (cx, name, choices) = (self.cx(), name(), self.choices());
        self.clusters.intend(&cx, &name, nodes, &choices[0]).await
    }

    /// The launch up to its machines.
    pub(super) async fn provision(&self, nodes: u32, patience: Patience) -> Result<Cluster> {
        let placed = self.try_intend(nodes).await?;
        self.clusters
            .provision(&self.cx(), &placed, self.choices(), patience)
            .await
    }

    /// A cluster that is up, as its record says.
    pub(super) async fn up(&self, nodes: u32) -> Cluster {
        let made = self.provision(nodes, Patience::GiveUp).await;
        let cluster = made.expect("machines");
        let up = self.clusters.transition(&cluster, Event::AllUp, |_| {});
        up.await.expect("up")
    }

    /// A cluster that was up, and is stopped.
    pub(super) async fn stopped(&self) -> Cluster {
        let cluster = self.up(1).await;
        self.clusters.stop(&cluster, false).await.expect("stopped")
    }

    /// The record.
    pub(super) async fn record(&self) -> Option<Cluster> {
        self.clusters.find(&name()).await.expect("readable")
    }

    /// What the launch said.
    pub(super) fn lines(&self) -> String {
        self.heard.lines.lock().expect("whole").join("\n")
    }

    /// Why it waited.
    pub(super) fn waits(&self) -> Vec<String> {
        self.heard.waits.lock().expect("whole").clone()
    }

    /// How many machines there are.
    pub(super) fn machines(&self) -> usize {
        self.near.machines().len() + self.far.machines().len()
    }
}

/// The cluster.
pub(super) fn name() -> ClusterName {
    "demo".parse().expect("a name")
}
