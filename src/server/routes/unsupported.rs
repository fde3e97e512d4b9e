//! What `sky status` of `SkyPilot`'s client wants to exist, and what this release does not do yet.

use axum::extract::{MatchedPath, State};
use axum::response::Response;
use serde_json::json;

use super::table::Table;
use crate::api::bodies::EmptyBody;
use crate::base::{Error, Kind, Result};
use crate::server::app::App;
use crate::server::extract::Posted;
use crate::server::visitor::Dialect;
use crate::server::{admission, reply};

/// Listings that are empty because there is nothing to list.
const EMPTY: [&str; 3] = ["/jobs/queue/v2", "/jobs/pool_status", "/serve/status"];

/// What is refused with one sentence.
const REFUSED: [&str; 18] = [
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
];

/// Adds the routes.
pub(super) fn routes(table: Table) -> Table {
    let table = EMPTY
        .iter()
        .fold(table, |table, path| table.post(path, nothing));
    REFUSED
        .iter()
        .fold(table, |table, path| table.post(path, refuse))
}

/// Answers that there are none, as the result of a request that is over.
async fn nothing(
    State(app): State<App>,
    path: MatchedPath,
    posted: Posted<EmptyBody>,
) -> Result<Response> {
    let name = name(path.as_str());
    let none = match name.as_str() {
        "jobs.queue_v2" => json!({
            "jobs": [], "total": 0, "total_no_filter": 0, "status_counts": {}, "infra_options": [],
        }),
        _ => json!([]),
    };
    let id = admission::finished(&app, posted.visitor.caller, &name, Ok(none)).await?;
    Ok(reply::accepted(id))
}

/// Refuses: `SkyPilot`'s clients look for errors in the results of requests.
async fn refuse(
    State(app): State<App>,
    path: MatchedPath,
    posted: Posted<EmptyBody>,
) -> Result<Response> {
    let visitor = posted.visitor;
    let name = name(path.as_str());
    let error = Error::new(
        Kind::NotSupported,
        format!("this server does not support `{name}` yet"),
    );
    if visitor.dialect == Dialect::Sky {
        return Err(error);
    }
    let id = admission::finished(&app, visitor.caller, &name, Err(error)).await?;
    Ok(reply::with_id(crate::server::stream::empty(), id))
}

/// The name of a path's request: `/jobs/queue/v2` is `jobs.queue_v2`.
fn name(path: &str) -> String {
    let path = path.trim_start_matches('/').replace('-', "_");
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
    }
}
