//! Reading a log on a node across interruptions: by frames, or as a source that the server serves on.
//!
//! The cursor is the byte: after a break the reader asks again at the end of what it has given out.

use std::time::Duration;

use bytes::Buf;
use futures_util::future::BoxFuture;
use serde::Serialize;

use super::agent_client::AgentClient;
use crate::api::frames::{Frame, Outcome};
use crate::api::versions::FRAMES_CONTENT_TYPE;
use crate::base::ids::JobId;
use crate::base::{Error, Kind, Result};
use crate::http::answer::AnswerBody;
use crate::http::call::Call;
use crate::http::frames::FrameReader;
use crate::http::stream::{Piece, Source};

/// Connections in a row that may fail or give nothing new before the reader gives up.
const TRIES: u32 = 8;
/// The pause before the second try; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The time in which the head of the answer must come.
const HEAD_TIME: Duration = Duration::from_secs(15);
/// Silence after which a stream counts as broken; agents send heartbeats far more often.
const SILENCE: Duration = Duration::from_secs(90);

/// Query of a log.
#[derive(Serialize)]
struct LogQuery {
    /// First byte.
    offset: u64,
    /// Wait for more at the end.
    follow: bool,
    /// Begin so many lines before the end instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    tail: Option<u64>,
}

/// Reads one log to its end.
pub(crate) struct LogReader {
    /// The agent.
    client: AgentClient,
    /// The log's path.
    path: String,
    /// The next byte to give out.
    offset: u64,
    /// Wait for more at the end.
    follow: bool,
    /// Begin so many lines before the end.
    tail: Option<u64>,
    /// The stream that is being read.
    stream: Option<FrameReader<AnswerBody>>,
    /// Tries in a row that gave nothing new.
    tries: u32,
    /// The end was given out.
    ended: bool,
}

impl LogReader {
    /// Reads the log at `path` from `offset`.
    pub(super) fn new(client: AgentClient, path: String, offset: u64, follow: bool) -> Self {
        Self {
            client,
            path,
            offset,
            follow,
            tail: None,
            stream: None,
            tries: 0,
            ended: false,
        }
    }

    /// Begins so many lines before the present end instead.
    #[must_use]
    pub(crate) const fn tail(mut self, lines: u64) -> Self {
        self.tail = Some(lines);
        self
    }

    /// Returns the position of the next byte.
    pub(crate) const fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns the next frame, `None` after the end; never an end that is only an interruption.
    ///
    /// Fails with the last error when the node stays out of reach. Cancel safe.
    pub(crate) async fn next(&mut self) -> Result<Option<Frame>> {
        while !self.ended {
            match self.advance().await {
                Ok(Some(frame)) => return Ok(Some(frame)),
                Ok(None) => {}
                Err(e) if is_passing(&e) => {
                    self.stream = None;
                    self.tries += 1;
                    if self.tries >= TRIES {
                        self.tries = 0;
                        return Err(e);
                    }
                    tokio::time::sleep(FIRST_PAUSE * 2_u32.pow(self.tries - 1)).await;
                }
                Err(e) => return Err(e),
            }
        }
        Ok(None)
    }

    /// Reads one frame; `None` when it was dealt with here.
    async fn advance(&mut self) -> Result<Option<Frame>> {
        if self.stream.is_none() {
            self.stream = Some(self.open().await?);
        }
        let Some(stream) = self.stream.as_mut() else {
            return Ok(None);
        };
        let frame = tokio::time::timeout(SILENCE, stream.next())
            .await
            .unwrap_or_else(|_| Err(Error::new(Kind::Unreachable, "the log stream fell silent")))?;
        match frame {
            Some(Frame::Data { offset, bytes }) => self.take(offset, bytes),
            Some(Frame::End {
                outcome: Outcome::Interrupted { reason },
                ..
            }) => Err(Error::new(
                Kind::Interrupted,
                format!("the log was interrupted: {reason}"),
            )),
            Some(Frame::End { offset, outcome }) => {
                self.ended = true;
                self.stream = None;
                Ok(Some(Frame::End { offset, outcome }))
            }
            Some(heartbeat @ Frame::Heartbeat { .. }) => {
                self.tries = 0;
                Ok(Some(heartbeat))
            }
            None => Err(Error::new(Kind::Unreachable, "the log stream broke off")),
        }
    }

