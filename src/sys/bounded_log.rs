//! The log of a background program: a file that standard error goes to too, kept below a size.
//!
//! The writer itself looks at the size, before each line: no timer, no signal, no other program. When the file is full it
//! becomes `<name>.1` (what had that name is gone) and a new one begins, so the two together stay below twice the limit.

use std::fs::{File, rename};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::fs::open_append;
use crate::base::Result;

/// A log file. Several processes may write the same one: whoever finds it full renames it, the others follow.
#[derive(Debug)]
pub(crate) struct BoundedLog {
    /// Where it is.
    path: PathBuf,
    /// The open file.
    file: File,
    /// What becomes of standard error when a new file begins.
    stderr: Stderr,
}

/// What becomes of standard error, where panics and the runtime's last words go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stderr {
    /// It goes to the new file.
    Follows,
    /// It stays where it is.
    #[cfg_attr(not(test), expect(dead_code, reason = "a test keeps its own"))]
    Stays,
}

impl BoundedLog {
    /// Opens the log at `path`, or makes it.
    pub(crate) fn open(path: &Path, stderr: Stderr) -> Result<Self> {
        Ok(Self {
            path: path.to_path_buf(),
            file: open_append(path)?,
            stderr,
        })
    }

    /// Appends a line; begins a new file first when it would not fit into `limit` bytes.
    pub(crate) fn append(&mut self, line: &[u8], limit: u64) -> io::Result<()> {
        let full = |file: &File| -> io::Result<bool> {
            let length = file.metadata()?.len();
            Ok(length > 0 && length.saturating_add(line.len() as u64) > limit)
        };
        if full(&self.file)? {
            // A log that cannot be renamed grows on: better than none.
            drop(self.begin_anew());
        }
        self.file.write_all(line)
    }

    /// Puts the file aside and opens a new one, or the one that somebody else has begun.
    fn begin_anew(&mut self) -> io::Result<()> {
        let (own, there) = (self.file.metadata()?, std::fs::metadata(&self.path)?);
        let is_ours = (own.dev(), own.ino()) == (there.dev(), there.ino());
        if is_ours {
            rename(&self.path, aside(&self.path))?;
        }
        self.file = open_append(&self.path).map_err(io::Error::other)?;
        if self.stderr == Stderr::Follows {
            rustix::stdio::dup2_stderr(&self.file)?;
        }
        Ok(())
    }
}

/// Returns where the file before this one is kept.
fn aside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_files_hold_the_last_lines_whoever_writes_them() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("server.log");
        let open = || BoundedLog::open(&path, Stderr::Stays).expect("it opens");
        let mut writers = [open(), open()];
        for n in 0..100 {
            let line = format!("line {n:03}\n");
            let writer = &mut writers[n / 7 % 2];
            writer.append(line.as_bytes(), 90).expect("it writes");
        }
        let read = |path: &Path| std::fs::read_to_string(path).expect("it is there");
        let (before, now) = (read(&aside(&path)), read(&path));
        assert!(before.len() <= 90 && now.len() <= 90, "{before}{now}");
        let both = before + &now;
        let count = both.lines().count();
        assert!(count >= 10, "{both}");
        let last: Vec<String> = (100 - count..100).map(|n| format!("line {n:03}")).collect();
        assert_eq!(both.lines().collect::<Vec<_>>(), last, "no gap");
        let mut long = open();
        long.append(&[b'x'; 200], 90)
            .expect("a line that never fits is written all the same");
        assert_eq!(read(&path).len(), 200);
    }
}
