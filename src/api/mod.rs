//! Wire types of server and agent. No I/O, no behaviour beyond conversion.
#![warn(clippy::missing_docs_in_private_items)]

pub(crate) mod agent;
pub(crate) mod bodies;
pub(crate) mod exceptions;
pub(crate) mod frames;
pub(crate) mod handles;
pub(crate) mod health;
pub(crate) mod manifest;
pub(crate) mod pickle;
pub(crate) mod records;
pub(crate) mod requests;
pub(crate) mod status;
pub(crate) mod users;
pub(crate) mod versions;
