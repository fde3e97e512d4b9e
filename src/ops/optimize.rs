//! The plan of a launch: what fits, what it costs, what would be taken.

use serde_json::Value;

use super::{Ops, validate};
use crate::api::bodies::OptimizeBody;
use crate::base::cx::Cx;
use crate::base::{Error, Result};
use crate::catalog::Offer;
use crate::clouds::{Cloud, CloudError, CloudId, CloudResult};
use crate::optimizer::Plan;
use crate::task::{Shape, Task};

/// Runs the verb: shows the table of each task.
pub(super) async fn run(ops: &Ops, cx: &Cx, body: OptimizeBody) -> Result<Value> {
    for task in &validate::parse(&body.dag)?.tasks {
        let plan = plan(ops, task).await?;
        cx.line(crate::optimizer::table(&plan).trim_end());
    }
    Ok(Value::Null)
}

/// Asks the clouds that the task may use and ranks what they offer.
pub(super) async fn plan(ops: &Ops, task: &Task) -> Result<Plan> {
    let mut asked = Asked::default();
    let clouds = ops.clusters.clouds();
    let admitted = |id: CloudId| !clouds.barred().contains(&id);
    let wanted = |id: CloudId| admitted(id) && may_use(task, id);
    for cloud in clouds.iter().filter(|cloud| wanted(cloud.id())) {
        asked.note(cloud.id(), offers(&**cloud, task).await);
    }
    let plan = crate::optimizer::plan(task, &asked.offers, &asked.enabled);
    if plan.is_ok() {
        return plan;
    }
    // Whoever gets nothing is told what else there is, and why not what was named.
    for cloud in clouds.iter().filter(|cloud| !wanted(cloud.id())) {
        if clouds.check(&**cloud).await.is_ok() {
            asked.enabled.push(cloud.id().as_str().to_owned());
        }
    }
    crate::optimizer::plan(task, &asked.offers, &asked.enabled).map_err(|error| {
        let error = asked
            .refusals
            .iter()
            .fold(error, |error, (cloud, refusal)| {
                let why = format!("{}: {}", cloud.display_name(), refusal.error.one_line());
                error.caused_by(&Error::new(refusal.error.kind(), why))
            });
        let barred: Vec<&str> = clouds.barred().iter().map(|id| id.as_str()).collect();
        if barred.is_empty() {
            return error;
        }
        error.hint(format!(
            "`allowed_clouds` in the server's configuration leaves out {}",
            barred.join(", ")
        ))
    })
}

/// What the clouds said.
#[derive(Default)]
struct Asked {
    /// What they offer.
    offers: Vec<Offer>,
    /// Those that answered.
    enabled: Vec<String>,
    /// Those that cannot be used, and why.
    refusals: Vec<(CloudId, CloudError)>,
}

impl Asked {
    /// Takes down an answer.
    fn note(&mut self, cloud: CloudId, offers: CloudResult<Vec<Offer>>) {
        match offers {
            Ok(offers) => {
                self.enabled.push(cloud.as_str().to_owned());
                self.offers.extend(offers);
            }
            Err(refusal) => self.refusals.push((cloud, refusal)),
        }
    }
}

/// Whether one of the task's alternatives may be met by a cloud.
fn may_use(task: &Task, cloud: CloudId) -> bool {
    let named = |wish: &Shape| {
        wish.infra
            .cloud
            .as_deref()
            .map(|name| name == cloud.as_str())
    };
    let mut alternatives = task.resources.alternatives.iter();
    alternatives.any(|wish| named(wish).unwrap_or(true))
}

/// What a cloud offers for all alternatives.
async fn offers(cloud: &dyn Cloud, task: &Task) -> CloudResult<Vec<Offer>> {
    let mut all: Vec<Offer> = Vec::new();
    for wish in &task.resources.alternatives {
        for offer in cloud.offers(wish).await? {
            if !all.contains(&offer) {
                all.push(offer);
            }
        }
    }
    Ok(all)
}
