//! The plan of a launch: what fits, what it costs, what would be taken, what was ruled out.

use serde_json::Value;

use super::{Ops, validate};
use crate::api::bodies::OptimizeBody;
use crate::base::cx::Cx;
use crate::base::{Error, Result};
use crate::catalog::{Offer, Supply, Why, display_name};
use crate::clouds::{Category, Cloud, CloudError, CloudId, CloudResult, absent};
use crate::optimizer::{Market, Plan, Standing};
use crate::task::{Shape, Task};

/// How closely clouds are looked at that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    /// Only those that the task names.
    Named,
    /// All that have a price list, and what they would give.
    Priced,
}

/// Runs the verb: shows the table of each task.
pub(super) async fn run(ops: &Ops, cx: &Cx, body: OptimizeBody) -> Result<Value> {
    for task in &validate::parse(&body.dag)?.tasks {
        let plan = plan(ops, task, Detail::Named).await?;
        cx.line(crate::optimizer::table(&plan).trim_end());
    }
    Ok(Value::Null)
}

/// Asks the clouds that the task may use and ranks what they offer. Where nothing fits, the error says what else there is.
pub(super) async fn plan(ops: &Ops, task: &Task, detail: Detail) -> Result<Plan> {
    let blocks = ops.clusters.blocks().await?;
    let mut markets = open_markets(ops, task).await;
    if detail == Detail::Named {
        let mut named = markets.clone();
        named.extend(shut_markets(ops, task, &markets, detail).await?);
        if let Ok(plan) = crate::optimizer::plan(task, named, &blocks) {
            return Ok(plan);
        }
    }
    // Whoever gets nothing is told what else there is.
    markets.extend(other_markets(ops, task).await);
    add_prices(ops, task, &mut markets).await?;
    let shut = shut_markets(ops, task, &markets, Detail::Priced).await?;
    markets.extend(shut);
    crate::optimizer::plan(task, markets, &blocks).map_err(|error| name_barred(ops, error))
}

/// Adds to an error which clouds the server's configuration leaves out.
fn name_barred(ops: &Ops, error: Error) -> Error {
    let barred: Vec<&str> = ops
        .clusters
        .clouds()
        .barred()
        .iter()
        .map(|id| id.as_str())
        .collect();
    if barred.is_empty() {
        return error;
    }
    error.hint(format!(
        "`allowed_clouds` in the server's configuration leaves out {}",
        barred.join(", ")
    ))
}

/// Whether one of the task's alternatives may be met by a cloud.
fn may_use(ops: &Ops, task: &Task, cloud: CloudId) -> bool {
    let is_meant = |wish: &Shape| {
        let named = wish.infra.cloud.as_deref();
        named.is_none_or(|name| name == cloud.as_str())
    };
    !ops.clusters.clouds().barred().contains(&cloud)
        && task.resources.alternatives.iter().any(is_meant)
}

/// Makes a market of a cloud of this release.
fn market(cloud: CloudId, state: Standing) -> Market {
    Market {
        cloud: cloud.as_str().to_owned(),
        display: cloud.display_name().to_owned(),
        state,
    }
}

/// Makes the market of a cloud that cannot be used: it is not set up, or did not say what it has.
fn shut(cloud: CloudId, refusal: &CloudError) -> Market {
    let state = match refusal.category {
        Category::Auth | Category::Configuration => Standing::Shut {
            reason: refusal.error.one_line(),
            would: Vec::new(),
        },
        Category::Capacity
        | Category::Quota
        | Category::Throttled
        | Category::NotFound
        | Category::Conflict
        | Category::Transient
        | Category::Fatal => Standing::Failing((*refusal.error).clone()),
    };
    market(cloud, state)
}

