//! The embedded store: one file, one writer thread, durable group commits, JSON records with a version.
//!
//! Owns the file, its lock, its schema and what happens when the disk is full or the file is damaged.
//! Refuses to know what is stored: repositories (files named `store.rs`) bring their tables and types and
//! take a transaction, so that several of them change in one commit.
//!
//! ```text
//!  Db::write ──► bounded channel ──► writer thread: run what has gathered, one commit (fsync),
//!                                    on_commit hooks in order, then answer all
//!  Db::read  ──► blocking pool  ──► a snapshot
//! ```
//!
//! The one invariant: a write that was answered with `Ok` is on disk and survives any crash.
#![warn(clippy::missing_docs_in_private_items)]

mod codec;
mod db;
mod fault;
mod held;
mod holder;
mod migrate;
mod opening;
mod tables;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod tx;
mod writer;

pub(crate) use codec::{JsonRecord, Raw};
pub(crate) use db::{Db, Options};
pub(crate) use tables::{Span, Table};
pub(crate) use tx::{Read, ReadTx, Walk, WriteTx};
