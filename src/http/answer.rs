//! Answers as the client side sees them: collected with a limit and a deadline, streamed, or turned into an error.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::header::{AsHeaderName, HeaderMap, LOCATION, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;

use super::body;
use super::exec::Tasks;
use super::frames::FrameReader;
use crate::api::versions::API_VERSION;
use crate::base::{Error, Kind, Result};

/// The most that is read of the body of an error.
const ERROR_LIMIT: usize = 4 * 1024 * 1024;
/// The time in which the body of an error must arrive.
const ERROR_TIME: Duration = Duration::from_secs(5);

/// An answer whose body has yet to be read.
pub(crate) struct Answer {
    /// Status.
    status: StatusCode,
    /// Headers.
    headers: HeaderMap,
    /// Body.
    body: AnswerBody,
    /// When the whole call must be over.
    deadline: Option<Instant>,
}

/// The body of an answer; keeps the task of its connection alive.
pub(crate) struct AnswerBody {
    /// What arrives.
    incoming: Incoming,
    /// Drives the connection.
    _tasks: Arc<Tasks>,
}

impl http_body::Body for AnswerBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.incoming).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Answer {
    /// Wraps what a connection gave.
    pub(crate) fn new(
        response: Response<Incoming>,
        tasks: Arc<Tasks>,
        deadline: Option<Instant>,
    ) -> Self {
        let (parts, incoming) = response.into_parts();
        Self {
            status: parts.status,
            headers: parts.headers,
            body: AnswerBody {
                incoming,
                _tasks: tasks,
            },
            deadline,
        }
    }

