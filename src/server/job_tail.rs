//! `POST /logs`: the log of a job as the answer itself.
//!
//! For `SkyPilot`'s clients the tail is a request, because they fetch the job's exit code as its result. Ours reads the
//! outcome at the end of the stream, so nothing is stored for it.

use axum::response::Response;
use futures_util::future::BoxFuture;
use serde_json::Value;

use super::admission::short;
use super::app::App;
use super::reply::with_id;
use super::stream::{self, Fixed, Form, Range};
use super::visitor::{Dialect, Visitor};
use crate::api::bodies::LogsBody;
use crate::api::frames::Outcome;
use crate::api::status::EXIT_JOB_NOT_FOUND;
use crate::base::cx::cancelled;
use crate::base::ids::JobId;
use crate::base::{Error, Kind, Result};
use crate::http::stream::{Piece, Source};
use crate::requests::Attached;

/// Answers with the log of a job.
pub(crate) async fn answer(
    app: &App,
    visitor: Visitor,
    body: &LogsBody,
    form: Form,
    range: Range,
) -> Result<Response> {
    let source = open(app, body, form);
    if visitor.dialect == Dialect::Sky {
        return stream::answer(source.await?, form, range).await;
    }
    let mut admission = short("logs", visitor.caller);
    admission.profile.cluster = Some(body.cluster_name.parse()?);
    let attached = app.requests.attach(admission).await?;
    let id = attached.id;
    match source.await {
        Ok(inner) => {
            let tail = JobTail {
                inner,
                attached: Some(attached),
                follow: range.follow,
            };
            Ok(with_id(
                stream::answer(Box::new(tail), form, range).await?,
                id,
            ))
        }
        Err(error) => {
            attached.finish(Err(error)).await?;
            Ok(with_id(stream::empty(), id))
        }
    }
}

/// Finds the log.
async fn open(app: &App, body: &LogsBody, form: Form) -> Result<Box<dyn Source>> {
    let wanted = body.job_id.map(JobId);
    let found = app.ops.job_log(&body.cluster_name, wanted).await?;
    if let Some((_, source)) = found {
        return Ok(match form {
            Form::Frames => source,
            Form::Console | Form::Plain | Form::Html => {
                stream::ending(source, Box::new(closing_line))
            }
        });
    }
    let which = wanted.map_or_else(|| "No job".to_owned(), |id| format!("Job {id} not"));
    let text = match form {
        Form::Frames => String::new(),
        Form::Console | Form::Plain | Form::Html => {
            format!("{which} found on cluster {}.\n", body.cluster_name)
        }
    };
    let outcome = Outcome::Job {
        status: None,
        job_id: wanted,
    };
    Ok(Box::new(Fixed::new(text, outcome)))
}

/// The last line of the log of a job that has ended, for readers who see only text.
fn closing_line(outcome: &Outcome) -> Option<String> {
    let Outcome::Job {
        status: Some(status),
        ..
    } = outcome
    else {
        return None;
    };
    status
        .is_final()
        .then(|| format!("{} {}", status.mark(), status.closing_words()))
}

/// The log of a job; its end is the end of the request that stands for it.
struct JobTail {
    /// The log.
    inner: Box<dyn Source>,
    /// The request, until it is over. Dropped with a connection that breaks off: then it is cancelled.
    attached: Option<Attached>,
    /// Whether it waits for the job's end.
    follow: bool,
}

impl JobTail {
    /// Reads on.
    async fn next(&mut self, offset: u64, wait: bool) -> Result<Piece> {
        let Some(attached) = &self.attached else {
            return self.inner.read(offset, wait).await;
        };
        let stop = attached.cx.cancel_token().clone();
        let piece = tokio::select! {
            biased;
            () = stop.cancelled() => Err(cancelled()),
            piece = self.inner.read(offset, wait) => piece,
        };
        let result = match &piece {
            Ok(Piece::Bytes(_)) => return piece,
            Ok(Piece::End(outcome) | Piece::Quiet(outcome)) => self.exit_code(outcome),
            Err(error) => Err(error.clone()),
        };
        if let Some(attached) = self.attached.take() {
            // Once, at the end: on the heap, so that thousands who wait have no room for it.
            Box::pin(attached.finish(result)).await?;
        }
        piece
    }

    /// The result of the request: the exit code of a command that followed the job to this point.
    fn exit_code(&self, outcome: &Outcome) -> Result<Value> {
        let code = match outcome {
            Outcome::Job { status: None, .. } => EXIT_JOB_NOT_FOUND,
            Outcome::Job {
                status: Some(status),
                ..
            } if status.is_final() || self.follow => status.exit_code(),
            Outcome::Job { .. } | Outcome::Request { .. } | Outcome::File => 0,
            Outcome::Interrupted { reason } => {
                return Err(Error::new(Kind::Interrupted, reason.clone()));
            }
        };
        Ok(code.into())
    }
}

impl Source for JobTail {
    fn read(&mut self, offset: u64, wait: bool) -> BoxFuture<'_, Result<Piece>> {
        Box::pin(self.next(offset, wait))
    }

    fn tail_offset(&mut self, lines: u64) -> BoxFuture<'_, Result<u64>> {
        self.inner.tail_offset(lines)
    }
}
