//! The combined log of a job: the outputs of its processes, line by line, each with its prefix.
//!
//! What goes into `run.log` is decided once: an entry (source, from, to) is appended to an index before the rendered
//! bytes are appended to the log. After a crash the log is completed from the index, so it is never re-ordered, and a
//! follower that has read up to any offset misses and repeats nothing.

mod index;
mod lines;

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use self::index::{Entry, Index};
use crate::base::{Error, Result};
use crate::sys::fs;

/// The most that is read from one source before the next one gets its turn.
const TURN: usize = 256 * 1024;

/// Where lines come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Origin {
    /// A growing file.
    File(PathBuf),
    /// A text of the agent itself, complete from the beginning.
    Text(String),
}

/// A source of lines, told apart by its label.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Source {
    /// Unique name within the job.
    pub(crate) label: String,
    /// Where the lines come from.
    pub(crate) origin: Origin,
    /// What stands in front of each line.
    pub(crate) prefix: String,
}

/// A source as far as it is merged.
struct Progress {
    /// The source.
    source: Source,
    /// How many of its bytes are in the log.
    done: u64,
    /// Nothing will be added to it any more.
    ended: bool,
    /// The open file.
    file: Option<File>,
}

/// The combined log of one job while it grows. Blocks: use it on a thread that may.
pub(crate) struct Merger {
    /// Descriptions of sources, one JSON line each.
    sources_file: File,
    /// What was decided.
    index: Index,
    /// The log.
    log: File,
    /// Its length.
    length: u64,
    /// Rendered bytes that are in the index but not yet in the log.
    owed: Vec<u8>,
    /// All sources in the order in which they came.
    sources: Vec<Progress>,
}

impl Merger {
    /// Opens the log at `log` with its side files in `directory`; completes what a crash cut off.
    pub(crate) fn open(directory: &Path, log: &Path) -> Result<Self> {
        fs::private_dir(directory)?;
        let sources_path = directory.join("sources");
        let sources = read_sources(&sources_path)?;
        let file = fs::open_append(log)?;
        let length = file
            .metadata()
            .map_err(|e| Error::io(format!("read `{}`", log.display()), &e))?
            .len();
        let mut merger = Self {
            sources_file: fs::open_append(&sources_path)?,
            index: Index::open(&directory.join("index"))?,
            log: file,
            length,
            owed: Vec::new(),
            sources: sources
                .into_iter()
                .map(|source| Progress {
                    source,
                    done: 0,
                    ended: false,
                    file: None,
                })
                .collect(),
        };
        merger.recover()?;
        Ok(merger)
    }

    /// Returns how many bytes a follower can read.
    pub(crate) const fn length(&self) -> u64 {
        self.length
    }

    /// Adds a source, unless its label is known.
    pub(crate) fn add(&mut self, source: Source) -> Result<()> {
        if self.sources.iter().any(|p| p.source.label == source.label) {
            return Ok(());
        }
        let mut line = serde_json::to_vec(&source)
            .map_err(|e| Error::internal("write the description of a log source", &e))?;
        line.push(b'\n');
        let length = self.sources_file.metadata().map(|m| m.len());
        if let Err(e) = self.sources_file.write_all(&line) {
            // A half line would swallow the next one.
            if let Ok(length) = length {
                drop(self.sources_file.set_len(length));
            }
            return Err(Error::io("describe a log source", &e));
        }
        self.sources.push(Progress {
            ended: matches!(source.origin, Origin::Text(_)),
            source,
            done: 0,
            file: None,
        });
        Ok(())
    }

    /// Says that a source is complete.
    pub(crate) fn end(&mut self, label: &str) {
        for progress in &mut self.sources {
            if progress.source.label == label {
                progress.ended = true;
            }
        }
    }

    /// Merges all complete lines that are there. After an error it can be called again and goes on.
    pub(crate) fn pass(&mut self) -> Result<()> {
        self.settle()?;
        loop {
            let mut moved = false;
            for number in 0..self.sources.len() {
                moved |= self.turn(number)?;
            }
            if !moved {
                return Ok(());
            }
        }
    }

