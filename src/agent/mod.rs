//! The agent: one per node. Holds the node's job queue, runs and supervises jobs, keeps their logs, stops idle nodes.
//!
//! ```text
//!  rpc ──► head (job table, queue, cancel) ──► drive (one task per active job) ──► crew (all nodes)
//!    │       │ store: records                     │                                 ├─ runner (this node)
//!    │       └ autostop, events, power            └ merge (run.log)                 └─ peer (other agents)
//!    └───► runner ──► `sky __run` (supervisor, one per process of a job) ──► bash
//! ```
//!
//! Every node has a runner; only the head node has jobs. What a process of a job is doing is never remembered by the
//! agent: it is read from the process's directory (`place`), whose lock its supervisor holds while it lives. So an
//! agent may be killed at any moment, and the next one goes on where it was.
//!
//! The one invariant: a script is started at most once, whatever crashes.
#![warn(clippy::missing_docs_in_private_items)]

mod autostop;
mod devices;
mod drive;
mod environment;
mod events;
mod fetch;
mod files;
mod git;
mod head;
mod logs;
mod member;
mod merge;
mod options;
mod peer;
mod place;
mod power;
mod pulse;
mod queue;
mod rpc;
mod run;
mod runner;
mod state;
mod store;
mod supervise;
mod watch;

pub(crate) use run::run;
pub(crate) use supervise::supervise;
