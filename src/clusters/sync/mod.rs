//! The user's files on their way to the nodes: listed once, compared by each node, and only what is lacking is sent.
//!
//! - `list`: a file or tree of this machine as a list that nodes can compare with what they have.
//! - `send`: the content of what they lack, read and compressed once for all nodes that lack the same.
//! - `fetch`: files that nodes get from elsewhere, by URLs.
//! - `git`: a repository instead, brought by the nodes themselves.
//! - `ship`: rounds of the two until every node has all; a round whose connection breaks is followed by another one, which
//!   sends only what has not arrived.

mod fetch;
mod git;
mod list;
mod send;
mod ship;

pub(crate) use fetch::{Haul, Spot};
pub(crate) use ship::{Shipment, Shipped};
