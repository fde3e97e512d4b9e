//! The context of one running request: who asks, how to say what happens, when to stop.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::error::{Error, Kind, Result};
use super::ids::{RequestId, UserId};

/// What a user may do.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    /// Reads.
    Viewer,
    /// Reads, and works with clusters and requests.
    User,
    /// Everything, for everybody.
    Admin,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Caller {
    /// Identity.
    pub(crate) id: UserId,
    /// Display name.
    pub(crate) name: String,
    /// Permission.
    pub(crate) role: Role,
}

/// Something a user sees while a request runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// A line that stays.
    Line(String),
    /// The text of the live spinner; none removes it.
    Spinner(Option<String>),
    /// Why the request waits, as `sky api status` shows it; none when it goes on.
    Waiting(Option<String>),
}

/// Takes the events of one request.
pub(crate) trait EventSink: Send + Sync {
    /// Takes one event; never blocks for long.
    fn emit(&self, event: Event);
}

/// The durable list of steps that a request has finished.
pub(crate) trait StepLedger: Send + Sync {
    /// Returns the output of a step that finished, in this run of the server or an earlier one.
    fn recorded(&self, name: &str) -> Option<Value>;
    /// Stores the output of a step; the step counts as finished when this returns.
    fn record(&self, name: &str, output: Value) -> BoxFuture<'_, Result<()>>;
}

/// The context of one running request. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Cx {
    /// Shared parts.
    inner: Arc<Inner>,
}

/// What all clones share.
struct Inner {
    /// The request.
    request: RequestId,
    /// Who asks.
    caller: Caller,
    /// Fires when the request should stop.
    cancel: CancellationToken,
    /// Where events go.
    events: Arc<dyn EventSink>,
    /// What is done already.
    steps: Arc<dyn StepLedger>,
}

impl Cx {
    /// Makes the context of a request.
    pub(crate) fn new(
        request: RequestId,
        caller: Caller,
        cancel: CancellationToken,
        events: Arc<dyn EventSink>,
        steps: Arc<dyn StepLedger>,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                request,
                caller,
                cancel,
                events,
                steps,
            }),
        }
    }

    /// Returns the request.
    pub(crate) fn request(&self) -> RequestId {
        self.inner.request
    }

    /// Returns who asks.
    pub(crate) fn caller(&self) -> &Caller {
        &self.inner.caller
    }

    /// Returns the token that fires when the request should stop.
    pub(crate) fn cancel_token(&self) -> &CancellationToken {
        &self.inner.cancel
    }

    /// Fails with `Cancelled` when the request should stop.
    pub(crate) fn check(&self) -> Result<()> {
        if self.inner.cancel.is_cancelled() {
            Err(cancelled())
        } else {
            Ok(())
        }
    }

    /// Waits for `work`, or fails with `Cancelled`, dropping it, when the request should stop.
    ///
    /// Only for work that owns no outside effect.
    pub(crate) async fn unless_cancelled<T>(
        &self,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        tokio::select! {
            biased;
            () = self.inner.cancel.cancelled() => Err(cancelled()),
            result = work => result,
        }
    }

    /// Shows a line that stays.
    pub(crate) fn line(&self, text: impl Into<String>) {
        self.inner.events.emit(Event::Line(text.into()));
    }

    /// Sets the text of the spinner.
    pub(crate) fn spinner(&self, text: impl Into<String>) {
        self.inner.events.emit(Event::Spinner(Some(text.into())));
    }

    /// Waits, and says why where people look: the spinner and `sky api status`. Ends early with `Cancelled` when the request
    /// should stop.
    pub(crate) async fn pause(&self, how_long: Duration, why: &str) -> Result<()> {
        self.inner.events.emit(Event::Waiting(Some(why.to_owned())));
        let slept = self
            .unless_cancelled(async {
                tokio::time::sleep(how_long).await;
                Ok(())
            })
            .await;
        self.inner.events.emit(Event::Waiting(None));
        slept
    }

    /// Counts a run of the request that ended in a wait; returns how many there were, this one included. Durable.
    pub(crate) async fn count_wait(&self) -> Result<u32> {
        const NAME: &str = "waits";
        let so_far = self.inner.steps.recorded(NAME);
        let count = so_far.and_then(|value| value.as_u64()).unwrap_or(0) + 1;
        self.inner.steps.record(NAME, count.into()).await?;
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// Removes the spinner.
    pub(crate) fn end_spinner(&self) {
        self.inner.events.emit(Event::Spinner(None));
    }

    /// Runs a named idempotent step, unless it finished before a restart: then returns what it returned.
    ///
    /// Checks for cancellation before, never between the effect and its record.
    pub(crate) async fn step<T, F>(&self, name: &str, work: impl FnOnce() -> F) -> Result<T>
    where
        T: Serialize + DeserializeOwned,
        F: Future<Output = Result<T>>,
    {
        if let Some(output) = self.inner.steps.recorded(name) {
            return serde_json::from_value(output)
                .map_err(|e| Error::internal(format!("read the record of step `{name}`"), &e));
        }
        self.check()?;
        let output = work().await?;
        let value = serde_json::to_value(&output)
            .map_err(|e| Error::internal(format!("write the record of step `{name}`"), &e))?;
        self.inner.steps.record(name, value).await?;
        Ok(output)
    }
}

/// The error of everything that stops because its request was cancelled.
pub(crate) fn cancelled() -> Error {
    Error::new(Kind::Cancelled, "the request was cancelled")
}
