//! What becomes of a stored request when the server starts: one total function, no second start-up path.

use super::record::Home;
use super::state::State;

/// What to do with a request that the last run of the server left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recovery {
    /// It never started: into the lanes.
    Requeue,
    /// It is parked: arm its timer again.
    Rearm,
    /// It was at work: run it again; the steps that it recorded are skipped.
    Resume,
    /// It was being cancelled: finish the clean-up, do not run it.
    Reconcile,
    /// It cannot go on: fail it with this reason.
    Close(&'static str),
    /// It is final.
    Keep,
}

/// Decides about one request.
pub(crate) const fn on_restart(state: &State, home: Home) -> Recovery {
    match (state, home) {
        (State::Succeeded { .. } | State::Failed { .. } | State::Cancelled { .. }, _) => {
            Recovery::Keep
        }
        (State::Pending | State::Waiting { .. } | State::Running { .. }, Home::Attached) => {
            Recovery::Close("the server restarted while it served this connection")
        }
        (State::Pending, Home::Lanes) => Recovery::Requeue,
        (State::Waiting { .. }, Home::Lanes) => Recovery::Rearm,
        (State::Running { cancel: None, .. }, Home::Lanes) => Recovery::Resume,
        (
            State::Running {
                cancel: Some(_), ..
            },
            Home::Lanes,
        ) => Recovery::Reconcile,
    }
}
