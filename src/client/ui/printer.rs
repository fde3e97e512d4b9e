//! Writing to stdout and stderr, past the live line. A reader that went away ends the program quietly.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Arc;

use serde::Serialize;

use super::markup;
use super::progress::Progress;
use super::report;
use super::style::{Tone, paint};
use crate::base::{Error, Result};
use crate::client::exit::Exit;
use crate::sys::env;

/// The terminal, as far as `sky` cares. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Ui {
    /// Shared parts.
    inner: Arc<Inner>,
}

/// What all clones share.
#[derive(Debug)]
struct Inner {
    /// Escape sequences on stdout.
    out_colors: bool,
    /// Escape sequences on stderr.
    err_colors: bool,
    /// Whether somebody can answer.
    interactive: bool,
    /// The spinner.
    progress: Progress,
    /// Takes what would go to stdout.
    #[cfg(test)]
    captured: Option<std::sync::Mutex<Vec<u8>>>,
}

impl Ui {
    /// Looks at the terminal and the environment.
    pub(crate) fn new() -> Self {
        let moves = env::var("TERM").is_none_or(|t| t != "dumb");
        let colors = moves && env::var("NO_COLOR").is_none();
        let err_terminal = io::stderr().is_terminal();
        let out_terminal = io::stdout().is_terminal();
        Self {
            inner: Arc::new(Inner {
                out_colors: colors && out_terminal,
                err_colors: colors && err_terminal,
                interactive: err_terminal && io::stdin().is_terminal(),
                // `sky … | cat` on a terminal: others' lines would run into a live line that they know nothing of.
                progress: Progress::new(moves && err_terminal && out_terminal),
                #[cfg(test)]
                captured: None,
            }),
        }
    }

    /// A terminal without colours whose stdout is kept.
    #[cfg(test)]
    pub(crate) fn capturing() -> Self {
        Self {
            inner: Arc::new(Inner {
                out_colors: false,
                err_colors: false,
                interactive: false,
                progress: Progress::new(false),
                captured: Some(std::sync::Mutex::default()),
            }),
        }
    }

    /// Takes what went to stdout.
    #[cfg(test)]
    pub(crate) fn take_captured(&self) -> Vec<u8> {
        let captured = self.inner.captured.as_ref().expect("it captures");
        std::mem::take(&mut *captured.lock().expect("not poisoned"))
    }

    /// Returns whether stdout takes escape sequences.
    pub(crate) fn out_colors(&self) -> bool {
        self.inner.out_colors
    }

    /// Returns whether stderr takes escape sequences.
    pub(crate) fn err_colors(&self) -> bool {
        self.inner.err_colors
    }

    /// Returns whether a person sits before it.
    pub(crate) fn is_interactive(&self) -> bool {
        self.inner.interactive
    }

    /// Returns the text in a look, for stdout.
    pub(crate) fn paint(&self, text: &str, tone: Tone) -> String {
        paint(text, tone, self.inner.out_colors)
    }

    /// Writes a line to stdout.
    pub(crate) fn out(&self, line: &str) {
        self.out_bytes(format!("{line}\n").as_bytes());
    }

    /// Writes bytes to stdout as they are.
    pub(crate) fn out_bytes(&self, bytes: &[u8]) {
        #[cfg(test)]
        if let Some(captured) = &self.inner.captured {
            captured
                .lock()
                .expect("not poisoned")
                .extend_from_slice(bytes);
            return;
        }
        let write = || {
            let mut out = io::stdout().lock();
            out.write_all(bytes).and_then(|()| out.flush())
        };
        settle(self.inner.progress.suspend(write));
    }

    /// Writes a value to stdout as JSON.
    pub(crate) fn out_json(&self, value: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string_pretty(value)
            .map_err(|e| Error::internal("print the result as JSON", &e))?;
        self.out(&text);
        Ok(())
    }

    /// Writes a line to stderr.
    pub(crate) fn err(&self, line: &str) {
        self.err_text(&format!("{line}\n"));
    }

    /// Writes text with tags to stderr, as a line.
    pub(crate) fn err_markup(&self, text: &str) {
        self.err(&markup::render(text, self.inner.err_colors));
    }

    /// Writes text to stderr as it is.
    pub(crate) fn err_text(&self, text: &str) {
        let write = || {
            let mut err = io::stderr().lock();
            err.write_all(text.as_bytes()).and_then(|()| err.flush())
        };
        // Nobody can be told that stderr is gone.
        drop(self.inner.progress.suspend(write));
    }

    /// Shows a spinner, or changes its text (with tags).
    pub(crate) fn spin(&self, text: &str) {
        let text = markup::render(text, self.inner.err_colors);
        self.inner
            .progress
            .spin(text.lines().next().unwrap_or_default());
    }

    /// Shows how far a transfer is.
    pub(crate) fn spin_bytes(&self, label: &str, done: u64, total: u64) {
        self.inner.progress.bytes(label, done, total);
    }

    /// Removes the spinner.
    pub(crate) fn end_spin(&self) {
        self.inner.progress.clear();
    }
}

/// Ends the program when stdout cannot be written to: all that is left to do is to print.
#[expect(
    clippy::exit,
    reason = "there is nothing to come back to from a result that nobody can have; requests live on in the server"
)]
fn settle(written: io::Result<()>) {
    let Err(error) = written else {
        return;
    };
    if error.kind() == io::ErrorKind::BrokenPipe {
        // The reader has seen enough.
        std::process::exit(0);
    }
    let text = report::render(&Error::io("write to stdout", &error), false);
    // Nobody can be told that stderr is gone, too.
    drop(io::stderr().lock().write_all(text.as_bytes()));
    std::process::exit(Exit::Failure.code().into());
}
