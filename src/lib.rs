//! `sky`: one binary that is command line, API server and node agent.
//!
//! See `ARCHITECTURE.md` for the picture. Only [`run`] is public: everything else is reached through it.

pub(crate) mod agent;
pub(crate) mod api;
pub(crate) mod aws;
pub(crate) mod base;
pub(crate) mod catalog;
pub(crate) mod client;
pub(crate) mod clouds;
pub(crate) mod clusters;
pub(crate) mod http;
pub(crate) mod node;
pub(crate) mod ops;
pub(crate) mod optimizer;
pub(crate) mod requests;
pub(crate) mod server;
pub(crate) mod store;
pub(crate) mod sys;
pub(crate) mod task;
pub(crate) mod transport;

/// Picks the program by the first argument and runs it to its end.
pub fn run() -> std::process::ExitCode {
    let arguments: Vec<std::ffi::OsString> = std::env::args_os().skip(1).collect();
    match arguments.first().and_then(|first| first.to_str()) {
        Some("__serve") => server::serve(&arguments[1..]),
        Some("__agent") => agent::run(&arguments[1..]),
        Some("__node") => node::run(&arguments[1..]),
        Some("__run") => agent::supervise(&arguments[1..]),
        _ => client::run(&arguments),
    }
}
