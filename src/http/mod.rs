//! HTTP, both sides: the accept loop, bodies, calls, and log streams. hyper is named only here and in `transport/`.
//!
//! Knows connections, limits and bytes; knows no route, no request and no cluster.

pub(crate) mod answer;
pub(crate) mod body;
pub(crate) mod call;
pub(crate) mod conn;
mod endpoint;
pub(crate) mod exec;
pub(crate) mod frames;
pub(crate) mod guard;
mod lines;
pub(crate) mod listen;
pub(crate) mod logfile;
mod owner;
pub(crate) mod serve;
pub(crate) mod stream;
pub(crate) mod tail;
pub(crate) mod tls;
pub(crate) mod unix;
pub(crate) mod window;
