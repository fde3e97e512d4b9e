//! Connections to the agents of clusters: kept, shared, and mended when an agent has gone.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::try_join_all;

use super::{Cluster, Clusters};
use crate::api::agent::{NodeConfig, Peer};
use crate::base::clock::monotonic;
use crate::base::ids::NodeRank;
use crate::base::{Kind, Result};
use crate::clouds::Instance;
use crate::transport::agent_client::AgentClient;

/// Seconds between TERM and KILL, as the tool users come from gives.
const KILL_GRACE_SECS: f64 = 30.0;
/// How often an agent that vanishes is started again for one call.
const REVIVALS: u32 = 6;
/// So long after its first failure no further call is made to a node that is out of reach.
pub(super) const AWAY: Duration = Duration::from_secs(12);
/// The pause before the second time; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// One client for each node, by cluster life and rank.
#[derive(Default)]
pub(super) struct Pool {
    /// The clients, each with the machine that it is for: one that was stopped may come back at another address.
    clients: Mutex<HashMap<(String, NodeRank), (Instance, AgentClient)>>,
}

impl Pool {
    /// Forgets the clients of a cluster.
    pub(super) fn forget(&self, hash: &str) {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.retain(|(of, _), _| of != hash);
    }
}

impl Clusters {
    /// Returns the client of a node's agent; connects when it is used.
    pub(super) fn agent(&self, cluster: &Cluster, instance: &Instance) -> AgentClient {
        let key = (cluster.hash.clone(), instance.rank);
        let mut clients = self
            .inner
            .agents
            .clients
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match clients.get(&key) {
            Some((known, client)) if known == instance => client.clone(),
            _ => {
                let transport = self.clouds().get(cluster.cloud).transport(instance);
                let client = AgentClient::new(transport);
                clients.insert(key, (instance.clone(), client.clone()));
                client
            }
        }
    }

    /// Returns the client of the head node's agent.
    pub(crate) fn head(&self, cluster: &Cluster) -> Result<AgentClient> {
        Ok(self.agent(cluster, cluster.instance(NodeRank::HEAD)?))
    }

    /// Makes sure that the agent of a node runs and knows its cluster; one that vanishes meanwhile is started again.
    pub(super) async fn ensure_agent(
        &self,
        cluster: &Cluster,
        instance: &Instance,
    ) -> Result<AgentClient> {
        let cloud = self.clouds().get(cluster.cloud);
        let client = self.agent(cluster, instance);
        let owns_machine = cloud.capabilities(&cluster.set.offer).own_machines;
        let config = node_config(cluster, instance.rank, owns_machine);
        let start = || async {
            cloud.bootstrap(&cluster.set, instance).await?;
            client.configure(&config).await
        };
        let mut started = start().await;
        let first_failed = monotonic();
        for attempt in 0..REVIVALS {
            match &started {
                Err(error) if error.kind() == Kind::Unreachable => {}
                _ => break,
            }
            if first_failed.elapsed() > AWAY {
                break;
            }
            tokio::time::sleep(pause(attempt)).await;
            started = start().await;
        }
        let rank = instance.rank;
        started
            .map(|()| client)
            .map_err(|e| e.context(format!("cannot start the agent of node {rank}")))
    }

    /// Makes sure that all agents of a cluster run and know it.
    pub(crate) async fn ensure_agents(&self, cluster: &Cluster) -> Result<()> {
        try_join_all(
            cluster
                .instances
                .iter()
                .map(|i| self.ensure_agent(cluster, i)),
        )
        .await?;
        Ok(())
    }

    /// Calls the head's agent; when it does not answer, starts it again and calls once more, some times over.
    ///
    /// Only for calls that may be made twice: all of the agent's are.
    pub(crate) async fn on_head<T, F>(
        &self,
        cluster: &Cluster,
        call: impl Fn(AgentClient) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let head = cluster.instance(NodeRank::HEAD)?;
        self.on_node(cluster, head, call).await
    }

    /// [`Self::on_head`] for any node.
    pub(super) async fn on_node<T, F>(
        &self,
        cluster: &Cluster,
        instance: &Instance,
        call: impl Fn(AgentClient) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let mut result = call(self.agent(cluster, instance)).await;
        for attempt in 0..REVIVALS {
            let error = match result {
                Err(error) if error.kind() == Kind::Unreachable => error,
                other => return other,
            };
            tracing::info!(cluster = %cluster.name, error = %error.one_line(), "starting the agent again");
            if attempt > 0 {
                tokio::time::sleep(pause(attempt)).await;
            }
            result = call(self.ensure_agent(cluster, instance).await?).await;
        }
        result
    }
}

/// Returns the pause after so many attempts.
pub(super) fn pause(attempt: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << attempt)
}

/// Returns what a node must know of its cluster.
fn node_config(cluster: &Cluster, rank: NodeRank, owns_machine: bool) -> NodeConfig {
    let offer = &cluster.set.offer;
    NodeConfig {
        cluster: cluster.name.to_string(),
        rank,
        nodes: cluster
            .instances
            .iter()
            .map(|i| Peer {
                rank: i.rank,
                ip: i.internal_ip.clone(),
                address: i.agent.clone(),
            })
            .collect(),
        cluster_info: cluster_info(cluster),
        cpus: offer.vcpus,
        accelerators: offer
            .accelerators
            .iter()
            .map(|a| (a.name.clone(), a.count))
            .collect(),
        kill_grace_secs: KILL_GRACE_SECS,
        owns_machine,
    }
}

/// Returns the text of `SKYPILOT_CLUSTER_INFO`, with the spaces that the original's JSON writer puts.
fn cluster_info(cluster: &Cluster) -> String {
    let text = |value: Option<&str>| serde_json::Value::from(value).to_string();
    let offer = &cluster.set.offer;
    format!(
        r#"{{"cluster_name": {}, "cloud": {}, "region": {}, "zone": {}}}"#,
        text(Some(cluster.name.as_str())),
        text(Some(cluster.cloud.display_name())),
        text(offer.region.as_deref()),
        text(offer.zone.as_deref()),
    )
}
