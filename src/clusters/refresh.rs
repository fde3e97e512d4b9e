//! Asking the cloud and the nodes how a cluster really stands.

use std::time::Duration;

use futures_util::future::join_all;

use super::{Cluster, Clusters, Event, State, store};
use crate::base::clock::Moment;
use crate::base::{Error, Result};
use crate::clouds::{Category, CloudId, Observed, Standing};

/// How long a node's agent may take to answer before it counts as not answering.
const AGENT_DEADLINE: Duration = Duration::from_secs(10);

/// What to do about what was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Finding {
    /// The record is right, or an operation is at work that will set it.
    Keep,
    /// The record changes, by these events in order.
    Record(Vec<Event>),
    /// The machines are gone: so is the cluster, for this reason.
    Forget(String),
}

/// What a look at a cluster found.
#[derive(Debug)]
pub(crate) enum Looked {
    /// It is there, and its record is right now.
    There(Box<Cluster>),
    /// It is gone.
    Gone {
        /// Why.
        reason: String,
    },
}

/// Whether a request works on a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// One does, or may: what it makes, starts, stops or removes is its business.
    Maybe,
    /// None does: what was half done stays so.
    None,
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
fn judge(cluster: &Cluster, nodes: &[Seen], work: Work) -> Finding {
    let state = &cluster.state;
    match state {
        State::Stopping { .. } | State::Terminating { .. } => return Finding::Keep,
        State::Launching { .. } if work == Work::Maybe || cluster.waits.is_some() => {
            return Finding::Keep;
        }
        State::Launching { .. }
        | State::Up { .. }
        | State::Unhealthy { .. }
        | State::Stopped { .. } => {}
    }
    let all = |wanted: Standing| nodes.iter().all(|n| n.machine.standing == wanted);
    let itself = |down| {
        let set = cluster.autostop.as_ref();
        matches!(state, State::Up { .. }) && set.is_some_and(|set| set.down == down)
    };
    if all(Standing::Gone) {
        let why = nodes.iter().find_map(|n| n.machine.why.clone());
        return Finding::Forget(match why {
            Some(why) => why,
            None if itself(true) => "it was idle for as long as set, and removed itself".to_owned(),
            None => "its machines were removed from outside".to_owned(),
        });
    }
    if all(Standing::Stopped) {
        return match state {
            State::Stopped { .. } => Finding::Keep,
            _ if itself(false) => {
                let idle = true;
                Finding::Record(vec![Event::StopIntended { idle }, Event::AllStopped])
            }
            _ => Finding::Record(vec![Event::AllStopped]),
        };
    }
    if let State::Stopped { .. } = state {
        // Machines that run although they were stopped: visible at the next start.
        return Finding::Keep;
    }
    let trouble = nodes.iter().enumerate().find_map(|(rank, node)| {
        let said = node.machine.why.as_ref();
        let why = said.map(|why| format!(": {why}")).unwrap_or_default();
        match node.machine.standing {
            Standing::Gone => Some(format!("node {rank} does not exist any more{why}")),
            Standing::Stopped => Some(format!("node {rank} is stopped{why}")),
            Standing::Running => node
                .agent
                .as_ref()
                .map(|why| said.unwrap_or(why))
                .map(|why| format!("the agent of node {rank} does not answer: {why}")),
        }
    });
    match (trouble, state) {
        (None, State::Up { .. }) => Finding::Keep,
        (None, _) => Finding::Record(vec![Event::AllUp]),
        (Some(reason), State::Unhealthy { reason: known, .. }) if reason == *known => Finding::Keep,
        (Some(reason), _) => Finding::Record(vec![Event::FoundUnhealthy { reason }]),
    }
}

impl Clusters {
    /// Looks at a cluster and corrects its record.
    pub(crate) async fn refresh(&self, cluster: Cluster) -> Result<Looked> {
        self.look(cluster, Work::Maybe).await
    }

