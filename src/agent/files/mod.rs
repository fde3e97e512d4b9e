//! Files that the server brings to a node, under the node's home (or linked into it): only what changed travels, each file is put in its place
//! as a whole, and what was cut off goes on where it broke.
//!
//! - `compare` looks at what is there, makes directories and links, and says which files are lacking (`api::manifest`).
//! - `receive` takes the content of those.
//! - `place` takes files whose content comes from elsewhere.
//! - `desk` holds what is remembered for each destination: the last list of files, and parts of large ones.
//!
//! Nothing is ever removed that the list does not name: jobs leave files beside those of the user. What a file is,
//! is decided by size and time, and by hash where these leave doubt; so nothing has to be remembered to be right.

mod compare;
mod desk;
mod destination;
mod pack;
mod place;
mod receive;
#[cfg(test)]
mod tests;

pub(crate) use compare::compare;
pub(crate) use desk::{Desk, Turn, remove};
pub(crate) use destination::{Destination, destination, guard};
pub(crate) use pack::pack;
pub(crate) use place::{Arrival, Place};
pub(crate) use receive::{Received, receive};
