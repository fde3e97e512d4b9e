//! The routes, one file per area. A handler parses, calls one function and shapes the answer.

mod clusters;
mod files;
mod health;
mod infra;
mod login;
mod logs;
mod requests;
mod ssh;
mod table;
#[cfg(test)]
mod tests;
mod unsupported;
mod users;

pub(crate) use table::router;
