//! Offers: what a cloud can give, and the question whether an offer is what a shape asks for.
//!
//! Pure. Where offers come from (this machine, a price list, a scheduler) is the clouds' business; a price list is a
//! [`Table`], made of a file's contents or built in, and answers one question, `Table::supply`: the nodes that meet a wish,
//! or why there is none.

mod ask;
mod block;
mod builtin;
mod list;
mod names;
mod offer;
mod query;
mod read;
mod supply;
mod table;
mod why;
mod words;

#[cfg(test)]
mod table_tests;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use block::{Block, Cause, Size, quota_family};
pub(crate) use builtin::DATE as BUILT_IN_DATE;
pub(crate) use list::{Filter, Listing};
pub(crate) use names::display_name;
pub(crate) use offer::Offer;
pub(crate) use supply::Supply;
pub(crate) use table::{Origin, Table};
pub(crate) use why::{RuledOut, Why};
