//! `/logs` and `/provision_logs`: answers that are streams themselves.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Deserialize;

use super::table::Table;
use crate::api::bodies::{LogsBody, ProvisionLogsBody, lenient_bool};
use crate::base::{Error, Kind, Result};
use crate::server::app::App;
use crate::server::extract::{Asked, Posted};
use crate::server::openapi::Doc;
use crate::server::stream::{self, Form, Range};
use crate::server::{job_tail, request_log};

/// Adds the routes.
pub(super) fn routes(table: Table) -> Table {
    table
        .post("/logs", logs)
        .doc(Doc::default().query::<How>().body::<LogsBody>().stream())
        .post("/provision_logs", provision_logs)
        .doc(
            Doc::default()
                .query::<How>()
                .body::<ProvisionLogsBody>()
                .stream(),
        )
}

/// Query of both.
#[derive(Deserialize, JsonSchema)]
struct How {
    /// Begin at this byte.
    #[serde(default)]
    offset: Option<u64>,
    /// Only the last so many lines.
    #[serde(default)]
    tail: Option<i64>,
    /// Go on until the end.
    #[serde(default = "yes", deserialize_with = "lenient_bool")]
    follow: bool,
    /// `auto`, `plain`, `console`.
    #[serde(default)]
    format: Option<String>,
}

/// The default of `follow`.
const fn yes() -> bool {
    true
}

impl How {
    /// The form of the answer; these are POSTs, so nobody can look at a page of them.
    fn form(&self, headers: &HeaderMap) -> Result<Form> {
        match Form::of(headers, self.format.as_deref())? {
            Form::Html => Ok(Form::Plain),
            form @ (Form::Frames | Form::Console | Form::Plain) => Ok(form),
        }
    }
}

/// Follows a job.
async fn logs(
    State(app): State<App>,
    headers: HeaderMap,
    asked: Asked<How>,
    posted: Posted<LogsBody>,
) -> Result<Response> {
    let form = asked.query.form(&headers)?;
    let range = Range {
        offset: asked.query.offset,
        tail: Some(posted.body.tail),
        follow: posted.body.follow,
    };
    job_tail::answer(&app, posted.visitor, &posted.body, form, range).await
}

/// Shows how a cluster was provisioned: the log of the request that did it.
async fn provision_logs(
    State(app): State<App>,
    headers: HeaderMap,
    asked: Asked<How>,
    posted: Posted<ProvisionLogsBody>,
) -> Result<Response> {
    let form = asked.query.form(&headers)?;
    let range = Range {
        offset: asked.query.offset,
        tail: asked.query.tail,
        follow: asked.query.follow,
    };
    let name = &posted.body.cluster_name;
    let worker = posted.body.worker;
    let id = app.ops.provision_request(name, worker).await?;
    let source = request_log::of_request(&app, id, form).await.map_err(|e| {
        let gone = format!("the provision log of cluster `{name}` does not exist any more");
        if e.kind() == Kind::NotFound {
            Error::new(Kind::NotFound, gone)
        } else {
            e
        }
    })?;
    stream::answer(source, form, range).await
}
