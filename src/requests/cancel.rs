//! Cancelling: out of band, durable before it is answered, with a receipt.
//!
//! A pending request is cancelled at once. One that runs (or is parked) is marked; its work is told to stop, its
//! clean-up runs, then it is CANCELLED. The mark is in the store, so a restart finishes what was begun.

use std::sync::Arc;

use super::engine::Core;
use super::index::{self, Scope};
use super::record::Which;
use super::state::Event;
use super::store;
use crate::api::records::CancelReceipt;
use crate::base::Result;
use crate::base::cx::Caller;
use crate::base::ids::{RequestId, UserId};
use crate::store::WriteTx;

/// So many cancels share a transaction at most: others are served in between.
const BATCH: usize = 256;

/// Whether a request was cancelled, or why not.
pub(super) enum Outcome {
    /// It is cancelled, or will be when its work has stopped.
    Cancelled,
    /// It was not.
    Left(String),
}

/// Cancels one request inside of a transaction.
pub(super) fn in_tx(
    core: &Arc<Core>,
    tx: &mut WriteTx<'_>,
    id: RequestId,
    by: Option<UserId>,
    reason: Option<String>,
) -> Result<Outcome> {
    let Some(row) = store::row(tx, id)? else {
        return Ok(Outcome::Left("there is no such request".into()));
    };
    if row.state.finished_at().is_some() {
        return Ok(Outcome::Left(format!(
            "it is {} already",
            row.state.status()
        )));
    }
    core.apply(tx, id, Event::Cancel { by, reason }, 0)?;
    Ok(Outcome::Cancelled)
}

/// Cancels requests; answers when that is durable, not when their work has stopped.
pub(super) async fn cancel(core: &Arc<Core>, which: Which, by: &Caller) -> Result<CancelReceipt> {
    // Who was named is answered for; who was found by a filter just counts if it is still there.
    let (ids, named) = match which {
        Which::Ids(ids) => (ids, true),
        other => (find(core, other).await?, false),
    };
    let mut receipt = CancelReceipt {
        cancelled: Vec::new(),
        left: Vec::new(),
        unknown: Vec::new(),
    };
    for batch in ids.chunks(BATCH) {
        let (core_in, batch, by) = (Arc::clone(core), batch.to_vec(), by.id.clone());
        let outcomes = core
            .db
            .write(move |tx| {
                batch
                    .into_iter()
                    .map(|id| Ok((id, in_tx(&core_in, tx, id, Some(by.clone()), None)?)))
                    .collect::<Result<Vec<_>>>()
            })
            .await?;
        for (id, outcome) in outcomes {
            match outcome {
                Outcome::Cancelled => receipt.cancelled.push(id.to_string()),
                Outcome::Left(why) if named => receipt.left.push((id.to_string(), why)),
                Outcome::Left(_) => {}
            }
        }
    }
    Ok(receipt)
}

/// Finds the unfinished requests that a filter means, oldest first.
async fn find(core: &Arc<Core>, which: Which) -> Result<Vec<RequestId>> {
    core.db
        .read(move |tx| match which {
            Which::Ids(ids) => Ok(ids),
            Which::OfUser(user) => index::open_ids(tx, Scope::User(&user)),
            Which::All => index::open_ids(tx, Scope::All),
        })
        .await
}
