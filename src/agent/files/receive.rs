//! Takes the content of files and puts each in its place as a whole.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;

use super::compare::{LARGE, beside, close_directories, failed, place};
use super::desk::{Turn, remove};
use super::destination::guard;
use crate::api::manifest::{Body, Entry, Manifest, Record, read_piece};
use crate::base::{Error, Kind, Result};
use crate::sys::fs::private_dir;

/// What has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(crate) struct Received {
    /// Files that were put in their place.
    pub(crate) files: u64,
    /// Bytes in them that arrived now.
    pub(crate) bytes: u64,
}

/// Reads records to their end; what is in its place before the stream breaks stays there. Blocks.
pub(crate) fn receive(
    mut stream: impl Read,
    turn: &Turn,
    home: &Path,
    dest: &Path,
    manifest: &Manifest,
) -> Result<Received> {
    guard(home, dest)?;
    let mut arrival = Arrival {
        turn,
        stage: turn.stage()?,
        received: Received::default(),
        piece: Vec::new(),
    };
    private_dir(&turn.parts())?;
    let broken =
        |e: io::Error| Error::new(Kind::Unreachable, "the stream of files broke off").caused_by(&e);
    loop {
        turn.check()?;
        let record = Record::read(&mut stream, manifest.entries.len()).map_err(broken)?;
        match record {
            Record::End => break,
            Record::Gone(_) => {}
            Record::Same(index) => {
                let entry = &manifest.entries[index];
                settle(&place(dest, entry), entry)?;
            }
            Record::File(index, from) => {
                let entry = &manifest.entries[index];
                arrival.file(&mut stream, entry, from, &place(dest, entry))?;
            }
        }
    }
    close_directories(dest, manifest)?;
    remove(&arrival.stage)?;
    remove(&turn.parts())?;
    Ok(arrival.received)
}

/// A stream that is arriving.
struct Arrival<'a> {
    /// Where parts are.
    turn: &'a Turn,
    /// Where small files are written.
    stage: PathBuf,
    /// What has arrived.
    received: Received,
    /// The piece that is being written.
    piece: Vec<u8>,
}

impl Arrival<'_> {
    /// Takes one file.
    fn file(
        &mut self,
        stream: &mut impl Read,
        entry: &Entry,
        from: u64,
        path: &Path,
    ) -> Result<()> {
        let Body::File { size, mtime, .. } = entry.body else {
            return Err(Error::new(Kind::Invalid, "content of what is no file"));
        };
        let scratch = if size >= LARGE {
            self.turn.part(entry)
        } else {
            self.stage.join("file")
        };
        if from > 0 {
            tracing::info!(path = %path.display(), from, "goes on with a file that broke off");
        }
        let mut file = open(&scratch, from).map_err(|e| failed("write", &scratch, &e))?;
        loop {
            read_piece(stream, &mut self.piece).map_err(|e| {
                Error::new(Kind::Unreachable, "the stream of files broke off").caused_by(&e)
            })?;
            if self.piece.is_empty() {
                break;
            }
            self.turn.check()?;
            file.write_all(&self.piece)
                .map_err(|e| failed("write", path, &e))?;
            self.received.bytes += self.piece.len() as u64;
        }
        finish(&file, entry.mode, mtime).map_err(|e| failed("write", path, &e))?;
        drop(file);
        put(&scratch, path).map_err(|e| failed("replace", path, &e))?;
        self.received.files += 1;
        Ok(())
    }
}

/// Opens what is written, at the byte at which it goes on.
pub(super) fn open(scratch: &Path, from: u64) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    if from == 0 {
        return options.create(true).truncate(true).open(scratch);
    }
    // It may have been whole, with the permissions of its source, and not yet in its place.
    std::fs::set_permissions(scratch, std::fs::Permissions::from_mode(0o600))?;
    let file = options.append(true).open(scratch)?;
    if file.metadata()?.len() == from {
        Ok(file)
    } else {
        Err(io::Error::other("its first part has changed"))
    }
}

/// Gives a file its permissions, and last its time.
pub(super) fn finish(file: &File, mode: u32, mtime: i64) -> io::Result<()> {
    file.set_permissions(std::fs::Permissions::from_mode(mode & 0o777))?;
    let nanos = Duration::from_nanos(mtime.unsigned_abs());
    let time = if mtime < 0 {
        UNIX_EPOCH.checked_sub(nanos)
    } else {
        UNIX_EPOCH.checked_add(nanos)
    };
    file.set_modified(time.unwrap_or(UNIX_EPOCH))
}

/// Gives a file whose content is right its time: next time that decides.
fn settle(path: &Path, entry: &Entry) -> Result<()> {
    let Body::File { mtime, .. } = entry.body else {
        return Ok(());
    };
    let settled = File::open(path).and_then(|file| finish(&file, entry.mode, mtime));
    match settled {
        // A job took it away meanwhile: the next comparison will see.
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        settled => settled.map_err(|e| failed("set the time of", path, &e)),
    }
}

/// Moves a file that is whole to its place.
pub(super) fn put(scratch: &Path, path: &Path) -> io::Result<()> {
    match std::fs::rename(scratch, path) {
        // A job removed the directory meanwhile.
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            std::fs::create_dir_all(path.parent().unwrap_or(path))?;
            std::fs::rename(scratch, path)
        }
        // Something else is mounted there: the last step is still a rename.
        Err(e) if e.kind() == io::ErrorKind::CrossesDevices => {
            let beside = beside(path);
            std::fs::copy(scratch, &beside)?;
            let meta = scratch.metadata()?;
            let copy = File::options().write(true).open(&beside)?;
            copy.set_modified(meta.modified()?)?;
            std::fs::rename(&beside, path)?;
            std::fs::remove_file(scratch)
        }
        moved => moved,
    }
}
