//! The life of a request: a pure machine. Nobody else assigns a state.
//!
//! ```text
//!  PENDING ──Start──► RUNNING ──Succeed──► SUCCEEDED
//!     │                │ ▲  └───Fail─────► FAILED
//!     │            Park│ │Start
//!     │                ▼ │
//!     │              WAITING
//!     └─Cancel─► CANCELLED ◄─WoundDown─ RUNNING with a cancel mark ◄─Cancel─ RUNNING, WAITING
//! ```
//!
//! A request that may have touched the world (RUNNING, WAITING) is never cancelled in one go: the mark is stored
//! first, and only when its work and its clean-up have ended does it become CANCELLED.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::api::status::RequestStatus;
use crate::base::Error;
use crate::base::clock::Moment;
use crate::base::ids::UserId;

/// Who asked for a cancel, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CancelMark {
    /// When.
    pub(crate) at: Moment,
    /// Who; none when another request or the server did.
    pub(crate) by: Option<UserId>,
    /// Why, when it was not a user's wish.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

/// Where a request stands, with what is valid there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(crate) enum State {
    /// Stored, not started.
    Pending,
    /// Started, and parked until a time.
    Waiting {
        /// When it goes on.
        until: Moment,
        /// Why it waits.
        reason: String,
    },
    /// At work.
    Running {
        /// Since when.
        since: Moment,
        /// In which run of the server: the lease of whoever works on it.
        epoch: u64,
        /// Set when it should stop.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cancel: Option<CancelMark>,
    },
    /// Ended with a result.
    Succeeded {
        /// When.
        at: Moment,
        /// What the client gets. Stored apart from the row, so that lists need not read it.
        #[serde(default, skip_serializing)]
        result: Value,
    },
    /// Ended with an error.
    Failed {
        /// When.
        at: Moment,
        /// Why.
        error: Error,
    },
    /// Stopped on demand.
    Cancelled {
        /// When.
        at: Moment,
        /// By whom; none when another request or the server did.
        by: Option<UserId>,
        /// Why, and what was left or undone.
        note: Option<String>,
    },
}

/// What happens to a request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Event {
    /// A worker takes it (again).
    Start {
        /// The run of the server.
        epoch: u64,
    },
    /// Its work asks to go on later.
    Park {
        /// When.
        until: Moment,
        /// Why.
        reason: String,
    },
    /// Its work ended with a result.
    Succeed(Value),
    /// Its work ended with an error, or it cannot be run at all.
    Fail(Error),
    /// Somebody wants it stopped.
    Cancel {
        /// Who.
        by: Option<UserId>,
        /// Why, when it was not a user's wish.
        reason: Option<String>,
    },
    /// After a cancel: its work and its clean-up have ended.
    WoundDown {
        /// What was left or undone.
        note: Option<String>,
    },
}

/// What has to be done about a change of state, after it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Tell the running work to stop.
    Stop,
    /// Take it to a worker, which cleans up: it is parked, or its work has ended.
    WindDown,
    /// Wake it at this time.
    Arm(Moment),
    /// It is final: leave the lanes, wake who waits, end the log.
    Close,
}

/// An event that makes no sense in a state: a bug of the caller, nothing changes.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("a request that is {status} cannot {event}")]
pub(crate) struct IllegalTransition {
    /// The state.
    status: RequestStatus,
    /// The event's name.
    event: &'static str,
}

impl State {
    /// Returns the status that the wire shows.
    pub(crate) const fn status(&self) -> RequestStatus {
        match self {
            Self::Pending => RequestStatus::Pending,
            Self::Waiting { .. } => RequestStatus::Waiting,
            Self::Running { .. } => RequestStatus::Running,
            Self::Succeeded { .. } => RequestStatus::Succeeded,
            Self::Failed { .. } => RequestStatus::Failed,
            Self::Cancelled { .. } => RequestStatus::Cancelled,
        }
    }

    /// Returns when it became final.
    pub(crate) const fn finished_at(&self) -> Option<Moment> {
        match self {
            Self::Pending | Self::Waiting { .. } | Self::Running { .. } => None,
            Self::Succeeded { at, .. } | Self::Failed { at, .. } | Self::Cancelled { at, .. } => {
                Some(*at)
            }
        }
    }

    /// Returns the cancel that is under way.
    pub(crate) const fn cancel_mark(&self) -> Option<&CancelMark> {
        match self {
            Self::Running { cancel, .. } => cancel.as_ref(),
            Self::Pending
            | Self::Waiting { .. }
            | Self::Succeeded { .. }
            | Self::Failed { .. }
            | Self::Cancelled { .. } => None,
        }
    }

