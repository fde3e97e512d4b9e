//! The handle of all requests: what the server calls.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::attach::{self, Attached};
use super::cancel;
use super::engine::Core;
use super::logs::RequestLog;
use super::query;
use super::record::{Admission, Admitted, Dispatch, ListQuery, Record, Which};
use super::retention::{self, Retention};
use super::store;
use crate::api::records::CancelReceipt;
use crate::base::Result;
use crate::base::cx::Caller;
use crate::base::ids::{RequestId, UserId};
use crate::store::Db;

/// Limits and deadlines.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    /// So many look-ups run at once.
    pub(crate) short: usize,
    /// So many changes of the world run at once.
    pub(crate) long: usize,
    /// So many requests may be unfinished before new ones are refused.
    pub(crate) max_pending: usize,
    /// So long a cancelled run may take to stop, and its clean-up as long again.
    pub(crate) cancel_deadline: Duration,
    /// How long finished requests stay.
    pub(crate) retention: Retention,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            short: 64,
            long: 32,
            max_pending: 200_000,
            cancel_deadline: Duration::from_secs(60),
            retention: Retention::default(),
        }
    }
}

/// How much there is to do, for health and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Load {
    /// Unfinished requests of the lanes, running ones included.
    pub(crate) unfinished: usize,
    /// Running look-ups.
    pub(crate) short_running: usize,
    /// Running changes.
    pub(crate) long_running: usize,
}

/// A handle of all requests. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Requests {
    /// Shared parts.
    pub(super) core: Arc<Core>,
}

impl Requests {
    /// Opens the requests in `db` and takes up what the last run of the server left. Call it inside of the runtime.
    pub(crate) async fn start(
        db: Db,
        logs_dir: PathBuf,
        dispatch: Arc<dyn Dispatch>,
        options: Options,
    ) -> Result<Self> {
        let core = Core::start(db, logs_dir, dispatch, options).await?;
        core.spawn(Arc::clone(&core).keep_time());
        core.spawn(retention::keep(Arc::clone(&core)));
        Ok(Self { core })
    }

    /// Accepts a request: it is on disk when this returns.
    ///
    /// Fails with `TooBusy` over the bound on unfinished work, `Conflict` when its key came with another body before,
    /// `StorageFull` when it cannot be stored. The same key and body return the first request's id.
    pub(crate) async fn submit(&self, admission: Admission) -> Result<Admitted> {
        self.core.submit(admission).await
    }

    /// Makes a request that the caller drives itself, outside of the lanes.
    pub(crate) async fn attach(&self, admission: Admission) -> Result<Attached> {
        attach::attach(&self.core, admission).await
    }

    /// Returns the one request whose printed id begins with `prefix`, among those of `scope` or all.
    ///
    /// Fails with `NotFound`, or with `Ambiguous`, which names the matches.
    pub(crate) async fn resolve(&self, prefix: &str, scope: Option<&UserId>) -> Result<RequestId> {
        query::resolve(&self.core, prefix, scope).await
    }

    /// Returns a request with body, steps and result.
    pub(crate) async fn get(&self, id: RequestId) -> Result<Arc<Record>> {
        query::get(&self.core, id).await
    }

    /// Returns a request when it is final. Waits without a deadline: drop it to stop waiting.
    pub(crate) async fn wait(&self, id: RequestId) -> Result<Arc<Record>> {
        query::wait(&self.core, id).await
    }

    /// Returns requests, newest first; without bodies, results and steps unless `full`.
    pub(crate) async fn list(&self, query: ListQuery) -> Result<Vec<Arc<Record>>> {
        query::list(&self.core, query).await
    }

    /// Cancels requests; answers when that is durable, not when their work has stopped.
    pub(crate) async fn cancel(&self, which: Which, by: &Caller) -> Result<CancelReceipt> {
        cancel::cancel(&self.core, which, by).await
    }

    /// Returns the log of a request, finished or live.
    pub(crate) async fn log(&self, id: RequestId) -> Result<RequestLog> {
        // The hub first: an end that comes between is told to it.
        let hub = self.core.logs.hub(id);
        let row = self
            .core
            .db
            .read(move |tx| store::existing_row(tx, id))
            .await?;
        hub.stands(row.state.status());
        let blocker = self.core.board().blocker(id);
        if let Some(blocker) = blocker {
            hub.waits(&blocker.text());
        }
        Ok(RequestLog::new(hub))
    }

    /// Returns how much there is to do.
    pub(crate) fn load(&self) -> Load {
        let board = self.core.board();
        let (short_running, long_running) = board.running();
        Load {
            unfinished: board.in_lanes(),
            short_running,
            long_running,
        }
    }

    /// Stops: takes and starts no new work, gives what runs until `deadline` to end, then abandons it.
    ///
    /// What is abandoned is resumed by the next run of the server. Followers of logs are told to come back.
    pub(crate) async fn drain(&self, deadline: Duration) {
        /// Abandoned tasks end at their next await.
        const LAST: Duration = Duration::from_secs(5);
        let core = &self.core;
        core.board().close();
        core.closing.cancel();
        core.tracker.close();
        let drained = tokio::time::timeout(deadline, core.tracker.wait()).await;
        core.stop.cancel();
        core.logs.interrupt("the server stops");
        if drained.is_err()
            && tokio::time::timeout(LAST, core.tracker.wait())
                .await
                .is_err()
        {
            tracing::warn!(
                "some requests did not let go in time; they are resumed at the next start"
            );
        }
    }
}
