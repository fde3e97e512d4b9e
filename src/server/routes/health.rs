//! `GET /api/health`, `GET /api/openapi.json` and `GET /metrics`.

use std::sync::OnceLock;

use axum::Json;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::table::Table;
use crate::api::health::{Health, HealthUser};
use crate::api::versions::{API_VERSION, COMPATIBLE_RELEASE, VERSION};
use crate::base::cx::Role;
use crate::server::app::App;
use crate::server::openapi::{self, Doc};
use crate::server::visitor::{Standing, Visitor};

/// Adds the routes.
pub(super) fn routes(table: Table) -> Table {
    table
        .get("/api/health", health)
        .doc(Doc::default().json::<Health>())
        .get("/api/openapi.json", document)
        .get("/metrics", metrics)
        .doc(Doc::default().text())
}

/// The OpenAPI document of all routes.
async fn document() -> Json<&'static Value> {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    Json(DOCUMENT.get_or_init(|| openapi::document(&Table::full().served)))
}

/// Says that the server is well and whom it takes the caller for.
async fn health(visitor: Option<Extension<Visitor>>) -> Response {
    let visitor = visitor.map(|Extension(visitor)| visitor);
    let local = visitor
        .as_ref()
        .is_some_and(|v| v.standing == Standing::Local);
    let status = if visitor.is_some() {
        "healthy"
    } else {
        "needs_auth"
    };
    let user = visitor.map(|visitor| HealthUser {
        id: visitor.caller.id.to_string(),
        name: Some(visitor.caller.name),
        role: Some(role(visitor.caller.role).to_owned()),
    });
    axum::Json(Health {
        status: status.to_owned(),
        api_version: Some(API_VERSION.to_string()),
        version: Some(COMPATIBLE_RELEASE.to_owned()),
        version_on_disk: Some(COMPATIBLE_RELEASE.to_owned()),
        commit: Some(format!("sky-{VERSION}")),
        user,
        basic_auth_enabled: false,
        service_account_token_enabled: !local,
        sky_version: Some(VERSION.to_owned()),
        pid: local.then(std::process::id),
    })
    .into_response()
}

/// The word for a role.
pub(super) const fn role(role: Role) -> &'static str {
    match role {
        Role::Viewer => "viewer",
        Role::User => "user",
        Role::Admin => "admin",
    }
}

/// Numbers for operators.
async fn metrics(State(app): State<App>) -> String {
    app.metrics.render(app.requests.load())
}
