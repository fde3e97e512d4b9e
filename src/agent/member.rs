//! A node of the cluster as the head drives it: this one, or another one through its agent.

use std::path::Path;

use super::peer::Peer;
use super::runner::{RankKey, Runner};
use crate::api::agent::{NodeConfig, RankInfo, StartRank};
use crate::base::ids::{JobId, NodeRank};
use crate::base::{Error, Kind, Result};

/// A node of the cluster.
#[derive(Clone)]
pub(crate) enum Member {
    /// The node of this agent.
    Here(Runner),
    /// Another one.
    There(Peer),
}

impl Member {
    /// Returns the way to a node.
    pub(crate) fn of(runner: &Runner, config: &NodeConfig, node: NodeRank) -> Result<Self> {
        if node == config.rank {
            return Ok(Self::Here(runner.clone()));
        }
        let peer = config.nodes.iter().find(|peer| peer.rank == node);
        let peer = peer.ok_or_else(|| {
            Error::new(
                Kind::Internal,
                format!("node {} is not part of the cluster", node.label()),
            )
        })?;
        Ok(Self::There(Peer::new(peer)?))
    }

    /// Starts a process, unless it was started before.
    pub(crate) async fn start(&self, what: &StartRank) -> Result<()> {
        match self {
            Self::Here(runner) => runner.start(what.clone()).await,
            Self::There(peer) => peer.start(what).await,
        }
    }

    /// Waits until a process has a process id (or has ended, or is not there).
    pub(crate) async fn running(&self, key: RankKey) -> Result<RankInfo> {
        match self {
            Self::Here(runner) => runner.running(key).await,
            Self::There(peer) => peer.running(key).await,
        }
    }

    /// Waits until a process has ended (or is not there).
    pub(crate) async fn ended(&self, key: RankKey) -> Result<RankInfo> {
        match self {
            Self::Here(runner) => runner.ended(key).await,
            Self::There(peer) => peer.ended(key).await,
        }
    }

    /// Ends a rank's processes; none is started later. Returns when they are gone.
    pub(crate) async fn stop(&self, job: JobId, rank: NodeRank) -> Result<()> {
        match self {
            Self::Here(runner) => runner.stop(job, rank).await,
            Self::There(peer) => peer.stop(job, rank).await,
        }
    }

    /// Returns whether it is another machine, which may be away and come back.
    pub(crate) const fn is_elsewhere(&self) -> bool {
        match self {
            Self::Here(_) => false,
            Self::There(peer) => peer.is_elsewhere(),
        }
    }

    /// [`Self::stop`] for a node that was away, as soon as it is back.
    pub(crate) async fn stop_later(&self, job: JobId, rank: NodeRank) -> Result<()> {
        match self {
            Self::Here(_) => Ok(()),
            Self::There(peer) => peer.stop_later(job, rank).await,
        }
    }

    /// Brings a process's output here and returns when it is complete; the output of this node is here already.
    pub(crate) async fn copy_log(&self, key: RankKey, to: &Path) -> Result<()> {
        match self {
            Self::Here(_) => Ok(()),
            Self::There(peer) => peer.copy_log(key, to).await,
        }
    }
}
