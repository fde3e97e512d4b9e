//! Verbs on clusters and jobs: each becomes a request.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::table::Table;
use crate::api::bodies::{
    AutostopBody, CancelBody, CostReportBody, DownloadLogsBody, EndpointsBody, ExecBody,
    JobStatusBody, LaunchBody, OptimizeBody, QueueBody, Refresh, StartBody, StatusBody, StopBody,
    ValidateBody,
};
use crate::api::exceptions;
use crate::base::Result;
use crate::base::cx::Role;
use crate::ops::Op;
use crate::server::admission::submit;
use crate::server::app::App;
use crate::server::extract::Posted;
use crate::server::openapi::Doc;

/// Adds the routes.
pub(super) fn routes(table: Table) -> Table {
    table
        .post("/validate", validate)
        .doc(Doc::default().body::<ValidateBody>())
        .verb::<OptimizeBody>("/optimize", Op::Optimize)
        .verb::<LaunchBody>("/launch", Op::Launch)
        .verb::<ExecBody>("/exec", Op::Exec)
        .post("/status", status)
        .doc(Doc::default().body::<StatusBody>().request())
        .verb::<QueueBody>("/queue", Op::Queue)
        .verb::<JobStatusBody>("/job_status", Op::JobStatus)
        .verb::<CancelBody>("/cancel", Op::Cancel)
        .verb::<StopBody>("/stop", Op::Stop)
        .verb::<StopBody>("/down", Op::Down)
        .verb::<StartBody>("/start", Op::Start)
        .verb::<AutostopBody>("/autostop", Op::Autostop)
        .verb::<EndpointsBody>("/endpoints", Op::Endpoints)
        .verb::<CostReportBody>("/cost_report", Op::CostReport)
        .verb::<DownloadLogsBody>("/download_logs", Op::DownloadLogs)
}

/// Checks a task at once.
async fn validate(posted: Posted<ValidateBody>) -> Response {
    match crate::ops::validate(&posted.body.dag) {
        Ok(()) => Json(Value::Null).into_response(),
        Err(error) => {
            let body = json!({ "detail": exceptions::plain(&error), "error": error });
            (StatusCode::BAD_REQUEST, Json(body)).into_response()
        }
    }
}

/// Lists clusters. Viewers neither cause work on the clusters nor get keys to them.
async fn status(State(app): State<App>, posted: Posted<StatusBody>) -> Result<Response> {
    let Posted { visitor, mut body } = posted;
    if visitor.caller.role == Role::Viewer {
        body.refresh = Refresh::None;
        body.include_credentials = false;
    }
    submit(&app, visitor, Op::Status(body)).await
}
