//! The API server: requests, clusters and users behind HTTP.
//!
//! Owns the routes, who may call them, uploads, start and end of the program. Knows every layer below and is known by
//! none. The one invariant: nothing is answered before it is on disk, and nobody is served who was not asked who they are.
//!
//! ```text
//! listeners ─► gate (who, may they) ─► routes ─► requests ─► dispatch ─► ops ─► clusters
//! ```

mod access;
mod accounts;
mod admission;
mod app;
mod args;
mod background;
mod cancelling;
mod dispatch;
mod download;
mod endpoints;
mod extract;
mod gate;
mod identity;
mod job_tail;
mod log;
mod login;
mod metrics;
mod openapi;
mod page;
mod published;
mod redact;
mod reply;
mod request_log;
mod routes;
mod seal;
mod settings;
mod single;
mod startup;
mod stream;
mod uploads;
mod visitor;

use std::ffi::OsString;
use std::process::ExitCode;

use args::Args;

use crate::base::{Error, Result};
use crate::sys::limits::raise_open_files;
use crate::sys::ready::Reporter;

/// Threads that serve; what blocks has threads of its own.
const WORKERS: usize = 2;
/// Their stacks.
const STACK: usize = 1 << 20;
/// The most threads for what blocks; they end when there is nothing to do.
const BLOCKING: usize = 32;

/// Runs `sky __serve` with the arguments behind that word, to its end.
pub(crate) fn serve(rest: &[OsString]) -> ExitCode {
    let args = match Args::parse_from_rest(rest) {
        Ok(args) => args,
        Err(error) => {
            // clap prints help to the one and errors to the other stream; a closed one is nobody's loss.
            drop(error.print());
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    log::begin(args.log_file().as_deref());
    raise_open_files();
    let reporter = Reporter::new(args.ready_fd);
    match run(&args, reporter) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = error.one_line(), "the server ends");
            for hint in error.hints() {
                tracing::error!("{hint}");
            }
            ExitCode::from(error.kind().exit_code())
        }
    }
}

/// Makes the runtime and serves.
fn run(args: &Args, reporter: Reporter) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(BLOCKING)
        .thread_stack_size(STACK)
        .thread_name("sky-server")
        .enable_all()
        .build()
        .map_err(|e| Error::io("start the runtime", &e));
    let started = runtime.and_then(|runtime| {
        let running = runtime.block_on(startup::start(args))?;
        Ok((runtime, running))
    });
    match started {
        Ok((runtime, running)) => {
            running.announce(reporter);
            let ended = runtime.block_on(running.until_stopped());
            runtime.shutdown_timeout(startup::LAST_WORDS);
            ended
        }
        Err(error) => {
            reporter.failed(&error);
            Err(error)
        }
    }
}
