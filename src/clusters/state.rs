//! The state machine of a cluster: pure, and the only place where a cluster's state changes.

use serde::{Deserialize, Serialize};

use crate::api::status::ClusterStatus;
use crate::base::clock::Moment;

/// Where a cluster is in its life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(crate) enum State {
    /// Machines are wanted (stored before the first is made) or being made.
    Launching {
        /// Since when.
        since: Moment,
    },
    /// Machines run and their agents answer.
    Up {
        /// Since when.
        since: Moment,
    },
    /// Something is wrong: some machines are missing or an agent does not answer.
    Unhealthy {
        /// Since when.
        since: Moment,
        /// What.
        reason: String,
    },
    /// The machines are being stopped.
    Stopping {
        /// Since when.
        since: Moment,
        /// Whether the idle timer asked for it.
        idle: bool,
    },
    /// The machines are stopped; their disks are kept.
    Stopped {
        /// Since when.
        since: Moment,
    },
    /// The machines are being removed (stored before the first is).
    Terminating {
        /// Since when.
        since: Moment,
        /// Whether the idle timer asked for it.
        idle: bool,
    },
}

/// What happens to a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event {
    /// Machines are about to be made or started.
    LaunchIntended,
    /// A place refused to give the machines.
    PlaceRefused {
        /// Where.
        place: String,
        /// Why.
        reason: String,
    },
    /// All machines run and all agents answer.
    AllUp,
    /// Somebody looked, and something is wrong.
    FoundUnhealthy {
        /// What.
        reason: String,
    },
    /// Machines are about to be stopped.
    StopIntended {
        /// Whether the idle timer asked for it.
        idle: bool,
    },
    /// All machines are stopped.
    AllStopped,
    /// Machines are about to be removed.
    TerminateIntended {
        /// Whether the idle timer asked for it.
        idle: bool,
    },
}

impl Event {
    /// Whether it changes no state, and is told all the same.
    pub(crate) const fn is_note(&self) -> bool {
        match self {
            Self::PlaceRefused { .. } => true,
            Self::LaunchIntended
            | Self::AllUp
            | Self::FoundUnhealthy { .. }
            | Self::StopIntended { .. }
            | Self::AllStopped
            | Self::TerminateIntended { .. } => false,
        }
    }
}

/// An event that a state does not take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a cluster that is {from} does not take `{event:?}`")]
pub(crate) struct IllegalTransition {
    /// The state, as users know it.
    from: ClusterStatus,
    /// The event.
    event: Event,
}

impl State {
    /// Returns the state as users know it.
    pub(crate) const fn status(&self) -> ClusterStatus {
        match self {
            Self::Launching { .. } | Self::Unhealthy { .. } => ClusterStatus::Init,
            Self::Up { .. } => ClusterStatus::Up,
            Self::Stopping { idle: true, .. } | Self::Terminating { idle: true, .. } => {
                ClusterStatus::Autostopping
            }
            Self::Stopping { idle: false, .. } | Self::Terminating { idle: false, .. } => {
                ClusterStatus::Init
            }
            Self::Stopped { .. } => ClusterStatus::Stopped,
        }
    }

    /// Returns since when it holds.
    pub(crate) const fn since(&self) -> Moment {
        match self {
            Self::Launching { since }
            | Self::Up { since }
            | Self::Unhealthy { since, .. }
            | Self::Stopping { since, .. }
            | Self::Stopped { since }
            | Self::Terminating { since, .. } => *since,
        }
    }

    /// Returns whether machines may be running, and cost money.
    pub(crate) const fn is_in_use(&self) -> bool {
        match self {
            Self::Launching { .. }
            | Self::Up { .. }
            | Self::Unhealthy { .. }
            | Self::Stopping { .. }
            | Self::Terminating { .. } => true,
            Self::Stopped { .. } => false,
        }
    }

