//! HTTP, both sides: the accept loop, bodies, calls, and log streams. hyper is named only here and in `transport/`.
//!
//! Knows connections, limits and bytes; knows no route, no request and no cluster.

pub(crate) mod frames;
mod lines;
pub(crate) mod stream;
