//! The endless stream of JSON lines in which an agent tells what happens on its node.

use bytes::{Buf, BytesMut};
use http_body_util::BodyExt;

use crate::api::agent::AgentEvent;
use crate::base::{Error, Kind, Result};
use crate::http::answer::AnswerBody;

/// The longest line that is accepted.
const MAX_LINE: usize = 16 * 1024 * 1024;
/// Silence after which the stream counts as broken; agents send a heartbeat far more often.
const SILENCE: std::time::Duration = std::time::Duration::from_secs(90);

/// Reads events.
pub(crate) struct Events {
    /// Where lines come from.
    body: AnswerBody,
    /// What has arrived and is not yet a whole line.
    buffer: BytesMut,
}

impl Events {
    /// Reads from `body`.
    pub(crate) fn new(body: AnswerBody) -> Self {
        Self {
            body,
            buffer: BytesMut::new(),
        }
    }

    /// Returns the next event; fails with `Unreachable` when the stream breaks: ask for events again.
    ///
    /// Cancel safe: nothing is lost when the future is dropped.
    pub(crate) async fn next(&mut self) -> Result<AgentEvent> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.buffer) {
                let line = self.buffer.split_to(end);
                self.buffer.advance(1);
                if line.is_empty() {
                    continue;
                }
                return serde_json::from_slice(&line).map_err(|e| {
                    Error::new(Kind::Internal, "an event of the agent does not parse").caused_by(&e)
                });
            }
            if self.buffer.len() > MAX_LINE {
                return Err(Error::new(
                    Kind::TooLarge,
                    "an event of the agent is too long",
                ));
            }
            match tokio::time::timeout(SILENCE, self.body.frame()).await {
                Ok(Some(Ok(piece))) => {
                    if let Ok(bytes) = piece.into_data() {
                        self.buffer.extend_from_slice(&bytes);
                    }
                }
                Ok(Some(Err(e))) => return Err(broke().caused_by(&e)),
                Ok(None) | Err(_) => return Err(broke()),
            }
        }
    }
}

/// The error of a stream that ended.
fn broke() -> Error {
    Error::new(Kind::Unreachable, "the agent's events broke off")
}
