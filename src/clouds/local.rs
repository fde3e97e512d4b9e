//! This machine as a cloud: a node is a directory that behaves like a machine of its own.
//!
//! `<state>/local/<set>/<rank>/` holds a home directory, an agent and the agent's process trees. Stopping a node
//! ends its processes and keeps the directory; removing it removes the directory. Zero set-up, cost 0.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio_util::task::TaskTracker;

use super::{
    Capabilities, Category, Cloud, CloudError, CloudId, CloudResult, Instance, NodeSet, Observed,
};
use crate::api::agent::PeerAddress;
use crate::base::ids::NodeRank;
use crate::base::units::Dollars;
use crate::base::{Error, Kind};
use crate::catalog::{Offer, Supply};
use crate::node::{self, Node, machine};
use crate::task::{Accelerator, Shape};
use crate::transport::{Transport, local as transport};

/// The most nodes in one set: each is an agent process of this machine.
const MAX_NODES: u32 = 64;

/// The cloud.
pub(super) struct Local {
    /// Where the sets lie.
    root: PathBuf,
    /// Waits for the ends of agents that this process started, so that none stays a zombie.
    reapers: TaskTracker,
}

impl Local {
    /// Makes the cloud of this machine.
    pub(super) fn new(root: PathBuf) -> Self {
        Self {
            root,
            reapers: TaskTracker::new(),
        }
    }

    /// Returns the nodes of a set, whether they exist or not.
    fn nodes(&self, set: &NodeSet) -> Vec<Node> {
        let dir = self.root.join(&set.name);
        (0..set.count)
            .map(|rank| Node::new(&dir, NodeRank(rank)))
            .collect()
    }

    /// Returns the node behind an instance.
    fn node_of(&self, set: &NodeSet, instance: &Instance) -> Node {
        Node::new(&self.root.join(&set.name), instance.rank)
    }
}

impl Cloud for Local {
    fn id(&self) -> CloudId {
        CloudId::Local
    }

    fn capabilities(&self, _: &Offer) -> Capabilities {
        Capabilities {
            stop: true,
            own_machines: false,
        }
    }

    fn check(&self) -> BoxFuture<'_, CloudResult<Option<String>>> {
        Box::pin(async { Ok(None) })
    }

    fn offers<'a>(&'a self, wish: &'a Shape) -> BoxFuture<'a, CloudResult<Supply>> {
        Box::pin(async move {
            let machine = machine::describe().await;
            let offer = Offer {
                cloud: CloudId::Local.as_str().to_owned(),
                display: CloudId::Local.display_name().to_owned(),
                region: None,
                zone: None,
                instance_type: None,
                vcpus: machine.cpus,
                memory_gb: machine.memory_gb,
                accelerators: wish
                    .accelerators
                    .as_ref()
                    .and_then(|wished| machine.gpus_named(&wished.name))
                    .map(|(name, count)| Accelerator {
                        name,
                        count: f64::from(count),
                    }),
                hourly: Dollars(0.0),
                spot: false,
                arch: Some(std::env::consts::ARCH.to_owned()),
            };
            Ok(Supply::select(wish, &[offer]))
        })
    }

    fn accelerators(&self) -> BoxFuture<'_, CloudResult<BTreeMap<String, Vec<f64>>>> {
        Box::pin(async { Ok(machine::describe().await.quantities()) })
    }

    fn provision<'a>(&'a self, set: &'a NodeSet) -> BoxFuture<'a, CloudResult<Vec<Instance>>> {
        Box::pin(async move {
            if set.count > MAX_NODES {
                return Err(CloudError::new(
                    Category::Quota,
                    Error::new(
                        Kind::ResourcesUnavailable,
                        format!(
                            "this machine gives at most {MAX_NODES} nodes to a cluster, not {}",
                            set.count
                        ),
                    ),
                ));
            }
            let mut instances = Vec::new();
            for node in self.nodes(set) {
                node.create(None)?;
                instances.push(Instance {
                    rank: node.rank(),
                    id: format!("{}/{}", set.name, node.rank()),
                    internal_ip: node.ip(),
                    external_ip: None,
                    agent: PeerAddress::Unix {
                        path: node.socket().to_string_lossy().into_owned(),
                    },
                });
            }
            Ok(instances)
        })
    }

    fn bootstrap<'a>(
        &'a self,
        set: &'a NodeSet,
        instance: &'a Instance,
    ) -> BoxFuture<'a, CloudResult<()>> {
        Box::pin(async move {
            Ok(self
                .node_of(set, instance)
                .ensure_agent(&self.reapers)
                .await?)
        })
    }

    fn stop<'a>(&'a self, set: &'a NodeSet) -> BoxFuture<'a, CloudResult<()>> {
        Box::pin(async move {
            let stops = self
                .nodes(set)
                .into_iter()
                .map(|node| async move { node.stop(&self.reapers).await });
            for result in futures_util::future::join_all(stops).await {
                result?;
            }
            Ok(())
        })
    }

    fn terminate<'a>(&'a self, set: &'a NodeSet) -> BoxFuture<'a, CloudResult<()>> {
        Box::pin(async move {
            self.stop(set).await?;
            node::remove_set(self.root.clone(), set.name.clone()).await?;
            Ok(())
        })
    }

    fn terminate_stray<'a>(&'a self, name: &'a str) -> BoxFuture<'a, CloudResult<()>> {
        Box::pin(async move {
            let dir = self.root.join(name);
            for node in node::nodes_in(&dir)? {
                node.stop(&self.reapers).await?;
            }
            node::remove_set(self.root.clone(), name.to_owned()).await?;
            Ok(())
        })
    }

    fn observe<'a>(&'a self, set: &'a NodeSet) -> BoxFuture<'a, CloudResult<Vec<Observed>>> {
        Box::pin(async move {
            let nodes = self.nodes(set);
            Ok(nodes.iter().map(|node| node.observe().into()).collect())
        })
    }

    fn owned(&self) -> BoxFuture<'_, CloudResult<Vec<String>>> {
        Box::pin(async move { Ok(node::sets(&self.root)?) })
    }

    fn transport(&self, instance: &Instance) -> Arc<dyn Transport> {
        match &instance.agent {
            PeerAddress::Unix { path } => {
                let socket = Path::new(path);
                let home = socket.with_file_name("home");
                Arc::new(transport::Local::new(socket).with_home(home))
            }
            PeerAddress::Tcp { .. } => unreachable!("a local node listens on a Unix socket"),
        }
    }
}
