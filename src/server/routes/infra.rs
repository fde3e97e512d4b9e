//! Infra, accelerators, workspaces.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::table::Table;
use crate::api::bodies::{
    AcceleratorsBody, CheckBody, Common, DevicesBody, EmptyBody, NodeInfoBody,
};
use crate::base::Result;
use crate::ops::Op;
use crate::server::admission::submit;
use crate::server::app::App;
use crate::server::extract::Asked;
use crate::server::openapi::Doc;

/// Adds the routes.
pub(super) fn routes(table: Table) -> Table {
    table
        .verb::<CheckBody>("/check", Op::Check)
        .verb::<AcceleratorsBody>("/list_accelerators", Op::ListAccelerators)
        .verb::<AcceleratorsBody>("/list_accelerator_counts", Op::ListAcceleratorCounts)
        .verb::<DevicesBody>("/realtime_kubernetes_gpu_availability", Op::Devices)
        .verb::<NodeInfoBody>("/kubernetes_node_info", Op::NodeInfo)
        .get("/enabled_clouds", enabled_clouds)
        .doc(Doc::default().request())
        .get("/workspaces", workspaces)
        .doc(Doc::default().request())
        .get("/users/me/workspace", my_workspace)
}

/// A query of which nothing is needed: there is one workspace.
#[derive(Deserialize)]
pub(super) struct Anything {}

/// The body of verbs that have none.
fn empty() -> EmptyBody {
    EmptyBody {
        common: Common::default(),
    }
}

/// Lists enabled infra.
async fn enabled_clouds(State(app): State<App>, asked: Asked<Anything>) -> Result<Response> {
    submit(&app, asked.visitor, Op::EnabledClouds(empty())).await
}

/// Lists workspaces.
async fn workspaces(State(app): State<App>, asked: Asked<Anything>) -> Result<Response> {
    submit(&app, asked.visitor, Op::Workspaces(empty())).await
}

/// The caller's workspace.
async fn my_workspace() -> Json<Value> {
    Json(json!({
        "workspace": "default",
        "source": "default-fallback",
        "note": null,
        "preferred": null,
        "accessible": ["default"],
        "read_only": [],
    }))
}
