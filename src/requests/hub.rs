//! One live log: its file, the end of it in memory, and the notification that followers wait for.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::sink::waiting_text;
use crate::api::frames::{Control, Outcome};
use crate::api::status::RequestStatus;
use crate::base::{Error, Result};
use crate::http::window::Window;
use crate::sys;

/// How a live log stands.
#[derive(Debug, Clone)]
enum Standing {
    /// Open; the request's status.
    Open(RequestStatus),
    /// Complete.
    Ended(RequestStatus),
    /// Open, but this server serves it no longer.
    Interrupted(String),
}

/// One log that somebody writes or follows.
#[derive(Debug)]
pub(super) struct Hub {
    /// The file.
    path: PathBuf,
    /// What changes.
    live: Mutex<Live>,
    /// Fires when something has changed.
    news: Notify,
}

/// What changes in a hub.
#[derive(Debug)]
struct Live {
    /// The file, once it is open for appending.
    file: Option<File>,
    /// Length of the log; `None` until it was looked at.
    length: Option<u64>,
    /// Its end.
    tail: Window,
    /// Lines that could not be written (disk full) and were not yet reported in the log.
    lost: u64,
    /// How it stands.
    standing: Standing,
    /// Whether a spinner in the log says why the request has not started.
    waiting: bool,
}

impl Hub {
    /// Makes the hub of the log at `path`.
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            live: Mutex::new(Live {
                file: None,
                length: None,
                tail: Window::default(),
                lost: 0,
                standing: Standing::Open(RequestStatus::Pending),
                waiting: false,
            }),
            news: Notify::new(),
        }
    }

    /// Returns the file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns what completes when something has changed.
    pub(super) fn news(&self) -> Notified<'_> {
        self.news.notified()
    }

    /// Locks what changes.
    fn lock(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends whole lines and tells the followers. A short blocking write into the kernel's cache.
    ///
    /// A line that cannot be written is dropped; how many were is said in the log when writing works again.
    pub(super) fn append(&self, text: Bytes) {
        let mut live = self.lock();
        if matches!(live.standing, Standing::Ended(_)) {
            tracing::debug!(path = %self.path.display(), "a line came after the end of its log");
            return;
        }
        let report = (live.lost > 0).then(|| {
            let lost = live.lost;
            Bytes::from(format!(
                "[sky] {lost} lines are missing here: the disk was full\n"
            ))
        });
        let written = match report {
            Some(report) => live.write(&self.path, report).map(|()| live.lost = 0),
            None => Ok(()),
        }
        .and_then(|()| live.write(&self.path, text));
        if let Err(error) = written {
            if live.lost == 0 {
                tracing::error!(
                    error = error.one_line(),
                    "a line of a request's log is lost"
                );
            }
            live.lost += 1;
        }
        drop(live);
        self.news.notify_waiters();
    }

    /// Returns the length of the log.
    pub(super) fn length(&self) -> u64 {
        self.lock().length(&self.path)
    }

    /// Shows a spinner that says why the request has not started. Only for those who look: nobody makes a file for
    /// each of a hundred thousand pending requests.
    pub(super) fn waits(&self, reason: &str) {
        let mut live = self.lock();
        let pending = matches!(live.standing, Standing::Open(RequestStatus::Pending));
        if !pending || live.waiting || live.length(&self.path) > 0 {
            return;
        }
        let text = waiting_text(reason);
        let lines = Control::Init(text.clone()).line() + &Control::Start(text).line();
        live.waiting = live.write(&self.path, lines.into()).is_ok();
        drop(live);
        self.news.notify_waiters();
    }

    /// Notes how the request stands; a final status ends the log.
    pub(super) fn stands(&self, status: RequestStatus) {
        let mut live = self.lock();
        if status != RequestStatus::Pending && std::mem::take(&mut live.waiting) {
            let exit = live.write(&self.path, Control::Exit.line().into());
            if let Err(error) = exit {
                tracing::error!(error = error.one_line(), "a spinner stays in a log");
            }
        }
        match live.standing {
            Standing::Open(_) | Standing::Interrupted(_) if status.is_final() => {
                live.standing = Standing::Ended(status);
                live.file = None;
            }
            // Whoever looked at the row before it started must not set the log back.
            Standing::Open(_) if status != RequestStatus::Pending => {
                live.standing = Standing::Open(status);
            }
            Standing::Open(_) | Standing::Ended(_) | Standing::Interrupted(_) => {}
        }
        drop(live);
        self.news.notify_waiters();
    }

    /// Ends the followers' streams without ending the log.
    pub(super) fn interrupt(&self, reason: &str) {
        let mut live = self.lock();
        if matches!(live.standing, Standing::Open(_)) {
            live.standing = Standing::Interrupted(reason.to_owned());
        }
        drop(live);
        self.news.notify_waiters();
    }

    /// Looks at `offset` without waiting.
    pub(super) fn look(&self, offset: u64) -> Look {
        let mut live = self.lock();
        let length = live.length(&self.path);
        if offset >= length {
            return match &live.standing {
                Standing::Open(status) => Look::Quiet(*status),
                Standing::Ended(status) => Look::End(Outcome::Request { status: *status }),
                Standing::Interrupted(reason) => Look::End(Outcome::Interrupted {
                    reason: reason.clone(),
                }),
            };
        }
        match live.tail.at(offset) {
            Some(bytes) => Look::Bytes(bytes),
            None => Look::InFile,
        }
    }
}

