//! Where the time of a launch goes.
//!
//! [`recorded`] opens a record around the run of a verb. Whatever is awaited in it says with [`during`] or [`begin`] which part
//! of a launch it is; without a record these do nothing, so that code that serves several verbs need not know. A record is that
//! of a task: what is spawned is not part of it, only the wait for it.
//!
//! Every moment belongs to exactly one part, so that the parts sum to the whole, which is the time on the wall:
//!
//! - Inside of a step the inner one counts: a copy while machines are reached is a copy.
//! - Of steps that overlap, as those of several nodes do, the one that has been running longest counts: it is the one that the
//!   others wait for in the end, more often than not.
//! - What no step covers is [`Part::Other`].

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::clock::monotonic;

/// A part of a launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// The cloud: calls to it, and the wait until its machines run.
    Cloud,
    /// Until a shell on the host answers.
    Connect,
    /// Our file, onto the host.
    Copy,
    /// Looking at hosts, making nodes, starting their agents.
    Start,
    /// Work directory and file mounts.
    Sync,
    /// The job, handed to the head.
    Submit,
    /// All else: the plan, records.
    Other,
}

impl Part {
    /// All, in the order in which they are told.
    const ALL: [Self; 7] = [
        Self::Cloud,
        Self::Connect,
        Self::Copy,
        Self::Start,
        Self::Sync,
        Self::Submit,
        Self::Other,
    ];

    /// Returns its name.
    const fn name(self) -> &'static str {
        match self {
            Self::Cloud => "cloud",
            Self::Connect => "connect",
            Self::Copy => "copy",
            Self::Start => "start",
            Self::Sync => "sync",
            Self::Submit => "submit",
            Self::Other => "other",
        }
    }
}

/// The least that is told of a part.
const LEAST: Duration = Duration::from_millis(1);

/// How long a launch has taken, by parts. As text: `0.83 s (connect 0.12 s, copy 0.31 s, submit 0.020 s)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Spent([Duration; Part::ALL.len()]);

impl Spent {
    /// Returns the whole.
    pub(crate) fn total(&self) -> Duration {
        self.0.iter().sum()
    }
}

impl fmt::Display for Spent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", seconds(self.total()))?;
        let parts = Part::ALL.into_iter().zip(self.0);
        let parts: Vec<String> = parts
            .filter(|(_, spent)| *spent >= LEAST)
            .map(|(part, spent)| format!("{} {}", part.name(), seconds(spent)))
            .collect();
        if parts.is_empty() {
            return Ok(());
        }
        write!(f, " ({})", parts.join(", "))
    }
}

/// Writes a duration with about two digits that count.
fn seconds(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    let digits = match seconds {
        10.0.. => 0,
        1.0.. => 1,
        0.1.. => 2,
        _ => 3,
    };
    format!("{seconds:.digits$} s")
}

/// A step under way; numbers count from one, and zero is the whole.
#[derive(Debug)]
struct Open {
    /// Which it is.
    number: u64,
    /// The step in which it runs.
    inside: u64,
    /// What it is.
    part: Part,
}

/// The account: what was spent, and what is under way.
#[derive(Debug)]
struct Ledger {
    /// Until when all is accounted for.
    until: Instant,
    /// By part.
    spent: Spent,
    /// Steps under way, the oldest first.
    open: Vec<Open>,
    /// Steps so far.
    steps: u64,
}

impl Ledger {
    /// Opens an account.
    fn new(now: Instant) -> Self {
        Self {
            until: now,
            spent: Spent::default(),
            open: Vec::new(),
            steps: 0,
        }
    }

    /// Returns the part that counts now: of the steps in which no other runs, that of the oldest.
    fn counts(&self) -> Part {
        let is_innermost =
            |step: &&Open| !(self.open.iter()).any(|other| other.inside == step.number);
        let oldest = self.open.iter().find(is_innermost);
        oldest.map_or(Part::Other, |step| step.part)
    }

    /// Accounts for the time until now.
    fn settle(&mut self, now: Instant) {
        let part = self.counts();
        self.spent.0[part as usize] += now.saturating_duration_since(self.until);
        self.until = self.until.max(now);
    }

    /// Begins a step inside of another; returns its number.
    fn open(&mut self, part: Part, inside: u64, now: Instant) -> u64 {
        self.settle(now);
        self.steps += 1;
        self.open.push(Open {
            number: self.steps,
            inside,
            part,
        });
        self.steps
    }

    /// Ends a step.
    fn close(&mut self, number: u64, now: Instant) {
        self.settle(now);
        self.open.retain(|step| step.number != number);
    }
}

tokio::task_local! {
    /// The step in which the task runs.
    static CURRENT: Current;
}

/// A step of a record.
#[derive(Clone)]
struct Current {
    /// The record.
    ledger: Arc<Mutex<Ledger>>,
    /// The number of the step.
    number: u64,
}

impl Current {
    /// Works with the account, at this moment.
    fn with<T>(&self, work: impl FnOnce(&mut Ledger, Instant) -> T) -> T {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        work(&mut ledger, monotonic())
    }
}

/// A step under way; ends when it is dropped.
pub(crate) struct Step(Current);

impl Drop for Step {
    fn drop(&mut self) {
        let number = self.0.number;
        self.0.with(|ledger, now| ledger.close(number, now));
    }
}

