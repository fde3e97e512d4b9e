//! The chunks of one upload: which are there, and all of them read as one file.

use std::fs::File;
use std::io::{Error, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Returns the place of a chunk.
pub(super) fn path(dir: &Path, index: u32) -> PathBuf {
    dir.join(format!("part{index}"))
}

/// Returns the names of the chunks that are not there.
pub(super) fn missing(dir: &Path, total: u32) -> Vec<String> {
    let absent = |index: &u32| !path(dir, *index).exists();
    (0..total)
        .filter(absent)
        .map(|index| format!("part{index}"))
        .collect()
}

/// Returns the bytes of the chunks that are there, but for chunk `except`, which is about to be replaced.
pub(super) fn bytes(dir: &Path, total: u32, except: u32) -> u64 {
    let len = |index| std::fs::metadata(path(dir, index)).map_or(0, |meta| meta.len());
    (0..total).filter(|index| *index != except).map(len).sum()
}

/// All chunks in a row.
pub(super) struct Joined {
    /// The chunks: where each begins, and the file.
    files: Vec<(u64, File)>,
    /// The length of all.
    len: u64,
    /// Where the next read begins.
    at: u64,
}

impl Joined {
    /// Opens the chunks.
    pub(super) fn open(dir: &Path, total: u32) -> std::io::Result<Self> {
        let mut files = Vec::new();
        let mut len = 0;
        for index in 0..total {
            let file = File::open(path(dir, index))?;
            let bytes = file.metadata()?.len();
            files.push((len, file));
            len += bytes;
        }
        Ok(Self { files, len, at: 0 })
    }
}

impl Read for Joined {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.at >= self.len || buffer.is_empty() {
            return Ok(0);
        }
        // The last chunk that begins at or before the position; empty ones before it are passed over.
        let index = self.files.partition_point(|(start, _)| *start <= self.at) - 1;
        let end = self
            .files
            .get(index + 1)
            .map_or(self.len, |(start, _)| *start);
        let (start, file) = &mut self.files[index];
        file.seek(SeekFrom::Start(self.at - *start))?;
        let most = usize::try_from(end - self.at).unwrap_or(usize::MAX);
        let most = most.min(buffer.len());
        let read = file.read(&mut buffer[..most])?;
        if read == 0 {
            return Err(Error::new(
                ErrorKind::UnexpectedEof,
                "a chunk became shorter",
            ));
        }
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Joined {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        let target = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.len.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at =
            target.ok_or_else(|| Error::new(ErrorKind::InvalidInput, "a seek before the start"))?;
        Ok(self.at)
    }
}
