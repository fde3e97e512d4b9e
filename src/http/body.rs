//! Bodies in and out: collected with a limit, JSON, and errors as answers.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::base::{Error, Kind, Result};

/// The limit of an ordinary JSON body. Uploads stream and have their own.
pub(crate) const JSON_LIMIT: usize = 16 * 1024 * 1024;

/// Collects a body of at most `limit` bytes.
pub(crate) async fn collect<B>(body: B, limit: usize) -> Result<Bytes>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let announced = body.size_hint().lower();
    if announced > limit as u64 {
        return Err(too_large(limit));
    }
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(e) if e.is::<LengthLimitError>() => Err(too_large(limit)),
        Err(e) => Err(Error::new(Kind::Unreachable, "the body broke off").caused_by(e.as_ref())),
    }
}

/// The error of a body over its limit.
fn too_large(limit: usize) -> Error {
    let limit = crate::base::units::Bytes(limit as u64);
    Error::new(Kind::TooLarge, format!("the body is larger than {limit}"))
}

/// Collects a body and reads it as JSON.
pub(crate) async fn json<T, B>(body: B, limit: usize) -> Result<T>
where
    T: DeserializeOwned,
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    parse(&collect(body, limit).await?)
}

/// Reads JSON; no bytes at all read as `null`, so that a POST without body fits a body of optional fields.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let bytes = if bytes.is_empty() { b"null" } else { bytes };
    serde_json::from_slice(bytes).map_err(|e| {
        Error::new(Kind::Invalid, "the body is not the JSON expected here").caused_by(&e)
    })
}

/// Answers with a value as JSON.
pub(crate) fn reply_json<T: Serialize>(value: &T) -> Response {
    match serde_json::to_vec(value) {
        Ok(bytes) => json_response(StatusCode::OK, bytes),
        Err(e) => reply_error(&Error::internal("write the answer as JSON", &e)),
    }
}

/// Answers with an error: the status of its kind, `{"detail": one line, "error": the whole error}`, `Retry-After`.
pub(crate) fn reply_error(error: &Error) -> Response {
    let status = StatusCode::from_u16(error.kind().http_status())
        .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = serde_json::json!({ "detail": error.one_line(), "error": error });
    let mut response = json_response(status, body.to_string().into_bytes());
    if let Some(delay) = error.delay() {
        // Rounded up: who comes back early is refused again.
        let seconds = delay.as_millis().div_ceil(1000);
        if let Ok(value) = HeaderValue::from_str(&seconds.to_string()) {
            response.headers_mut().insert(RETRY_AFTER, value);
        }
    }
    response
}

/// A JSON answer.
fn json_response(status: StatusCode, bytes: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Handlers return `Result<_, Error>`.
impl IntoResponse for Error {
    fn into_response(self) -> Response {
        reply_error(&self)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn the_limit_holds_for_announced_and_for_streamed_bodies() {
        let error = collect(Body::from(vec![0; 11]), 10)
            .await
            .expect_err("announced");
        assert_eq!(error.kind(), Kind::TooLarge);
        let chunks = futures_util::stream::repeat_with(|| {
            Ok::<_, std::io::Error>(Bytes::from_static(b"abcd"))
        });
        let error = collect(Body::from_stream(chunks), 10)
            .await
            .expect_err("endless");
        assert_eq!(error.kind(), Kind::TooLarge);
        let bytes = collect(Body::from(vec![0; 10]), 10).await.expect("fits");
        assert_eq!(bytes.len(), 10);
    }

    #[tokio::test]
    async fn errors_carry_everything() {
        let error = Error::new(Kind::TooBusy, "too much is pending")
            .retry_after(Duration::from_millis(1200))
            .caused_by(&std::io::Error::other("queue full"));
        let response = reply_error(&error);
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers()[RETRY_AFTER], "2");
        let value: serde_json::Value = json(response.into_body(), 1000).await.expect("JSON");
        assert_eq!(value["detail"], "too much is pending: queue full");
        assert_eq!(
            serde_json::from_value::<Error>(value["error"].clone()).expect("an error"),
            error
        );
    }
}
