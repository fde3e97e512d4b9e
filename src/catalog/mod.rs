//! Offers: what a cloud can give, and the question whether an offer is what a shape asks for.
//!
//! Where offers come from (this machine, a price list, a scheduler) is the clouds' business.

mod offer;
mod query;

#[cfg(test)]
pub(crate) mod tests;

pub(crate) use offer::Offer;
pub(crate) use query::{Miss, tailor};
