//! The machine against a simpler model, and what becomes of every state at a restart.

use proptest::prelude::*;

use super::super::recover::{Recovery, on_restart};
use super::super::state::{Effect, Event};
use super::*;
use crate::api::status::RequestStatus;
use crate::base::clock::Moment;
use crate::base::{Error, Kind};

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (1_u64..3).prop_map(|epoch| Event::Start { epoch }),
        Just(Event::Park {
            until: Moment::from_micros(9),
            reason: "capacity".into()
        }),
        Just(Event::Succeed(json!(1))),
        Just(Event::Fail(Error::new(Kind::Internal, "x"))),
        Just(Event::Cancel {
            by: None,
            reason: None
        }),
        Just(Event::WoundDown { note: None }),
    ]
}

/// What the model knows: the status, and whether a cancel is under way.
type Model = (RequestStatus, bool);

/// The model: a table of what a user would expect; `None` = the event makes no sense.
fn expect((status, cancelling): Model, event: &Event) -> Option<Model> {
    use RequestStatus::{Cancelled, Failed, Pending, Running, Succeeded, Waiting};
    if status.is_final() {
        return Some((status, false));
    }
    match (event, status) {
        (Event::Start { .. }, _) => Some((Running, cancelling)),
        (Event::Cancel { .. }, Pending) => Some((Cancelled, false)),
        (Event::Cancel { .. }, _) => Some((Running, true)),
        (Event::WoundDown { .. }, _) => cancelling.then_some((Cancelled, false)),
        (_, Running) if cancelling => Some((Running, true)),
        (Event::Fail(_), _) => Some((Failed, false)),
        (Event::Succeed(_), Running) => Some((Succeeded, false)),
        (Event::Park { .. }, Running | Waiting) => Some((Waiting, false)),
        (Event::Succeed(_) | Event::Park { .. }, _) => None,
    }
}

proptest! {
    #[test]
    fn agrees_with_the_model_and_final_states_never_change(events in prop::collection::vec(event(), 0..30)) {
        let mut state = State::Pending;
        let mut model: Model = (RequestStatus::Pending, false);
        for (at, event) in (0_i64..).zip(events) {
            let before = state.clone();
            let expected = expect(model, &event);
            match (state.clone().apply(event, Moment::from_micros(at)), expected) {
                (Ok((next, effects)), Some(expected)) => {
                    if before.finished_at().is_some() {
                        prop_assert_eq!(&next, &before);
                        prop_assert!(effects.is_empty());
                    } else {
                        let ended = next.finished_at().is_some();
                        prop_assert_eq!(ended, effects.contains(&Effect::Close));
                    }
                    prop_assert_eq!((next.status(), next.cancel_mark().is_some()), expected);
                    model = expected;
                    state = next;
                }
                (Err(_), None) => {}
                (outcome, expected) => prop_assert!(false, "{outcome:?}, expected {expected:?}"),
            }
        }
    }

    #[test]
    fn every_state_survives_the_store_and_has_a_recovery(events in prop::collection::vec(event(), 0..12)) {
        let mut state = State::Pending;
        for (at, event) in (0_i64..).zip(events) {
            if let Ok((next, _)) = state.clone().apply(event, Moment::from_micros(at)) {
                state = next;
            }
            let text = serde_json::to_string(&state).expect("it serialises");
            let back: State = serde_json::from_str(&text).expect("it parses");
            prop_assert_eq!(back.status(), state.status());
            prop_assert_eq!(back.cancel_mark(), state.cancel_mark());
            let recovery = on_restart(&state, Home::Lanes);
            prop_assert_eq!(recovery == Recovery::Keep, state.finished_at().is_some());
            let cancelling = state.cancel_mark().is_some();
            prop_assert_eq!(recovery == Recovery::Reconcile, cancelling);
        }
    }
}
