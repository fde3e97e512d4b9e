//! The log of this program: the terminal when it was started by hand, else a file of bounded size.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::sys::bounded_log::{BoundedLog, Stderr};
use crate::sys::env;

/// The most bytes of the file, and of the one before it, unless configured.
pub(super) const DEFAULT_LIMIT: u64 = 16 << 20;

/// The most bytes now: the log begins before the configuration is read.
static LIMIT: AtomicU64 = AtomicU64::new(DEFAULT_LIMIT);

/// Begins to log: to `file`, or to standard error when there is none.
pub(super) fn begin(file: Option<&Path>) {
    let filter = env::var("SKY_LOG").unwrap_or_else(|| "info".to_owned());
    let colours = io::stderr().is_terminal() && env::var("NO_COLOR").is_none();
    let log = file.and_then(|path| BoundedLog::open(path, Stderr::Follows).ok());
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_ansi(colours)
        // On a full disk the log cannot be written, and complaining about that on the same file would panic.
        .log_internal_errors(false)
        .with_target(false)
        .with_writer(Output(log.map(Mutex::new)));
    // Fails only where a logger is set already, as in tests.
    drop(subscriber.try_init());
}

/// Sets the most bytes of the file, and of the one before it.
pub(super) fn limit(bytes: u64) {
    LIMIT.store(bytes, Ordering::Relaxed);
}

/// Where lines go: a file, or standard error.
struct Output(Option<Mutex<BoundedLog>>);

/// The same, for one line.
struct Line<'a>(&'a Output);

impl<'a> MakeWriter<'a> for Output {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self)
    }
}

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match &self.0.0 {
            None => io::stderr().write(line),
            Some(log) => {
                let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
                log.append(line, LIMIT.load(Ordering::Relaxed))?;
                Ok(line.len())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