    /// Returns the next state and what has to be done about it. Final states absorb every event.
    pub(crate) fn apply(
        self,
        event: Event,
        now: Moment,
    ) -> Result<(Self, Vec<Effect>), IllegalTransition> {
        match self {
            Self::Pending => pending(event, now),
            Self::Waiting { until, reason } => waiting(until, reason, event, now),
            Self::Running {
                since,
                epoch,
                cancel,
            } => running(since, epoch, cancel, event, now),
            last @ (Self::Succeeded { .. } | Self::Failed { .. } | Self::Cancelled { .. }) => {
                Ok((last, Vec::new()))
            }
        }
    }
}

/// What follows PENDING.
fn pending(event: Event, now: Moment) -> Result<(State, Vec<Effect>), IllegalTransition> {
    match event {
        Event::Start { epoch } => Ok((started(now, epoch), Vec::new())),
        Event::Fail(error) => Ok((State::Failed { at: now, error }, vec![Effect::Close])),
        Event::Cancel { by, reason } => Ok((cancelled(now, by, reason), vec![Effect::Close])),
        event @ (Event::Park { .. } | Event::Succeed(_) | Event::WoundDown { .. }) => {
            Err(illegal(RequestStatus::Pending, &event))
        }
    }
}

/// What follows WAITING.
fn waiting(
    until: Moment,
    reason: String,
    event: Event,
    now: Moment,
) -> Result<(State, Vec<Effect>), IllegalTransition> {
    match event {
        Event::Start { epoch } => Ok((started(now, epoch), Vec::new())),
        Event::Park { until, reason } => {
            Ok((State::Waiting { until, reason }, vec![Effect::Arm(until)]))
        }
        Event::Fail(error) => Ok((State::Failed { at: now, error }, vec![Effect::Close])),
        // It may have left something in the world: a worker cleans up before it is CANCELLED.
        Event::Cancel { by, reason } => Ok((
            State::Running {
                since: now,
                epoch: 0,
                cancel: Some(CancelMark {
                    at: now,
                    by,
                    reason,
                }),
            },
            vec![Effect::WindDown],
        )),
        event @ (Event::Succeed(_) | Event::WoundDown { .. }) => {
            drop((until, reason));
            Err(illegal(RequestStatus::Waiting, &event))
        }
    }
}

/// What follows RUNNING.
fn running(
    since: Moment,
    epoch: u64,
    cancel: Option<CancelMark>,
    event: Event,
    now: Moment,
) -> Result<(State, Vec<Effect>), IllegalTransition> {
    match (event, cancel) {
        (Event::Start { epoch }, cancel) => Ok((
            State::Running {
                since,
                epoch,
                cancel,
            },
            Vec::new(),
        )),
        (Event::Park { until, reason }, None) => {
            Ok((State::Waiting { until, reason }, vec![Effect::Arm(until)]))
        }
        (Event::Succeed(result), None) => {
            Ok((State::Succeeded { at: now, result }, vec![Effect::Close]))
        }
        (Event::Fail(error), None) => Ok((State::Failed { at: now, error }, vec![Effect::Close])),
        (Event::Cancel { by, reason }, None) => Ok((
            State::Running {
                since,
                epoch,
                cancel: Some(CancelMark {
                    at: now,
                    by,
                    reason,
                }),
            },
            vec![Effect::Stop],
        )),
        // The cancel was acknowledged: however the work ended in the meantime, its clean-up follows.
        (Event::Park { .. } | Event::Succeed(_) | Event::Fail(_), cancel @ Some(_)) => Ok((
            State::Running {
                since,
                epoch,
                cancel,
            },
            vec![Effect::WindDown],
        )),
        (Event::Cancel { .. }, cancel @ Some(_)) => Ok((
            State::Running {
                since,
                epoch,
                cancel,
            },
            Vec::new(),
        )),
        (Event::WoundDown { note }, Some(mark)) => {
            let parts: Vec<_> = mark.reason.into_iter().chain(note).collect();
            let note = (!parts.is_empty()).then(|| parts.join("; "));
            Ok((cancelled(now, mark.by, note), vec![Effect::Close]))
        }
        (event @ Event::WoundDown { .. }, None) => Err(illegal(RequestStatus::Running, &event)),
    }
}

/// RUNNING without a cancel.
const fn started(now: Moment, epoch: u64) -> State {
    State::Running {
        since: now,
        epoch,
        cancel: None,
    }
}

/// CANCELLED.
const fn cancelled(now: Moment, by: Option<UserId>, note: Option<String>) -> State {
    State::Cancelled { at: now, by, note }
}

/// Names the event in the error.
const fn illegal(status: RequestStatus, event: &Event) -> IllegalTransition {
    let event = match event {
        Event::Start { .. } => "start",
        Event::Park { .. } => "park",
        Event::Succeed(_) => "succeed",
        Event::Fail(_) => "fail",
        Event::Cancel { .. } => "be cancelled",
        Event::WoundDown { .. } => "end its clean-up",
    };
    IllegalTransition { status, event }
}
