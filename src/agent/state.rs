//! The life of a job, as a pure machine.
//!
//! ```text
//! Pending ──Placed──► SettingUp ──SetupDone──► Running ──RunEnded──► Ended
//!    └──────────┴─── Cancel, Close, Lost, SetupFailed ────────────────► Ended (perhaps with processes to end) ──Cleared
//! ```

use serde::{Deserialize, Serialize};

use super::queue::Placement;
use crate::api::agent::Phase;
use crate::api::status::JobStatus;
use crate::base::clock::Moment;

/// Exit code of a rank that was stopped because another one failed.
pub(crate) const STOPPED_CODE: i32 = 137;

/// Where a job stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(crate) enum State {
    /// In the queue.
    Pending,
    /// `setup` runs on all nodes of the cluster.
    SettingUp {
        /// What the job occupies.
        held: Placement,
        /// Since when.
        started: Moment,
    },
    /// `run` runs on the job's nodes.
    Running {
        /// What the job occupies.
        held: Placement,
        /// When its first script began.
        started: Moment,
    },
    /// It is over and will never be anything else.
    Ended {
        /// How.
        outcome: Outcome,
        /// When its first script began.
        started: Option<Moment>,
        /// When.
        at: Moment,
        /// Exit code of each rank.
        codes: Vec<Option<i32>>,
        /// Why, where that is not plain.
        reason: Option<String>,
        /// What is occupied until the last process is gone.
        held: Option<Placement>,
    },
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// All ranks ended with 0.
    Succeeded,
    /// A rank of `run` did not.
    Failed,
    /// A rank of `setup` did not.
    FailedSetup,
    /// A node or a supervisor was lost, or the node was stopped.
    FailedDriver,
    /// Somebody stopped it.
    Cancelled,
}

/// What happens to a job.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Event {
    /// It got its resources; the phase is the first one it has.
    Placed {
        /// What it occupies from now on.
        held: Placement,
        /// Where it begins.
        phase: Phase,
    },
    /// All ranks of `setup` ended with 0.
    SetupDone,
    /// A rank of `setup` failed and all are gone.
    SetupFailed {
        /// Exit codes by node.
        codes: Vec<Option<i32>>,
    },
    /// All ranks of `run` are gone.
    RunEnded {
        /// Exit codes by rank.
        codes: Vec<Option<i32>>,
    },
    /// It cannot be run or followed any more; processes may be left.
    Lost {
        /// Why.
        reason: String,
    },
    /// Somebody stops it.
    Cancel,
    /// The last process of an ended job is gone.
    Cleared,
}

/// What must be done after a transition was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Start the task that runs the job.
    Drive,
    /// End its processes, then report `Cleared`.
    Clear,
    /// Resources may have become free.
    Schedule,
}

/// A transition that does not exist.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("a job that is {status} cannot take {event:?}")]
pub(crate) struct IllegalTransition {
    /// Where it stands.
    status: JobStatus,
    /// What came.
    event: Event,
}

/// What to do with a job when the agent starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recovery {
    /// It waits in the queue.
    Queue,
    /// Go on running it: what is started already is adopted.
    Drive,
    /// End its processes.
    Clear,
    /// The machine was restarted in between: it is over.
    Close,
    /// Nothing.
    Rest,
}

impl State {
    /// Moves on. The end absorbs everything but `Cleared`.
    pub(crate) fn apply(
        self,
        event: Event,
        now: Moment,
    ) -> Result<(Self, Vec<Effect>), IllegalTransition> {
        let status = self.status();
        let illegal = |event| Err(IllegalTransition { status, event });
        match (self, event) {
            (Self::Pending, Event::Placed { held, phase }) => {
                let next = match phase {
                    Phase::Setup => Self::SettingUp { held, started: now },
                    Phase::Run => Self::Running { held, started: now },
                };
                Ok((next, vec![Effect::Drive]))
            }
            (Self::SettingUp { held, started }, Event::SetupDone) => {
                Ok((Self::Running { held, started }, Vec::new()))
            }
            (Self::SettingUp { started, .. }, Event::SetupFailed { codes }) => Ok((
                ended(Outcome::FailedSetup, Some(started), now, codes),
                vec![Effect::Schedule],
            )),
            (Self::Running { started, .. }, Event::RunEnded { codes }) => {
                let outcome = if codes.iter().all(|code| *code == Some(0)) {
                    Outcome::Succeeded
                } else {
                    Outcome::Failed
                };
                Ok((
                    ended(outcome, Some(started), now, codes),
                    vec![Effect::Schedule],
                ))
            }
            (open @ (Self::Pending | Self::SettingUp { .. } | Self::Running { .. }), cut) => {
                let (outcome, reason) = match cut {
                    Event::Cancel => (Outcome::Cancelled, None),
                    Event::Lost { reason } => (Outcome::FailedDriver, Some(reason)),
                    other @ (Event::Placed { .. }
                    | Event::SetupDone
                    | Event::SetupFailed { .. }
                    | Event::RunEnded { .. }
                    | Event::Cleared) => return illegal(other),
                };
                Ok(cut_off(open, outcome, reason, now))
            }
            (mut over @ Self::Ended { .. }, event) => {
                let mut effects = Vec::new();
                if let (Event::Cleared, Self::Ended { held, .. }) = (event, &mut over)
                    && held.take().is_some()
                {
                    effects.push(Effect::Schedule);
                }
                Ok((over, effects))
            }
        }
    }

