//! Another node's agent, as the head speaks to it.

use std::path::Path;

use super::runner::RankKey;
use crate::api::agent::{RankInfo, StartRank};
use crate::base::ids::{JobId, NodeRank};
use crate::base::{Error, Kind, Result};

/// Another node's agent.
#[derive(Clone)]
pub(crate) struct Peer {}

impl Peer {
    pub(crate) fn new(_peer: &crate::api::agent::Peer) -> Result<Self> {
        Err(Error::new(Kind::NotSupported, "workers"))
    }
    pub(crate) async fn start(&self, _what: &StartRank) -> Result<()> {
        Err(Error::new(Kind::NotSupported, "workers"))
    }
    pub(crate) async fn running(&self, _key: RankKey) -> Result<RankInfo> {
        Err(Error::new(Kind::NotSupported, "workers"))
    }
    pub(crate) async fn ended(&self, _key: RankKey) -> Result<RankInfo> {
        Err(Error::new(Kind::NotSupported, "workers"))
    }
    pub(crate) async fn stop(&self, _job: JobId, _rank: NodeRank) -> Result<()> {
        Err(Error::new(Kind::NotSupported, "workers"))
    }
    pub(crate) async fn copy_log(&self, _key: RankKey, _to: &Path) -> Result<()> {
        Err(Error::new(Kind::NotSupported, "workers"))
    }
}
