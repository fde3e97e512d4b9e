//! What is tried after a refusal: pure, so that every case is a line in a test.
//!
//! ```text
//!  refusal ──► after_refusal ──► Again: the same place after a pause
//!                            ├─► Elsewhere: a block, and the search goes on with the best place that no block covers
//!                            └─► Stop: trying elsewhere cannot help
//! ```

use std::time::Duration;

use super::Choice;
use crate::base::clock::Moment;
use crate::catalog::{Block, Cause, Offer, Size, quota_family};
use crate::clouds::{Category, CloudError};
use crate::task::Infra;

/// How often the same place is tried when it asks for patience or does not answer.
pub(super) const MOST_TRIES: u32 = 5;
/// The first pause before the same place is tried again; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest, also where the cloud asks for a longer one.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How long a place without free machines is left out.
const NO_CAPACITY: Duration = Duration::from_mins(5);
/// The same where nodes are cut out of machines: what is free there is seen before each launch.
const NO_ROOM: Duration = Duration::from_secs(30);
/// How long what the account may not have is left out.
const NO_QUOTA: Duration = Duration::from_mins(10);
/// How long a cloud is left out that the user must set up; `sky check` ends it.
const NOT_SET_UP: Duration = Duration::from_mins(5);
/// How long a region is left out that does not answer.
const OUTAGE: Duration = Duration::from_mins(1);

/// What follows a refusal.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Next {
    /// The same place again after a pause.
    Again(Duration),
    /// Another place: this one is left out.
    Elsewhere(Box<Block>),
    /// Nothing: it would be the same everywhere.
    Stop,
}

/// Decides what follows a refusal, which was the `tries`-th in a row at this place. Pure.
pub(super) fn after_refusal(
    offer: &Offer,
    nodes: u32,
    refusal: &CloudError,
    tries: u32,
    now: Moment,
) -> Next {
    let reason = refusal.error.one_line();
    let block = |cause, infra, how_long| Block {
        infra,
        instance_type: None,
        family: None,
        spot: None,
        size: None,
        nodes: 1,
        until: now.after(how_long),
        cause,
        reason: reason.clone(),
    };
    let cloud = || Infra {
        cloud: Some(offer.cloud.clone()),
        ..Infra::default()
    };
    let region = || Infra {
        region: offer.region.clone(),
        ..cloud()
    };
    Next::Elsewhere(Box::new(match refusal.category {
        Category::Capacity => Block {
            instance_type: offer.instance_type.clone(),
            spot: Some(offer.spot),
            size: Size::of(offer),
            nodes,
            ..block(Cause::Capacity, place(offer), patience(offer, NO_CAPACITY))
        },
        Category::Quota => {
            let kind = offer.instance_type.as_deref();
            Block {
                family: kind.map(|kind| quota_family(&offer.cloud, kind).to_owned()),
                spot: Some(offer.spot),
                size: Size::of(offer),
                nodes,
                ..block(Cause::Quota, region(), patience(offer, NO_QUOTA))
            }
        }
        Category::Auth => block(Cause::Auth, cloud(), NOT_SET_UP),
        // What is named and not there (an image, a network) is a mistake in what was set up.
        Category::Configuration | Category::NotFound => {
            block(Cause::Configuration, cloud(), NOT_SET_UP)
        }
        Category::Throttled | Category::Transient if tries < MOST_TRIES => {
            return Next::Again(pause(refusal, tries));
        }
        Category::Throttled | Category::Transient => block(Cause::Outage, region(), OUTAGE),
        Category::Conflict | Category::Fatal => return Next::Stop,
    }))
}

/// The place of an offer, as closely as it names one.
fn place(offer: &Offer) -> Infra {
    Infra {
        cloud: Some(offer.cloud.clone()),
        region: offer.region.clone(),
        zone: offer.zone.clone(),
    }
}

/// How long what was refused is left out.
fn patience(offer: &Offer, sold: Duration) -> Duration {
    if offer.is_cut_to_size() {
        NO_ROOM
    } else {
        sold
    }
}

/// The pause before the same place is tried again.
fn pause(refusal: &CloudError, tries: u32) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1 << tries.saturating_sub(1).min(8));
    let asked = refusal.error.delay().unwrap_or_default();
    doubled.max(asked).min(LONGEST_PAUSE)
}

/// The places that are left to try, best first, and what was refused on the way.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Search {
    /// Places, best first.
    choices: Vec<Choice>,
    /// Refusals of this search.
    refused: Vec<Block>,
    /// Offers that left the zone open and stand in `choices` as their zones.
    opened: Vec<Offer>,
    /// How many nodes are wanted.
    nodes: u32,
}

impl Search {
    /// Begins.
    pub(super) fn new(choices: Vec<Choice>, nodes: u32) -> Self {
        Self {
            choices,
            refused: Vec::new(),
            opened: Vec::new(),
            nodes,
        }
    }

    /// Puts a place first: it was being tried when the server ended, and may hold machines.
    pub(super) fn resume(&mut self, choice: Choice) {
        self.choices.retain(|other| *other != choice);
        self.choices.insert(0, choice);
    }

    /// Returns the best place that no refusal covers.
    pub(super) fn best(&self) -> Option<&Choice> {
        self.left().next()
    }

    /// Returns what is left, best first.
    pub(super) fn left(&self) -> impl Iterator<Item = &Choice> {
        self.choices.iter().filter(|c| !self.is_refused(&c.offer))
    }

    /// Whether an offer was refused.
    fn is_refused(&self, offer: &Offer) -> bool {
        self.refused.iter().any(|b| b.covers(offer, self.nodes))
    }

    /// Puts the zones of an offer in its stead.
    pub(super) fn open(&mut self, offer: &Offer, zones: &[String]) {
        let at_zone = |choice: &Choice, zone: &String| Choice {
            offer: Offer {
                zone: Some(zone.clone()),
                ..choice.offer.clone()
            },
            wish: choice.wish.clone(),
        };
        let mut opened = Vec::with_capacity(self.choices.len() + zones.len());
        for choice in std::mem::take(&mut self.choices) {
            if choice.offer == *offer {
                opened.extend(zones.iter().map(|zone| at_zone(&choice, zone)));
            } else {
                opened.push(choice);
            }
        }
        self.choices = opened;
        self.opened.push(offer.clone());
    }

    /// Notes a refusal. Returns what is to be remembered: also that a region has nothing, once its last zone refused.
    pub(super) fn refuse(&mut self, block: Block) -> Vec<Block> {
        let mut new = vec![block.clone()];
        self.refused.push(block);
        let zones_of = |offer: &Offer| {
            let offer = offer.clone();
            self.choices.iter().filter(move |choice| {
                Offer {
                    zone: None,
                    ..choice.offer.clone()
                } == offer
            })
        };
        for offer in self.opened.iter().filter(|offer| !self.is_refused(offer)) {
            let mut until = Moment::from_micros(i64::MAX);
            let mut last = None;
            for zone in zones_of(offer) {
                let by = self
                    .refused
                    .iter()
                    .find(|b| b.covers(&zone.offer, self.nodes));
                last = by;
                let Some(by) = by else { break };
                until = until.min(by.until);
            }
            if let Some(last) = last {
                new.push(Block {
                    infra: place(offer),
                    until,
                    ..last.clone()
                });
            }
        }
        self.refused.extend(new.iter().skip(1).cloned());
        new
    }
}

#[cfg(test)]
mod tests;
