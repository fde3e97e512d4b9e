//! What a cloud has for one wish.

use super::offer::Offer;
use super::query::{Miss, tailor};
use super::why::Why;
use crate::task::Shape;

/// What a cloud has for one wish.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Supply {
    /// Nodes that meet the wish, each cut to size; the order says nothing.
    pub(crate) offers: Vec<Offer>,
    /// Why there is none; nothing where there are some, and where the wish is for another cloud.
    pub(crate) lack: Option<Why>,
}

impl Supply {
    /// Makes a supply of nodes.
    pub(super) fn of(offers: Vec<Offer>) -> Self {
        Self { offers, lack: None }
    }

    /// Makes an empty supply.
    pub(super) fn lacking(why: Why) -> Self {
        Self {
            offers: Vec::new(),
            lack: Some(why),
        }
    }

    /// Takes out of all offers of a cloud what meets a wish.
    pub(crate) fn select(wish: &Shape, offers: &[Offer]) -> Self {
        let mut fitting = Vec::new();
        let mut closest: Option<(Miss, &Offer)> = None;
        for offer in offers {
            match tailor(wish, offer) {
                Ok(node) => fitting.push(node),
                Err(miss) if closest.is_none_or(|(other, _)| miss > other) => {
                    closest = Some((miss, offer));
                }
                Err(_) => {}
            }
        }
        match closest {
            Some((miss, offer)) if fitting.is_empty() => Self::lacking(why(miss, offer)),
            Some(_) | None => Self::of(fitting),
        }
    }
}

/// Says why the offer that came closest is not what was asked for.
fn why(miss: Miss, offer: &Offer) -> Why {
    let cut = |have: f64| offer.is_cut_to_size().then_some(have);
    match miss {
        Miss::Place => Why::Place { near: Vec::new() },
        Miss::InstanceType => Why::InstanceType { near: Vec::new() },
        Miss::Accelerators | Miss::Family => Why::Accelerators {
            near: offer.accelerators.iter().map(ToString::to_string).collect(),
        },
        Miss::Cpus => Why::Cpus {
            have: cut(offer.vcpus),
        },
        Miss::Memory => Why::Memory {
            have: cut(offer.memory_gb),
        },
        Miss::LocalDisk => Why::LocalDisk,
        Miss::Spot => Why::Spot,
        Miss::NoPrice => Why::NoPrice,
        Miss::Cost => Why::Cost {
            cheapest: offer.hourly,
        },
    }
}
