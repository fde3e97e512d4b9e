//! Following a log to its end: at the exact byte again after every broken connection, until the server says how it ended.
//!
//! A cursor is a byte offset in the log. It moves when bytes were handed to the view, so nothing is repeated or left
//! out. `SkyPilot`'s server knows no bytes; there the lines that were shown already are skipped.

use std::time::Duration;

use http_body_util::BodyExt as _;

use super::backoff::Backoff;
use super::exit::{Outcome, Stop};
use super::session::{Session, until_signal};
use super::ui::log::{Kind as LogKind, LogView};
use crate::api::bodies::{LogsBody, ProvisionLogsBody};
use crate::api::frames::{Frame, Outcome as End};
use crate::api::requests::StreamQuery;
use crate::api::versions::FRAMES_CONTENT_TYPE;
use crate::base::clock::monotonic;
use crate::base::{Error, Kind, Result};
use crate::http::answer::{Answer, AnswerBody};

/// Servers show life every 30 seconds; a connection silent for so long is dead.
const SILENCE: Duration = Duration::from_secs(90);
/// How long a server may be away.
const PATIENCE: Duration = Duration::from_secs(900);

/// What is followed.
#[derive(Debug, Clone)]
pub(crate) enum What {
    /// The log of a request.
    Request {
        /// Id or prefix.
        id: String,
        /// Only the last so many lines.
        tail: Option<i64>,
        /// To the end.
        follow: bool,
    },
    /// A log of the server, by its path there.
    File {
        /// The path.
        path: String,
        /// Only the last so many lines.
        tail: Option<i64>,
        /// To the end.
        follow: bool,
    },
    /// The log of a job.
    Job(Box<LogsBody>),
    /// The log of provisioning a cluster.
    Provision {
        /// Which cluster.
        body: Box<ProvisionLogsBody>,
        /// Only the last so many lines.
        tail: i64,
        /// To the end.
        follow: bool,
    },
}

impl What {
    /// Returns whether it is followed to its end.
    const fn follows(&self) -> bool {
        match self {
            Self::Request { follow, .. }
            | Self::File { follow, .. }
            | Self::Provision { follow, .. } => *follow,
            Self::Job(body) => body.follow,
        }
    }

    /// Returns whether only its last lines are asked for.
    const fn begins_late(&self) -> bool {
        let tail = match self {
            Self::Request { tail, .. } | Self::File { tail, .. } => *tail,
            Self::Provision { tail, .. } => Some(*tail),
            Self::Job(body) => Some(body.tail),
        };
        matches!(tail, Some(1..))
    }

    /// Returns how its lines look.
    const fn kind(&self) -> LogKind {
        match self {
            Self::Job(_) => LogKind::Job,
            Self::Request { .. } | Self::File { .. } | Self::Provision { .. } => LogKind::Request,
        }
    }
}

/// Shows a log and returns how what was followed stands; `None` where the server does not say (`SkyPilot`'s).
///
/// Ctrl-C is [`Stop::Aborted`]: the caller knows what to say.
pub(crate) async fn follow(session: &Session, what: &What) -> Outcome<Option<End>> {
    let mut view = LogView::new(&session.ui, what.kind());
    let shown = until_signal(Box::pin(attempts(session, what, &mut view))).await;
    view.finish();
    shown?
}

/// Connects again until the end is reached.
async fn attempts(session: &Session, what: &What, view: &mut LogView) -> Outcome<Option<End>> {
    let mut cursor = Cursor::default();
    let mut backoff = Backoff::new();
    let mut last_progress = monotonic();
    loop {
        let before = cursor.position(view);
        let error = match attempt(session, what, &mut cursor, view).await {
            Ok(end) => return Ok(end),
            Err(error) => error,
        };
        if !is_passing(error.kind()) {
            return Err(error.into());
        }
        if cursor.plain && view.lines() > 0 && what.begins_late() {
            let hint = "run the command again: this server counts the last lines anew each time";
            return Err(error.hint(hint).into());
        }
        if cursor.position(view) != before {
            backoff = Backoff::new();
            last_progress = monotonic();
        }
        if monotonic().saturating_duration_since(last_progress) > PATIENCE {
            return Err(Stop::from(error));
        }
        session.wait_out(&error, &mut backoff).await?;
    }
}

/// Returns whether connecting again may help.
const fn is_passing(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Unreachable | Kind::Timeout | Kind::TooBusy | Kind::Interrupted
    )
}

