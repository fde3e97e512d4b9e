//! A repository as a directory of the node: cloned once, then updated, by the node's own `git`.
//!
//! The agent reaps all children of its node, so `git` is run by a helper (`sky __agent git`), which also keeps the secrets
//! out of command lines: they stand in files of a private directory that is gone when the helper is.

mod bring;
mod command;
mod help;
mod repository;
mod url;

pub(crate) use bring::bring;
pub(crate) use help::help;
