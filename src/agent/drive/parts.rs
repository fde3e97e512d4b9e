//! One process of a job, wherever it runs: from its start to its last output.

use std::path::PathBuf;

use crate::agent::member::Member;
use crate::agent::runner::RankKey;
use crate::api::agent::{RankInfo, StartRank};
use crate::base::ids::NodeRank;
use crate::base::{Error, Kind, Result};

/// How often a process is started again that vanished before it began.
const STARTS: usize = 10;

/// One process of a job, as it is driven.
#[derive(Clone)]
pub(super) struct Part {
    /// The process.
    pub(super) key: RankKey,
    /// The node it runs on.
    pub(super) node: NodeRank,
    /// How that node is reached.
    pub(super) member: Member,
    /// Where its output is on this node.
    pub(super) log: PathBuf,
    /// Name of its output in the combined log.
    pub(super) label: String,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PartEnd {
    /// Its place among the parts.
    pub(super) index: usize,
    /// Its process id.
    pub(super) pid: u32,
    /// Its exit code.
    pub(super) code: i32,
}

/// Starts a process and waits until it has a process id (or has ended already).
pub(super) async fn start_part(index: usize, part: Part, start: StartRank) -> Result<(usize, u32)> {
    for _ in 0..STARTS {
        part.member.start(&start).await?;
        match part.member.running(part.key).await? {
            RankInfo::Running { pid } | RankInfo::Exited { pid, .. } => return Ok((index, pid)),
            RankInfo::Lost => return Err(vanished(&part)),
            // Its node's agent was restarted between the two calls.
            RankInfo::Absent => {}
        }
    }
    Err(vanished(&part))
}

/// Waits for the end of a process, and for its whole output to be here.
pub(super) async fn wait_part(index: usize, pid: u32, part: Part) -> Result<PartEnd> {
    let (ended, copied) = tokio::join!(
        part.member.ended(part.key),
        part.member.copy_log(part.key, &part.log)
    );
    copied?;
    match ended? {
        RankInfo::Exited { code, .. } => Ok(PartEnd { index, pid, code }),
        RankInfo::Absent | RankInfo::Running { .. } | RankInfo::Lost => Err(vanished(&part)),
    }
}

/// The error for a process whose supervisor is gone.
pub(super) fn vanished(part: &Part) -> Error {
    Error::new(
        Kind::CommandFailed,
        format!(
            "the supervisor of rank {} on node {} was killed",
            part.key.rank,
            part.node.label()
        ),
    )
}
