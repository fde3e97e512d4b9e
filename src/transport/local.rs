//! Nodes on this machine: the Unix socket in the node's directory.

use std::path::{Path, PathBuf};

use futures_util::future::BoxFuture;

use super::{ByteStream, Transport};
use crate::base::{Error, Kind, Result};
use crate::http::unix;

/// The socket of an agent on this machine.
#[derive(Debug, Clone)]
pub(crate) struct Local {
    /// Where it is; of any length.
    socket: PathBuf,
    /// The node's home, where the agent is that of a node.
    home: Option<PathBuf>,
}

impl Local {
    /// Leads to the agent that listens at `socket`.
    pub(crate) fn new(socket: impl Into<PathBuf>) -> Self {
        Self {
            socket: socket.into(),
            home: None,
        }
    }

    /// Says where the node's home is.
    #[must_use]
    pub(crate) fn with_home(mut self, home: PathBuf) -> Self {
        self.home = Some(home);
        self
    }
}

impl Transport for Local {
    fn connect(&self) -> BoxFuture<'_, Result<Box<dyn ByteStream>>> {
        Box::pin(async move {
            let stream = unix::connect(&self.socket).await.map_err(|e| {
                Error::new(
                    Kind::Unreachable,
                    format!("cannot reach {}", self.describe()),
                )
                .caused_by(&e)
            })?;
            let stream: Box<dyn ByteStream> = Box::new(stream);
            Ok(stream)
        })
    }

    fn describe(&self) -> String {
        format!("the agent at `{}`", self.socket.display())
    }

    fn home(&self) -> Option<&Path> {
        self.home.as_deref()
    }
}
