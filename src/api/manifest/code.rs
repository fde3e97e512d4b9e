//! How manifests, lists of what is lacking, and records are written and read.

use std::collections::HashSet;
use std::io::{self, Read, Write};

use super::{Body, Entry, Hash, LARGEST_PIECE, Lacking, Manifest, Need, Record, Root};
use crate::base::{Error, Kind, Result};

/// The most entries of a manifest.
const MOST_ENTRIES: u64 = 20_000_000;
/// The longest path or target.
const LONGEST: u64 = 16 * 1024;
/// Stands before a manifest.
pub(super) const MAGIC: &[u8; 4] = b"skm1";

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
pub(super) fn number(out: &mut Vec<u8>, mut value: u64) {
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