/// Asks the clouds of this release that the task may use.
async fn open_markets(ops: &Ops, task: &Task) -> Vec<Market> {
    let mut markets = Vec::new();
    for cloud in ops.clusters.clouds().iter() {
        let id = cloud.id();
        if !may_use(ops, task, id) {
            continue;
        }
        markets.push(match supplies(&**cloud, task).await {
            Ok(supplies) => market(id, Standing::Open(supplies)),
            Err(refusal) => shut(id, &refusal),
        });
    }
    markets
}

/// Looks at the clouds of this release that the task may not use: whether they are there.
async fn other_markets(ops: &Ops, task: &Task) -> Vec<Market> {
    let clouds = ops.clusters.clouds();
    let nothing = vec![Supply::default(); task.resources.alternatives.len()];
    let mut markets = Vec::new();
    for cloud in clouds.iter() {
        let id = cloud.id();
        if may_use(ops, task, id) {
            continue;
        }
        markets.push(match clouds.check(&**cloud).await {
            Ok(_) => market(id, Standing::Open(nothing.clone())),
            Err(refusal) => shut(id, &refusal),
        });
    }
    markets
}

/// Asks a cloud what it has for each alternative.
async fn supplies(cloud: &dyn Cloud, task: &Task) -> CloudResult<Vec<Supply>> {
    let mut supplies = Vec::new();
    for wish in &task.resources.alternatives {
        let named = wish.infra.cloud.as_deref();
        supplies.push(if named.is_none_or(|name| name == cloud.id().as_str()) {
            with_room_outside(cloud, task, cloud.offers(wish).await?)
        } else {
            Supply::default()
        });
    }
    Ok(supplies)
}

/// Leaves out nodes that share their machine where the task mounts files outside of the home.
fn with_room_outside(cloud: &dyn Cloud, task: &Task, mut supply: Supply) -> Supply {
    let Some(dest) = task.mount_outside_home() else {
        return supply;
    };
    if supply.offers.is_empty() {
        return supply;
    }
    let owns = |offer: &Offer| cloud.capabilities(offer).own_machines;
    supply.offers.retain(owns);
    if supply.offers.is_empty() {
        let dest = dest.to_owned();
        supply.lack = Some(Why::Shared { dest });
    }
    supply
}

/// Adds to clouds that cannot be used what they would give, as far as they have a price list.
async fn add_prices(ops: &Ops, task: &Task, markets: &mut [Market]) -> Result<()> {
    for market in markets {
        if let Standing::Shut { would, .. } = &mut market.state
            && let Some(table) = ops.clusters.clouds().catalogs().get(&market.cloud).await?
        {
            let wishes = &task.resources.alternatives;
            *would = wishes.iter().map(|wish| table.supply(wish)).collect();
        }
    }
    Ok(())
}

/// Looks at clouds that cannot be used: those that the task names, or also those whose prices are known.
async fn shut_markets(
    ops: &Ops,
    task: &Task,
    open: &[Market],
    detail: Detail,
) -> Result<Vec<Market>> {
    let wishes = &task.resources.alternatives;
    let mut names: Vec<String> = wishes
        .iter()
        .filter_map(|wish| wish.infra.cloud.clone())
        .collect();
    let mut tables = Vec::new();
    if detail == Detail::Priced {
        tables = ops.clusters.clouds().catalogs().all().await?;
        names.extend(tables.iter().map(|table| table.cloud().to_owned()));
    }
    names.sort();
    names.dedup();
    names.retain(|name| open.iter().all(|market| market.cloud != *name));
    let market = |cloud: String| {
        let table = tables.iter().find(|table| table.cloud() == cloud);
        let would = table.map(|table| wishes.iter().map(|wish| table.supply(wish)).collect());
        Market {
            display: display_name(&cloud),
            state: Standing::Shut {
                reason: absent(&cloud)
                    .map_or("it is not known", |one| one.reason)
                    .to_owned(),
                would: would.unwrap_or_default(),
            },
            cloud,
        }
    };
    Ok(names.into_iter().map(market).collect())
}
