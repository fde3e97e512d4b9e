//! What handlers take: bodies and queries, checked, with one clear error for each way of being wrong.
//!
//! The shape of a refusal is the one that `SkyPilot`'s clients know (422, a list of what is wrong where). It never repeats
//! what was sent: bodies hold secrets.

use std::time::Duration;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::visitor::Visitor;
use crate::api::bodies::HasCommon;
use crate::base::{Error, Kind};
use crate::http::body::{JSON_LIMIT, collect, reply_error};

/// How long a body may take.
const BODY_TIME: Duration = Duration::from_secs(60);
/// A wrong field is looked for among so many.
const MOST_FIELDS: usize = 200;

/// The body of a POST on behalf of somebody.
pub(crate) struct Posted<T> {
    /// Who.
    pub(crate) visitor: Visitor,
    /// What.
    pub(crate) body: T,
}

impl<T, S> FromRequest<S> for Posted<T>
where
    T: DeserializeOwned + HasCommon,
    S: Send + Sync,
{
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let Form {
            mut visitor,
            mut body,
        } = Form::<T>::from_request(request, state).await?;
        let common = body.common_mut();
        visitor.settle(common).map_err(|e| reply_error(&e))?;
        common.entrypoint_command = super::redact::command_line(&common.entrypoint_command);
        Ok(Self { visitor, body })
    }
}

/// The body of a POST of those few that say nothing about who asks.
pub(crate) struct Form<T> {
    /// Who.
    pub(crate) visitor: Visitor,
    /// What.
    pub(crate) body: T,
}

impl<T, S> FromRequest<S> for Form<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = Response;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Response> {
        let (parts, body) = request.into_parts();
        let visitor = visitor(&parts).map_err(|e| reply_error(&e))?;
        let collected = tokio::time::timeout(BODY_TIME, collect(body, JSON_LIMIT)).await;
        let bytes = collected
            .map_err(|_| Error::new(Kind::Timeout, "the body did not arrive in time"))
            .and_then(|body| body.map_err(broken))
            .map_err(|e| reply_error(&e))?;
        let body = parse(&bytes).map_err(Wrong::into_response)?;
        Ok(Self { visitor, body })
    }
}

/// A body that ends too early is a mistake of its sender, not of a server behind this one.
fn broken(error: Error) -> Error {
    if error.kind() == Kind::Unreachable {
        return Error::new(Kind::Invalid, "the body broke off before its end");
    }
    error
}

/// The query of a URL on behalf of somebody. Keys may be repeated.
pub(crate) struct Asked<T> {
    /// Who.
    pub(crate) visitor: Visitor,
    /// What.
    pub(crate) query: T,
}

impl<T, S> FromRequestParts<S> for Asked<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Response> {
        Ok(Self {
            visitor: visitor(parts).map_err(|e| reply_error(&e))?,
            query: query(parts).map_err(Wrong::into_response)?,
        })
    }
}

/// The query of a URL of somebody who need not be known.
pub(crate) struct Sent<T>(pub(crate) T);

impl<T, S> FromRequestParts<S> for Sent<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Response> {
        query(parts).map(Self).map_err(Wrong::into_response)
    }
}

/// Reads the query of a URL.
fn query<T: DeserializeOwned>(parts: &Parts) -> Result<T, Wrong> {
    serde_html_form::from_str(parts.uri.query().unwrap_or_default())
        .map_err(|e| Wrong::of(&e.to_string(), "query", None))
}

/// Returns who the gate let in.
fn visitor(parts: &Parts) -> Result<Visitor, Error> {
    let visitor = parts.extensions.get().cloned();
    visitor.ok_or_else(|| Error::new(Kind::Unauthenticated, "Authentication required"))
}

/// What is wrong with a body or query.
#[derive(Debug, PartialEq)]
struct Wrong {
    /// Word for programs.
    kind: &'static str,
    /// Where.
    place: Value,
    /// Text for people.
    message: String,
}

