//! One run of a request's work, from its place in the lane to its end in the store.

use std::any::Any;
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::engine::Core;
use super::record::{Lane, Record, Verdict};
use super::sink::Sink;
use super::state::{Effect, Event};
use super::store;
use crate::api::status::RequestStatus;
use crate::base::cx::{Cx, Event as Shown, EventSink, StepLedger};
use crate::base::ids::RequestId;
use crate::base::{Error, Kind, Result};

/// Runs a request. Ends early, without a word in the store, when the server stops: the next one resumes it.
pub(super) async fn work(core: Arc<Core>, id: RequestId, token: CancellationToken) {
    let span = tracing::info_span!("request", request_id = %id);
    run(&core, id, token).instrument(span).await;
}

/// Everything that one run needs.
struct Run {
    /// The shared state.
    core: Arc<Core>,
    /// The request as it was when it started.
    record: Arc<Record>,
    /// What it has to say.
    sink: Arc<Sink>,
    /// What it has done.
    ledger: Arc<Ledger>,
}

/// How the work ended.
enum Ended {
    /// By itself.
    Itself(Result<Verdict>),
    /// It did not stop in time after a cancel.
    Overdue,
    /// The server stops.
    Abandoned,
}

/// Runs a request.
async fn run(core: &Arc<Core>, id: RequestId, token: CancellationToken) {
    let (record, steps) = match begin(core, id).await {
        Ok(Some((record, steps))) => (Arc::new(record), steps),
        // It was cancelled while it waited for its start to be stored; the lanes know already.
        Ok(None) => return,
        Err(error) => return lost(core, id, &error).await,
    };
    let hub = core.logs.hub(id);
    hub.stands(RequestStatus::Running);
    let run = Run {
        core: Arc::clone(core),
        sink: Arc::new(Sink::new(id, Arc::clone(&hub), core)),
        ledger: Arc::new(Ledger::of(core, id, steps)),
        record,
    };
    if run.record.state.cancel_mark().is_some() {
        return run.wind_down(None).await;
    }
    let left = match run.dispatch(token).await {
        Ended::Abandoned => return,
        Ended::Overdue => Some("its work did not stop in time and was abandoned".to_owned()),
        Ended::Itself(result) => {
            if core.stop.is_cancelled() && result.is_err() {
                return;
            }
            let effects = run.settle(event(&result)).await;
            if !effects.contains(&Effect::WindDown) {
                return;
            }
            None
        }
    };
    run.wind_down(left).await;
}

/// Steps that earlier runs finished, with their outputs.
type Steps = Vec<(String, Value)>;

/// Stores that the request runs, and reads what it has done already; `None` when it is final.
///
/// One transaction for both: a run that did not know its steps would do them again.
async fn begin(core: &Arc<Core>, id: RequestId) -> Result<Option<(Record, Steps)>> {
    let start = || {
        let core = Arc::clone(core);
        move |tx: &mut crate::store::WriteTx<'_>| {
            let epoch = core.epoch;
            let (row, _) = core.apply(tx, id, Event::Start { epoch }, 0)?;
            if row.state.finished_at().is_some() {
                return Ok(None);
            }
            let record = store::record(tx, id, row, true)?;
            Ok(Some((record, store::steps(tx, id)?)))
        }
    };
    let lane = core.board().lane(id);
    match lane {
        // A look-up leaves nothing in the world: if this mark is lost, it just starts again.
        Some(Lane::Short) => match core.db.write_soon(start()).await {
            Err(error) if error.kind() == Kind::StorageFull => core.persist(id, start).await,
            other => other,
        },
        Some(Lane::Long) => core.persist(id, start).await,
        None => Ok(None),
    }
}

/// A request that cannot even be read: fail it, so that nobody waits for it for ever.
async fn lost(core: &Arc<Core>, id: RequestId, error: &Error) {
    if core.stop.is_cancelled() {
        return;
    }
    tracing::error!(error = error.one_line(), "a request cannot be started");
    let failed = core
        .persist(id, || {
            let (core, error) = (Arc::clone(core), error.clone());
            move |tx: &mut crate::store::WriteTx<'_>| {
                core.apply(tx, id, Event::Fail(error), 0).map(drop)
            }
        })
        .await;
    if let Err(error) = failed {
        tracing::error!(error = error.one_line(), "a request cannot be failed");
        let watchers = core.board().leave(id);
        if let Some(watchers) = watchers {
            watchers.notify_waiters();
        }
        core.pump();
    }
}

/// Translates the end of the work for the machine.
fn event(result: &Result<Verdict>) -> Event {
    match result {
        Ok(Verdict::Done(value)) => Event::Succeed(value.clone()),
        Ok(Verdict::Park { until, reason }) => Event::Park {
            until: *until,
            reason: reason.clone(),
        },
        Err(error) => Event::Fail(error.clone()),
    }
}

