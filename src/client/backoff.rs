//! Growing pauses between tries.

use std::time::Duration;

/// The first pause.
const FIRST: Duration = Duration::from_millis(50);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(5);
/// Failures that pass unnoticed: a server that restarts is back within these pauses.
const SILENT: u32 = 3;

/// Pauses that double.
#[derive(Debug)]
pub(crate) struct Backoff {
    /// The next pause.
    next: Duration,
    /// How many there were.
    count: u32,
}

impl Backoff {
    /// Begins with a short pause.
    pub(crate) const fn new() -> Self {
        Self {
            next: FIRST,
            count: 0,
        }
    }

    /// Returns the pause before the next try.
    pub(crate) fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (self.next * 2).min(LONGEST);
        self.count += 1;
        pause
    }

    /// Returns whether nothing was paused for yet.
    pub(crate) const fn is_fresh(&self) -> bool {
        self.count == 0
    }

    /// Returns whether it has gone on long enough to be mentioned.
    pub(crate) const fn is_worth_telling(&self) -> bool {
        self.count > SILENT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound() {
        let mut backoff = Backoff::new();
        assert!(backoff.is_fresh());
        let pauses: Vec<_> = (0..12).map(|_| backoff.pause()).collect();
        assert!(pauses.is_sorted());
        assert_eq!(pauses.last(), Some(&LONGEST));
        assert!(backoff.is_worth_telling());
    }
}
