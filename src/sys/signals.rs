//! Termination signals, registered once: the first asks, the second insists, the third ends the process.
//!
//! `ctrlc` runs the handler on a thread of its own; all it does is fire tokens. SIGINT, SIGTERM and SIGHUP count alike.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio_util::sync::CancellationToken;

use crate::base::{Error, Kind, Result};

/// Exit code of a process that was told three times to end.
const EXIT_INSISTED: i32 = 130;

/// What the signals of this process fire.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    /// How many came.
    count: AtomicU32,
    /// Fires with the first signal.
    asked: CancellationToken,
    /// Fires with the second signal.
    insisted: CancellationToken,
}

impl Signals {
    /// The token of the first signal: stop taking work, wind down.
    pub(crate) const fn asked(&self) -> &CancellationToken {
        &self.asked
    }

    /// The token of the second signal: stop waiting.
    pub(crate) const fn insisted(&self) -> &CancellationToken {
        &self.insisted
    }

    /// Takes one signal.
    fn take(&self) {
        match self.count.fetch_add(1, Ordering::SeqCst) {
            0 => self.asked.cancel(),
            1 => self.insisted.cancel(),
            _ => end_now(),
        }
    }
}

/// Ends the process without further ado.
#[expect(
    clippy::exit,
    reason = "a user who asks a third time wants the process gone, whatever it waits for"
)]
fn end_now() -> ! {
    std::process::exit(EXIT_INSISTED)
}

/// The signals of this process, once they are watched.
static SIGNALS: OnceLock<Signals> = OnceLock::new();

/// Returns whether a signal came since they are watched.
pub(crate) fn were_seen() -> bool {
    SIGNALS
        .get()
        .is_some_and(|signals| signals.asked.is_cancelled())
}

/// Begins to watch the signals of this process, or returns what is watched already.
///
/// From here on Ctrl-C no longer ends the process by itself.
pub(crate) fn watch() -> Result<&'static Signals> {
    let mut new = false;
    let signals = SIGNALS.get_or_init(|| {
        new = true;
        Signals::default()
    });
    if new {
        ctrlc::set_handler(|| {
            if let Some(signals) = SIGNALS.get() {
                signals.take();
            }
        })
        .map_err(|e| Error::new(Kind::Internal, "failed to watch signals").caused_by(&e))?;
    }
    Ok(signals)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_asks_and_the_second_insists() {
        let signals = Signals::default();
        signals.take();
        assert!(signals.asked().is_cancelled());
        assert!(!signals.insisted().is_cancelled());
        signals.take();
        assert!(signals.insisted().is_cancelled());
    }
}
