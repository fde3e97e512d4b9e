//! The agent and its supervisors as real processes.
#![allow(
    clippy::disallowed_methods,
    reason = "tests start processes and look at clocks"
)]

mod gangs;
mod jobs;
mod kills;
mod world;
