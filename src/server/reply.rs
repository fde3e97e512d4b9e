//! How requests and their results look on the wire: the one place where a result is encoded.

use std::path::Path;

use axum::Json;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::visitor::Dialect;
use super::{published, redact};
use crate::api::exceptions;
use crate::api::requests::{ErrorPayload, PICKLED_NONE, RequestPayload};
use crate::api::status::RequestStatus;
use crate::api::versions::REQUEST_ID_HEADER;
use crate::base::Error;
use crate::base::clock::Moment;
use crate::base::ids::{BlobId, ClusterName, RequestId};
use crate::requests::{Lane, Record};

/// Where `SkyPilot`'s clients expect downloads to lie, whatever the state directory is.
pub(crate) const CLIENTS: &str = "~/.sky/api_server/clients";

/// The answer to a POST that was accepted.
pub(crate) fn accepted(id: RequestId) -> Response {
    with_id(Json(Value::Null).into_response(), id)
}

/// Adds the id of a request to an answer.
pub(crate) fn with_id(mut response: Response, id: RequestId) -> Response {
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        response.headers_mut().insert(REQUEST_ID_HEADER, value);
    }
    response
}

/// The answer of `/api/get`: 500 with the same object as `detail` when it failed.
pub(crate) fn finished(record: &Record, clients: &Path, dialect: Dialect) -> Response {
    let payload = whole(record, clients, dialect);
    if record.error().is_some() {
        let body = Json(json!({ "detail": payload }));
        return (StatusCode::INTERNAL_SERVER_ERROR, body).into_response();
    }
    Json(payload).into_response()
}

/// A request with its result or error.
fn whole(record: &Record, clients: &Path, dialect: Dialect) -> RequestPayload {
    let result = record
        .result()
        .map(|value| result(&record.name, value, clients, dialect));
    RequestPayload {
        entrypoint: PICKLED_NONE.to_owned(),
        request_body: PICKLED_NONE.to_owned(),
        return_value: result.unwrap_or(Value::Null).to_string(),
        error: error(record.error(), dialect),
        ..summary(record)
    }
}

/// Encodes the result of a verb.
fn result(name: &str, value: &Value, clients: &Path, dialect: Dialect) -> Value {
    match (name, value) {
        ("download_logs", Value::Object(dirs)) => {
            let shown = dirs
                .iter()
                .map(|(job, dir)| (job.clone(), show_dir(dir, clients)));
            Value::Object(shown.collect())
        }
        (_, value) if dialect == Dialect::SkyPilot => published::result(name, value.clone()),
        (_, value) => value.clone(),
    }
}

/// A directory of a user as clients know it.
fn show_dir(dir: &Value, clients: &Path) -> Value {
    let rest = dir
        .as_str()
        .and_then(|dir| Path::new(dir).strip_prefix(clients).ok());
    rest.map_or_else(
        || dir.clone(),
        |rest| Value::String(format!("{CLIENTS}/{}", rest.display())),
    )
}

/// The error document.
fn error(error: Option<&Error>, dialect: Dialect) -> String {
    let Some(error) = error else {
        return "null".to_owned();
    };
    let payload = ErrorPayload {
        object: (dialect == Dialect::SkyPilot).then(|| exceptions::pickled(error).to_base64()),
        class: error.kind().exception_class().to_owned(),
        message: exceptions::message(error),
        sky: Some(error.clone()),
    };
    // Strings and numbers always serialise.
    serde_json::to_string(&payload).unwrap_or_else(|_| "null".to_owned())
}

/// Fields that a list shows when it is asked for some.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fields<'a> {
    /// All.
    All,
    /// These.
    Some(&'a [String]),
}

impl Fields<'_> {
    /// Whether a field is shown.
    pub(crate) fn has(self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Some(names) => names.iter().any(|n| n == name),
        }
    }
}

/// A request in a list; fields that were not asked for are neutral.
pub(crate) fn listed(record: &Record, fields: Fields<'_>) -> RequestPayload {
    let full = summary(record);
    let body = if fields.has("request_body") {
        redact::body(&record.body).to_string()
    } else {
        "null".to_owned()
    };
    RequestPayload {
        request_body: body,
        cluster_name: full.cluster_name.filter(|_| fields.has("cluster_name")),
        user_name: full
            .user_name
            .filter(|_| fields.has("user_name") || fields.has("user_id")),
        ..full
    }
}

/// What both forms show.
fn summary(record: &Record) -> RequestPayload {
    RequestPayload {
        request_id: record.id.to_string(),
        name: format!("sky.{}", record.name),
        entrypoint: String::new(),
        request_body: "null".to_owned(),
        status: record.status(),
        created_at: record.created.as_secs_f64(),
        user_id: record.caller.id.to_string(),
        return_value: "null".to_owned(),
        error: "null".to_owned(),
        pid: None,
        schedule_type: schedule_type(record.profile.lane).to_owned(),
        user_name: Some(record.caller.name.clone()),
        cluster_name: record.cluster().map(ClusterName::to_string),
        status_msg: status_msg(record),
        should_retry: false,
        finished_at: record.finished_at().map(Moment::as_secs_f64),
        file_mounts_blob_id: record.profile.blob.as_ref().map(BlobId::to_string),
    }
}

/// Why it waits; nothing once it is over.
fn status_msg(record: &Record) -> Option<String> {
    let over = match record.status() {
        RequestStatus::Pending | RequestStatus::Waiting | RequestStatus::Running => false,
        RequestStatus::Succeeded | RequestStatus::Failed | RequestStatus::Cancelled => true,
    };
    record.status_msg.clone().filter(|_| !over)
}

/// The word for a lane.
const fn schedule_type(lane: Lane) -> &'static str {
    match lane {
        Lane::Short => "short",
        Lane::Long => "long",
    }
}
