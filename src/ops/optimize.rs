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
    let clouds = ops.clusters.clouds();
    for cloud in clouds.iter() {
        if clouds.check(&**cloud).await.is_err() {
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
    let barred: Vec<&str> = clouds.barred().iter().map(|id| id.as_str()).collect();
    crate::optimizer::plan(task, &offers, &enabled).map_err(|error| {
        if barred.is_empty() {
            return error;
        }
        error.hint(format!(
            "`allowed_clouds` in the server's configuration leaves out {}",
            barred.join(", ")
        ))
    })
}