    /// Returns the state as the wire shows it.
    pub(crate) const fn status(&self) -> JobStatus {
        match self {
            Self::Pending => JobStatus::Pending,
            Self::SettingUp { .. } => JobStatus::SettingUp,
            Self::Running { .. } => JobStatus::Running,
            Self::Ended { outcome, .. } => match outcome {
                Outcome::Succeeded => JobStatus::Succeeded,
                Outcome::Failed => JobStatus::Failed,
                Outcome::FailedSetup => JobStatus::FailedSetup,
                Outcome::FailedDriver => JobStatus::FailedDriver,
                Outcome::Cancelled => JobStatus::Cancelled,
            },
        }
    }

    /// Returns what the job occupies.
    pub(crate) const fn held(&self) -> Option<&Placement> {
        match self {
            Self::Pending => None,
            Self::SettingUp { held, .. } | Self::Running { held, .. } => Some(held),
            Self::Ended { held, .. } => held.as_ref(),
        }
    }

    /// Returns whether nothing is left to do for this job.
    pub(crate) const fn is_at_rest(&self) -> bool {
        matches!(self, Self::Ended { held: None, .. })
    }

    /// Says what to do when the agent starts; `same_boot` = the machine has not been restarted meanwhile.
    pub(crate) const fn on_restart(&self, same_boot: bool) -> Recovery {
        match self {
            Self::Pending if same_boot => Recovery::Queue,
            Self::SettingUp { .. } | Self::Running { .. } if same_boot => Recovery::Drive,
            Self::Pending | Self::SettingUp { .. } | Self::Running { .. } => Recovery::Close,
            Self::Ended { held: Some(_), .. } => Recovery::Clear,
            Self::Ended { held: None, .. } => Recovery::Rest,
        }
    }
}

/// The end after all processes are gone.
const fn ended(
    outcome: Outcome,
    started: Option<Moment>,
    at: Moment,
    codes: Vec<Option<i32>>,
) -> State {
    State::Ended {
        outcome,
        started,
        at,
        codes,
        reason: None,
        held: None,
    }
}

/// The end in the middle: processes may be left.
fn cut_off(
    open: State,
    outcome: Outcome,
    reason: Option<String>,
    at: Moment,
) -> (State, Vec<Effect>) {
    let (started, held) = match open {
        State::SettingUp { held, started } | State::Running { held, started } => {
            (Some(started), Some(held))
        }
        State::Pending | State::Ended { .. } => (None, None),
    };
    let effect = if held.is_some() {
        Effect::Clear
    } else {
        Effect::Schedule
    };
    let over = State::Ended {
        outcome,
        started,
        at,
        codes: Vec::new(),
        reason,
        held,
    };
    (over, vec![effect])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event() -> impl Strategy<Value = Event> {
        let codes = proptest::collection::vec(proptest::option::of(0..3_i32), 0..3);
        prop_oneof![
            any::<bool>().prop_map(|setup| Event::Placed {
                held: Placement::default(),
                phase: if setup { Phase::Setup } else { Phase::Run },
            }),
            Just(Event::SetupDone),
            codes.clone().prop_map(|codes| Event::SetupFailed { codes }),
            codes.prop_map(|codes| Event::RunEnded { codes }),
            Just(Event::Lost { reason: "r".into() }),
            Just(Event::Cancel),
            Just(Event::Cleared),
        ]
    }

    proptest! {
        #[test]
        fn the_end_absorbs_and_nothing_is_driven_twice(events in proptest::collection::vec(event(), 0..30)) {
            let mut state = State::Pending;
            let mut drives = 0;
            let mut end: Option<JobStatus> = None;
            for (i, event) in events.into_iter().enumerate() {
                let before = state.clone();
                let now = Moment::from_micros(i64::try_from(i).expect("small"));
                if let Ok((next, effects)) = state.apply(event, now) {
                        drives += effects.iter().filter(|e| **e == Effect::Drive).count();
                        // Resources are given back exactly when the queue is told to look again.
                        let freed = before.held().is_some() && next.held().is_none();
                        if freed { prop_assert!(effects.contains(&Effect::Schedule)); }
                        if let Some(end) = end { prop_assert_eq!(next.status(), end); }
                        if next.status().is_final() { end = Some(next.status()); }
                        prop_assert!(before.status() <= next.status() || before.status().is_final());
                        state = next;
                } else {
                    prop_assert!(!before.status().is_final(), "the end takes every event");
                    state = before;
                }
                let text = serde_json::to_string(&state).expect("it serialises");
                prop_assert_eq!(&serde_json::from_str::<State>(&text).expect("it parses"), &state);
            }
            prop_assert!(drives <= 1);
        }
    }

    #[test]
    fn a_cancelled_running_job_holds_its_nodes_until_it_is_cleared() {
        let running = State::Running {
            held: Placement::default(),
            started: Moment::from_micros(1),
        };
        let now = Moment::from_micros(2);
        let (state, effects) = running.apply(Event::Cancel, now).expect("it is legal");
        assert_eq!(effects, [Effect::Clear]);
        assert_eq!(state.status(), JobStatus::Cancelled);
        assert_eq!(state.on_restart(true), Recovery::Clear);
        let (state, effects) = state.apply(Event::Cleared, now).expect("it is legal");
        assert_eq!(effects, [Effect::Schedule]);
        assert!(state.is_at_rest());
    }

    #[test]
    fn unfinished_jobs_do_not_survive_a_restart_of_the_machine() {
        assert_eq!(State::Pending.on_restart(false), Recovery::Close);
        assert_eq!(State::Pending.on_restart(true), Recovery::Queue);
    }
}
