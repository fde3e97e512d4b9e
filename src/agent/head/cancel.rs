//! Stopping jobs: recorded at once, answered when their processes are gone.

use std::time::Duration;

use tokio::sync::watch;

use super::Head;
use crate::agent::logs::Growth;
use crate::agent::state::{Event, State};
use crate::agent::store;
use crate::api::agent::{CancelJobs, Cancelled};
use crate::base::ids::JobId;
use crate::base::{Error, Kind, Result};

/// How long the end of a process tree may take beyond its grace: nodes may have to be reached again.
const BEYOND_GRACE: Duration = Duration::from_secs(120);
/// Why jobs end when their node does.
const STOPPED: &str = "the node was stopped";

impl Head {
    /// Stops jobs; returns those that were unfinished, when their processes are gone.
    pub(crate) async fn cancel(&self, which: CancelJobs) -> Result<Cancelled> {
        let named = match which {
            CancelJobs::Key { key } => {
                let job = self
                    .inner
                    .db
                    .write(move |tx| store::refuse_key(tx, &key))
                    .await?;
                self.cut(|record, _| Some(record.id) == job, &Event::Cancel)
                    .await
            }
            CancelJobs::Ids { ids } => {
                self.check_known(&ids).await?;
                self.cut(|record, _| ids.contains(&record.id), &Event::Cancel)
                    .await
            }
            CancelJobs::OfUser { user } => {
                self.cut(|record, _| record.spec.user == user, &Event::Cancel)
                    .await
            }
            CancelJobs::All => self.cut(|_, _| true, &Event::Cancel).await,
            CancelJobs::Latest { user } => {
                let latest = |record: &store::JobRecord, latest: Option<JobId>| {
                    record.spec.user == user && Some(record.id) == latest
                };
                self.cut(latest, &Event::Cancel).await
            }
        };
        let ids = named
            .iter()
            .filter(|(_, new, _)| *new)
            .map(|n| n.0)
            .collect();
        self.wait_for_rest(named.into_iter().map(|(_, _, growth)| growth))
            .await?;
        Ok(Cancelled { ids })
    }

    /// Refuses numbers that were never given.
    async fn check_known(&self, ids: &[JobId]) -> Result<()> {
        let last = self
            .inner
            .db
            .read(|tx| store::facts(tx).map(|facts| facts.last_job))
            .await?;
        match ids.iter().find(|id| id.0 == 0 || id.0 > last) {
            None => Ok(()),
            Some(id) => Err(Error::new(Kind::NotFound, format!("job {id} not found"))),
        }
    }

    /// Sends an event to all open jobs that match (told the latest running job as well).
    /// Returns each with whether it was unfinished, and its log's growth, which ends with its last process.
    async fn cut(
        &self,
        matches: impl Fn(&store::JobRecord, Option<JobId>) -> bool,
        event: &Event,
    ) -> Vec<(JobId, bool, watch::Receiver<Growth>)> {
        let mut table = self.inner.table.lock().await;
        let is_running =
            |state: &State| matches!(state, State::SettingUp { .. } | State::Running { .. });
        let running = table
            .jobs
            .values()
            .filter(|open| is_running(&open.record.state));
        let latest = running.map(|open| open.record.id).max();
        let found: Vec<_> = table
            .jobs
            .values()
            .filter(|open| matches(&open.record, latest))
            .map(|open| {
                let unfinished = !open.record.state.status().is_final();
                (open.record.id, unfinished, open.growth.subscribe())
            })
            .collect();
        // Newest first: what becomes free must not go to one that is stopped next.
        for (id, _, _) in found.iter().rev() {
            self.step(&mut table, *id, event.clone()).await;
        }
        found
    }

    /// Waits until the processes of jobs are gone and their logs complete.
    async fn wait_for_rest(
        &self,
        jobs: impl Iterator<Item = watch::Receiver<Growth>>,
    ) -> Result<()> {
        let limit = self.inner.runner.grace() + BEYOND_GRACE;
        let all = async {
            for mut growth in jobs {
                // A sender that is gone belongs to a job at rest.
                drop(growth.wait_for(|growth| !growth.open).await);
            }
        };
        tokio::time::timeout(limit, all).await.map_err(|_| {
            Error::new(
                Kind::Timeout,
                "the jobs are stopped, but some of their processes are still there",
            )
        })
    }

    /// Ends all jobs because the node is stopped; nothing is accepted any more.
    pub(crate) async fn shut_down(&self) -> Result<()> {
        self.inner.table.lock().await.closing = true;
        let lost = Event::Lost {
            reason: STOPPED.to_owned(),
        };
        let cut = self.cut(|_, _| true, &lost).await;
        let rest = self
            .wait_for_rest(cut.into_iter().map(|(_, _, growth)| growth))
            .await;
        // Processes of jobs whose head is another node.
        let stopped = self.inner.runner.stop_all().await;
        // A stopped node starts again without its timer, as after a restart of the machine.
        self.set_autostop(None).await?;
        rest.and(stopped)
    }
}
