//! A server in the same process, for tests of everything that talks to an agent.

use futures_util::future::BoxFuture;

use super::{ByteStream, Transport};
use crate::base::Result;
use crate::http::serve::{Peer, Server};

/// Room in each direction of a stream.
const BUFFER: usize = 64 * 1024;

/// Streams into a server in this process.
#[derive(Clone)]
pub(crate) struct Memory {
    /// The other end.
    server: Server,
}

impl Memory {
    /// Leads to `server`.
    pub(crate) fn new(server: Server) -> Self {
        Self { server }
    }
}

impl Transport for Memory {
    fn connect(&self) -> BoxFuture<'_, Result<Box<dyn ByteStream>>> {
        Box::pin(async move {
            let (ours, theirs) = tokio::io::duplex(BUFFER);
            self.server
                .serve_stream(Box::new(theirs), Peer::this_process());
            let stream: Box<dyn ByteStream> = Box::new(ours);
            Ok(stream)
        })
    }

    fn describe(&self) -> String {
        "an agent in memory".to_owned()
    }
}
