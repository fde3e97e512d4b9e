//! The head's records: jobs, submission keys, and what the node was told.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::state::State;
use crate::api::agent::{AutostopSetting, JobInfo, JobSpec, NodeConfig};
use crate::base::Result;
use crate::base::clock::Moment;
use crate::base::ids::JobId;
use crate::store::{JsonRecord, Read, Span, Table, Walk, WriteTx};

/// Jobs by number (eight bytes, big-endian: key order is order of arrival).
const JOBS: Table<JobRecord> = Table::new("jobs");
/// Jobs that are not at rest, so that a start reads only those.
const OPEN: Table<()> = Table::new("open");
/// Submission keys.
const KEYS: Table<KeyRecord> = Table::new("keys");
/// Single records by name.
const FACTS: Table<Facts> = Table::new("facts");
/// The key of the only record in [`FACTS`].
const NODE: &[u8] = b"node";

/// A job.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct JobRecord {
    /// Its number.
    pub(crate) id: JobId,
    /// Who submitted it.
    pub(crate) key: String,
    /// What it is. Secret values are removed when it has ended.
    pub(crate) spec: JobSpec,
    /// When it was accepted.
    pub(crate) submitted: Moment,
    /// Where it stands.
    pub(crate) state: State,
}

impl std::fmt::Debug for JobRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The specification holds secrets.
        f.debug_struct("JobRecord")
            .field("id", &self.id)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl JsonRecord for JobRecord {
    const WHAT: &'static str = "job";
}

/// What is known of a submission key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum KeyRecord {
    /// It gave this job.
    Job(JobId),
    /// It was cancelled before it arrived: refused for ever.
    Refused,
}

impl JsonRecord for KeyRecord {
    const WHAT: &'static str = "submission key";
}

/// What the node was told, and what it has counted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Facts {
    /// The last job's number.
    pub(crate) last_job: u64,
    /// The cluster.
    pub(crate) config: Option<NodeConfig>,
    /// When to stop.
    pub(crate) autostop: Option<AutostopSetting>,
    /// When that was set.
    pub(crate) autostop_since: Option<Moment>,
    /// When a job was last submitted or ended.
    pub(crate) last_activity: Option<Moment>,
    /// The boot of the machine in which the jobs run.
    pub(crate) boot: String,
}

impl JsonRecord for Facts {
    const WHAT: &'static str = "node record";
}

/// The key of a job.
const fn job_key(id: JobId) -> [u8; 8] {
    id.0.to_be_bytes()
}

/// Returns the node's facts.
pub(crate) fn facts(tx: &impl Read) -> Result<Facts> {
    Ok(tx.get(&FACTS, NODE)?.unwrap_or_default())
}

/// Changes the node's facts.
pub(crate) fn change_facts(tx: &mut WriteTx<'_>, change: impl FnOnce(&mut Facts)) -> Result<()> {
    let mut facts = facts(tx)?;
    change(&mut facts);
    tx.put(&FACTS, NODE, &facts)
}

/// Returns what is known of a submission key.
pub(crate) fn key(tx: &impl Read, key: &str) -> Result<Option<KeyRecord>> {
    tx.get(&KEYS, key.as_bytes())
}

/// Refuses a key for ever, unless it has given a job; then returns the job.
pub(crate) fn refuse_key(tx: &mut WriteTx<'_>, name: &str) -> Result<Option<JobId>> {
    match key(tx, name)? {
        Some(KeyRecord::Job(job)) => Ok(Some(job)),
        Some(KeyRecord::Refused) => Ok(None),
        None => {
            tx.put(&KEYS, name.as_bytes(), &KeyRecord::Refused)?;
            Ok(None)
        }
    }
}

/// Stores a new job under the next number.
pub(crate) fn insert(
    tx: &mut WriteTx<'_>,
    key: String,
    spec: JobSpec,
    now: Moment,
) -> Result<JobRecord> {
    let mut number = 0;
    change_facts(tx, |facts| {
        facts.last_job += 1;
        facts.last_activity = Some(now);
        number = facts.last_job;
    })?;
    let record = JobRecord {
        id: JobId(number),
        key,
        spec,
        submitted: now,
        state: State::Pending,
    };
    tx.put(&KEYS, record.key.as_bytes(), &KeyRecord::Job(record.id))?;
    put(tx, &record)?;
    Ok(record)
}

/// Stores a job as it is now.
pub(crate) fn put(tx: &mut WriteTx<'_>, record: &JobRecord) -> Result<()> {
    let key = job_key(record.id);
    if record.state.is_at_rest() {
        tx.delete(&OPEN, &key)?;
    } else {
        tx.put(&OPEN, &key, &())?;
    }
    tx.put(&JOBS, &key, record)
}

/// Returns all jobs that are not at rest, oldest first.
pub(crate) fn open(tx: &impl Read) -> Result<Vec<JobRecord>> {
    let mut records = Vec::new();
    for (key, ()) in tx.range(&OPEN, &Span::all())? {
        records.extend(tx.get(&JOBS, &key)?);
    }
    Ok(records)
}

/// Returns a job.
pub(crate) fn get(tx: &impl Read, id: JobId) -> Result<Option<JobRecord>> {
    tx.get(&JOBS, &job_key(id))
}

/// Returns the jobs that `wanted` accepts, newest first, at most `limit`.
pub(crate) fn newest(
    tx: &impl Read,
    limit: usize,
    wanted: impl Fn(&JobRecord) -> bool,
) -> Result<Vec<JobRecord>> {
    let mut found = Vec::new();
    tx.walk(&JOBS, &Span::all(), Walk::Down, |_, record| {
        if found.len() >= limit {
            return Ok(ControlFlow::Break(()));
        }
        if wanted(&record) {
            found.push(record);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(found)
}

impl JobRecord {
    /// Name of the log directory: `<id>-<name>`, with `-` for a job without name.
    pub(crate) fn log_dir(&self) -> String {
        format!("{}-{}", self.id, self.spec.name.as_deref().unwrap_or("-"))
    }

    /// Returns the job as the wire shows it.
    pub(crate) fn info(&self, log_len: u64) -> JobInfo {
        let (started, ended, codes, reason) = match &self.state {
            State::Pending => (None, None, Vec::new(), None),
            State::SettingUp { started, .. } | State::Running { started, .. } => {
                (Some(*started), None, Vec::new(), None)
            }
            State::Ended {
                started,
                at,
                codes,
                reason,
                ..
            } => (*started, Some(*at), codes.clone(), reason.clone()),
        };
        JobInfo {
            job_id: self.id,
            key: self.key.clone(),
            name: self.spec.name.clone(),
            user: self.spec.user.clone(),
            user_name: self.spec.user_name.clone(),
            status: self.state.status(),
            submitted: self.submitted,
            started,
            ended,
            resources_text: self.spec.resources_text.clone(),
            log_dir: format!("~/sky_logs/{}", self.log_dir()),
            exit_codes: codes,
            reason,
            log_len,
        }
    }

    /// Forgets the values of secrets: an ended job needs none.
    pub(crate) fn forget_secrets(&mut self) {
        for name in &self.spec.secret_names {
            self.spec.envs.remove(name);
        }
    }
}
