//! From a task and offers to a ranked plan. Pure: no clouds, no clock, no I/O.
//!
//! `plan` ranks, `fits` asks the same of a cluster that exists, `table` and `resources_text` say it to people.

mod fit;
mod plan;
mod text;

#[cfg(test)]
mod tests;

pub(crate) use fit::fits;
pub(crate) use plan::{Plan, plan};
pub(crate) use text::{resources_text, table};
