//! `/api/get`, `/api/status`, `/api/cancel`, `/api/stream`, `/api/completion`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Deserialize;

use super::table::Table;
use crate::api::bodies::ApiCancelBody;
use crate::api::records::CancelReceipt;
use crate::api::requests::{RequestPayload, StatusQuery, StreamQuery};
use crate::api::versions::STREAM_REQUEST_ID_HEADER;
use crate::base::{Error, Kind, Result};
use crate::requests::ListQuery;
use crate::server::app::App;
use crate::server::extract::{Asked, Posted};
use crate::server::openapi::Doc;
use crate::server::reply::{self, Fields};
use crate::server::request_log;
use crate::server::stream::{self, Form, Range};
use crate::server::visitor::{Dialect, Visitor};
use crate::server::{admission, cancelling};

/// The most suggestions for a completion.
const MOST_SUGGESTIONS: usize = 50;

/// Adds the routes.
pub(super) fn routes(table: Table) -> Table {
    table
        .get("/api/get", get)
        .doc(Doc::default().query::<Get>().ended())
        .get("/api/status", status)
        .doc(
            Doc::default()
                .query::<StatusQuery>()
                .json::<Vec<RequestPayload>>(),
        )
        .get("/api/stream", follow)
        .doc(Doc::default().query::<StreamQuery>().stream())
        .post("/api/cancel", cancel)
        .doc(
            Doc::default()
                .body::<ApiCancelBody>()
                .json::<Option<CancelReceipt>>(),
        )
        .get("/api/completion/{kind}", completion)
        .doc(Doc::default().query::<Incomplete>().json::<Vec<String>>())
}

/// Query of `/api/get`.
#[derive(Deserialize, JsonSchema)]
struct Get {
    /// Id or prefix.
    request_id: String,
}

/// Waits for the end of a request.
async fn get(State(app): State<App>, asked: Asked<Get>) -> Result<Response> {
    let prefix = &asked.query.request_id;
    let id = app.requests.resolve(prefix, asked.visitor.scope()).await?;
    match app
        .stopping
        .run_until_cancelled(app.requests.wait(id))
        .await
    {
        Some(ended) => {
            let record = ended?;
            Ok(reply::finished(
                &record,
                &app.clients,
                asked.visitor.dialect,
            ))
        }
        None => Ok(stopping()),
    }
}

/// The answer to those who wait while the server stops: clients come back by themselves.
fn stopping() -> Response {
    let error = Error::new(Kind::TooBusy, "the server is stopping")
        .retry_after(std::time::Duration::from_secs(1));
    let mut response = error.into_response();
    *response.status_mut() = axum::http::StatusCode::SERVICE_UNAVAILABLE;
    response
}

/// Lists requests.
async fn status(
    State(app): State<App>,
    asked: Asked<StatusQuery>,
) -> Result<Json<Vec<RequestPayload>>> {
    let Asked { visitor, query } = asked;
    let fields = match (query.request_ids.is_empty(), query.fields.is_empty()) {
        (true, false) => Fields::Some(&query.fields),
        (_, true) | (false, false) => Fields::All,
    };
    let records = app
        .requests
        .list(list_query(&visitor, &query, fields)?)
        .await?;
    let shown = records.iter().map(|record| reply::listed(record, fields));
    Ok(Json(shown.collect()))
}

/// What the store is asked for.
fn list_query(visitor: &Visitor, query: &StatusQuery, fields: Fields<'_>) -> Result<ListQuery> {
    let scope = visitor.scope().cloned();
    // Our own client says when it means everybody's; SkyPilot's has no word for it and always does.
    let mine = || {
        let narrow = visitor.dialect == Dialect::Sky && !query.all_users;
        (narrow && query.request_ids.is_empty()).then(|| visitor.caller.id.clone())
    };
    Ok(ListQuery {
        prefixes: query.request_ids.clone(),
        all_status: query.all_status,
        limit: query.limit,
        cluster: query.cluster_name.as_deref().map(str::parse).transpose()?,
        user: scope.or_else(mine),
        full: fields.has("request_body"),
    })
}

/// Cancels requests.
async fn cancel(State(app): State<App>, posted: Posted<ApiCancelBody>) -> Result<Response> {
    let Posted { visitor, body } = posted;
    let receipt = cancelling::cancel(&app, &visitor, body).await;
    if visitor.dialect == Dialect::Sky {
        return Ok(Json(receipt?).into_response());
    }
    let result = receipt.map(|receipt| receipt.cancelled.into());
    let id = admission::finished(&app, visitor.caller, "api_cancel", result).await?;
    Ok(reply::accepted(id))
}

/// Follows the log of a request, or of the server.
async fn follow(
    State(app): State<App>,
    headers: HeaderMap,
    asked: Asked<StreamQuery>,
) -> Result<Response> {
    let Asked { visitor, query } = asked;
    let form = Form::of(&headers, query.format.as_deref())?;
    let range = Range {
        offset: query.offset,
        tail: query.tail,
        follow: query.follow,
    };
    let log = request_log::open(&app, &visitor, &query, form).await?;
    let mut response = stream::answer(log.source, form, range).await?;
    if let Some(id) = log.id {
        let id = HeaderValue::from_str(&id)
            .map_err(|e| Error::internal("name the request in a header", &e))?;
        response.headers_mut().insert(STREAM_REQUEST_ID_HEADER, id);
    }
    Ok(response)
}

/// Query of a completion.
#[derive(Deserialize, JsonSchema)]
struct Incomplete {
    /// What is typed so far.
    #[serde(default)]
    incomplete: String,
}

/// Names for the shell.
async fn completion(
    State(app): State<App>,
    Path(kind): Path<String>,
    asked: Asked<Incomplete>,
) -> Result<Json<Vec<String>>> {
    let typed = &asked.query.incomplete;
    Ok(Json(match kind.as_str() {
        "cluster_name" => app.ops.cluster_names(typed).await?,
        "api_request" => request_ids(&app, &asked.visitor, typed).await?,
        "storage_name" | "volume_name" => Vec::new(),
        _ => return Err(Error::new(Kind::NotFound, "Not Found")),
    }))
}

/// Ids of recent requests that begin with what is typed.
async fn request_ids(app: &App, visitor: &Visitor, typed: &str) -> Result<Vec<String>> {
    let query = ListQuery {
        prefixes: if typed.is_empty() {
            Vec::new()
        } else {
            vec![typed.to_owned()]
        },
        all_status: true,
        limit: Some(MOST_SUGGESTIONS),
        user: Some(visitor.caller.id.clone()),
        ..ListQuery::default()
    };
    let records = app.requests.list(query).await?;
    Ok(records.iter().map(|record| record.id.to_string()).collect())
}
