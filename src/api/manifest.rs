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

use std::collections::HashSet;
use std::io::{self, Read, Write};

use crate::base::{Error, Kind, Result};

/// The most entries of a manifest.
const MOST_ENTRIES: u64 = 20_000_000;
/// The longest path or target.
const LONGEST: u64 = 16 * 1024;
/// The largest piece of content.
pub(crate) const LARGEST_PIECE: usize = 256 * 1024;
/// Stands before a manifest.
const MAGIC: &[u8; 4] = b"skm1";

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

impl Manifest {
    /// Returns the bytes that are sent and stored.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.entries.len() * 64 + 16);
        out.extend_from_slice(MAGIC);
        out.push(match self.root {
            Root::Directory => 0,
            Root::File => 1,
        });
        number(&mut out, self.entries.len() as u64);
        let mut last: &[u8] = &[];
        for entry in &self.entries {
            let common = last
                .iter()
                .zip(&entry.path)
                .take_while(|(a, b)| a == b)
                .count();
            number(&mut out, common as u64);
            counted(&mut out, &entry.path[common..]);
            number(&mut out, u64::from(entry.mode));
            match &entry.body {
                Body::Directory => out.push(0),
                Body::File { size, mtime, fresh } => {
                    out.push(if *fresh { 2 } else { 1 });
                    number(&mut out, *size);
                    out.extend_from_slice(&mtime.to_le_bytes());
                }
                Body::Link { target } => {
                    out.push(3);
                    counted(&mut out, target);
                }
            }
            last = &entry.path;
        }
        out
    }

    /// Reads what [`Self::encode`] made, and checks it.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let manifest = read_manifest(&mut { bytes }).map_err(|e| damaged("list of files", &e))?;
        manifest.check()?;
        Ok(manifest)
    }

    /// Refuses paths that lead out of the root, or below something that is no directory.
    fn check(&self) -> Result<()> {
        if self.root == Root::File {
            return match self.entries.as_slice() {
                [one] if one.path.is_empty() && matches!(one.body, Body::File { .. }) => Ok(()),
                _ => Err(refused(b"")),
            };
        }
        let mut directories = HashSet::new();
        let mut last: Option<&[u8]> = None;
        for entry in &self.entries {
            let path = entry.path.as_slice();
            let sorted = last.is_none_or(|last| last < path);
            let parts = || path.split(|byte| *byte == b'/');
            let plain = parts().all(|part| !matches!(part, b"" | b"." | b".."));
            let parent = path.iter().rposition(|byte| *byte == b'/');
            let housed = parent.is_none_or(|at| directories.contains(&path[..at]));
            if !(sorted && plain && housed) || path.contains(&0) {
                return Err(refused(path));
            }
            if entry.body == Body::Directory {
                directories.insert(path);
            }
            last = Some(path);
        }
        Ok(())
    }
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

impl Lacking {
    /// Returns the bytes that are sent.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.files.len() * 4 + 8);
        number(&mut out, self.files.len() as u64);
        for (index, need) in &self.files {
            number(&mut out, *index as u64);
            match need {
                Need::Whole => out.push(0),
                Need::Rest { have, hash } => {
                    out.push(1);
                    number(&mut out, *have);
                    out.extend_from_slice(hash);
                }
                Need::Doubt(hash) => {
                    out.push(2);
                    out.extend_from_slice(hash);
                }
            }
        }
        out
    }

    /// Reads what [`Self::encode`] made for a manifest of so many entries.
    pub(crate) fn decode(bytes: &[u8], entries: usize) -> Result<Self> {
        read_lacking(&mut { bytes }, entries).map_err(|e| damaged("answer about files", &e))
    }
}

impl Record {
    /// Writes the record; what it announces is the caller's to write.
    pub(crate) fn write(self, to: &mut impl Write) -> io::Result<()> {
        let mut out = Vec::with_capacity(24);
        match self {
            Self::End => out.push(0),
            Self::Same(index) => {
                out.push(1);
                number(&mut out, index as u64);
            }
            Self::Gone(index) => {
                out.push(2);
                number(&mut out, index as u64);
            }
            Self::File(index, from) => {
                out.push(3);
                number(&mut out, index as u64);
                number(&mut out, from);
            }
        }
        to.write_all(&out)
    }

    /// Reads the next record of a stream about a manifest of so many entries.
    pub(crate) fn read(from: &mut impl Read, entries: usize) -> io::Result<Self> {
        let kind = byte(from)?;
        if kind == 0 {
            return Ok(Self::End);
        }
        let index = read_index(from, entries)?;
        match kind {
            1 => Ok(Self::Same(index)),
            2 => Ok(Self::Gone(index)),
            3 => Ok(Self::File(index, read_number(from)?)),
            _ => Err(nonsense()),
        }
    }
}