impl Wrong {
    /// Makes it from the words of serde, without the value that they quote.
    fn of(words: &str, part: &str, field: Option<&str>) -> Self {
        let missing = words.strip_prefix("missing field `");
        if let Some(name) = missing.and_then(|rest| rest.split('`').next()) {
            return Self {
                kind: "missing",
                place: json!([part, name]),
                message: "Field required".to_owned(),
            };
        }
        let expected = words
            .rsplit_once(", expected ")
            .map(|(_, expected)| expected);
        let message = match (expected, words.starts_with("invalid ")) {
            (Some(expected), _) => format!("expected {}", without_position(expected)),
            (None, true) => "the value is not valid".to_owned(),
            (None, false) => without_position(words).to_owned(),
        };
        Self {
            kind: "value_error",
            place: field.map_or_else(|| json!([part]), |field| json!([part, field])),
            message,
        }
    }

    /// Makes it from what the JSON parser says.
    fn of_json(error: &serde_json::Error) -> Self {
        let at = format!("line {} column {}", error.line(), error.column());
        let what = error.to_string();
        Self {
            kind: "json_invalid",
            place: json!(["body"]),
            message: format!("JSON decode error: {} at {at}", without_position(&what)),
        }
    }

    /// The answer.
    fn into_response(self) -> Response {
        let Self {
            kind,
            place,
            message,
        } = self;
        let names: Vec<&str> = place
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let error = Error::new(Kind::Invalid, format!("{}: {message}", names.join(".")));
        let detail = json!([{ "type": kind, "loc": place, "msg": message }]);
        let body = json!({ "detail": detail, "error": error });
        (StatusCode::UNPROCESSABLE_ENTITY, axum::Json(body)).into_response()
    }
}

/// Cuts "at line 1 column 2" off.
fn without_position(words: &str) -> &str {
    words.split(" at line ").next().unwrap_or(words)
}

/// Reads a JSON body.
fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Wrong> {
    let bytes = if bytes.is_empty() { b"{}" } else { bytes };
    if std::str::from_utf8(bytes).is_err() {
        return Err(Wrong {
            kind: "json_invalid",
            place: json!(["body"]),
            message: "the body is not UTF-8".to_owned(),
        });
    }
    let value: Value = serde_json::from_slice(bytes).map_err(|e| Wrong::of_json(&e))?;
    let Value::Object(fields) = value else {
        return Err(Wrong {
            kind: "model_attributes_type",
            place: json!(["body"]),
            message: "Input should be an object".to_owned(),
        });
    };
    T::deserialize(&Value::Object(fields.clone())).map_err(|e| blame::<T>(fields, &e.to_string()))
}

/// Finds the field that is wrong: the one without which the complaint is another one.
fn blame<T: DeserializeOwned>(mut fields: Map<String, Value>, words: &str) -> Wrong {
    let names: Vec<_> = fields.keys().take(MOST_FIELDS).cloned().collect();
    let guilty = names.into_iter().find(|name| {
        let Some(value) = fields.remove(name) else {
            return false;
        };
        let rest = T::deserialize(&Value::Object(fields.clone())).map_err(|e| e.to_string());
        fields.insert(name.clone(), value);
        rest.err().is_none_or(|other| other != words)
    });
    Wrong::of(words, "body", guilty.as_deref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::bodies::{AutostopBody, LaunchBody};

    fn complaint<T: DeserializeOwned>(body: &str) -> Wrong {
        parse::<T>(body.as_bytes()).err().expect("it is wrong")
    }

    #[test]
    fn a_missing_field_is_named() {
        let wrong = complaint::<LaunchBody>(r#"{"task": "run: echo"}"#);
        assert_eq!(wrong.kind, "missing");
        assert_eq!(wrong.place, json!(["body", "cluster_name"]));
    }

    #[test]
    fn a_wrong_field_is_named_and_its_value_is_not_repeated() {
        let wrong =
            complaint::<AutostopBody>(r#"{"cluster_name": "a", "idle_minutes": "hunter2"}"#);
        assert_eq!(wrong.place, json!(["body", "idle_minutes"]));
        assert_eq!(wrong.message, "expected i64");
        assert!(!format!("{wrong:?}").contains("hunter2"));
    }

    #[test]
    fn what_is_no_object_or_no_json_is_said() {
        assert_eq!(complaint::<LaunchBody>("[1]").kind, "model_attributes_type");
        assert_eq!(complaint::<LaunchBody>("{").kind, "json_invalid");
        assert_eq!(complaint::<LaunchBody>("").kind, "missing");
        let wrong = parse::<LaunchBody>(b"\xff\xfe").expect_err("it is wrong");
        assert_eq!(wrong.message, "the body is not UTF-8");
    }
}
