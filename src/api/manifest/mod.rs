//! What server and agent say to each other about a tree of files: what is there, what is lacking, and the content.
//!
//! ```text
//! server                                             agent
//!   digest of the manifest ──────────────────────────► known from last time, or: unknown
//!   manifest (compressed) ───────────────────────────► makes directories and links, looks at files
//!   ◄──────────────────────────────────────── Lacking: files that are absent, cut, or that may differ
//!   records: content of those ───────────────────────► puts each file in its place as a whole
//! ```
//!
//! All three are sequences of numbers (LEB128) and counted bytes: names need not be UTF-8, and a million files are tens of
//! megabytes. What is decoded is checked: a manifest names nothing outside of its root, and nothing below a file or link.

mod code;
#[cfg(test)]
mod tests;

pub(crate) use code::{read_piece, write_piece};

/// The largest piece of content.
pub(crate) const LARGEST_PIECE: usize = 256 * 1024;

/// A SHA-256.
pub(crate) type Hash = [u8; 32];

/// A tree of files, or one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Manifest {
    /// What the whole is.
    pub(crate) root: Root,
    /// Sorted by path, so a directory comes before what is in it.
    pub(crate) entries: Vec<Entry>,
}

/// What a manifest describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Root {
    /// The content of a directory.
    Directory,
    /// One file: a single entry whose path is empty.
    File,
}

/// Something in the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Where it is, seen from the root: no `..`, no empty parts.
    pub(crate) path: Vec<u8>,
    /// Permissions; of links without meaning.
    pub(crate) mode: u32,
    /// What it is.
    pub(crate) body: Body,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Body {
    /// A directory.
    Directory,
    /// A regular file.
    File {
        /// Bytes.
        size: u64,
        /// When it was changed last, in nanoseconds since 1970.
        mtime: i64,
        /// That was so short a time ago that it may change again without a later time being seen.
        fresh: bool,
    },
    /// A symbolic link.
    Link {
        /// Where it leads.
        target: Vec<u8>,
    },
}

/// What a node needs to hold a tree.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Lacking {
    /// Files by their index in the manifest, ascending.
    pub(crate) files: Vec<(usize, Need)>,
}

/// What a node needs of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// All of it.
    Whole,
    /// What follows a part that arrived earlier, if that has this hash.
    Rest {
        /// Bytes that are there.
        have: u64,
        /// Their hash.
        hash: Hash,
    },
    /// All of it, unless its content has this hash.
    Doubt(Hash),
}

/// A record of the content stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Record {
    /// The node's content of this file is right.
    Same(usize),
    /// The file has vanished since it was listed.
    Gone(usize),
    /// Pieces of this file follow, from this byte on; an empty one ends them.
    File(usize, u64),
    /// There is no more.
    End,
}

impl Entry {
    /// Returns the bytes of a file; nothing for what is none.
    pub(crate) const fn size(&self) -> u64 {
        match self.body {
            Body::File { size, .. } => size,
            Body::Directory | Body::Link { .. } => 0,
        }
    }
}
