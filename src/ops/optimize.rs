//! The plan of a launch: what fits, what it costs, what would be taken.

use serde_json::Value;

use super::{Ops, validate};
use crate::api::bodies::OptimizeBody;
use crate::base::Result;
use crate::base::cx::Cx;
use crate::optimizer::Plan;
use crate::task::Task;

/// Runs the verb: shows the table of each task.
pub(super) async fn run(ops: &Ops, cx: &Cx, body: OptimizeBody) -> Result<Value> {
    for task in &validate::parse(&body.dag)?.tasks {
        let plan = plan(ops, task).await?;
        cx.line(crate::optimizer::table(&plan).trim_end());
    }
    Ok(Value::Null)
}

/// Asks the clouds and ranks what they offer.
pub(super) async fn plan(ops: &Ops, task: &Task) -> Result<Plan> {
    let mut offers = Vec::new();
    let mut enabled = Vec::new();
    for cloud in ops.clusters.clouds().iter() {
        if cloud.check().await.is_err() {
            continue;
        }
        enabled.push(cloud.id().as_str().to_owned());
        for wish in &task.resources.alternatives {
            for offer in cloud.offers(wish).await? {
                if !offers.contains(&offer) {
                    offers.push(offer);
                }
            }
        }
    }
    crate::optimizer::plan(task, &offers, &enabled)
}
