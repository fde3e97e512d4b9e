//! The one live line: a spinner with a text, or a bar of bytes. The only file that names indicatif.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rustix::process::getpgrp;
use rustix::stdio::stdin;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};

/// How often the spinner turns.
const TICK: Duration = Duration::from_millis(100);

/// The live line of this process; draws nothing unless stderr is a terminal.
#[derive(Debug)]
pub(crate) struct Progress {
    /// Whether anything is drawn.
    enabled: bool,
    /// What is shown now.
    shown: Mutex<Option<Shown>>,
}

/// A live line, and the terminal prepared for it.
#[derive(Debug)]
struct Shown {
    /// The line.
    bar: ProgressBar,
    /// Restores the terminal.
    _quiet: Option<QuietControls>,
}

impl Shown {
    /// Prepares the terminal.
    fn new(bar: ProgressBar) -> Self {
        Self {
            bar,
            _quiet: QuietControls::begin(),
        }
    }
}

/// A terminal that does not echo `^C`: the echo would push the live line out of its place and leave it behind.
#[derive(Debug)]
struct QuietControls {
    /// How the terminal was.
    before: Termios,
}

impl QuietControls {
    /// Changes the terminal, where there is one.
    fn begin() -> Option<Self> {
        if !is_foreground() {
            return None;
        }
        let before = tcgetattr(stdin()).ok()?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHOCTL);
        tcsetattr(stdin(), OptionalActions::Now, &quiet).ok()?;
        Some(Self { before })
    }
}

impl Drop for QuietControls {
    fn drop(&mut self) {
        if is_foreground() {
            // A terminal that is gone echoes nothing anyway.
            tcsetattr(stdin(), OptionalActions::Now, &self.before).unwrap_or_default();
        }
    }
}

/// Returns whether the terminal listens to us: a background job that changes it would be stopped.
fn is_foreground() -> bool {
    tcgetpgrp(stdin()).is_ok_and(|group| group == getpgrp())
}

impl Progress {
    /// Makes a live line that shows nothing yet.
    pub(crate) const fn new(enabled: bool) -> Self {
        Self {
            enabled,
            shown: Mutex::new(None),
        }
    }

    /// Shows a spinner with this text, or changes its text.
    pub(crate) fn spin(&self, text: &str) {
        if !self.enabled {
            return;
        }
        let mut shown = self.lock();
        let shown = shown.get_or_insert_with(|| Shown::new(spinner()));
        shown.bar.set_message(fitting(text));
    }

    /// Shows how many of `total` bytes are done.
    pub(crate) fn bytes(&self, label: &str, done: u64, total: u64) {
        if !self.enabled {
            return;
        }
        let mut shown = self.lock();
        let shown = shown.get_or_insert_with(|| Shown::new(bytes_bar(label, total)));
        shown.bar.set_position(done);
    }

    /// Removes the live line.
    pub(crate) fn clear(&self) {
        if let Some(shown) = self.lock().take() {
            shown.bar.finish_and_clear();
        }
    }

    /// Runs `write` while the live line is out of the way.
    pub(crate) fn suspend<R>(&self, write: impl FnOnce() -> R) -> R {
        // The lock is not held while writing: a reader that stalls must not stall the spinner's owner.
        let bar = self.lock().as_ref().map(|shown| shown.bar.clone());
        match bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// Locks what is shown; a panic while it was locked left nothing half done.
    fn lock(&self) -> MutexGuard<'_, Option<Shown>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Cuts a text so that spinner, text and the terminal's echo of Ctrl-C stay on one line, which can be removed.
fn fitting(text: &str) -> String {
    const BESIDES: usize = 6;
    let (_, columns) = console::Term::stderr().size();
    let room = usize::from(columns).saturating_sub(BESIDES);
    console::truncate_str(text, room, "…").into_owned()
}

/// Makes a spinner.
fn spinner() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    bar.set_style(style("{spinner:.green} {msg}"));
    bar.enable_steady_tick(TICK);
    bar
}

/// Makes a bar for an upload.
fn bytes_bar(label: &str, total: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    bar.set_style(style("{msg} {bar:24} {bytes}/{total_bytes} {eta}"));
    bar.set_message(label.to_owned());
    bar
}

/// Returns a style; the templates are ours, and one with a mistake shows as the default style.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_valid() {
        for template in [
            "{spinner:.green} {msg}",
            "{msg} {bar:24} {bytes}/{total_bytes} {eta}",
        ] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }

    #[test]
    fn nothing_is_shown_without_a_terminal() {
        let progress = Progress::new(false);
        progress.spin("text");
        assert!(progress.lock().is_none());
        assert_eq!(progress.suspend(|| 7), 7);
    }
}
