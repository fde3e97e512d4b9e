//! Uploads: chunks in any order, resumable, kept under the hash of their content, removed when nobody needs them.
//!
//! ```text
//! clients/<user>/file_mounts/uploads/<blob>-<n>/part<i>   chunks that have arrived
//! clients/<user>/file_mounts/blobs/<blob>/…               the unpacked content
//! ```
//!
//! A chunk is written beside its place and moved there when it is whole, so a broken connection leaves nothing
//! that looks like a chunk. When the last one is there, all are unpacked into a directory that becomes the blob by
//! one rename. What a zip archive says is believed nowhere: see `unpack`.

mod blobs;
mod early;
mod parts;
#[cfg(test)]
mod tests;
mod unpack;

pub(crate) use blobs::{Blobs, Chunk, Limits, Progress, Trust};
pub(crate) use early::Early;
