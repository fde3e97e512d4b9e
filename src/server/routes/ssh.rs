//! Pools of SSH hosts.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use serde_json::Value;

use super::infra::Anything;
use super::table::Table;
use crate::api::bodies::{Common, SshPoolsBody};
use crate::base::Result;
use crate::ops::Op;
use crate::server::admission::submit;
use crate::server::app::App;
use crate::server::extract::Asked;
use crate::server::openapi::Doc;

/// Adds the routes.
pub(super) fn routes(table: Table) -> Table {
    table
        .verb::<SshPoolsBody>("/ssh_node_pools/deploy", Op::SshUp)
        .verb::<SshPoolsBody>("/ssh_node_pools/down", Op::SshDown)
        .verb::<SshPoolsBody>("/ssh_node_pools/list", Op::SshList)
        .post("/ssh_node_pools/{name}/deploy", up)
        .doc(Doc::default().request())
        .post("/ssh_node_pools/{name}/down", down)
        .doc(Doc::default().request())
        .get("/ssh_node_pools", pools)
}

/// The body of a verb whose pool is in the path.
fn of(pool: String) -> SshPoolsBody {
    SshPoolsBody {
        common: Common::default(),
        infra: Some(pool),
    }
}

/// Gets the hosts of a pool ready.
async fn up(
    State(app): State<App>,
    Path(pool): Path<String>,
    asked: Asked<Anything>,
) -> Result<Response> {
    submit(&app, asked.visitor, Op::SshUp(of(pool))).await
}

/// Removes what is ours from the hosts of a pool.
async fn down(
    State(app): State<App>,
    Path(pool): Path<String>,
    asked: Asked<Anything>,
) -> Result<Response> {
    submit(&app, asked.visitor, Op::SshDown(of(pool))).await
}

/// Shows the pools that the server's file names.
async fn pools(State(app): State<App>) -> Result<Json<Value>> {
    app.ops.clusters.clouds().hosts().pools_shown().map(Json)
}
