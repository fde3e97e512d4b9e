//! The vocabulary every other module speaks: ids, errors, time, units, secrets. No I/O.
#![warn(clippy::missing_docs_in_private_items)]

pub(crate) mod clock;
pub(crate) mod cx;
pub(crate) mod error;
pub(crate) mod ids;
pub(crate) mod secret;
pub(crate) mod timings;
pub(crate) mod units;

pub(crate) use error::{Error, Kind, Result};
