//! The table of categories, and properties of the search.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::base::units::Dollars;
use crate::clouds::fake::refusal;
use crate::task::Shape;

fn offer(region: &str, zone: Option<&str>, kind: &str) -> Offer {
    Offer {
        cloud: "aws".to_owned(),
        display: "AWS".to_owned(),
        region: Some(region.to_owned()),
        zone: zone.map(str::to_owned),
        instance_type: Some(kind.to_owned()),
        vcpus: 2.0,
        memory_gb: 8.0,
        accelerators: None,
        hourly: Dollars(0.1),
        spot: false,
        arch: None,
    }
}

fn choice(offer: Offer) -> Choice {
    Choice {
        offer,
        wish: Arc::new(Shape::default()),
    }
}

/// The block of a refusal at the first of the offers, and which of them it leaves.
fn left(category: Category, offers: &[Offer]) -> Vec<&Offer> {
    let next = after_refusal(&offers[0], 2, &refusal(category), MOST_TRIES, now());
    let Next::Elsewhere(block) = next else {
        panic!("{category:?} is no refusal of a place: {next:?}")
    };
    assert!(block.until > now());
    offers.iter().filter(|o| !block.covers(o, 2)).collect()
}

fn now() -> Moment {
    Moment::from_micros(1_000_000)
}

#[test]
fn each_category_leaves_out_what_it_is_about() {
    let here = offer("r1", Some("a"), "m6i.large");
    let other_zone = offer("r1", Some("b"), "m6i.large");
    let other_kind = offer("r1", Some("a"), "c6i.large");
    let gpu = offer("r1", Some("a"), "p5.large");
    let other_region = offer("r2", Some("a"), "m6i.large");
    let other_cloud = Offer {
        cloud: "gcp".to_owned(),
        ..here.clone()
    };
    let all = [
        here,
        other_zone.clone(),
        other_kind.clone(),
        gpu.clone(),
        other_region.clone(),
        other_cloud.clone(),
    ];
    let is = |category, wanted: &[&Offer]| assert_eq!(left(category, &all), wanted, "{category:?}");
    is(
        Category::Capacity,
        &[&other_zone, &other_kind, &gpu, &other_region, &other_cloud],
    );
    is(Category::Quota, &[&gpu, &other_region, &other_cloud]);
    for category in [Category::Auth, Category::Configuration, Category::NotFound] {
        is(category, &[&other_cloud]);
    }
    for category in [Category::Throttled, Category::Transient] {
        is(category, &[&other_region, &other_cloud]);
    }
    for category in [Category::Fatal, Category::Conflict] {
        let next = after_refusal(&all[0], 1, &refusal(category), 1, now());
        assert_eq!(next, Next::Stop);
    }
}

#[test]
fn fewer_nodes_or_another_market_are_another_question() {
    let here = offer("r1", Some("a"), "m6i.large");
    for category in [Category::Capacity, Category::Quota] {
        let Next::Elsewhere(block) = after_refusal(&here, 8, &refusal(category), 1, now()) else {
            panic!("no block")
        };
        assert!(block.covers(&here, 8) && block.covers(&here, 9));
        assert!(!block.covers(&here, 7));
        let spot = Offer {
            spot: true,
            ..here.clone()
        };
        assert!(!block.covers(&spot, 8));
    }
}

#[test]
fn a_small_node_is_asked_for_where_a_large_one_was_refused() {
    let large = Offer {
        instance_type: None,
        ..offer("pool", None, "")
    };
    let small = Offer {
        vcpus: 1.0,
        ..large.clone()
    };
    let Next::Elsewhere(block) = after_refusal(&large, 1, &refusal(Category::Capacity), 1, now())
    else {
        panic!("no block")
    };
    assert!(block.covers(&large, 1) && !block.covers(&small, 1));
}

#[test]
fn patience_is_bounded_and_grows() {
    let here = offer("r1", None, "m6i.large");
    let pauses: Vec<u64> = (1..)
        .map_while(|tries| {
            match after_refusal(&here, 1, &refusal(Category::Throttled), tries, now()) {
                Next::Again(pause) => Some(pause.as_secs()),
                Next::Elsewhere(_) | Next::Stop => None,
            }
        })
        .collect();
    assert_eq!(pauses, [1, 2, 4, 8]);
    let mut asks = refusal(Category::Throttled);
    *asks.error = asks.error.retry_after(Duration::from_secs(9));
    let next = after_refusal(&here, 1, &asks, 1, now());
    assert_eq!(next, Next::Again(Duration::from_secs(9)));
}

#[test]
fn a_region_is_left_out_when_its_last_zone_refused() {
    let region = offer("r1", None, "m6i.large");
    let mut search = Search::new(vec![choice(region.clone())], 1);
    search.open(&region, &["a".to_owned(), "b".to_owned()]);
    let refuse = |search: &mut Search| {
        let offer = search.best().expect("one is left").offer.clone();
        let next = after_refusal(&offer, 1, &refusal(Category::Capacity), 1, now());
        let Next::Elsewhere(block) = next else {
            panic!("no block")
        };
        search.refuse(*block)
    };
    assert_eq!(refuse(&mut search).len(), 1);
    let last = refuse(&mut search);
    assert_eq!(last.len(), 2);
    assert!(last[1].covers(&region, 1));
    assert!(!last[0].covers(&region, 1));
    assert!(search.best().is_none());
}

fn categories() -> impl Strategy<Value = Category> {
    prop::sample::select(vec![
        Category::Capacity,
        Category::Quota,
        Category::Auth,
        Category::Configuration,
        Category::NotFound,
        Category::Throttled,
        Category::Transient,
    ])
}

proptest! {
    /// Whatever is refused: the search ends, tries nothing twice, keeps the order, and what it gives up is covered.
    #[test]
    fn a_search_ends_and_tries_nothing_twice(
        places in prop::collection::vec((0..3_u8, 0..3_u8, 0..3_usize), 1..20),
        answers in prop::collection::vec(categories(), 1..12),
        nodes in 1..4_u32,
    ) {
        let kinds = ["m6i.large", "c6i.large", "p5.large"];
        let mut choices: Vec<Choice> = Vec::new();
        for (region, zone, kind) in places {
            let zone = (zone > 0).then(|| format!("z{zone}"));
            let new = choice(offer(&format!("r{region}"), zone.as_deref(), kinds[kind]));
            if !choices.contains(&new) { choices.push(new); }
        }
        let order = choices.clone();
        let mut search = Search::new(choices, nodes);
        let mut tried: Vec<Offer> = Vec::new();
        let mut blocks: Vec<Block> = Vec::new();
        let mut answers = answers.iter().cycle();
        while let Some(choice) = search.best().cloned() {
            prop_assert!(!tried.contains(&choice.offer), "{:?} was tried already", choice.offer);
            if let Some(last) = tried.last() {
                let at = |offer: &Offer| order.iter().position(|c| c.offer == *offer);
                prop_assert!(at(last) < at(&choice.offer), "not in the order of preference");
            }
            tried.push(choice.offer.clone());
            let category = *answers.next().expect("it cycles");
            match after_refusal(&choice.offer, nodes, &refusal(category), MOST_TRIES, now()) {
                Next::Elsewhere(block) => {
                    prop_assert!(block.covers(&choice.offer, nodes), "what was refused is covered");
                    blocks.extend(search.refuse(*block));
                }
                other => prop_assert!(false, "{other:?}"),
            }
        }
        for choice in &order {
            prop_assert!(blocks.iter().any(|b| b.covers(&choice.offer, nodes)));
        }
    }
}
