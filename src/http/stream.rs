//! Response bodies that follow a log: framed (cursor, heartbeat, explicit end) and plain text.
//!
//! A follower is a body that pulls from its [`Source`] when the connection has room: no task and no queue of its
//! own, so a slow reader holds nothing but its cursor, and ten thousand followers cost ten thousand cursors.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream;

use super::frames;
use super::lines::LineFilter;
use crate::api::frames::{Control, MAX_PAYLOAD, Outcome};
use crate::base::{Error, Kind, Result};

/// What a source gives at an offset.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Piece {
    /// Bytes that begin at the offset; never empty.
    Bytes(Bytes),
    /// The log is complete and the offset is its end.
    End(Outcome),
    /// Nothing more now, the log is still open; only when not told to wait. Says how the followed thing stands.
    Quiet(Outcome),
}

/// A log that can be read at any offset.
pub(crate) trait Source: Send {
    /// Returns bytes at `offset`; at the end of an open log waits for more, or says `Quiet` unless `wait`.
    ///
    /// Cancel safe: a dropped read loses nothing, the next one at the same offset returns the same bytes.
    /// An offset beyond the end of the log is read as its end.
    fn read(&mut self, offset: u64, wait: bool) -> BoxFuture<'_, Result<Piece>>;

    /// Returns where the last `lines` lines of what is there now begin; control lines do not count.
    fn tail_offset(&mut self, lines: u64) -> BoxFuture<'_, Result<u64>>;
}

/// What happens to control lines in the plain form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Controls {
    /// They stay, for clients that show a spinner.
    Keep,
    /// They are removed, for browsers and `curl`.
    Strip,
}

/// Returns the framed form of a log from byte `from` on (see `api::frames`).
///
/// With `follow` the body ends when the log does, and carries a heartbeat after each silent `heartbeat`;
/// without it, it ends at the end of what is there. A failing source ends it as interrupted.
pub(crate) fn framed(
    source: Box<dyn Source>,
    from: u64,
    follow: bool,
    heartbeat: Duration,
) -> Body {
    let state = Framed {
        cursor: Cursor {
            source,
            offset: from,
            follow,
        },
        heartbeat,
        next: Next::Read,
    };
    Body::from_stream(stream::unfold(state, async |mut state: Framed| {
        let bytes = state.next().await?;
        Some((Ok::<_, Infallible>(bytes), state))
    }))
}

/// Returns the plain form of a log from byte `from` on, which should be the beginning of a line.
///
/// Whole lines are guaranteed at the end: a last line without line feed gets one. `heartbeat` is the time after
/// which a silent stream that follows and keeps its controls gets a heartbeat line (never inside of a line).
/// A source that fails or is interrupted adds a line that says so, or asks the client to come back (`Keep`).
pub(crate) fn plain(
    source: Box<dyn Source>,
    from: u64,
    follow: bool,
    heartbeat: Option<Duration>,
    controls: Controls,
) -> Body {
    let state = Plain {
        cursor: Cursor {
            source,
            offset: from,
            follow,
        },
        heartbeat,
        controls,
        filter: LineFilter::default(),
        sent: false,
        over: false,
    };
    Body::from_stream(stream::unfold(state, async |mut state: Plain| {
        let bytes = state.next().await?;
        Some((Ok::<_, Infallible>(bytes), state))
    }))
}

/// A position in a log.
struct Cursor {
    /// The log.
    source: Box<dyn Source>,
    /// The next byte to read.
    offset: u64,
    /// Wait at the end of an open log.
    follow: bool,
}

impl Cursor {
    /// Reads on; `None` when nothing came for `silence`.
    async fn read(&mut self, silence: Option<Duration>) -> Option<Result<Piece>> {
        let read = self.source.read(self.offset, self.follow);
        let piece = match silence.filter(|_| self.follow) {
            Some(silence) => tokio::time::timeout(silence, read).await.ok()?,
            None => read.await,
        };
        Some(piece.and_then(refuse_empty))
    }
}

/// An empty piece would make a follower spin.
fn refuse_empty(piece: Piece) -> Result<Piece> {
    if matches!(&piece, Piece::Bytes(bytes) if bytes.is_empty()) {
        return Err(Error::new(
            Kind::Internal,
            "the log source gave an empty piece",
        ));
    }
    Ok(piece)
}

