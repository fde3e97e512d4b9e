//! `GET /api/stream`: which log is meant.

use std::path::Path;

use super::accounts::model::forbidden;
use super::app::App;
use super::reply::CLIENTS;
use super::stream::{Form, telling};
use super::visitor::Visitor;
use crate::api::frames::Outcome;
use crate::api::requests::StreamQuery;
use crate::base::ids::{RequestId, clip};
use crate::base::{Error, Kind, Result};
use crate::http::stream::Source;
use crate::http::tail::{Standing, is_same};
use crate::requests::ListQuery;

/// The one file that has a name.
const SERVER_LOG: &str = "~/.sky/api_server/server.log";

/// A log that was found.
pub(crate) struct Found {
    /// The log.
    pub(crate) source: Box<dyn Source>,
    /// The request's id as the caller wrote it, or whole where they wrote none.
    pub(crate) id: Option<String>,
}

/// Finds the log that a query means, among those that the caller may see.
pub(crate) async fn open(
    app: &App,
    visitor: &Visitor,
    query: &StreamQuery,
    form: Form,
) -> Result<Found> {
    let (id, written) = match (&query.request_id, &query.log_path) {
        (Some(_), Some(_)) => {
            return Err(Error::new(
                Kind::Invalid,
                "`request_id` and `log_path` exclude each other",
            ));
        }
        (None, Some(path)) => return server_log(app, visitor, path),
        (Some(prefix), None) => {
            let id = app.requests.resolve(prefix, visitor.scope()).await?;
            (id, prefix.clone())
        }
        (None, None) => {
            let id = latest(app, visitor).await?;
            (id, id.to_string())
        }
    };
    Ok(Found {
        source: of_request(app, id, form).await?,
        id: Some(written),
    })
}

/// Returns the log of a request; in text forms it ends by saying so when the request was cancelled.
pub(crate) async fn of_request(app: &App, id: RequestId, form: Form) -> Result<Box<dyn Source>> {
    let source = Box::new(app.requests.log(id).await?);
    match form {
        Form::Frames | Form::Html => Ok(source),
        Form::Console | Form::Plain => {
            let name = app.requests.get(id).await?.name.clone();
            Ok(telling(
                source,
                format!("'sky.{name}' request {id} cancelled"),
            ))
        }
    }
}

/// The caller's latest request.
async fn latest(app: &App, visitor: &Visitor) -> Result<RequestId> {
    let query = ListQuery {
        all_status: true,
        limit: Some(1),
        user: Some(visitor.caller.id.clone()),
        ..ListQuery::default()
    };
    let found = app.requests.list(query).await?;
    found.first().map(|record| record.id).ok_or_else(|| {
        Error::new(Kind::NotFound, "you have no requests yet").hint("submit one: sky launch")
    })
}

/// The log of this server, for admins.
fn server_log(app: &App, visitor: &Visitor, path: &str) -> Result<Found> {
    if visitor.scope().is_some() {
        return Err(forbidden());
    }
    if path != SERVER_LOG && Path::new(path) != app.server_log {
        return Err(Error::new(
            Kind::Invalid,
            format!("`{}` is not a log that this server shows", clip(path)),
        )
        .hint(format!("logs of jobs are collected under {CLIENTS}")));
    }
    let Ok(begun) = std::fs::metadata(&app.server_log) else {
        return Err(Error::new(
            Kind::NotFound,
            "this server writes its log to the terminal that it was started in",
        ));
    };
    let path = app.server_log.clone();
    // A file that was full has been put aside: then all of it is written.
    let standing = move || match std::fs::metadata(&path) {
        Ok(now) if is_same(&begun, &now) => Standing::Open(Outcome::File),
        Ok(_) | Err(_) => Standing::Finished(Outcome::File),
    };
    let tail = app
        .tails
        .follow(&app.server_log, std::sync::Arc::new(standing));
    Ok(Found {
        source: Box::new(tail),
        id: None,
    })
}
