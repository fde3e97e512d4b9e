//! The agent and its supervisors as real processes, without a server.

mod gangs;
mod jobs;
mod kills;
pub(crate) mod node;
