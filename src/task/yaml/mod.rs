//! YAML in and out: text to nodes that know their line, values to text that reads back as the same values.
//!
//! Knows nothing of tasks. Refuses what a task never needs and an attacker likes: more than a mebibyte of
//! text, deep nesting, aliases that blow up, duplicate keys, tags of other languages, control characters.

mod node;
mod read;
mod write;

#[cfg(test)]
mod tests;

pub(crate) use node::{Data, Key, Node, truth_word};
pub(crate) use read::{MAX_BYTES, documents, text_of_bytes};
pub(crate) use write::{Out, document};
