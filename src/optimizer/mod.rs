//! From a task and what clouds have for it to a ranked plan. Pure: no clouds, no clock, no I/O.
//!
//! `plan` ranks, and says what was ruled out and why; `fits` asks the same of a cluster that exists; `table`, `ruled_out` and
//! `resources_text` say it to people.

mod fit;
mod plan;
mod text;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

pub(crate) use fit::fits;
pub(crate) use plan::{Candidate, Market, Plan, Standing, plan};
pub(crate) use text::{resources_text, ruled_out, table};