/// Where in the log we are.
#[derive(Debug, Default)]
struct Cursor {
    /// The next byte, once known.
    offset: Option<u64>,
    /// The server sends text without positions.
    plain: bool,
}

impl Cursor {
    /// A number that grows with what was shown.
    fn position(&self, view: &LogView) -> (Option<u64>, u64) {
        (self.offset, view.lines())
    }
}

/// Follows over one connection.
async fn attempt(
    session: &Session,
    what: &What,
    cursor: &mut Cursor,
    view: &mut LogView,
) -> Result<Option<End>> {
    let opened = tokio::time::timeout(SILENCE, open(session, what, cursor.offset)).await;
    let answer = opened.unwrap_or_else(|_| Err(silent()))?;
    let is_framed = answer
        .header("content-type")
        .is_some_and(|kind| kind.starts_with(FRAMES_CONTENT_TYPE));
    cursor.plain = !is_framed;
    if is_framed {
        framed(answer, cursor, view).await.map(Some)
    } else {
        plain(answer.into_body(), what.follows(), view).await
    }
}

/// Opens the stream.
async fn open(session: &Session, what: &What, offset: Option<u64>) -> Result<Answer> {
    match what {
        What::Request { id, tail, follow } => {
            let query = StreamQuery {
                request_id: Some(id.clone()),
                log_path: None,
                tail: *tail,
                follow: *follow,
                format: Some("console".to_owned()),
                offset,
            };
            session.calls.stream(&query).await
        }
        What::File { path, tail, follow } => {
            let query = StreamQuery {
                request_id: None,
                log_path: Some(path.clone()),
                tail: *tail,
                follow: *follow,
                format: Some("console".to_owned()),
                offset,
            };
            session.calls.stream(&query).await
        }
        What::Job(body) => session.calls.logs(body, offset).await,
        What::Provision { body, tail, follow } => {
            session
                .calls
                .provision_logs(body, *follow, *tail, offset)
                .await
        }
    }
}

/// Reads frames to the end.
async fn framed(answer: Answer, cursor: &mut Cursor, view: &mut LogView) -> Result<End> {
    let mut frames = answer.frames();
    loop {
        let frame = tokio::time::timeout(SILENCE, frames.next()).await;
        match frame.unwrap_or_else(|_| Err(silent()))? {
            Some(Frame::Data { offset, bytes }) => {
                let bytes = unseen(cursor.offset, offset, &bytes)?;
                cursor.offset = Some(cursor.offset.unwrap_or(offset) + bytes.len() as u64);
                view.push(bytes);
            }
            Some(Frame::Heartbeat { .. }) => {}
            Some(Frame::End {
                outcome: End::Interrupted { reason },
                ..
            }) => {
                return Err(
                    Error::new(Kind::Interrupted, "the log stream was interrupted").context(reason),
                );
            }
            Some(Frame::End { outcome, .. }) => return Ok(outcome),
            None => return Err(Error::new(Kind::Unreachable, "the log stream broke off")),
        }
    }
}

/// Returns the part of a frame that was not shown yet; a gap is an error.
fn unseen(expected: Option<u64>, offset: u64, bytes: &[u8]) -> Result<&[u8]> {
    let Some(expected) = expected else {
        return Ok(bytes);
    };
    let Some(seen) = expected.checked_sub(offset) else {
        return Err(Error::new(
            Kind::Internal,
            format!("the log stream left out bytes {expected} to {offset}"),
        ));
    };
    let seen = usize::try_from(seen).unwrap_or(usize::MAX).min(bytes.len());
    Ok(&bytes[seen..])
}

/// Reads plain text to the end, without the lines that were shown already.
async fn plain(mut body: AnswerBody, follows: bool, view: &mut LogView) -> Result<Option<End>> {
    view.begin_again();
    loop {
        let piece = tokio::time::timeout(SILENCE, body.frame()).await;
        let bytes = match piece {
            Err(_) if follows => return Err(silent()),
            Err(_) | Ok(None) => return Ok(None),
            Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
            Ok(Some(Err(e))) => {
                return Err(Error::new(Kind::Unreachable, "the log stream broke off").caused_by(&e));
            }
        };
        view.push(&bytes);
        if view.take_retry() {
            return Err(Error::new(
                Kind::Interrupted,
                "the server asked to come back",
            ));
        }
    }
}

/// The error of a connection without any sign of life.
fn silent() -> Error {
    Error::new(
        Kind::Timeout,
        format!(
            "no sign of life from the server for {} s",
            SILENCE.as_secs()
        ),
    )
}

#[cfg(test)]
mod tests;
