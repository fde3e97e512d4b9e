//! Durable asynchronous requests: accepted once, run in lanes, cancelled out of band, resumed after a restart.
//!
//! Knows no verb: what a request does is the business of a [`Dispatch`]. Acknowledged means durable.
//!
//! ```text
//!  submit ──► store (row, index, key: one commit) ──► board ──► lanes ──► run ──► Dispatch
//!  cancel ──► store (mark) ──► token                              │
//!  log    ◄── hub ◄── file ◄──────────────────────────── sink ◄───┘
//! ```
//!
//! The one invariant: a change of state is what the machine in `state` says, stored before anybody hears of it.
#![warn(clippy::missing_docs_in_private_items)]

mod attach;
mod board;
mod cancel;
mod engine;
mod expiry;
mod handle;
mod hub;
mod index;
mod lanes;
mod logs;
mod query;
mod record;
mod recover;
mod retention;
mod run;
mod sink;
mod state;
mod store;
#[cfg(test)]
mod tests;

pub(crate) use attach::Attached;
pub(crate) use handle::{Load, Options, Requests};
pub(crate) use record::{Admission, Dispatch, Lane, ListQuery, Profile, Record, Verdict, Which};
#[cfg(test)]
pub(crate) use {
    logs::RequestLog,
    record::{Admitted, Home},
    retention::Retention,
    state::State,
};
