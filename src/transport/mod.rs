//! Byte streams to nodes, and the client of the agent that speaks over them.
//!
//! A transport only moves bytes: what is said over it is HTTP/2 and belongs to `agent_client`.
#![warn(clippy::missing_docs_in_private_items)]

pub(crate) mod agent_client;
pub(crate) mod agent_events;
pub(crate) mod agent_log;
#[cfg(test)]
pub(crate) mod faulty;
pub(crate) mod local;
#[cfg(test)]
pub(crate) mod memory;
pub(crate) mod ssh;

use std::path::Path;

use futures_util::future::BoxFuture;

use crate::base::Result;
pub(crate) use crate::http::conn::ByteStream;

/// A way to a node.
pub(crate) trait Transport: Send + Sync {
    /// Opens a new stream to the node's agent; fails with kind `Unreachable` when there is none to talk to.
    fn connect(&self) -> BoxFuture<'_, Result<Box<dyn ByteStream>>>;

    /// Returns where it leads, for messages: `node directory /x/y`, `ssh host a`.
    fn describe(&self) -> String;

    /// Returns the node's home directory when this process can read it by this path: large files need not travel then.
    fn home(&self) -> Option<&Path> {
        None
    }
}