    /// Takes data: what was given out already is left out, a gap is an error.
    fn take(&mut self, offset: u64, mut bytes: bytes::Bytes) -> Result<Option<Frame>> {
        if self.tail.take().is_some() {
            self.offset = offset;
        }
        if offset > self.offset {
            let message = format!("the log misses bytes {} to {offset}", self.offset);
            return Err(Error::new(Kind::Internal, message));
        }
        let known = usize::try_from(self.offset - offset).unwrap_or(usize::MAX);
        bytes.advance(known.min(bytes.len()));
        if bytes.is_empty() {
            return Ok(None);
        }
        self.tries = 0;
        let offset = self.offset;
        self.offset += bytes.len() as u64;
        Ok(Some(Frame::Data { offset, bytes }))
    }

    /// Asks for the log.
    async fn open(&self) -> Result<FrameReader<AnswerBody>> {
        let query = LogQuery {
            offset: self.offset,
            follow: self.follow,
            tail: self.tail,
        };
        let call = Call::get(&self.path)
            .query(&query)
            .header("accept", FRAMES_CONTENT_TYPE)
            .timeout(HEAD_TIME);
        Ok(self.client.call(call).await?.frames())
    }
}

/// Returns whether the log may be there after a moment.
fn is_passing(error: &Error) -> bool {
    error.kind().is_retryable() || error.kind() == Kind::Interrupted
}

/// A job's log on a node as a source: the server serves on what it reads.
pub(crate) struct AgentLog {
    /// The agent.
    client: AgentClient,
    /// The job; the latest without one.
    job: Option<JobId>,
    /// The stream that is being read.
    reader: Option<LogReader>,
}

impl AgentLog {
    /// Makes a source of a job's log.
    pub(crate) fn new(client: AgentClient, job: Option<JobId>) -> Self {
        Self {
            client,
            job,
            reader: None,
        }
    }
}

impl Source for AgentLog {
    fn read(&mut self, offset: u64, wait: bool) -> BoxFuture<'_, Result<Piece>> {
        Box::pin(async move {
            let reusable = |r: &LogReader| r.offset == offset && r.follow == wait && !r.ended;
            let reader = match self.reader.take().filter(reusable) {
                Some(reader) => self.reader.insert(reader),
                None => self.reader.insert(self.client.log(self.job, offset, wait)),
            };
            loop {
                match reader.next().await? {
                    Some(Frame::Data { bytes, .. }) => return Ok(Piece::Bytes(bytes)),
                    Some(Frame::End { outcome, .. }) if is_open(&outcome) => {
                        return Ok(Piece::Quiet(outcome));
                    }
                    Some(Frame::End { outcome, .. }) => return Ok(Piece::End(outcome)),
                    Some(Frame::Heartbeat { .. }) => {}
                    None => {
                        return Err(Error::new(
                            Kind::Internal,
                            "the log was read beyond its end",
                        ));
                    }
                }
            }
        })
    }

    fn tail_offset(&mut self, lines: u64) -> BoxFuture<'_, Result<u64>> {
        Box::pin(async move {
            let mut reader = self.client.log(self.job, 0, false).tail(lines);
            loop {
                match reader.next().await? {
                    Some(Frame::Data { offset, .. } | Frame::End { offset, .. }) => {
                        return Ok(offset);
                    }
                    Some(Frame::Heartbeat { .. }) => {}
                    None => return Ok(reader.offset()),
                }
            }
        })
    }
}

/// Returns whether the followed thing goes on after this end of a stream.
fn is_open(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Job { status, .. } => status.is_some_and(|status| !status.is_final()),
        Outcome::Request { status } => !status.is_final(),
        Outcome::File | Outcome::Interrupted { .. } => false,
    }
}

#[cfg(test)]
mod tests;
