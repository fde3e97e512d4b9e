//! The only file that reads the clock.
#![expect(
    clippy::disallowed_methods,
    reason = "this file is the seam through which time enters"
)]

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A moment in wall-clock time, stored and sent as whole microseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Moment(i64);

impl Moment {
    /// Returns the present moment.
    pub(crate) fn now() -> Self {
        Self(Timestamp::now().as_microsecond())
    }

    /// Returns the moment so many microseconds after the Unix epoch.
    pub(crate) const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Returns microseconds since the Unix epoch.
    pub(crate) const fn micros(self) -> i64 {
        self.0
    }

    /// Returns seconds since the Unix epoch with a fraction, the form of the HTTP API.
    #[expect(
        clippy::cast_precision_loss,
        reason = "microseconds since 1970 fit in 53 bits"
    )]
    pub(crate) fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// Returns whole seconds since the Unix epoch.
    pub(crate) const fn secs(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// Returns the moment that lies `duration` later.
    pub(crate) fn after(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(micros))
    }

    /// Returns how long ago `earlier` was; zero when it lies in the future.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Returns the civil time stamp in UTC for rendering.
    pub(crate) fn timestamp(self) -> Timestamp {
        Timestamp::from_microsecond(self.0).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

/// Returns the monotonic clock, for measuring and deadlines inside one process.
pub(crate) fn monotonic() -> Instant {
    Instant::now()
}
