//! Requests that run outside of the lanes, driven by the connection that made them: log tails.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::engine::Core;
use super::record::{Admission, Home};
use super::sink::Sink;
use super::state::{Effect, Event};
use super::store::{self, Prepared};
use crate::api::status::RequestStatus;
use crate::base::clock::Moment;
use crate::base::cx::{Cx, StepLedger};
use crate::base::ids::RequestId;
use crate::base::{Error, Kind, Result};
use crate::store::WriteTx;

use futures_util::future::BoxFuture;
use serde_json::Value;

/// A request that whoever holds this drives. Dropping it cancels the request.
pub(crate) struct Attached {
    /// The request.
    pub(crate) id: RequestId,
    /// Its context; the token fires when somebody cancels it.
    pub(crate) cx: Cx,
    /// The shared state; taken by [`Attached::finish`].
    core: Option<Arc<Core>>,
}

impl Attached {
    /// Ends the request with its result.
    pub(crate) async fn finish(mut self, result: Result<Value>) -> Result<()> {
        let Some(core) = self.core.take() else {
            return Ok(());
        };
        let event = match result {
            Ok(value) => Event::Succeed(value),
            Err(error) if error.kind() == Kind::Cancelled => ended_by_caller(),
            Err(error) => Event::Fail(error),
        };
        end(core, self.id, event).await
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        if let Some(core) = self.core.take() {
            let id = self.id;
            let owner = Arc::clone(&core);
            owner.spawn(async move {
                if let Err(error) = end(core, id, ended_by_caller()).await {
                    // The next start of the server closes it.
                    tracing::warn!(error = error.one_line(), request_id = %id, "a detached request stays open");
                }
            });
        }
    }
}

/// Makes a request that runs from the beginning.
pub(super) async fn attach(core: &Arc<Core>, mut admission: Admission) -> Result<Attached> {
    // It lives and dies with one connection: a repeated one is a new one.
    admission.key = None;
    let caller = admission.caller.clone();
    let new = Prepared::new(admission, Home::Attached)?;
    let token = CancellationToken::new();
    let (shared, fires) = (Arc::clone(core), token.clone());
    let id = core
        .db
        .write(move |tx| {
            if shared.board().is_closing() {
                return Err(Error::new(Kind::TooBusy, "the server is stopping"));
            }
            let now = Moment::now();
            let (id, _) = store::insert(tx, new, now)?;
            store::transition(
                tx,
                id,
                Event::Start {
                    epoch: shared.epoch,
                },
                now,
                0,
            )?;
            tx.on_commit(move || shared.board().attach(id, fires));
            Ok(id)
        })
        .await?;
    let hub = core.logs.hub(id);
    hub.stands(RequestStatus::Running);
    let sink = Sink::new(id, hub, core);
    let cx = Cx::new(id, caller, token, Arc::new(sink), Arc::new(NoSteps));
    Ok(Attached {
        id,
        cx,
        core: Some(Arc::clone(core)),
    })
}

/// Ends an attached request: nothing is left to clean up, so a cancel is final in the same transaction.
async fn end(core: Arc<Core>, id: RequestId, event: Event) -> Result<()> {
    let log_bytes = core.logs.hub(id).length();
    core.persist(id, || {
        let (core, event) = (Arc::clone(&core), event.clone());
        move |tx: &mut WriteTx<'_>| {
            let (row, effects) = core.apply(tx, id, event, log_bytes)?;
            let asked = effects.contains(&Effect::Stop) || effects.contains(&Effect::WindDown);
            if asked || row.state.cancel_mark().is_some() {
                core.apply(tx, id, Event::WoundDown { note: None }, log_bytes)?;
            }
            Ok(())
        }
    })
    .await
}

/// The event of a connection that goes away.
const fn ended_by_caller() -> Event {
    Event::Cancel {
        by: None,
        reason: None,
    }
}

/// The ledger of requests that are never resumed.
struct NoSteps;

impl StepLedger for NoSteps {
    fn recorded(&self, _name: &str) -> Option<Value> {
        None
    }

    fn record(&self, _name: &str, _output: Value) -> BoxFuture<'_, Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }
}
