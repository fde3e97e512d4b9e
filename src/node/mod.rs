//! A node on the machine that this process runs on: a directory that behaves like a machine of its own.
//!
//! ```text
//!  <root>/<set>/<rank>/   home/        the home directory of jobs; a link to that of who logs in where the machine is the node's
//!                         agent.sock   where its agent listens
//!                         share.json   what of the machine it may use (machines that several sets share)
//!                         stopped      present: it is switched off
//! ```
//!
//! The API server uses nodes of its own machine directly (the cloud `local`). On other machines it runs
//! `sky __node`, which does the same there and answers in JSON (`protocol`).
#![warn(clippy::missing_docs_in_private_items)]

mod gpus;
pub(crate) mod machine;
mod place;
mod program;
pub(crate) mod protocol;
mod share;

pub(crate) use place::{Node, nodes_in, remove_set, sets};
pub(crate) use program::run;

use serde::{Deserialize, Serialize};

/// How a node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Standing {
    /// It is switched on.
    Running,
    /// It exists and is switched off.
    Stopped,
    /// It does not exist.
    Gone,
}