impl Run {
    /// Makes the context of the work, or of its clean-up.
    fn cx(&self, token: CancellationToken) -> Cx {
        Cx::new(
            self.record.id,
            self.record.caller.clone(),
            token,
            Arc::clone(&self.sink) as Arc<dyn EventSink>,
            Arc::clone(&self.ledger) as Arc<dyn StepLedger>,
        )
    }

    /// Runs the work until it ends, is overdue after a cancel, or the server stops.
    async fn dispatch(&self, token: CancellationToken) -> Ended {
        let (cx, record) = (self.cx(token.clone()), Arc::clone(&self.record));
        // Inside of the guard, so that a panic before the first await is caught too.
        let work = AssertUnwindSafe(async { self.core.dispatch.run(cx, record).await });
        let deadline = self.core.options.cancel_deadline;
        let overdue = async {
            token.cancelled().await;
            tokio::time::sleep(deadline).await;
        };
        tokio::select! {
            biased;
            result = work.catch_unwind() => {
                Ended::Itself(result.unwrap_or_else(|panic| Err(panicked(panic.as_ref()))))
            }
            () = self.core.stop.cancelled() => Ended::Abandoned,
            () = overdue => Ended::Overdue,
        }
    }

    /// Stores how the work ended; returns what is left to do.
    async fn settle(&self, event: Event) -> Vec<Effect> {
        if let Event::Park { reason, .. } = &event {
            self.sink.emit(Shown::Waiting(Some(reason.clone())));
        } else {
            self.sink.emit(Shown::Spinner(None));
        }
        let (core, id) = (&self.core, self.record.id);
        let log_bytes = core.logs.hub(id).length();
        let stored = core
            .persist(id, || {
                let (core, event) = (Arc::clone(core), event.clone());
                move |tx: &mut crate::store::WriteTx<'_>| {
                    core.apply(tx, id, event, log_bytes)
                        .map(|(_, effects)| effects)
                }
            })
            .await;
        match stored {
            Ok(effects) => effects,
            Err(error) => {
                lost(core, id, &error).await;
                Vec::new()
            }
        }
    }

    /// Cleans up after a cancel, and stores that the request is cancelled.
    async fn wind_down(&self, left: Option<String>) {
        let token = CancellationToken::new();
        let (cx, record) = (self.cx(token.clone()), Arc::clone(&self.record));
        let work = AssertUnwindSafe(async { self.core.dispatch.on_cancelled(cx, record).await });
        let deadline = self.core.options.cancel_deadline;
        let cleaned = tokio::select! {
            biased;
            done = work.catch_unwind() => match done {
                Ok(note) => note,
                Err(panic) => {
                    let error = panicked(panic.as_ref());
                    Some(format!("its clean-up failed: {}", error.one_line()))
                }
            },
            () = self.core.stop.cancelled() => return,
            () = tokio::time::sleep(deadline) => {
                token.cancel();
                Some("its clean-up did not end in time and was abandoned".to_owned())
            }
        };
        let notes: Vec<_> = left.into_iter().chain(cleaned).collect();
        let note = (!notes.is_empty()).then(|| notes.join("; "));
        if let Some(note) = &note {
            self.sink.emit(Shown::Line(note.clone()));
        }
        self.settle(Event::WoundDown { note }).await;
    }
}

/// The error of work that panicked.
fn panicked(panic: &(dyn Any + Send)) -> Error {
    let text = panic
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned());
    tracing::error!(panic = text, "the work of a request panicked");
    Error::new(Kind::Internal, text)
        .context("the work of the request panicked, which is a bug of sky")
}

/// The steps of one request.
struct Ledger {
    /// The shared state.
    core: Arc<Core>,
    /// The request.
    id: RequestId,
    /// What is recorded.
    done: Mutex<HashMap<String, Value>>,
}

impl Ledger {
    /// Makes the ledger of a request that has done `steps` already.
    fn of(core: &Arc<Core>, id: RequestId, steps: Steps) -> Self {
        Self {
            core: Arc::clone(core),
            id,
            done: Mutex::new(steps.into_iter().collect()),
        }
    }
}

impl StepLedger for Ledger {
    fn recorded(&self, name: &str) -> Option<Value> {
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.get(name).cloned()
    }

    fn record(&self, name: &str, output: Value) -> BoxFuture<'_, Result<()>> {
        let name = name.to_owned();
        Box::pin(async move {
            let text = serde_json::to_vec(&output)
                .map_err(|e| Error::internal("write the record of a step", &e))?;
            let id = self.id;
            self.core
                .persist(id, || {
                    let (name, text) = (name.clone(), text.clone());
                    move |tx: &mut crate::store::WriteTx<'_>| {
                        store::record_step(tx, id, &name, &text)
                    }
                })
                .await?;
            let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
            done.insert(name, output);
            Ok(())
        })
    }
}
