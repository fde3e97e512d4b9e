//! Answers that follow a log: which form, from which byte, with which headers.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::HeaderMap;
use axum::http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT,
};
use axum::response::Response;
use futures_util::future::BoxFuture;

use super::page::is_browser;
use super::visitor::text;
use crate::api::frames::Outcome;
use crate::api::status::RequestStatus;
use crate::api::versions::FRAMES_CONTENT_TYPE;
use crate::base::ids::clip;
use crate::base::{Error, Kind, Result};
use crate::http::stream::{Controls, Piece, Source, framed, plain};

/// A silent stream shows life so often.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// The forms of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Frames with offsets, for our client.
    Frames,
    /// Text with control lines, for `SkyPilot`'s.
    Console,
    /// Text.
    Plain,
    /// A page that follows the text.
    Html,
}

impl Form {
    /// Decides by `Accept`, the `format` of the query, and who asks.
    pub(crate) fn of(headers: &HeaderMap, format: Option<&str>) -> Result<Self> {
        let accept = text(headers, ACCEPT.as_str()).unwrap_or_default();
        if accept.contains(FRAMES_CONTENT_TYPE) {
            return Ok(Self::Frames);
        }
        match format {
            Some("console") => Ok(Self::Console),
            Some("plain") => Ok(Self::Plain),
            Some("html") => Ok(Self::Html),
            None | Some("auto") => Ok(Self::by_agent(text(headers, USER_AGENT.as_str()))),
            Some(other) => Err(Error::new(
                Kind::Invalid,
                format!(
                    "format `{}` is not one of auto, plain, html and console",
                    clip(other)
                ),
            )),
        }
    }

    /// A page for browsers; text for `curl`, whose user cannot read control lines; else what clients take.
    fn by_agent(agent: Option<&str>) -> Self {
        match agent {
            Some(agent) if is_browser(agent) => Self::Html,
            Some(agent) if agent.starts_with("curl/") || agent.starts_with("Wget/") => Self::Plain,
            Some(_) | None => Self::Console,
        }
    }
}

/// From where and how far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Range {
    /// From this byte.
    pub(crate) offset: Option<u64>,
    /// Only the last so many lines; nothing and less mean all.
    pub(crate) tail: Option<i64>,
    /// Until the end.
    pub(crate) follow: bool,
}

/// Answers with a log.
pub(crate) async fn answer(
    mut source: Box<dyn Source>,
    form: Form,
    range: Range,
) -> Result<Response> {
    let tail = range.tail.and_then(|lines| u64::try_from(lines).ok());
    let from = match (range.offset, tail.filter(|lines| *lines > 0)) {
        (Some(offset), _) => offset,
        (None, Some(lines)) => source.tail_offset(lines).await?,
        (None, None) => 0,
    };
    let text = |source, heartbeat, controls| plain(source, from, range.follow, heartbeat, controls);
    let body = match form {
        Form::Frames => framed(source, from, range.follow, HEARTBEAT),
        Form::Console => text(source, Some(HEARTBEAT), Controls::Keep),
        Form::Plain => text(source, None, Controls::Strip),
        Form::Html => return Ok(super::page::page()),
    };
    Ok(with_headers(body, form))
}