/// Keeps a record of where the time of some work goes.
pub(crate) async fn recorded<T>(work: impl Future<Output = T>) -> T {
    let whole = Current {
        ledger: Arc::new(Mutex::new(Ledger::new(monotonic()))),
        number: 0,
    };
    CURRENT.scope(whole, Box::pin(work)).await
}

/// Returns what was spent so far; nothing without a record.
pub(crate) fn so_far() -> Option<Spent> {
    CURRENT
        .try_with(|current| {
            current.with(|ledger, now| {
                ledger.settle(now);
                ledger.spent
            })
        })
        .ok()
}

/// Begins a step that ends when the value is dropped; no other step runs inside of it.
#[must_use]
pub(crate) fn begin(part: Part) -> Option<Step> {
    let outer = CURRENT.try_with(Clone::clone).ok()?;
    let number = outer.with(|ledger, now| ledger.open(part, outer.number, now));
    Some(Step(Current { number, ..outer }))
}

/// Awaits work that is this part of a launch.
pub(crate) async fn during<T>(part: Part, work: impl Future<Output = T>) -> T {
    let work = Box::pin(work);
    match begin(part) {
        Some(step) => CURRENT.scope(step.0.clone(), work).await,
        None => work.await,
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join;
    use proptest::prelude::*;

    use super::*;

    /// A moment so many milliseconds after another.
    fn ms(begun: Instant, ms: u64) -> Instant {
        begun + Duration::from_millis(ms)
    }

    /// Milliseconds of a part.
    fn spent(ledger: &Ledger, part: Part) -> u128 {
        ledger.spent.0[part as usize].as_millis()
    }

    #[test]
    fn parts_have_places_of_their_own() {
        for (at, part) in Part::ALL.into_iter().enumerate() {
            assert_eq!(part as usize, at);
        }
    }

    #[test]
    fn the_inner_step_counts_and_of_several_nodes_the_one_that_takes_longest() {
        let begun = monotonic();
        let mut ledger = Ledger::new(begun);
        let whole = ledger.open(Part::Start, 0, ms(begun, 10));
        // The first node is connected after 20 ms, the second after 50.
        let first = ledger.open(Part::Connect, whole, ms(begun, 10));
        let second = ledger.open(Part::Connect, whole, ms(begun, 10));
        ledger.close(first, ms(begun, 30));
        let first = ledger.open(Part::Copy, whole, ms(begun, 30));
        ledger.close(second, ms(begun, 60));
        let second = ledger.open(Part::Copy, whole, ms(begun, 60));
        ledger.close(first, ms(begun, 70));
        ledger.close(second, ms(begun, 100));
        ledger.close(whole, ms(begun, 105));
        ledger.settle(ms(begun, 112));
        let parts = [Part::Other, Part::Connect, Part::Copy, Part::Start];
        assert_eq!(parts.map(|part| spent(&ledger, part)), [17, 50, 40, 5]);
        assert_eq!(
            ledger.spent.to_string(),
            "0.11 s (connect 0.050 s, copy 0.040 s, start 0.005 s, other 0.017 s)"
        );
    }

    #[test]
    fn little_is_not_told() {
        let mut spent = Spent::default();
        assert_eq!(spent.to_string(), "0.000 s");
        spent.0[Part::Sync as usize] = Duration::from_micros(990);
        spent.0[Part::Cloud as usize] = Duration::from_millis(12_345);
        spent.0[Part::Submit as usize] = Duration::from_millis(1_250);
        assert_eq!(spent.to_string(), "14 s (cloud 12 s, submit 1.2 s)");
    }

    #[tokio::test(start_paused = true)]
    async fn steps_are_those_of_the_task_that_records_and_end_when_they_are_dropped() {
        assert!(begin(Part::Copy).is_none() && so_far().is_none());
        during(Part::Copy, async {}).await;
        recorded(async {
            let number = |current: &Current| current.number;
            let inside = during(Part::Connect, async {
                let guard = begin(Part::Copy).expect("a record");
                assert_eq!(CURRENT.with(number), 1, "a guard is no scope");
                drop(guard);
                let both = join(
                    during(Part::Copy, async { CURRENT.with(number) }),
                    during(Part::Start, async { CURRENT.with(number) }),
                );
                both.await
            });
            assert_eq!(inside.await, (3, 4));
            let dropped = during(Part::Copy, std::future::pending::<()>());
            let waited = tokio::time::timeout(Duration::from_millis(5), dropped).await;
            assert!(waited.is_err());
            CURRENT.with(|current| current.with(|ledger, _| assert!(ledger.open.is_empty())));
            assert!(so_far().is_some());
        })
        .await;
    }

    proptest! {
        /// Steps begin and end in any order, inside of any other: nothing is counted twice or left out.
        #[test]
        fn parts_sum_to_the_whole(events in prop::collection::vec((0_u64..50, any::<bool>(), any::<prop::sample::Index>(), 0_usize..7), 0..60)) {
            let begun = monotonic();
            let mut ledger = Ledger::new(begun);
            let mut now = begun;
            for (pause, opens, which, part) in events {
                now = ms(now, pause);
                let numbers: Vec<u64> = ledger.open.iter().map(|step| step.number).chain([0]).collect();
                let number = *which.get(&numbers);
                if opens {
                    ledger.open(Part::ALL[part], number, now);
                } else {
                    ledger.close(number, now);
                }
            }
            ledger.settle(now);
            prop_assert_eq!(ledger.spent.total(), now - begun);
        }
    }
}
