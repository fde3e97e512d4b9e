//! What others see of the job table.

use futures_util::future::BoxFuture;
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use super::Head;
use crate::agent::autostop::{self, Situation};
use crate::agent::logs::{Growing, Growth, Log};
use crate::agent::store::{self, JobRecord};
use crate::api::agent::{AgentInfo, JobInfo};
use crate::api::frames::Outcome;
use crate::api::versions::{AGENT_PROTOCOL, VERSION};
use crate::base::clock::Moment;
use crate::base::ids::JobId;
use crate::base::{Error, Kind, Result};

impl Head {
    /// Returns what the agent says of itself.
    pub(crate) async fn info(&self) -> AgentInfo {
        let table = self.inner.table.lock().await;
        let config = table.facts.config.as_ref();
        let hash = config.map_or_else(String::new, |config| {
            let json = serde_json::to_vec(config).unwrap_or_default();
            hex::encode(&Sha256::digest(json)[..8])
        });
        let unfinished = table
            .jobs
            .values()
            .filter(|open| !open.record.state.status().is_final())
            .count();
        AgentInfo {
            protocol: AGENT_PROTOCOL,
            version: VERSION.to_owned(),
            pid: crate::sys::process::own_id(),
            rank: Self::rank(&table),
            started: self.inner.started,
            unfinished: unfinished as u64,
            autostop: table.facts.autostop.clone(),
            config_hash: hash,
        }
    }

    /// Returns jobs, newest first.
    pub(crate) async fn jobs(
        &self,
        unfinished: bool,
        limit: Option<usize>,
    ) -> Result<Vec<JobInfo>> {
        let limit = limit.unwrap_or(usize::MAX);
        if unfinished {
            let table = self.inner.table.lock().await;
            let open = table.jobs.values().rev();
            let unfinished = open.filter(|open| !open.record.state.status().is_final());
            return Ok(unfinished
                .take(limit)
                .map(|open| open.record.info(open.growth.borrow().length))
                .collect());
        }
        let records = self
            .inner
            .db
            .read(move |tx| store::newest(tx, limit, |_| true))
            .await?;
        let mut infos = Vec::with_capacity(records.len());
        for record in records {
            infos.push(self.info_of(record).await);
        }
        Ok(infos)
    }

    /// Returns a job, or the latest one.
    pub(crate) async fn job(&self, id: Option<JobId>) -> Result<JobInfo> {
        let record = self.record(id).await?;
        Ok(self.info_of(record).await)
    }

    /// Returns a stored job as the wire shows it, with what memory knows better.
    async fn info_of(&self, record: JobRecord) -> JobInfo {
        {
            let table = self.inner.table.lock().await;
            if let Some(open) = table.jobs.get(&record.id) {
                return open.record.info(open.growth.borrow().length);
            }
        }
        let length = std::fs::metadata(self.log_path(&record)).map_or(0, |m| m.len());
        record.info(length)
    }

    /// Returns a job's record, or the latest one's.
    async fn record(&self, id: Option<JobId>) -> Result<JobRecord> {
        let found = self
            .inner
            .db
            .read(move |tx| match id {
                Some(id) => store::get(tx, id),
                None => Ok(store::newest(tx, 1, |_| true)?.pop()),
            })
            .await?;
        found.ok_or_else(|| {
            let what = id.map_or_else(|| "no job".to_owned(), |id| format!("job {id} not"));
            Error::new(Kind::NotFound, format!("{what} found"))
        })
    }

    /// Returns the combined log of a job.
    pub(crate) async fn log(&self, id: JobId) -> Result<Log<JobGrowth>> {
        let record = self.record(Some(id)).await?;
        let table = self.inner.table.lock().await;
        let growth = table.jobs.get(&id).map(|open| open.growth.subscribe());
        Ok(Log::new(
            self.log_path(&record),
            JobGrowth {
                head: self.clone(),
                job: id,
                growth,
            },
        ))
    }

    /// Returns the log directory of a job.
    pub(crate) async fn job_files(&self, id: JobId) -> Result<std::path::PathBuf> {
        let record = self.record(Some(id)).await?;
        Ok(self.log_directory(&record))
    }

    /// Announces the idle time when it is over, for ever. To be run as long as the head is used.
    pub(crate) async fn watch_idle(&self) {
        let mut activity = self.inner.activity.subscribe();
        loop {
            activity.borrow_and_update();
            let situation = self.situation().await;
            let Some(due) = autostop::due(&situation) else {
                if activity.changed().await.is_err() {
                    return;
                }
                continue;
            };
            tokio::select! {
                changed = activity.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(due.since(Moment::now())) => {
                    // Time may have been set back while the timer ran.
                    if due <= Moment::now() {
                        self.inner.news.set_idle(situation.setting);
                        if activity.changed().await.is_err() {
                            return;
                        }
                    }
                }
            }
        }
    }

    /// Returns what the idle timer depends on.
    async fn situation(&self) -> Situation {
        let table = self.inner.table.lock().await;
        Situation {
            setting: table.facts.autostop.clone(),
            since: table.facts.autostop_since.unwrap_or(self.inner.started),
            last_activity: table.facts.last_activity,
            busy: table
                .jobs
                .values()
                .any(|open| !open.record.state.is_at_rest()),
        }
    }
}

/// The growth of a job's combined log.
pub(crate) struct JobGrowth {
    /// The job table.
    head: Head,
    /// The job.
    job: JobId,
    /// News of its log; none when the job was at rest.
    growth: Option<watch::Receiver<Growth>>,
}

impl Growing for JobGrowth {
    fn is_open(&mut self) -> bool {
        self.growth
            .as_mut()
            .is_some_and(|growth| growth.borrow_and_update().open)
    }

    fn changed(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            if let Some(growth) = &mut self.growth
                && growth.changed().await.is_err()
            {
                // The table has let go of the job.
                self.growth = None;
            }
        })
    }

    fn outcome(&mut self) -> BoxFuture<'_, Result<Outcome>> {
        Box::pin(async {
            let job = self.head.job(Some(self.job)).await?;
            Ok(Outcome::Job {
                status: Some(job.status),
                job_id: Some(self.job),
            })
        })
    }
}