/// The headers of a stream: nobody on the way may hold it back or change it.
fn with_headers(body: Body, form: Form) -> Response {
    let kind = match form {
        Form::Frames => FRAMES_CONTENT_TYPE,
        Form::Console | Form::Plain | Form::Html => "text/plain; charset=utf-8",
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(
        CACHE_CONTROL,
        HeaderValue::from_static("no-cache, no-transform"),
    );
    headers.insert(
        HeaderName::from_static("x-accel-buffering"),
        HeaderValue::from_static("no"),
    );
    headers.insert(
        HeaderName::from_static("x-content-type-options"),
        HeaderValue::from_static("nosniff"),
    );
    response
}

/// An empty stream, for clients that ask for the error elsewhere.
pub(crate) fn empty() -> Response {
    with_headers(Body::empty(), Form::Console)
}

/// A stream of one line, for clients that do not.
pub(crate) fn line(text: &str) -> Response {
    with_headers(Body::from(format!("{text}\n")), Form::Console)
}

/// What a log says behind its last line, by how the thing that wrote it ended.
pub(crate) type LastWord = Box<dyn Fn(&Outcome) -> Option<String> + Send>;

/// Returns a log that ends with `word` when the request that wrote it was cancelled.
pub(crate) fn telling(inner: Box<dyn Source>, word: String) -> Box<dyn Source> {
    ending(
        inner,
        Box::new(move |outcome| {
            let cancelled = Outcome::Request {
                status: RequestStatus::Cancelled,
            };
            (*outcome == cancelled).then(|| word.clone())
        }),
    )
}

/// Returns a log that ends with a last word, where there is one for its outcome.
pub(crate) fn ending(inner: Box<dyn Source>, word: LastWord) -> Box<dyn Source> {
    Box::new(WithLastWord {
        inner,
        word,
        mid_line: false,
        said: None,
    })
}

/// A log with a last word.
struct WithLastWord {
    /// The log.
    inner: Box<dyn Source>,
    /// The word for an outcome.
    word: LastWord,
    /// Whether the line that was read last has no end yet.
    mid_line: bool,
    /// Where the last word ends and how the log ended, once the word was said.
    said: Option<(u64, Outcome)>,
}

impl WithLastWord {
    /// Reads on.
    async fn next(&mut self, offset: u64, wait: bool) -> Result<Piece> {
        if let Some((end, outcome)) = &self.said
            && offset >= *end
        {
            return Ok(Piece::End(outcome.clone()));
        }
        let outcome = match self.inner.read(offset, wait).await? {
            Piece::End(outcome) => outcome,
            Piece::Bytes(bytes) => {
                self.mid_line = !bytes.ends_with(b"\n");
                return Ok(Piece::Bytes(bytes));
            }
            quiet @ Piece::Quiet(_) => return Ok(quiet),
        };
        let Some(word) = (self.word)(&outcome) else {
            return Ok(Piece::End(outcome));
        };
        let line = format!("{}{word}\n", if self.mid_line { "\n" } else { "" });
        self.said = Some((offset + line.len() as u64, outcome));
        Ok(Piece::Bytes(line.into()))
    }
}

impl Source for WithLastWord {
    fn read(&mut self, offset: u64, wait: bool) -> BoxFuture<'_, Result<Piece>> {
        Box::pin(self.next(offset, wait))
    }

    fn tail_offset(&mut self, lines: u64) -> BoxFuture<'_, Result<u64>> {
        self.inner.tail_offset(lines)
    }
}

/// A short text in the place of a log.
pub(crate) struct Fixed {
    /// The text.
    text: Bytes,
    /// How it ends.
    outcome: Outcome,
}

impl Fixed {
    /// Makes it.
    pub(crate) fn new(text: impl Into<Bytes>, outcome: Outcome) -> Self {
        Self {
            text: text.into(),
            outcome,
        }
    }
}

impl Source for Fixed {
    fn read(&mut self, offset: u64, _wait: bool) -> BoxFuture<'_, Result<Piece>> {
        let from = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(self.text.len());
        let rest = self.text.slice(from..);
        let piece = if rest.is_empty() {
            Piece::End(self.outcome.clone())
        } else {
            Piece::Bytes(rest)
        };
        Box::pin(std::future::ready(Ok(piece)))
    }

    fn tail_offset(&mut self, _lines: u64) -> BoxFuture<'_, Result<u64>> {
        Box::pin(std::future::ready(Ok(0)))
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    fn headers(rows: &[(HeaderName, &'static str)]) -> HeaderMap {
        let rows = rows.iter().cloned();
        rows.map(|(name, value)| (name, HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn the_form_follows_who_asks() {
        let form =
            |rows: &[(HeaderName, &'static str)], format| Form::of(&headers(rows), format).ok();
        assert_eq!(form(&[], None), Some(Form::Console));
        assert_eq!(form(&[(USER_AGENT, "curl/8")], None), Some(Form::Plain));
        assert_eq!(
            form(&[(USER_AGENT, "Mozilla/5.0")], Some("auto")),
            Some(Form::Html)
        );
        assert_eq!(
            form(&[(USER_AGENT, "Mozilla/5.0")], Some("plain")),
            Some(Form::Plain)
        );
        assert_eq!(
            form(&[(ACCEPT, FRAMES_CONTENT_TYPE)], Some("plain")),
            Some(Form::Frames)
        );
        assert_eq!(form(&[], Some("pdf")), None);
    }

    async fn shown(source: Box<dyn Source>) -> String {
        let range = Range {
            offset: None,
            tail: None,
            follow: true,
        };
        let response = answer(source, Form::Plain, range)
            .await
            .expect("it answers");
        let bytes = response
            .into_body()
            .collect()
            .await
            .expect("it ends")
            .to_bytes();
        String::from_utf8(bytes.to_vec()).expect("it is text")
    }

    #[tokio::test]
    async fn a_cancelled_request_says_so_at_its_end() {
        let told = |status| {
            let log = Box::new(Fixed::new("a\nb\n", Outcome::Request { status }));
            shown(telling(log, "cancelled".to_owned()))
        };
        assert_eq!(told(RequestStatus::Succeeded).await, "a\nb\n");
        assert_eq!(told(RequestStatus::Cancelled).await, "a\nb\ncancelled\n");
    }

    #[tokio::test]
    async fn the_last_word_is_a_line_of_its_own() {
        let log = Box::new(Fixed::new("a\nb", Outcome::File));
        let word: LastWord = Box::new(|outcome| Some(format!("{outcome:?}")));
        assert_eq!(shown(ending(log, word)).await, "a\nb\nFile\n");
    }
}