/// A framed follower.
struct Framed {
    /// Where it is.
    cursor: Cursor,
    /// The silence after which it shows life.
    heartbeat: Duration,
    /// What it does next.
    next: Next,
}

/// What a framed follower does next.
enum Next {
    /// Reads from the source.
    Read,
    /// Sends a payload whose header is out.
    Payload(Bytes),
    /// Nothing: the end is out.
    Over,
}

impl Framed {
    /// Returns the next buffer to send.
    async fn next(&mut self) -> Option<Bytes> {
        match std::mem::replace(&mut self.next, Next::Read) {
            Next::Over => return None,
            Next::Payload(payload) => return Some(payload),
            Next::Read => {}
        }
        let Some(read) = self.cursor.read(Some(self.heartbeat)).await else {
            return Some(frames::heartbeat(self.cursor.offset));
        };
        let outcome = match read {
            Ok(Piece::Bytes(bytes)) => return Some(self.frame(bytes)),
            Ok(Piece::End(outcome) | Piece::Quiet(outcome)) => outcome,
            Err(error) => Outcome::Interrupted {
                reason: error.one_line(),
            },
        };
        self.next = Next::Over;
        Some(frames::end(self.cursor.offset, &outcome))
    }

    /// Frames `bytes`; what is longer than a frame may be is read again.
    fn frame(&mut self, mut bytes: Bytes) -> Bytes {
        bytes.truncate(MAX_PAYLOAD);
        let offset = self.cursor.offset;
        self.cursor.offset += bytes.len() as u64;
        let encoded = frames::data(offset, bytes);
        self.next = encoded.payload.map_or(Next::Read, Next::Payload);
        encoded.head
    }
}

/// A plain follower.
struct Plain {
    /// Where it is.
    cursor: Cursor,
    /// The silence after which it shows life.
    heartbeat: Option<Duration>,
    /// What happens to control lines.
    controls: Controls,
    /// Knows where lines begin.
    filter: LineFilter,
    /// Something was sent.
    sent: bool,
    /// The end was sent.
    over: bool,
}

impl Plain {
    /// Returns the next buffer to send; never an empty one.
    async fn next(&mut self) -> Option<Bytes> {
        while !self.over {
            let bytes = match self.cursor.read(self.heartbeat).await {
                None => self.beat(),
                Some(Ok(Piece::Bytes(bytes))) => {
                    self.cursor.offset += bytes.len() as u64;
                    match self.controls {
                        Controls::Keep => {
                            self.filter.note(&bytes);
                            bytes
                        }
                        Controls::Strip => self.filter.strip(bytes),
                    }
                }
                Some(Ok(Piece::End(outcome) | Piece::Quiet(outcome))) => self.close(Ok(outcome)),
                Some(Err(error)) => self.close(Err(error)),
            };
            if !bytes.is_empty() {
                self.sent = true;
                return Some(bytes);
            }
        }
        None
    }

    /// A heartbeat line, or nothing inside of a line.
    fn beat(&self) -> Bytes {
        if self.controls == Controls::Keep && self.filter.at_line_start() {
            Control::Heartbeat.line().into()
        } else {
            Bytes::new()
        }
    }

    /// The last bytes: the held line, its line feed, and why the log is not complete.
    fn close(&mut self, outcome: Result<Outcome>) -> Bytes {
        self.over = true;
        let mut last = self.filter.finish();
        if !self.sent && last.is_empty() && outcome.is_err() {
            return Bytes::new();
        }
        let reason = match outcome {
            Ok(Outcome::Interrupted { .. }) if self.controls == Controls::Keep => {
                last.extend_from_slice(Control::Retry.line().as_bytes());
                return last.into();
            }
            Ok(Outcome::Interrupted { reason }) => reason,
            Ok(Outcome::Request { .. } | Outcome::Job { .. } | Outcome::File) => {
                return last.into();
            }
            Err(error) => error.one_line(),
        };
        let reason = reason.replace(['\n', '\r'], " ");
        last.extend_from_slice(format!("sky: the log is not complete: {reason}\n").as_bytes());
        last.into()
    }
}

#[cfg(test)]
mod tests;
