//! Reading a log on a node across interruptions: to its end, or one piece.
//!
//! The cursor is the byte: after a break the reader asks again at the end of what it has given out.

use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use futures_util::stream::{self, BoxStream};
use serde::Serialize;

use super::agent_client::AgentClient;
use crate::api::frames::{Frame, Outcome};
use crate::api::versions::FRAMES_CONTENT_TYPE;
use crate::base::clock::monotonic;
use crate::base::ids::JobId;
use crate::base::{Error, Kind, Result};
use crate::http::answer::AnswerBody;
use crate::http::call::Call;
use crate::http::frames::FrameReader;
use crate::http::stream::Piece;

/// Connections in a row that may fail or give nothing new before the reader gives up.
const TRIES: u32 = 8;
/// So long after the first of them it gives up in any case: tries to reach a host that is off take long.
const AWAY: Duration = Duration::from_secs(5);
/// The pause before the second try; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The time in which the head of the answer must come.
const HEAD_TIME: Duration = Duration::from_secs(15);
/// What is fetched at once by who is behind: large, because each costs the way to the node and back.
const PIECE: usize = 1024 * 1024;
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
    /// Begin so many bytes before the end instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    back: Option<u64>,
    /// At most so many bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<usize>,
}

/// Where reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// At this byte.
    At(u64),
    /// So many lines before the present end.
    Lines(u64),
    /// So many bytes before the present end.
    Back(u64),
}

/// Reads one log to its end.
pub(crate) struct LogReader {
    /// The agent.
    client: AgentClient,
    /// The log's path.
    path: String,
    /// Where to begin; the next byte to give out, once there was one.
    start: Start,
    /// Wait for more at the end.
    follow: bool,
    /// Give out at most so many bytes.
    limit: Option<usize>,
    /// The stream that is being read.
    stream: Option<FrameReader<AnswerBody>>,
    /// Tries in a row that gave nothing new.
    tries: u32,
    /// When the first of them failed.
    failing: Instant,
    /// The end was given out.
    ended: bool,
}

impl LogReader {
    /// Reads the log at `path`.
    pub(super) fn new(client: AgentClient, path: String, start: Start, follow: bool) -> Self {
        Self {
            client,
            path,
            start,
            follow,
            limit: None,
            stream: None,
            tries: 0,
            failing: monotonic(),
            ended: false,
        }
    }

    /// Asks for so many bytes at most: what is asked for is sent, also when nobody reads it.
    const fn limit(mut self, bytes: usize) -> Self {
        self.limit = Some(bytes);
        self
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
                    if self.tries == 1 {
                        self.failing = monotonic();
                    }
                    if self.tries >= TRIES || self.failing.elapsed() > AWAY {
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

    /// Returns the frames as a stream; it ends after the end of the log, or after an error.
    pub(crate) fn into_frames(self) -> BoxStream<'static, Result<Frame>> {
        let frames = stream::unfold(Some(self), async |reader| {
            let mut reader = reader?;
            match reader.next().await {
                Ok(frame) => Some((Ok(frame?), Some(reader))),
                Err(error) => Some((Err(error), None)),
            }
        });
        Box::pin(frames)
    }

    /// Takes data: what was given out already is left out, a gap is an error.
    fn take(&mut self, offset: u64, mut bytes: Bytes) -> Result<Option<Frame>> {
        let expected = match self.start {
            Start::At(byte) => byte,
            Start::Lines(_) | Start::Back(_) => offset,
        };
        if offset > expected {
            let message = format!("the log misses bytes {expected} to {offset}");
            return Err(Error::new(Kind::Internal, message));
        }
        let known = usize::try_from(expected - offset).unwrap_or(usize::MAX);
        bytes.advance(known.min(bytes.len()));
        if bytes.is_empty() {
            return Ok(None);
        }
        self.tries = 0;
        self.start = Start::At(expected + bytes.len() as u64);
        Ok(Some(Frame::Data {
            offset: expected,
            bytes,
        }))
    }

    /// Asks for the log.
    async fn open(&self) -> Result<FrameReader<AnswerBody>> {
        let (offset, tail, back) = match self.start {
            Start::At(offset) => (offset, None, None),
            Start::Lines(lines) => (0, Some(lines), None),
            Start::Back(bytes) => (0, None, Some(bytes)),
        };
        let query = LogQuery {
            offset,
            follow: self.follow,
            tail,
            back,
            limit: self.limit,
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

impl AgentClient {
    /// `GET /v1/jobs/{id}/log` without waiting: at most [`PIECE`] bytes at `offset`, or how the job stands.
    ///
    /// Read to its end before it returns, so that a follower who stops reading holds no stream of the connection
    /// that all calls to this agent share.
    pub(crate) async fn log_piece(&self, id: JobId, offset: u64) -> Result<Piece> {
        let mut reader = self.log(Some(id), Start::At(offset), false).limit(PIECE);
        let mut read = Vec::new();
        loop {
            match reader.next().await? {
                Some(Frame::Data { bytes, .. }) => read.extend_from_slice(&bytes),
                Some(Frame::Heartbeat { .. }) => {}
                Some(Frame::End { .. }) | None if !read.is_empty() => {
                    return Ok(Piece::Bytes(read.into()));
                }
                Some(Frame::End { outcome, .. }) if is_open(&outcome) => {
                    return Ok(Piece::Quiet(outcome));
                }
                Some(Frame::End { outcome, .. }) => return Ok(Piece::End(outcome)),
                None => {
                    return Err(Error::new(
                        Kind::Internal,
                        "the log was read beyond its end",
                    ));
                }
            }
        }
    }

    /// Returns where the last lines of a job's log begin.
    pub(crate) async fn log_tail(&self, id: JobId, lines: u64) -> Result<u64> {
        let start = Start::Lines(lines);
        let mut reader = self.log(Some(id), start, false).limit(1);
        loop {
            match reader.next().await? {
                Some(Frame::Data { offset, .. } | Frame::End { offset, .. }) => return Ok(offset),
                Some(Frame::Heartbeat { .. }) => {}
                None => return Ok(0),
            }
        }
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
