//! How often a call is made, and after which pauses.

use std::fmt;
use std::time::Duration;

use super::{Aws, Fault};
use crate::base::clock::monotonic;
use crate::sys::{env, random};

/// The time of a call with all its attempts.
const WHOLE: Duration = Duration::from_secs(90);
/// The same for calls that others wait for.
const SHORT: Duration = Duration::from_secs(20);
/// The pause after the first attempt, at most; it doubles each time, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// The most attempts, unless `AWS_MAX_ATTEMPTS` says otherwise, as it does to AWS's own tools.
const ATTEMPTS: u32 = 10;

/// The attempts of one call.
pub(super) struct Tries<C> {
    /// What is called, for the log.
    call: C,
    /// Since when, on the monotonic clock.
    begun: std::time::Instant,
    /// How many there were.
    attempt: u32,
    /// How many there may be.
    most: u32,
    /// How long they may take.
    whole: Duration,
    /// Whether credentials were read anew for it.
    renewed: bool,
    /// Whether an attempt had no answer, so that it may have taken effect.
    silence: bool,
}

impl<C: fmt::Display> Tries<C> {
    /// Begins.
    pub(super) fn of(call: C) -> Self {
        Self {
            call,
            begun: monotonic(),
            attempt: 0,
            most: env::var("AWS_MAX_ATTEMPTS")
                .and_then(|text| text.parse().ok())
                .unwrap_or(ATTEMPTS),
            whole: WHOLE,
            renewed: false,
            silence: false,
        }
    }

    /// Begins for a call that gives credentials: everybody who calls waits for it.
    pub(super) fn short(call: C) -> Self {
        Self {
            whole: SHORT,
            ..Self::of(call)
        }
    }

    /// Returns what an attempt came to, with what earlier ones without an answer leave open.
    pub(super) fn told(&mut self, fault: Fault) -> Fault {
        let fault = if self.silence {
            fault.after_silence()
        } else {
            fault
        };
        self.silence |= fault.leaves_open();
        fault
    }

    /// Whether to call again, after a pause that is over then: what went wrong may pass, and there is time.
    pub(super) async fn again(&mut self, fault: &Fault) -> bool {
        self.attempt += 1;
        let pause = pause(self.attempt);
        if !fault.is_passing()
            || self.attempt >= self.most
            || self.begun.elapsed() + pause > self.whole
        {
            return false;
        }
        let (call, attempt) = (&self.call, self.attempt);
        tracing::info!(%call, attempt, %fault, "calling AWS again");
        tokio::time::sleep(pause).await;
        true
    }

    /// The same for calls with the caller's credentials: they may have been replaced since they were read.
    pub(super) async fn again_as(&mut self, caller: &Aws, fault: &Fault) -> bool {
        if fault.is_unknown_caller() && !fault.code().is_empty() && !self.renewed {
            self.renewed = true;
            caller.inner.cache.forget().await;
            return true;
        }
        self.again(fault).await
    }
}

/// Returns the pause after so many attempts: random, so that many callers do not come back together.
fn pause(attempt: u32) -> Duration {
    let most = FIRST_PAUSE
        .saturating_mul(1 << attempt.min(10))
        .min(LONGEST_PAUSE);
    // Without randomness the whole pause is as good.
    let part = random::bytes().map_or(u32::MAX, u32::from_le_bytes);
    most.mul_f64(0.25 + 0.75 * f64::from(part) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Error, Kind};

    #[test]
    fn pauses_grow_and_stay_bounded() {
        assert!(pause(1) <= Duration::from_millis(500));
        assert!(pause(30) <= LONGEST_PAUSE);
        assert!(pause(30) >= LONGEST_PAUSE.mul_f64(0.24));
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_pass_is_tried_a_few_times_and_the_rest_not_at_all() {
        let gone = Fault::from(Error::new(Kind::Unreachable, "no way"));
        let mut tries = Tries::of("a call");
        let mut calls = 1;
        while tries.again(&gone).await {
            calls += 1;
        }
        assert_eq!(calls, ATTEMPTS);
        assert!(tries.told(gone).leaves_open());
        let refused = Fault::read(
            "Act",
            400,
            b"<R><Error><Code>Bad</Code><Message>m</Message></Error></R>",
        );
        assert!(!Tries::of("a call").again(&refused).await);
        assert!(!Tries::of("a call").told(refused.clone()).leaves_open());
        assert!(
            tries.told(refused).leaves_open(),
            "the first may have worked"
        );
    }

    #[tokio::test]
    async fn an_unknown_caller_is_looked_up_once_more() {
        let dir = tempfile::tempdir().expect("a directory");
        let caller = Aws::new(dir.path());
        let expired = Fault::read(
            "Act",
            403,
            b"<R><Error><Code>ExpiredToken</Code><Message>m</Message></Error></R>",
        );
        let mut tries = Tries::of("a call");
        assert!(tries.again_as(&caller, &expired).await);
        assert!(!tries.again_as(&caller, &expired).await);
    }
}
