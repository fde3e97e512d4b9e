//! The asynchronous request as `/api/get` and `/api/status` show it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::status::RequestStatus;

/// A pickled `None`: all that SkyPilot's clients need in the places that nobody reads.
pub(crate) const PICKLED_NONE: &str = "gAROLg==";

/// A request on the wire. `return_value` and `error` are JSON documents inside strings.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct RequestPayload {
    /// The id, printed.
    pub(crate) request_id: String,
    /// `sky.` and the verb.
    pub(crate) name: String,
    /// A pickle nobody reads.
    #[serde(default)]
    pub(crate) entrypoint: String,
    /// A pickle nobody reads (`/api/get`), or the body as JSON text (`/api/status`).
    #[serde(default)]
    pub(crate) request_body: String,
    /// The state.
    pub(crate) status: RequestStatus,
    /// Seconds since the epoch.
    pub(crate) created_at: f64,
    /// Who asked.
    pub(crate) user_id: String,
    /// The result as JSON text; `"null"` without one.
    #[serde(default = "null_text")]
    pub(crate) return_value: String,
    /// The error as JSON text: `"null"`, or an [`ErrorPayload`].
    #[serde(default = "null_text")]
    pub(crate) error: String,
    /// Always null here: requests are not processes.
    #[serde(default)]
    pub(crate) pid: Option<u32>,
    /// `long` or `short`.
    #[serde(default)]
    pub(crate) schedule_type: String,
    /// Display name of who asked.
    #[serde(default)]
    pub(crate) user_name: Option<String>,
    /// The cluster it concerns.
    #[serde(default)]
    pub(crate) cluster_name: Option<String>,
    /// Why it waits.
    #[serde(default)]
    pub(crate) status_msg: Option<String>,
    /// Whether the client should submit it again elsewhere.
    #[serde(default)]
    pub(crate) should_retry: bool,
    /// Seconds since the epoch.
    #[serde(default)]
    pub(crate) finished_at: Option<f64>,
    /// The upload it refers to.
    #[serde(default)]
    pub(crate) file_mounts_blob_id: Option<String>,
}

/// JSON text of null.
fn null_text() -> String {
    "null".to_owned()
}

/// The document in [`RequestPayload::error`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ErrorPayload {
    /// Base64 of a pickled dict, for SkyPilot's clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) object: Option<String>,
    /// Exception class.
    #[serde(rename = "type")]
    pub(crate) class: String,
    /// Message with causes.
    pub(crate) message: String,
    /// Our own error, whole; absent from SkyPilot's server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sky: Option<crate::base::Error>,
}

/// Query of `GET /api/status`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub(crate) struct StatusQuery {
    /// Id prefixes; with them the status filter does not apply.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) request_ids: Vec<String>,
    /// Finished ones too.
    #[serde(default, deserialize_with = "super::bodies::lenient_bool")]
    pub(crate) all_status: bool,
    /// At most so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) limit: Option<usize>,
    /// Only these fields carry values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) fields: Vec<String>,
    /// Only requests of this cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cluster_name: Option<String>,
    /// Requests of everybody (ours; SkyPilot's server ignores it).
    #[serde(
        default,
        deserialize_with = "super::bodies::lenient_bool",
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub(crate) all_users: bool,
}

/// Query of `GET /api/stream`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct StreamQuery {
    /// Which request: id or prefix. Without it and `log_path`: the caller's latest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) request_id: Option<String>,
    /// `~/.sky/api_server/server.log`, for admins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) log_path: Option<String>,
    /// Only the last so many lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tail: Option<i64>,
    /// Go on until the end.
    #[serde(default = "yes", deserialize_with = "super::bodies::lenient_bool")]
    pub(crate) follow: bool,
    /// `auto`, `plain`, `html`, `console`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) format: Option<String>,
    /// Begin at this byte (ours).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) offset: Option<u64>,
}

/// The default of `follow`.
const fn yes() -> bool {
    true
}