    /// Returns the state after an event.
    ///
    /// Removal is never refused. Once it is intended nothing else is taken: what is half removed is not launched
    /// again under the same record.
    pub(crate) fn apply(self, event: Event, now: Moment) -> Result<Self, IllegalTransition> {
        let from = self.status();
        let illegal = |event| IllegalTransition { from, event };
        match (self, event) {
            (state @ Self::Terminating { .. }, Event::TerminateIntended { .. })
            | (
                state @ Self::Launching { .. },
                Event::LaunchIntended | Event::PlaceRefused { .. },
            )
            | (state @ Self::Up { .. }, Event::AllUp)
            | (
                state @ (Self::Stopping { .. } | Self::Stopped { .. }),
                Event::StopIntended { .. },
            )
            | (state @ Self::Stopped { .. }, Event::AllStopped) => Ok(state),

            (Self::Terminating { .. }, event)
            | (
                Self::Up { .. }
                | Self::Unhealthy { .. }
                | Self::Stopping { .. }
                | Self::Stopped { .. },
                event @ Event::PlaceRefused { .. },
            )
            | (
                Self::Stopping { .. } | Self::Stopped { .. },
                event @ (Event::AllUp | Event::FoundUnhealthy { .. }),
            ) => Err(illegal(event)),
            (_, Event::TerminateIntended { idle }) => Ok(Self::Terminating { since: now, idle }),

            (_, Event::LaunchIntended) => Ok(Self::Launching { since: now }),

            (Self::Launching { .. } | Self::Unhealthy { .. }, Event::AllUp) => {
                Ok(Self::Up { since: now })
            }

            (Self::Launching { .. } | Self::Up { .. }, Event::FoundUnhealthy { reason }) => {
                Ok(Self::Unhealthy { since: now, reason })
            }
            (Self::Unhealthy { since, .. }, Event::FoundUnhealthy { reason }) => {
                Ok(Self::Unhealthy { since, reason })
            }

            (
                Self::Launching { .. } | Self::Up { .. } | Self::Unhealthy { .. },
                Event::StopIntended { idle },
            ) => Ok(Self::Stopping { since: now, idle }),

            (
                Self::Stopping { .. }
                | Self::Launching { .. }
                | Self::Up { .. }
                | Self::Unhealthy { .. },
                Event::AllStopped,
            ) => Ok(Self::Stopped { since: now }),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn events() -> impl Strategy<Value = Event> {
        prop_oneof![
            Just(Event::LaunchIntended),
            Just(Event::AllUp),
            Just(Event::PlaceRefused {
                place: "AWS us-east-1".into(),
                reason: "no capacity".into()
            }),
            Just(Event::FoundUnhealthy {
                reason: "an agent does not answer".into()
            }),
            any::<bool>().prop_map(|idle| Event::StopIntended { idle }),
            Just(Event::AllStopped),
            any::<bool>().prop_map(|idle| Event::TerminateIntended { idle }),
        ]
    }

    proptest! {
        #[test]
        fn a_cluster_is_up_only_after_its_machines_were_wanted(events in prop::collection::vec(events(), 0..40)) {
            let mut state = State::Launching { since: Moment::from_micros(0) };
            let mut terminating = false;
            for (i, event) in events.into_iter().enumerate() {
                let now = Moment::from_micros(i64::try_from(i).expect("small") + 1);
                let before = state.clone();
                if let Ok(after) = state.clone().apply(event.clone(), now) {
                    if after.status() == ClusterStatus::Up && before.status() != ClusterStatus::Up {
                        prop_assert_eq!(before.status(), ClusterStatus::Init);
                    }
                    if before == after { prop_assert_eq!(before.since(), after.since()); }
                    state = after;
                } else {
                    let removal = matches!(event, Event::TerminateIntended { .. });
                    prop_assert!(!removal, "removal is never refused");
                }
                terminating |= matches!(event, Event::TerminateIntended { .. });
                prop_assert_eq!(terminating, matches!(state, State::Terminating { .. }));
            }
        }

        #[test]
        fn the_same_event_twice_is_the_same_as_once(first in events(), second in events()) {
            let start = State::Launching { since: Moment::from_micros(0) };
            let at = Moment::from_micros;
            if let Ok(once) = start.apply(first, at(1)).and_then(|s| s.apply(second.clone(), at(2))) {
                prop_assert_eq!(once.clone().apply(second, at(3)), Ok(once));
            }
        }
    }
}