/// Writes a piece of a file's content; an empty one is its end.
pub(crate) fn write_piece(to: &mut impl Write, piece: &[u8]) -> io::Result<()> {
    let mut head = Vec::with_capacity(8);
    number(&mut head, piece.len() as u64);
    to.write_all(&head)?;
    to.write_all(piece)
}

/// Reads the next piece into `buffer`; it is empty at the end.
pub(crate) fn read_piece(from: &mut impl Read, buffer: &mut Vec<u8>) -> io::Result<()> {
    let len = read_number(from)?;
    let len = usize::try_from(len).map_err(|_| nonsense())?;
    if len > LARGEST_PIECE {
        return Err(nonsense());
    }
    buffer.resize(len, 0);
    from.read_exact(buffer)
}

/// Reads a manifest without checking it.
fn read_manifest(from: &mut &[u8]) -> io::Result<Manifest> {
    let mut magic = [0; MAGIC.len()];
    from.read_exact(&mut magic)?;
    if magic != *MAGIC {
        return Err(nonsense());
    }
    let root = match byte(from)? {
        0 => Root::Directory,
        1 => Root::File,
        _ => return Err(nonsense()),
    };
    let count = read_number(from)?;
    // Each entry takes several bytes: more than there are bytes is no count.
    if count > MOST_ENTRIES || count > from.len() as u64 {
        return Err(nonsense());
    }
    let mut entries: Vec<Entry> = Vec::with_capacity(usize::try_from(count).unwrap_or(0));
    for _ in 0..count {
        let common = usize::try_from(read_number(from)?).map_err(|_| nonsense())?;
        let last = entries.last().map_or(&[][..], |entry| &entry.path);
        let mut path = last.get(..common).ok_or_else(nonsense)?.to_vec();
        path.append(&mut read_counted(from)?);
        let mode = u32::try_from(read_number(from)?).map_err(|_| nonsense())?;
        let body = match byte(from)? {
            0 => Body::Directory,
            kind @ (1 | 2) => Body::File {
                size: read_number(from)?,
                mtime: read_time(from)?,
                fresh: kind == 2,
            },
            3 => Body::Link {
                target: read_counted(from)?,
            },
            _ => return Err(nonsense()),
        };
        entries.push(Entry { path, mode, body });
    }
    Ok(Manifest { root, entries })
}

/// Reads what is lacking.
fn read_lacking(from: &mut &[u8], entries: usize) -> io::Result<Lacking> {
    let count = read_number(from)?;
    if count > entries as u64 {
        return Err(nonsense());
    }
    let mut files = Vec::with_capacity(usize::try_from(count).unwrap_or(0));
    for _ in 0..count {
        let index = read_index(from, entries)?;
        let need = match byte(from)? {
            0 => Need::Whole,
            1 => Need::Rest {
                have: read_number(from)?,
                hash: read_hash(from)?,
            },
            2 => Need::Doubt(read_hash(from)?),
            _ => return Err(nonsense()),
        };
        files.push((index, need));
    }
    Ok(Lacking { files })
}

/// Appends a number: seven bits a byte, the lowest first.
fn number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

/// Appends bytes after their count.
fn counted(out: &mut Vec<u8>, bytes: &[u8]) {
    number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Reads a byte.
fn byte(from: &mut impl Read) -> io::Result<u8> {
    let mut one = [0];
    from.read_exact(&mut one)?;
    Ok(one[0])
}

/// Reads a number.
fn read_number(from: &mut impl Read) -> io::Result<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let next = byte(from)?;
        value |= u64::from(next & 0x7f) << shift;
        if next & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(nonsense())
}

/// Reads the index of an entry.
fn read_index(from: &mut impl Read, entries: usize) -> io::Result<usize> {
    let index = usize::try_from(read_number(from)?).map_err(|_| nonsense())?;
    (index < entries).then_some(index).ok_or_else(nonsense)
}

