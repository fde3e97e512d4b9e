//! The one live line: a spinner with a text, or a bar of bytes. The only file that names indicatif.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often the spinner turns.
const TICK: Duration = Duration::from_millis(100);

/// The live line of this process; draws nothing unless stderr is a terminal.
#[derive(Debug)]
pub(crate) struct Progress {
    /// Whether anything is drawn.
    enabled: bool,
    /// What is shown now.
    shown: Mutex<Option<ProgressBar>>,
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
        let bar = shown.get_or_insert_with(spinner);
        bar.set_message(text.to_owned());
    }

    /// Shows how many of `total` bytes are done.
    pub(crate) fn bytes(&self, label: &str, done: u64, total: u64) {
        if !self.enabled {
            return;
        }
        let mut shown = self.lock();
        let bar = shown.get_or_insert_with(|| bytes_bar(label, total));
        bar.set_position(done);
    }

    /// Removes the live line.
    pub(crate) fn clear(&self) {
        if let Some(bar) = self.lock().take() {
            bar.finish_and_clear();
        }
    }

    /// Runs `write` while the live line is out of the way.
    pub(crate) fn suspend<R>(&self, write: impl FnOnce() -> R) -> R {
        // The lock is not held while writing: a reader that stalls must not stall the spinner's owner.
        let bar = self.lock().clone();
        match bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// Locks what is shown; a panic while it was locked left nothing half done.
    fn lock(&self) -> MutexGuard<'_, Option<ProgressBar>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes a spinner.
fn spinner() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    bar.set_style(style("{spinner:.green} {wide_msg}"));
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
            "{spinner:.green} {wide_msg}",
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
