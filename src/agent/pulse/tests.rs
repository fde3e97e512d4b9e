//! The decision against links that come and go, in milliseconds.

use proptest::prelude::*;

use super::*;

/// When a second packet asks for a connection.
const SECOND: u64 = 1000;

/// A machine and the node that asks it: spans in which the way between them is away, and one in which the node stands still.
#[derive(Debug, Clone, Default)]
struct World {
    away: Vec<(u64, u64)>,
    still: (u64, u64),
    /// How long a question takes that has no answer.
    vain: u64,
}

impl World {
    fn is_up(&self, at: u64) -> bool {
        !self
            .away
            .iter()
            .any(|(from, to)| (*from..*to).contains(&at))
    }

    /// When something that is due at `at` happens.
    fn awake(&self, at: u64) -> u64 {
        if (self.still.0..self.still.1).contains(&at) {
            self.still.1
        } else {
            at
        }
    }

    /// Asks until `end`; returns when the machine was found lost.
    fn found_lost(&self, end: u64) -> Option<u64> {
        let zero = Instant::now();
        let moment = |at: u64| zero + Duration::from_millis(at);
        let mut heard = Heard::new(zero);
        let mut at = 0;
        while at < end {
            let tries = [at, at + SECOND];
            let answer = tries
                .into_iter()
                .find(|sent| *sent <= at + self.vain && self.is_up(*sent));
            let now = self.awake(answer.unwrap_or(at + self.vain));
            if answer.is_some() {
                heard.alive(moment(now));
            } else {
                heard.missed(moment(at), moment(now));
            }
            if heard.is_lost(moment(now)) {
                return Some(now);
            }
            let pause = heard.pause(moment(now)).as_millis();
            at = self.awake(now + u64::try_from(pause).expect("short"));
        }
        None
    }
}

/// A question in vain ends when its time is over, or earlier where the network knows.
fn vain() -> impl Strategy<Value = u64> {
    prop_oneof![Just(3000), 0..=3000_u64]
}

proptest! {
    #[test]
    fn links_that_are_away_for_ten_seconds_are_not_noticed(
        vain in vain(),
        spans in prop::collection::vec((5000..40_000_u64, 0..=10_000_u64), 0..20),
    ) {
        let mut at = 0;
        let away = spans.into_iter().map(|(well, ill)| {
            let from = at + well;
            at = from + ill;
            (from, at)
        });
        let world = World { away: away.collect(), vain, ..World::default() };
        prop_assert_eq!(world.found_lost(at + 60_000), None);
    }

    #[test]
    fn a_machine_that_goes_is_lost_after_twelve_to_twenty_one_seconds(vain in vain(), goes in 0..60_000_u64) {
        let world = World { away: vec![(goes, u64::MAX)], vain, ..World::default() };
        let took = world.found_lost(goes + 60_000).expect("lost") - goes;
        prop_assert!((12_000..=21_000).contains(&took), "{} ms", took);
    }

    #[test]
    fn a_node_that_stood_still_blames_nobody(
        vain in vain(),
        from in 0..60_000_u64,
        long in 20_000..1_000_000_u64,
        away in 0..=9000_u64,
    ) {
        // When it goes on, its own way is away for some seconds more.
        let still = (from, from + long);
        let world = World { away: vec![(from, still.1 + away)], still, vain };
        prop_assert_eq!(world.found_lost(still.1 + 60_000), None);
    }
}

#[tokio::test(start_paused = true)]
async fn refusals_are_answers_and_what_was_lost_may_come_back() {
    let nobody = Pulse::new("127.0.0.1".to_owned(), 1);
    let lost = timeout(Duration::from_secs(60), nobody.lost()).await;
    assert!(lost.is_err(), "a machine that refuses is there");
    let asked = Instant::now();
    for seconds in [4, 8, 12, 16] {
        let now = asked + Duration::from_secs(seconds);
        nobody.shared.missed(asked, now);
    }
    nobody.lost().await;
    nobody.alive();
    nobody.back().await;
}
