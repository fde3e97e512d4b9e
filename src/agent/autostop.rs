//! When an idle node asks to be stopped.
//!
//! The time is exact: one timer for the moment that [`due`] computes, computed anew at each change. SSH sessions do
//! not count on machines that nobody can log in to (`local`), so `jobs_and_ssh` is `jobs` there.

use std::time::Duration;

use crate::api::agent::AutostopSetting;
use crate::api::bodies::WaitFor;
use crate::base::clock::Moment;

/// What the timer depends on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Situation {
    /// What was set.
    pub(crate) setting: Option<AutostopSetting>,
    /// When it was set.
    pub(crate) since: Moment,
    /// When a job was last submitted or ended.
    pub(crate) last_activity: Option<Moment>,
    /// Whether there are unfinished jobs.
    pub(crate) busy: bool,
}

/// Returns when the node has been idle for long enough; `None` while nothing can make it so.
///
/// Zero minutes mean at once after the last job, but leave a minute for the first one to arrive: the setting comes
/// before the job that it is meant for.
pub(crate) fn due(now: &Situation) -> Option<Moment> {
    let setting = now.setting.as_ref()?;
    let minutes = |count: u64| Duration::from_secs(count.saturating_mul(60));
    match setting.wait_for {
        WaitFor::None => Some(now.since.after(minutes(setting.idle_minutes.max(1)))),
        WaitFor::Jobs | WaitFor::JobsAndSsh if now.busy => None,
        WaitFor::Jobs | WaitFor::JobsAndSsh => match now.last_activity {
            Some(activity) if activity >= now.since => {
                Some(activity.after(minutes(setting.idle_minutes)))
            }
            Some(_) | None => Some(now.since.after(minutes(setting.idle_minutes.max(1)))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000_000;

    fn at(minutes: i64) -> Moment {
        Moment::from_micros(minutes * MINUTE)
    }

    fn situation(idle_minutes: u64, wait_for: WaitFor) -> Situation {
        Situation {
            setting: Some(AutostopSetting {
                idle_minutes,
                down: false,
                wait_for,
            }),
            since: at(100),
            last_activity: None,
            busy: false,
        }
    }

    #[test]
    fn the_timer_is_exact() {
        let jobs = WaitFor::Jobs;
        // (idle minutes, wait for, last activity, busy) → due
        let table = [
            (5, jobs, None, false, Some(105)),
            (5, jobs, Some(50), false, Some(105)),
            (5, jobs, Some(103), false, Some(108)),
            (5, jobs, Some(103), true, None),
            (0, jobs, None, false, Some(101)),
            (0, jobs, Some(103), false, Some(103)),
            (5, WaitFor::None, Some(103), true, Some(105)),
            (5, WaitFor::JobsAndSsh, Some(103), true, None),
        ];
        for (idle, wait_for, activity, busy, expected) in table {
            let now = Situation {
                last_activity: activity.map(at),
                busy,
                ..situation(idle, wait_for)
            };
            assert_eq!(due(&now), expected.map(at), "{now:?}");
        }
        let off = Situation {
            setting: None,
            ..situation(1, jobs)
        };
        assert_eq!(due(&off), None);
    }
}
