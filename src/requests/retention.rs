//! How long finished requests stay: by age and by the bytes of their logs. Deletes in small batches.

use std::sync::Arc;
use std::time::Duration;

use super::engine::Core;
use super::expiry::{self, Oldest};
use super::store;
use crate::base::Result;
use crate::base::clock::Moment;

/// What is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retention {
    /// Finished requests are deleted so long after their end.
    pub(crate) age: Duration,
    /// The oldest finished requests are deleted while all their logs together are larger.
    pub(crate) log_bytes: u64,
    /// A repeated submission is recognised so long, even when its request is deleted.
    pub(crate) keys: Duration,
    /// Looks at least so often.
    pub(crate) period: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        Self {
            age: DAY * 7,
            log_bytes: 4 << 30,
            keys: DAY * 30,
            period: Duration::from_secs(3600),
        }
    }
}

/// So many requests are deleted in one transaction.
const BATCH: usize = 128;
/// So many requests may finish before retention looks again ahead of its period.
const FINISHED_UNTIL_LOOK: usize = 1000;

/// Deletes what is too old or too much, whenever nudged often enough or a period has passed, until the server stops.
pub(super) async fn keep(core: Arc<Core>) {
    let mut finished = 0;
    loop {
        if finished == 0
            && let Err(error) = sweep(&core, Moment::now()).await
        {
            tracing::warn!(
                error = error.one_line(),
                "old requests could not be deleted"
            );
        }
        tokio::select! {
            () = core.closing.cancelled() => return,
            () = core.nudge.notified() => finished = (finished + 1) % FINISHED_UNTIL_LOOK,
            () = tokio::time::sleep(core.options.retention.period) => finished = 0,
        }
    }
}

/// Deletes everything that is too old or too much at `now`; returns how many requests.
pub(super) async fn sweep(core: &Arc<Core>, now: Moment) -> Result<usize> {
    let mut deleted = 0;
    loop {
        let batch = doomed(core, now).await?;
        if batch.is_empty() || core.closing.is_cancelled() {
            break;
        }
        deleted += batch.len();
        delete(core, batch).await?;
    }
    let keys = core.options.retention.keys;
    loop {
        let before = Moment::from_micros(now.micros().saturating_sub(micros(keys)));
        let write = core
            .db
            .write(move |tx| expiry::forget_keys(tx, before, BATCH));
        if write.await? < BATCH {
            return Ok(deleted);
        }
    }
}

/// Returns the next batch to delete.
async fn doomed(core: &Arc<Core>, now: Moment) -> Result<Vec<Oldest>> {
    let retention = core.options.retention;
    core.db
        .read(move |tx| {
            let mut bytes = store::counters(tx)?.log_bytes;
            let mut batch = expiry::oldest_finished(tx, BATCH)?;
            let keep_from = batch.iter().position(|oldest| {
                let young = now.since(oldest.at) < retention.age;
                let fits = bytes <= retention.log_bytes;
                bytes = bytes.saturating_sub(oldest.log_bytes);
                young && fits
            });
            batch.truncate(keep_from.unwrap_or(batch.len()));
            Ok(batch)
        })
        .await
}

/// Deletes a batch: logs first, so that a crash in between leaves no file that nothing names.
async fn delete(core: &Arc<Core>, batch: Vec<Oldest>) -> Result<()> {
    let (shared, ids) = (Arc::clone(core), batch.clone());
    tokio::task::spawn_blocking(move || {
        ids.iter()
            .try_for_each(|oldest| shared.logs.remove(oldest.id))
    })
    .await
    .map_err(|e| crate::base::Error::internal("delete old logs", &e))??;
    core.db
        .write(move |tx| {
            batch
                .into_iter()
                .try_for_each(|oldest| expiry::delete(tx, oldest))
        })
        .await
}

/// A duration as whole microseconds.
fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
