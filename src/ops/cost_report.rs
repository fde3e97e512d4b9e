//! `sky cost-report`: what clusters cost, those that are no more included.

use std::time::Duration;

use serde_json::Value;

use super::Ops;
use crate::api::bodies::CostReportBody;
use crate::base::clock::Moment;
use crate::base::cx::{Cx, Role};
use crate::base::{Error, Result};
use crate::clusters::{buried_cost, cluster_cost};

/// Runs the verb.
pub(super) async fn run(ops: &Ops, cx: &Cx, body: CostReportBody) -> Result<Value> {
    let now = Moment::now();
    let oldest = body.days.filter(|d| *d > 0).map(|days| {
        let span = Duration::from_secs(days.saturating_mul(86_400));
        Moment::from_micros(
            now.micros()
                .saturating_sub(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)),
        )
    });
    let sees = |owner: &crate::base::ids::UserId| {
        cx.caller().role == Role::Admin || *owner == cx.caller().id
    };
    let mut records: Vec<_> = ops
        .clusters
        .list()
        .await?
        .iter()
        .filter(|c| sees(&c.owner.id))
        .map(|c| cluster_cost(c, now))
        .collect();
    let buried = ops.clusters.buried().await?;
    records.extend(
        buried
            .iter()
            .filter(|b| sees(&b.cluster.owner.id) && b.cluster.ever_up)
            .filter(|b| oldest.is_none_or(|oldest| b.removed_at >= oldest))
            .map(buried_cost),
    );
    serde_json::to_value(records).map_err(|e| Error::internal("write cost records", &e))
}
