//! Asking the cloud and the nodes how a cluster really stands.

use std::time::Duration;

use futures_util::future::join_all;

use super::{Cluster, Clusters, Event, State};
use crate::base::Result;
use crate::clouds::{CloudId, Observed, Standing};

/// How long a node's agent may take to answer before it counts as not answering.
const AGENT_DEADLINE: Duration = Duration::from_secs(10);

/// What to do about what was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Finding {
    /// The record is right, or an operation is at work that will set it.
    Keep,
    /// The record changes.
    Record(Event),
    /// The machines are gone: so is the cluster.
    Forget,
}

/// A node as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    /// By the cloud.
    machine: Observed,
    /// By its agent: why it does not answer, if it does not.
    agent: Option<String>,
}

/// Decides what the observation means. Pure.
fn judge(state: &State, nodes: &[Seen]) -> Finding {
    match state {
        // The request that launches, stops or removes the cluster owns its state until it ends.
        State::Launching { .. } | State::Stopping { .. } | State::Terminating { .. } => {
            return Finding::Keep;
        }
        State::Up { .. } | State::Unhealthy { .. } | State::Stopped { .. } => {}
    }
    let all = |wanted: Standing| nodes.iter().all(|n| n.machine.standing == wanted);
    if all(Standing::Gone) {
        return Finding::Forget;
    }
    if all(Standing::Stopped) {
        return match state {
            State::Stopped { .. } => Finding::Keep,
            _ => Finding::Record(Event::AllStopped),
        };
    }
    if let State::Stopped { .. } = state {
        // Machines that run although they were stopped: visible at the next start.
        return Finding::Keep;
    }
    let trouble = nodes.iter().enumerate().find_map(|(rank, node)| {
        let why = node.machine.why.as_ref();
        let why = why.map(|why| format!(": {why}")).unwrap_or_default();
        match node.machine.standing {
            Standing::Gone => Some(format!("node {rank} does not exist any more{why}")),
            Standing::Stopped => Some(format!("node {rank} is stopped{why}")),
            Standing::Running => node
                .agent
                .as_ref()
                .map(|why| format!("the agent of node {rank} does not answer: {why}")),
        }
    });
    Finding::Record(trouble.map_or(Event::AllUp, |reason| Event::FoundUnhealthy { reason }))
}

impl Clusters {
    /// Looks at a cluster and corrects its record; `None` when it turns out to be gone.
    pub(crate) async fn refresh(&self, cluster: Cluster) -> Result<Option<Cluster>> {
        let machines = self
            .clouds()
            .get(cluster.cloud)
            .observe(&cluster.set)
            .await?;
        let seen = join_all(machines.into_iter().enumerate().map(|(rank, machine)| {
            let instance = cluster
                .instances
                .iter()
                .find(|i| usize::try_from(i.rank.0) == Ok(rank));
            let cluster = &cluster;
            async move {
                let agent = match (machine.standing, instance) {
                    (Standing::Running, Some(instance)) => {
                        match tokio::time::timeout(
                            AGENT_DEADLINE,
                            self.ensure_agent(cluster, instance),
                        )
                        .await
                        {
                            Ok(Ok(_)) => None,
                            Ok(Err(error)) => Some(error.one_line()),
                            Err(_) => Some(format!("no answer in {} s", AGENT_DEADLINE.as_secs())),
                        }
                    }
                    (Standing::Running, None) => Some("it was never made".to_owned()),
                    (Standing::Stopped | Standing::Gone, _) => None,
                };
                Seen { machine, agent }
            }
        }))
        .await;
        match judge(&cluster.state, &seen) {
            Finding::Keep => Ok(Some(cluster)),
            Finding::Record(event) => self.transition(&cluster, event, |_| {}).await.map(Some),
            Finding::Forget => {
                self.forget(&cluster).await?;
                Ok(None)
            }
        }
    }

    /// Returns sets of machines that exist and that no record names: cloud and name.
    pub(crate) async fn strays(&self) -> Result<Vec<(CloudId, String)>> {
        let mut owned = Vec::new();
        for cloud in self.clouds().iter() {
            let names = cloud.owned().await?;
            owned.extend(names.into_iter().map(|name| (cloud.id(), name)));
        }
        // The records after the machines: one is stored before the machines of its cluster are made.
        let clusters = self.list().await?.into_iter();
        let known: Vec<String> = clusters
            .flat_map(|c| {
                let elsewhere = c.remnants.into_iter().map(|remnant| remnant.set.name);
                elsewhere.chain([c.set.name]).collect::<Vec<_>>()
            })
            .collect();
        owned.retain(|(_, name)| !known.contains(name));
        Ok(owned)
    }

    /// Removes the machines of this name, if they exist and no record names them; returns where they were.
    pub(crate) async fn remove_stray(&self, name: &str) -> Result<Option<CloudId>> {
        let strays = self.strays().await?;
        let Some((cloud, _)) = strays.into_iter().find(|(_, stray)| stray == name) else {
            return Ok(None);
        };
        self.clouds().get(cloud).terminate_stray(name).await?;
        Ok(Some(cloud))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Moment;

    fn node(machine: Standing, agent: Option<&str>) -> Seen {
        Seen {
            machine: machine.into(),
            agent: agent.map(str::to_owned),
        }
    }

    #[test]
    fn judges_by_what_was_seen() {
        let since = Moment::from_micros(1);
        let up = State::Up { since };
        let stopped = State::Stopped { since };
        let (runs, off, gone) = (
            node(Standing::Running, None),
            node(Standing::Stopped, None),
            node(Standing::Gone, None),
        );
        let mute = node(Standing::Running, Some("connection refused"));
        let unhealthy =
            |finding: Finding| matches!(finding, Finding::Record(Event::FoundUnhealthy { .. }));
        assert_eq!(
            judge(&up, &[runs.clone(), runs.clone()]),
            Finding::Record(Event::AllUp)
        );
        assert_eq!(
            judge(&up, &[off.clone(), off.clone()]),
            Finding::Record(Event::AllStopped)
        );
        assert_eq!(judge(&up, &[gone.clone(), gone.clone()]), Finding::Forget);
        assert_eq!(
            judge(&stopped, std::slice::from_ref(&gone)),
            Finding::Forget
        );
        assert_eq!(judge(&stopped, std::slice::from_ref(&off)), Finding::Keep);
        assert_eq!(judge(&stopped, std::slice::from_ref(&runs)), Finding::Keep);
        assert!(unhealthy(judge(&up, &[runs.clone(), off])));
        assert!(unhealthy(judge(&up, &[runs.clone(), gone.clone()])));
        assert!(unhealthy(judge(&up, &[mute])));
        assert_eq!(judge(&State::Launching { since }, &[gone]), Finding::Keep);
    }
}
