//! What `sky status` of `SkyPilot`'s client wants to exist, and what this release does not do yet.

use axum::Json;
use axum::extract::{MatchedPath, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::infra::Anything;
use super::table::Table;
use crate::api::bodies::{EmptyBody, RefusedBody};
use crate::api::exceptions;
use crate::base::{Error, Kind, Result};
use crate::server::app::App;
use crate::server::extract::{Asked, Form, Posted};
use crate::server::openapi::Doc;
use crate::server::visitor::{Dialect, Visitor};
use crate::server::{admission, reply, stream};

/// Listings that are empty because there is nothing to list.
const EMPTY: [&str; 3] = ["/jobs/queue/v2", "/jobs/pool_status", "/serve/status"];
/// The same, asked for by GET.
const EMPTY_GET: [&str; 2] = ["/storage/ls", "/volumes"];

/// What is refused with one sentence.
const REFUSED: [&str; 36] = [
    "/hook_logs",
    "/jobs/launch",
    "/jobs/queue",
    "/jobs/cancel",
    "/jobs/logs",
    "/jobs/wait",
    "/jobs/download_logs",
    "/jobs/events",
    "/jobs/pool_apply",
    "/jobs/pool_down",
    "/jobs/pool_logs",
    "/jobs/pool_sync-down-logs",
    "/serve/up",
    "/serve/update",
    "/serve/down",
    "/serve/logs",
    "/serve/terminate-replica",
    "/serve/sync-down-logs",
    "/storage/delete",
    "/volumes/delete",
    "/local_up",
    "/local_down",
    "/kubernetes_label_gpus",
    "/slurm_gpu_availability",
    "/slurm_node_info",
    "/slurm_cluster_names",
    "/cluster_events",
    "/workspaces/create",
    "/workspaces/update",
    "/workspaces/delete",
    "/workspaces/config",
    "/recipes/list",
    "/recipes/get",
    "/recipes/create",
    "/recipes/delete",
    "/debug/dump_create",
];
/// The same, asked for by GET.
const REFUSED_GET: [&str; 4] = [
    "/slurm_node_info",
    "/status_kubernetes",
    "/workspaces/config",
    "/all_contexts",
];
/// What is refused in the answer itself, because no client waits for a request there.
const REFUSED_AT_ONCE: [&str; 4] = [
    "/volumes/apply",
    "/volumes/validate",
    "/ssh_node_pools",
    "/users/me/workspace",
];

/// Adds the routes.
pub(super) fn routes(table: Table) -> Table {
    let doc = Doc::default().body::<EmptyBody>().request();
    let table = EMPTY
        .iter()
        .fold(table, |table, path| table.post(path, nothing).doc(doc));
    let table = EMPTY_GET.iter().fold(table, |table, path| {
        table.get(path, nothing_asked).doc(Doc::default().request())
    });
    let doc = Doc::default().body::<RefusedBody>().stream();
    let table = REFUSED
        .iter()
        .fold(table, |table, path| table.post(path, refuse).doc(doc));
    let table = REFUSED_GET.iter().fold(table, |table, path| {
        table.get(path, refuse_asked).doc(Doc::default().stream())
    });
    REFUSED_AT_ONCE.iter().fold(table, |table, path| {
        table
            .post(path, refuse_at_once)
            .doc(Doc::default().body::<Value>())
    })
}

/// Answers that there are none, as the result of a request that is over.
async fn nothing(
    State(app): State<App>,
    path: MatchedPath,
    posted: Posted<EmptyBody>,
) -> Result<Response> {
    none(&app, posted.visitor, path.as_str()).await
}

/// The same, asked for by GET.
async fn nothing_asked(
    State(app): State<App>,
    path: MatchedPath,
    asked: Asked<Anything>,
) -> Result<Response> {
    none(&app, asked.visitor, path.as_str()).await
}

/// An empty listing.
async fn none(app: &App, visitor: Visitor, path: &str) -> Result<Response> {
    let name = name(path);
    let none = match name.as_str() {
        "jobs.queue_v2" => json!({
            "jobs": [], "total": 0, "total_no_filter": 0, "status_counts": {}, "infra_options": [],
        }),
        _ => json!([]),
    };
    let id = admission::finished(app, visitor.caller, &name, Ok(none)).await?;
    Ok(reply::accepted(id))
}

/// Refuses: `SkyPilot`'s clients look for errors in the results of requests.
async fn refuse(
    State(app): State<App>,
    path: MatchedPath,
    posted: Posted<RefusedBody>,
) -> Result<Response> {
    let told = posted.body.follow == Some(false);
    refused(&app, posted.visitor, path.as_str(), told).await
}

/// The same, asked for by GET.
async fn refuse_asked(
    State(app): State<App>,
    path: MatchedPath,
    asked: Asked<Anything>,
) -> Result<Response> {
    refused(&app, asked.visitor, path.as_str(), false).await
}

/// A refusal as the result of a request; also as its log, for those who read nothing else.
async fn refused(app: &App, visitor: Visitor, path: &str, told: bool) -> Result<Response> {
    let name = name(path);
    let error = not_supported(&name);
    if visitor.dialect == Dialect::Sky {
        return Err(error);
    }
    let log = if told {
        stream::line(error.message())
    } else {
        stream::empty()
    };
    let id = admission::finished(app, visitor.caller, &name, Err(error)).await?;
    Ok(reply::with_id(log, id))
}

/// Refuses in the answer. `SkyPilot`'s client shows the text of a 403 as it is, and rebuilds the exception of a 400 where it
/// asks for a check; any other refusal ends it with a trace.
async fn refuse_at_once(path: MatchedPath, form: Form<Value>) -> Response {
    let error = not_supported(&name(path.as_str()));
    let rebuilds = path.as_str().starts_with("/volumes/");
    let (status, detail) = if form.visitor.published && !rebuilds {
        (StatusCode::FORBIDDEN, error.message().into())
    } else {
        (StatusCode::BAD_REQUEST, exceptions::plain(&error))
    };
    (status, Json(json!({ "detail": detail, "error": error }))).into_response()
}

/// The refusal.
fn not_supported(name: &str) -> Error {
    Error::new(
        Kind::NotSupported,
        format!("this server does not support `{name}` yet"),
    )
}

/// The name of a path's request: `/jobs/queue/v2` is `jobs.queue_v2`.
fn name(path: &str) -> String {
    match path {
        "/storage/ls" => return "storage_ls".to_owned(),
        "/volumes" => return "volume_list".to_owned(),
        _ => {}
    }
    let path = path.trim_start_matches('/').replace('-', "_");
    let path = path.replace("/{name}", "");
    match path.split_once('/') {
        Some((area, verb)) => format!("{area}.{}", verb.replace('/', "_")),
        None => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_named_as_clients_expect() {
        assert_eq!(name("/jobs/queue/v2"), "jobs.queue_v2");
        assert_eq!(
            name("/jobs/pool_sync-down-logs"),
            "jobs.pool_sync_down_logs"
        );
        assert_eq!(name("/hook_logs"), "hook_logs");
        assert_eq!(name("/volumes"), "volume_list");
        assert_eq!(name("/kubernetes/{name}/down"), "kubernetes.down");
    }
}