    /// Looks at a cluster and corrects its record.
    pub(super) async fn look(&self, cluster: Cluster, work: Work) -> Result<Looked> {
        let machines = self
            .clouds()
            .get(cluster.cloud)
            .observe(&cluster.set)
            .await?;
        let is_stopped = matches!(cluster.state, State::Stopped { .. });
        let seen = join_all(machines.into_iter().enumerate().map(|(rank, machine)| {
            let instance = cluster
                .instances
                .iter()
                .find(|i| usize::try_from(i.rank.0) == Ok(rank));
            let cluster = &cluster;
            async move {
                let agent = match (machine.standing, instance) {
                    (Standing::Running, _) if is_stopped => None,
                    // Who cannot reach the machine cannot reach its agent.
                    (Standing::Running, Some(_)) if machine.why.is_some() => machine.why.clone(),
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
        let finding = judge(&cluster, &seen, work);
        self.settle(cluster, finding).await
    }

    /// Puts a finding into the record, unless the record has changed since the look began.
    async fn settle(&self, cluster: Cluster, finding: Finding) -> Result<Looked> {
        let events = match finding {
            Finding::Keep => return Ok(Looked::There(Box::new(cluster))),
            Finding::Forget(reason) => {
                return if self.lost(&cluster, reason.clone()).await? {
                    tracing::info!(cluster = %cluster.name, reason, "a cluster is gone");
                    Ok(Looked::Gone { reason })
                } else {
                    Ok(Looked::There(Box::new(cluster)))
                };
            }
            Finding::Record(events) => events,
        };
        tracing::info!(cluster = %cluster.name, ?events, "a cluster is not as its record says");
        let (name, hash, seen) = (cluster.name, cluster.hash, cluster.state);
        let changed = self
            .inner
            .db
            .write(move |tx| {
                let mut cluster = store::get_same(tx, &name, &hash)?;
                if cluster.state != seen {
                    return Ok(cluster);
                }
                for event in events {
                    cluster
                        .apply(event, Moment::now())
                        .map_err(|e| Error::internal("record what was seen", &e))?;
                }
                if let State::Stopped { .. } = cluster.state {
                    cluster.autostop = None;
                }
                store::put(tx, &cluster)?;
                Ok(cluster)
            })
            .await?;
        self.watch(&changed);
        Ok(Looked::There(Box::new(changed)))
    }

    /// Returns sets of machines that exist and that no record names: cloud and name.
    ///
    /// With them what kept clouds from saying what they have; not of those that are not set up and have no cluster.
    pub(crate) async fn strays(&self) -> Result<(Vec<(CloudId, String)>, Vec<Error>)> {
        let (mut owned, mut failed) = (Vec::new(), Vec::new());
        for cloud in self.clouds().iter() {
            match cloud.owned().await {
                Ok(names) => owned.extend(names.into_iter().map(|name| (cloud.id(), name))),
                Err(error) => failed.push((cloud.id(), error)),
            }
        }
        // The records after the machines: one is stored before the machines of its cluster are made.
        let clusters = self.list().await?;
        failed.retain(|(cloud, error)| {
            let set_up = !matches!(error.category, Category::Auth | Category::Configuration);
            set_up || clusters.iter().any(|c| c.cloud == *cloud)
        });
        let known: Vec<String> = clusters
            .into_iter()
            .flat_map(|c| {
                let elsewhere = c.remnants.into_iter().map(|remnant| remnant.set.name);
                elsewhere.chain([c.set.name]).collect::<Vec<_>>()
            })
            .collect();
        owned.retain(|(_, name)| !known.contains(name));
        let failed = failed.into_iter().map(|(cloud, error)| {
            let what = format!(
                "cannot tell which machines there are on {}",
                cloud.display_name()
            );
            error.error.context(what)
        });
        Ok((owned, failed.collect()))
    }

    /// Removes the machines of this name, if they exist and no record names them; returns where they were.
    pub(crate) async fn remove_stray(&self, name: &str) -> Result<Option<CloudId>> {
        let (strays, mut failed) = self.strays().await?;
        let Some((cloud, _)) = strays.into_iter().find(|(_, stray)| stray == name) else {
            // Where nobody can tell, nobody says that there is nothing.
            return failed.pop().map_or(Ok(None), Err);
        };
        self.clouds().get(cloud).terminate_stray(name).await?;
        Ok(Some(cloud))
    }
}

#[cfg(test)]
mod tests;