/// What is at an offset.
pub(super) enum Look {
    /// Bytes in memory.
    Bytes(Bytes),
    /// Bytes, but only in the file.
    InFile,
    /// Nothing yet.
    Quiet(RequestStatus),
    /// Nothing any more.
    End(Outcome),
}

impl Live {
    /// Returns the length of the log, looking at the file the first time.
    fn length(&mut self, path: &Path) -> u64 {
        *self
            .length
            .get_or_insert_with(|| std::fs::metadata(path).map_or(0, |meta| meta.len()))
    }

    /// Writes to the file and then to the tail.
    fn write(&mut self, path: &Path, text: Bytes) -> Result<()> {
        let doing = || format!("append to `{}`", path.display());
        if self.file.is_none() {
            self.open(path)?;
        }
        let length = self.length(path);
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        if let Err(e) = file.write_all(&text) {
            // Half a line must not stay: offsets that were given out count whole writes only.
            if let Err(e) = file.set_len(length) {
                tracing::error!(error = %e, path = %path.display(), "half a line stays in a log");
                self.length = None;
                self.tail.clear();
            }
            self.file = None;
            return Err(Error::io(doing(), &e));
        }
        self.hold(length, text);
        Ok(())
    }

    /// Opens the file; a line that the death of an earlier process cut is ended first.
    fn open(&mut self, path: &Path) -> Result<()> {
        if let Some(parent) = path.parent() {
            sys::fs::private_dir(parent)?;
        }
        let mut file = sys::fs::open_append(path)?;
        let length = file
            .metadata()
            .map_err(|e| Error::io(format!("look at `{}`", path.display()), &e))?
            .len();
        self.length = Some(length);
        if length > 0 && !ends_line(path, length) {
            file.write_all(b"\n")
                .map_err(|e| Error::io(format!("append to `{}`", path.display()), &e))?;
            self.hold(length, Bytes::from_static(b"\n"));
        }
        self.file = Some(file);
        Ok(())
    }

    /// Adds a piece to the tail.
    fn hold(&mut self, offset: u64, text: Bytes) {
        self.length = Some(offset + text.len() as u64);
        self.tail.push(offset, text);
    }
}

/// Returns whether the last byte of a file is a line feed.
fn ends_line(path: &Path, length: u64) -> bool {
    let mut last = [0];
    File::open(path)
        .and_then(|file| file.read_exact_at(&mut last, length - 1))
        .is_ok()
        && last == *b"\n"
}
