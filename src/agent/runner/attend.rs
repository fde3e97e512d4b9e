//! Watching one process from its start (or adoption) to its end, and burying what a killed supervisor leaves.

use tokio::sync::watch;

use super::{NEVER_STARTED, RankKey, Runner, lock};
use crate::agent::place::{Ended, MARK, Place, Standing, Started};
use crate::agent::state::STOPPED_CODE;
use crate::agent::watch::Changes;
use crate::api::agent::RankInfo;
use crate::base::{Error, Kind, Result};
use crate::sys::process::{self, Exit, Identity};

impl Runner {
    /// Watches a process, once.
    pub(super) fn attend(
        &self,
        key: RankKey,
        place: Place,
        spawned: Option<Identity>,
    ) -> watch::Receiver<RankInfo> {
        let mut ranks = lock(&self.inner.ranks);
        if let Some(known) = ranks.get(&key) {
            return known.clone();
        }
        let (sender, receiver) = watch::channel(RankInfo::Absent);
        ranks.insert(key, receiver.clone());
        let runner = self.clone();
        self.inner.tasks.spawn(async move {
            let info = runner.attend_to_end(key, &place, spawned, &sender).await;
            let info = info.unwrap_or_else(|error| {
                tracing::error!(job = %key.job, rank = %key.rank, error = %error.one_line(), "lost sight of a process");
                RankInfo::Lost
            });
            // What has ended is read from its directory when it is asked for again.
            lock(&runner.inner.ranks).remove(&key);
            sender.send_replace(info);
        });
        receiver
    }

    /// Follows a process to its end; ends what a killed supervisor has left.
    async fn attend_to_end(
        &self,
        key: RankKey,
        place: &Place,
        spawned: Option<Identity>,
        sender: &watch::Sender<RankInfo>,
    ) -> Result<RankInfo> {
        let mut changes = self.inner.watcher.listen(place.path())?;
        let mut spawned = spawned;
        loop {
            let pid = place.pid()?;
            match place.standing()? {
                Standing::Ended(ended) => {
                    return Ok(RankInfo::Exited {
                        pid: pid.unwrap_or(0),
                        code: self.code_of(key, ended),
                    });
                }
                Standing::Alive(started) => {
                    if let Some(pid) = pid {
                        sender.send_replace(RankInfo::Running { pid });
                    }
                    wait_for_end(started.supervisor, pid.is_none(), &mut changes).await?;
                }
                Standing::Lost(started) => return self.bury(place, &started).await,
                // The supervisor that was just started has not come so far, or has ended without a claim.
                Standing::Unclaimed => match spawned.and_then(still_there) {
                    Some(supervisor) => {
                        spawned = Some(supervisor);
                        wait_for_end(Some(supervisor), true, &mut changes).await?;
                    }
                    None if matches!(place.standing()?, Standing::Unclaimed) => {
                        return Err(Error::new(
                            Kind::Internal,
                            format!("no supervisor for `{}`", place.path().display()),
                        ));
                    }
                    None => {}
                },
            }
        }
    }

    /// The exit code to report: one for all that were stopped from outside, whichever signal it took.
    fn code_of(&self, key: RankKey, ended: Ended) -> i32 {
        let stopped = self.tombstone(key.job, key.rank).exists();
        if stopped && ended.code == NEVER_STARTED {
            STOPPED_CODE
        } else {
            ended.code
        }
    }

    /// Ends what a killed supervisor has left behind.
    async fn bury(&self, place: &Place, started: &Started) -> Result<RankInfo> {
        let Some(supervisor) = started.supervisor else {
            // Stopped before it started, and the agent died between the two files.
            place.write_unstarted(Ended {
                code: NEVER_STARTED,
            })?;
            return Ok(RankInfo::Exited {
                pid: 0,
                code: NEVER_STARTED,
            });
        };
        if started.boot == process::boot_id()
            && let Some(spec) = place.spec()?
        {
            let mark = format!("{MARK}={}", spec.token);
            let left = || {
                let mut left = process::marked(&mark);
                // Unless the id of the supervisor, which names the session, has been given to somebody else.
                if process::identity(supervisor.pid).is_none() {
                    left.extend(process::of_session(supervisor.pid));
                }
                left
            };
            if !process::kill_all(left, self.grace()).await {
                tracing::error!(place = %place.path().display(), "some processes cannot be ended");
            }
        }
        Ok(RankInfo::Lost)
    }
}

/// Waits for the end of a supervisor, or for a change in its directory where that matters.
async fn wait_for_end(
    supervisor: Option<Identity>,
    or_change: bool,
    changes: &mut Changes,
) -> Result<()> {
    let watching = |e| Error::io("watch a process", &e);
    let exit = supervisor.map(Exit::of).transpose().map_err(watching)?;
    let Some(exit) = exit.flatten() else {
        // It is ending: its lock falls with it, at once.
        tokio::task::yield_now().await;
        return Ok(());
    };
    if or_change {
        tokio::select! {
            ended = exit.wait() => ended.map_err(watching),
            () = changes.next() => Ok(()),
        }
    } else {
        exit.wait().await.map_err(watching)
    }
}

/// Returns the process when it lives.
fn still_there(process: Identity) -> Option<Identity> {
    process::identity(process.pid).filter(|now| *now == process)
}