/// Reads counted bytes.
fn read_counted(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let len = read_number(from)?;
    if len > LONGEST {
        return Err(nonsense());
    }
    let mut bytes = vec![0; usize::try_from(len).map_err(|_| nonsense())?];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Reads a time.
fn read_time(from: &mut impl Read) -> io::Result<i64> {
    let mut bytes = [0; 8];
    from.read_exact(&mut bytes)?;
    Ok(i64::from_le_bytes(bytes))
}

/// Reads a hash.
fn read_hash(from: &mut impl Read) -> io::Result<Hash> {
    let mut hash = [0; 32];
    from.read_exact(&mut hash)?;
    Ok(hash)
}

/// Bytes that mean nothing.
fn nonsense() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

/// The error for bytes that cannot be read.
fn damaged(what: &str, error: &io::Error) -> Error {
    Error::new(Kind::Invalid, format!("the {what} cannot be read")).caused_by(error)
}

/// The error for a path that is not permitted.
fn refused(path: &[u8]) -> Error {
    let path = String::from_utf8_lossy(path);
    let path = crate::base::ids::clip(&path);
    Error::new(
        Kind::Invalid,
        format!("the list of files holds a name that is not permitted: `{path}`"),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(path: &[u8], body: Body) -> Entry {
        Entry {
            path: path.to_vec(),
            mode: 0o644,
            body,
        }
    }

    fn file(path: &[u8]) -> Entry {
        let (size, mtime, fresh) = (3, -7, false);
        entry(path, Body::File { size, mtime, fresh })
    }

    fn tree(entries: Vec<Entry>) -> Manifest {
        let root = Root::Directory;
        Manifest { root, entries }
    }

    #[test]
    fn names_that_lead_out_are_refused() {
        let link = || {
            entry(
                b"out",
                Body::Link {
                    target: b"/tmp".to_vec(),
                },
            )
        };
        for entries in [
            vec![file(b"../evil")],
            vec![file(b"/etc/evil")],
            vec![file(b"a//b")],
            vec![file(b"")],
            vec![file(b"a\0b")],
            vec![file(b"a/b")],
            vec![link(), file(b"out/evil")],
            vec![file(b"b"), file(b"a")],
            vec![file(b"a"), file(b"a")],
            vec![entry(b"a", Body::Directory), file(b"a/..")],
        ] {
            let shown = format!("{entries:?}");
            assert!(
                Manifest::decode(&tree(entries).encode()).is_err(),
                "{shown}"
            );
        }
        let one = Manifest {
            root: Root::File,
            entries: vec![file(b"x")],
        };
        assert!(Manifest::decode(&one.encode()).is_err());
    }

    #[test]
    fn a_cut_or_endless_text_is_an_error() {
        let whole = tree(vec![entry(b"a", Body::Directory), file(b"a/b")]).encode();
        for len in 0..whole.len() {
            assert!(Manifest::decode(&whole[..len]).is_err(), "{len}");
        }
        let mut huge = MAGIC.to_vec();
        huge.push(0);
        number(&mut huge, u64::MAX);
        assert!(Manifest::decode(&huge).is_err());
        assert!(Lacking::decode(&[5, 0, 0], 3).is_err());
        assert!(Record::read(&mut &[3, 9, 0][..], 3).is_err());
    }

    proptest! {
        #[test]
        fn what_is_encoded_comes_back(
            names in proptest::collection::btree_set("[a-z\\xff]{1,6}", 0..20),
            needs in proptest::collection::vec((any::<u64>(), any::<[u8; 32]>()), 0..9),
        ) {
            let mut entries = vec![entry(b"d", Body::Directory)];
            entries.extend(names.iter().map(|name| file(format!("d/{name}").as_bytes())));
            let manifest = tree(entries);
            prop_assert_eq!(&Manifest::decode(&manifest.encode()).expect("it is valid"), &manifest);
            let files = needs.iter().enumerate().map(|(index, (have, hash))| {
                let need = match have % 3 {
                    0 => Need::Whole,
                    1 => Need::Rest { have: *have, hash: *hash },
                    _ => Need::Doubt(*hash),
                };
                (index, need)
            });
            let lacking = Lacking { files: files.collect() };
            prop_assert_eq!(&Lacking::decode(&lacking.encode(), 9).expect("it is valid"), &lacking);
        }

        #[test]
        fn noise_is_refused_without_harm(noise in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = MAGIC.to_vec();
            bytes.extend(noise);
            drop(Manifest::decode(&bytes));
            drop(Lacking::decode(&bytes, 10));
        }
    }

    #[test]
    fn records_come_back() {
        let mut bytes = Vec::new();
        let records = [
            Record::Same(1),
            Record::File(2, 1 << 40),
            Record::Gone(0),
            Record::End,
        ];
        for record in records {
            record.write(&mut bytes).expect("memory");
        }
        write_piece(&mut bytes, b"text").expect("memory");
        let mut from = bytes.as_slice();
        for record in records {
            assert_eq!(Record::read(&mut from, 3).expect("it is there"), record);
        }
        let mut piece = Vec::new();
        read_piece(&mut from, &mut piece).expect("it is there");
        assert_eq!(piece, b"text");
    }
}
