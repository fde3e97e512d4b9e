//! The agent and its supervisors as real processes.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "tests start processes, look at clocks and print their seeds"
)]

mod gangs;
mod jobs;
mod kills;
mod world;