    /// Merges one piece of a source; returns whether there was one.
    fn turn(&mut self, number: usize) -> Result<bool> {
        let progress = &mut self.sources[number];
        let from = progress.done;
        let (before, bytes) = progress.read(from, TURN)?;
        // More may follow what was read, so only a short read shows the end of a complete source.
        let complete = progress.ended && bytes.len() < TURN;
        let Some((length, close)) = lines::cut(&bytes, complete) else {
            return Ok(false);
        };
        let rendered = lines::render(&progress.source.prefix, before, &bytes[..length], close);
        self.index.append(Entry {
            source: u32::try_from(number).unwrap_or(u32::MAX),
            close,
            from,
            to: from + length as u64,
            at: self.length,
        })?;
        self.sources[number].done += length as u64;
        self.owed = rendered;
        self.settle()?;
        Ok(true)
    }

    /// Appends to the log what the index says stands there.
    fn settle(&mut self) -> Result<()> {
        while !self.owed.is_empty() {
            match self.log.write(&self.owed) {
                Ok(count) => {
                    self.length += count as u64;
                    self.owed.drain(..count);
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Error::io("append to a job's log", &e)),
            }
        }
        Ok(())
    }

    /// Brings sources and log to where the index says they are.
    fn recover(&mut self) -> Result<()> {
        let entries = self.index.entries()?;
        for entry in &entries {
            if let Some(progress) = self.sources.get_mut(entry.source as usize) {
                progress.done = progress.done.max(entry.to);
            }
        }
        for progress in &mut self.sources {
            progress.ended = matches!(progress.source.origin, Origin::Text(_));
        }
        // Entries are in the order of the log: all before this one are whole in it.
        let first = entries
            .partition_point(|entry| entry.at <= self.length)
            .saturating_sub(1);
        for entry in entries.iter().skip(first) {
            let rendered = self.render_again(entry)?;
            let there = self.length.saturating_sub(entry.at);
            let there = usize::try_from(there).unwrap_or(usize::MAX);
            self.owed = rendered.get(there..).unwrap_or_default().to_vec();
            self.settle()?;
        }
        Ok(())
    }

    /// Renders what an entry stands for.
    fn render_again(&mut self, entry: &Entry) -> Result<Vec<u8>> {
        let Some(progress) = self.sources.get_mut(entry.source as usize) else {
            return Ok(Vec::new());
        };
        let length = usize::try_from(entry.to.saturating_sub(entry.from)).unwrap_or(0);
        let (before, bytes) = progress.read(entry.from, length)?;
        Ok(lines::render(
            &progress.source.prefix,
            before,
            &bytes,
            entry.close,
        ))
    }
}

impl Progress {
    /// Reads up to `most` bytes at `from`, and the byte before them.
    fn read(&mut self, from: u64, most: usize) -> Result<(Option<u8>, Vec<u8>)> {
        let lead = u64::from(from > 0);
        let mut bytes = match &self.source.origin {
            Origin::Text(text) => {
                let start = usize::try_from(from - lead).unwrap_or(usize::MAX);
                let rest = text.as_bytes().get(start..).unwrap_or_default();
                rest[..rest.len().min(most + 1)].to_vec()
            }
            Origin::File(path) => {
                if self.file.is_none() {
                    self.file = File::open(path).ok();
                }
                match &self.file {
                    Some(file) => read_at(file, from - lead, most + 1)
                        .map_err(|e| Error::io(format!("read `{}`", path.display()), &e))?,
                    None => Vec::new(),
                }
            }
        };
        if lead == 0 {
            bytes.truncate(most);
            return Ok((None, bytes));
        }
        if bytes.is_empty() {
            return Ok((None, bytes));
        }
        let before = bytes.remove(0);
        Ok((Some(before), bytes))
    }
}

/// Reads up to `most` bytes at an offset.
fn read_at(file: &File, offset: u64, most: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; most];
    let mut filled = 0;
    while filled < most {
        match file.read_at(&mut bytes[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// Reads the descriptions of sources; cuts off a half line at the end.
fn read_sources(path: &Path) -> Result<Vec<Source>> {
    let text = fs::read_optional(path)?.unwrap_or_default();
    let mut sources = Vec::new();
    let mut good = 0;
    for line in text.split_inclusive('\n') {
        let (true, Ok(source)) = (line.ends_with('\n'), serde_json::from_str(line)) else {
            break;
        };
        sources.push(source);
        good += line.len();
    }
    if good < text.len() {
        std::fs::OpenOptions::new()
            .write(true)
            .open(path)
            .and_then(|file| file.set_len(good as u64))
            .map_err(|e| Error::io(format!("repair `{}`", path.display()), &e))?;
    }
    Ok(sources)
}

#[cfg(test)]
mod tests;