    /// Returns the status.
    pub(crate) const fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns a header as text.
    pub(crate) fn header(&self, name: impl AsHeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Collects the body.
    pub(crate) async fn bytes(self, limit: usize) -> Result<Bytes> {
        within(self.deadline, body::collect(self.body, limit)).await
    }

    /// Collects the body and reads it as JSON.
    pub(crate) async fn json<T: DeserializeOwned>(self, limit: usize) -> Result<T> {
        let bytes = self.bytes(limit).await?;
        serde_json::from_slice(&bytes).map_err(|e| {
            Error::new(Kind::Internal, "the answer is not the JSON expected here").caused_by(&e)
        })
    }

    /// Returns the body to be read as it arrives; the call's deadline no longer applies.
    pub(crate) fn into_body(self) -> AnswerBody {
        self.body
    }

    /// Reads the body as a framed log stream.
    pub(crate) fn frames(self) -> FrameReader<AnswerBody> {
        FrameReader::new(self.body)
    }

    /// Returns the answer when it is a success, else the error that it carries.
    pub(crate) async fn success(self) -> Result<Self> {
        if self.status.is_success() {
            Ok(self)
        } else {
            Err(self.into_error().await)
        }
    }

    /// Reads the error that the answer carries, as far as it can be read.
    pub(crate) async fn into_error(self) -> Error {
        let (status, headers) = (self.status, self.headers);
        let body = tokio::time::timeout(ERROR_TIME, body::collect(self.body, ERROR_LIMIT));
        let bytes = body.await.ok().and_then(Result::ok).unwrap_or_default();
        read_error(status, &headers, &bytes)
    }
}

/// Lets a call take until its deadline.
pub(crate) async fn within<T>(
    deadline: Option<Instant>,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    match deadline {
        None => work.await,
        Some(deadline) => tokio::time::timeout_at(deadline, work)
            .await
            .unwrap_or_else(|_| {
                Err(Error::new(
                    Kind::Timeout,
                    "the server did not answer in time",
                ))
            }),
    }
}

/// Reads an error from what another server may have answered: ours, `SkyPilot`'s, or a proxy's page.
pub(crate) fn read_error(status: StatusCode, headers: &HeaderMap, bytes: &[u8]) -> Error {
    if status.is_redirection() {
        return redirected(headers);
    }
    let value = serde_json::from_slice::<Value>(bytes).unwrap_or(Value::Null);
    if let Ok(error) = serde_json::from_value::<Error>(value["error"].clone()) {
        return error;
    }
    if value["error"] == "version_mismatch" {
        // Its own words name the wrong program to upgrade.
        return Error::new(
            Kind::VersionMismatch,
            format!("the server is too new for this program: it no longer speaks API version {API_VERSION}"),
        )
        .hint("install a newer release of `sky`");
    }
    let kind = kind_of(status);
    let message = detail(&value["detail"])
        .or_else(|| title(bytes))
        .unwrap_or_else(|| format!("the server answered with status {status}"));
    let error = Error::new(kind, message);
    let error = if kind == Kind::Unauthenticated {
        error.hint("`sky api login` stores credentials for the API server")
    } else {
        error
    };
    match headers
        .get(RETRY_AFTER)
        .and_then(|v| v.to_str().ok()?.parse().ok())
    {
        Some(seconds) => error.retry_after(Duration::from_secs(seconds)),
        None => error,
    }
}

/// Redirects are not followed silently: they would carry credentials to whoever is named.
fn redirected(headers: &HeaderMap) -> Error {
    let location = headers
        .get(LOCATION)
        .and_then(|v| v.to_str().ok())
        .unwrap_or("");
    if location.contains("login") || location.contains("oauth2") {
        return Error::new(Kind::Unauthenticated, "the API server asks for a login")
            .hint("`sky api login` stores credentials for the API server");
    }
    let target = location.split(['?', '#']).next().unwrap_or("");
    Error::new(Kind::Invalid, format!("the server redirects to `{target}`"))
        .hint("use that address as the API server endpoint, if it is the right one")
}

/// The text of `FastAPI`'s `detail`: a string, an object with a message, or a list of them.
fn detail(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Object(map) => {
            let text = map.get("message").or_else(|| map.get("msg"));
            let text = text.and_then(Value::as_str);
            let text = text.map_or_else(|| value.to_string(), str::to_owned);
            Some(match map.get("loc").and_then(place) {
                Some(place) => format!("`{place}`: {text}"),
                None => text,
            })
        }
        Value::Array(items) => {
            let texts: Vec<_> = items.iter().filter_map(detail).collect();
            (!texts.is_empty()).then(|| texts.join("; "))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

/// Which part of the call `FastAPI` complains about: `["body", "dag"]`.
fn place(loc: &Value) -> Option<String> {
    let words: Vec<String> = loc
        .as_array()?
        .iter()
        .map(|word| {
            word.as_str()
                .map_or_else(|| word.to_string(), str::to_owned)
        })
        .collect();
    (!words.is_empty()).then(|| words.join("."))
}

/// The title of a proxy's page.
fn title(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(16 * 1024)]);
    let (_, rest) = text.split_once("<title>")?;
    let (title, _) = rest.split_once("</title>")?;
    Some(title.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// The kind that fits a status.
fn kind_of(status: StatusCode) -> Kind {
    match status.as_u16() {
        401 => Kind::Unauthenticated,
        403 => Kind::PermissionDenied,
        404 => Kind::NotFound,
        405 | 501 => Kind::NotSupported,
        409 => Kind::Conflict,
        413 => Kind::TooLarge,
        429 | 503 => Kind::TooBusy,
        502 => Kind::Unreachable,
        408 | 504 => Kind::Timeout,
        507 => Kind::StorageFull,
        400..=499 => Kind::Invalid,
        _ => Kind::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: u16, body: &str) -> Error {
        let status = StatusCode::from_u16(status).expect("valid");
        read_error(status, &HeaderMap::new(), body.as_bytes())
    }

    #[test]
    fn our_errors_come_back_whole() {
        let error = Error::new(Kind::ClusterNotUp, "cluster `a` is stopped").hint("sky start a");
        let body = serde_json::json!({"detail": error.one_line(), "error": error}).to_string();
        assert_eq!(read(409, &body), error);
    }

    #[test]
    fn other_servers_are_understood() {
        for (status, body, kind, message) in [
            (
                403,
                r#"{"detail": "not yours"}"#,
                Kind::PermissionDenied,
                "not yours",
            ),
            (
                401,
                "",
                Kind::Unauthenticated,
                "the server answered with status 401 Unauthorized",
            ),
            (
                422,
                r#"{"detail": [{"loc": ["body", "a"], "msg": "field required"}]}"#,
                Kind::Invalid,
                "`body.a`: field required",
            ),
            (
                400,
                r#"{"error": "version_mismatch", "message": "too old"}"#,
                Kind::VersionMismatch,
                "the server is too new for this program: it no longer speaks API version 62",
            ),
            (
                502,
                "<html><head><title>502 Bad\n Gateway</title></head></html>",
                Kind::Unreachable,
                "502 Bad Gateway",
            ),
            (
                500,
                r#"{"detail": {"type": "X", "message": "boom"}}"#,
                Kind::Internal,
                "boom",
            ),
            (302, "", Kind::Invalid, "the server redirects to ``"),
        ] {
            let error = read(status, body);
            assert_eq!(
                (error.kind(), error.message()),
                (kind, message),
                "{status} {body}"
            );
        }
    }
}
