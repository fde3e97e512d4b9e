//! Streams to the agents of nodes.

use futures_util::future::BoxFuture;

use super::Ssh;
use crate::base::Result;
use crate::clouds::Instance;
use crate::node::protocol::NodeName;
use crate::transport::{ByteStream, Transport};

/// The agent of a node on a host.
pub(super) struct Agent {
    /// Knows the way to the host, which the user may change.
    pub(super) cloud: Ssh,
    /// The host.
    pub(super) host: String,
    /// The node.
    pub(super) node: NodeName,
}

impl Transport for Agent {
    fn connect(&self) -> BoxFuture<'_, Result<Box<dyn ByteStream>>> {
        Box::pin(async move {
            let pools = self.cloud.pools()?;
            let host = self.cloud.named(&pools, &self.host).await?;
            host.open_agent(&self.node).await
        })
    }

    fn describe(&self) -> String {
        format!("the agent on host `{}`", self.host)
    }
}

/// The host and the set in the id of an instance.
pub(super) fn parts(instance: &Instance) -> (&str, &str) {
    let mut parts = instance.id.split('/');
    (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    )
}
