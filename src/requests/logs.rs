//! Logs of requests: one append-only file each, and a live hub while somebody writes or follows.
//!
//! A line is in the file before anybody is told of it, so a line that was shown survives the death of the process.
//! Followers share the hub's tail in memory and one notification; who is far behind, or late, reads the file.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::Notify;

use crate::api::frames::{MAX_PAYLOAD, Outcome};
use crate::api::status::RequestStatus;
use crate::base::ids::RequestId;
use crate::base::{Error, Result};
use crate::http::stream::{Piece, Source};
use crate::sys;

/// How much of the end of a live log stays in memory.
const TAIL_BYTES: u64 = 256 * 1024;
/// What begins every control line.
const CONTROL: &[u8] = b"<sky-payload";

/// All logs: where they are, and the hubs of those in use.
#[derive(Debug)]
pub(super) struct Logs {
    /// The directory.
    dir: PathBuf,
    /// Hubs that somebody holds.
    hubs: Mutex<HashMap<RequestId, Weak<Hub>>>,
}

impl Logs {
    /// Uses the logs in `dir`.
    pub(super) fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            hubs: Mutex::default(),
        }
    }

    /// Returns the file of a request's log, which exists once there is a line.
    pub(super) fn path(&self, id: RequestId) -> PathBuf {
        let name = id.to_string();
        self.dir.join(&name[..2]).join(format!("{name}.log"))
    }

    /// Returns the hub of a request.
    pub(super) fn hub(&self, id: RequestId) -> Arc<Hub> {
        let mut hubs = self.lock();
        if let Some(hub) = hubs.get(&id).and_then(Weak::upgrade) {
            return hub;
        }
        if hubs.len() >= 64 && hubs.len().is_power_of_two() {
            hubs.retain(|_, hub| hub.strong_count() > 0);
        }
        let hub = Arc::new(Hub::new(self.path(id)));
        hubs.insert(id, Arc::downgrade(&hub));
        hub
    }

    /// Tells those who follow a request's log how it stands; a final status ends the log.
    pub(super) fn stands(&self, id: RequestId, status: RequestStatus) {
        let mut hubs = self.lock();
        let hub = hubs.get(&id).and_then(Weak::upgrade);
        if status.is_final() {
            hubs.remove(&id);
        }
        drop(hubs);
        if let Some(hub) = hub {
            hub.stands(status);
        }
    }

    /// Tells all followers that this server stops: they come back to the next one.
    pub(super) fn interrupt(&self, reason: &str) {
        let hubs: Vec<_> = self.lock().values().filter_map(Weak::upgrade).collect();
        for hub in hubs {
            hub.interrupt(reason);
        }
    }

    /// Removes a request's log.
    pub(super) fn remove(&self, id: RequestId) -> Result<()> {
        let path = self.path(id);
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io(format!("remove `{}`", path.display()), &e))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Locks the map of hubs.
    fn lock(&self) -> MutexGuard<'_, HashMap<RequestId, Weak<Hub>>> {
        self.hubs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

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
    /// Pieces of its end, without gaps, with their offsets.
    tail: VecDeque<(u64, Bytes)>,
    /// Bytes in the tail.
    held: u64,
    /// Lines that could not be written (disk full) and were not yet reported in the log.
    lost: u64,
    /// How it stands.
    standing: Standing,
}

impl Hub {
    /// Makes the hub of the log at `path`.
    fn new(path: PathBuf) -> Self {
        Self {
            path,
            live: Mutex::new(Live {
                file: None,
                length: None,
                tail: VecDeque::new(),
                held: 0,
                lost: 0,
                standing: Standing::Open(RequestStatus::Pending),
            }),
            news: Notify::new(),
        }
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

    /// Notes how the request stands; a final status ends the log.
    pub(super) fn stands(&self, status: RequestStatus) {
        let mut live = self.lock();
        match live.standing {
            Standing::Open(_) if !status.is_final() => live.standing = Standing::Open(status),
            Standing::Open(_) | Standing::Interrupted(_) if status.is_final() => {
                live.standing = Standing::Ended(status);
                live.file = None;
            }
            Standing::Open(_) | Standing::Ended(_) | Standing::Interrupted(_) => {}
        }
        drop(live);
        self.news.notify_waiters();
    }

    /// Ends the followers' streams without ending the log.
    fn interrupt(&self, reason: &str) {
        let mut live = self.lock();
        if matches!(live.standing, Standing::Open(_)) {
            live.standing = Standing::Interrupted(reason.to_owned());
        }
        drop(live);
        self.news.notify_waiters();
    }

    /// Looks at `offset` without waiting.
    fn look(&self, offset: u64) -> Look {
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
        match live.from_tail(offset) {
            Some(bytes) => Look::Bytes(bytes),
            None => Look::InFile,
        }
    }
}

/// What is at an offset.
enum Look {
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
                self.held = 0;
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

    /// Adds a piece to the tail and forgets what is too old.
    fn hold(&mut self, offset: u64, text: Bytes) {
        let added = text.len() as u64;
        self.length = Some(offset + added);
        self.held += added;
        self.tail.push_back((offset, text));
        while self.held > TAIL_BYTES && self.tail.len() > 1 {
            if let Some((_, old)) = self.tail.pop_front() {
                self.held -= old.len() as u64;
            }
        }
    }

    /// Returns what the tail has from `offset` on, at most one payload.
    fn from_tail(&self, offset: u64) -> Option<Bytes> {
        let first = self.tail.front()?.0;
        if offset < first {
            return None;
        }
        let at = self.tail.partition_point(|(start, _)| *start <= offset) - 1;
        let (start, piece) = self.tail.get(at)?;
        let skip = usize::try_from(offset - start).ok()?;
        let head = piece.slice(skip.min(piece.len())..);
        if at + 1 == self.tail.len() || head.len() >= MAX_PAYLOAD {
            return Some(head.slice(..head.len().min(MAX_PAYLOAD)));
        }
        let mut all = Vec::from(head);
        for (_, piece) in self.tail.iter().skip(at + 1) {
            if all.len() + piece.len() > MAX_PAYLOAD {
                break;
            }
            all.extend_from_slice(piece);
        }
        Some(all.into())
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

/// A follower's view of a request's log.
#[derive(Debug)]
pub(crate) struct RequestLog {
    /// The log.
    hub: Arc<Hub>,
}

impl RequestLog {
    /// Makes a view.
    pub(super) const fn new(hub: Arc<Hub>) -> Self {
        Self { hub }
    }

    /// Reads one piece.
    async fn piece(&self, offset: u64, wait: bool) -> Result<Piece> {
        loop {
            // Registered before looking: news between the look and the wait are not missed.
            let news = self.hub.news.notified();
            tokio::pin!(news);
            news.as_mut().enable();
            match self.hub.look(offset) {
                Look::Bytes(bytes) => return Ok(Piece::Bytes(bytes)),
                Look::End(outcome) => return Ok(Piece::End(outcome)),
                Look::InFile => return read_file(self.hub.path.clone(), offset).await,
                Look::Quiet(status) if !wait => {
                    return Ok(Piece::Quiet(Outcome::Request { status }));
                }
                Look::Quiet(_) => news.await,
            }
        }
    }
}

impl Source for RequestLog {
    fn read(&mut self, offset: u64, wait: bool) -> BoxFuture<'_, Result<Piece>> {
        Box::pin(self.piece(offset, wait))
    }

    fn tail_offset(&mut self, lines: u64) -> BoxFuture<'_, Result<u64>> {
        let (path, length) = (self.hub.path.clone(), self.hub.length());
        Box::pin(async move {
            blocking(move || {
                if length == 0 {
                    return Ok(0);
                }
                let doing = || format!("read `{}`", path.display());
                let file = File::open(&path).map_err(|e| Error::io(doing(), &e))?;
                tail_start(&file, length, lines).map_err(|e| Error::io(doing(), &e))
            })
            .await
        })
    }
}

/// Reads one payload of a file.
async fn read_file(path: PathBuf, offset: u64) -> Result<Piece> {
    blocking(move || {
        let doing = || format!("read `{}`", path.display());
        let file = File::open(&path).map_err(|e| Error::io(doing(), &e))?;
        let mut bytes = vec![0; MAX_PAYLOAD];
        let read = file
            .read_at(&mut bytes, offset)
            .map_err(|e| Error::io(doing(), &e))?;
        bytes.truncate(read);
        if read == 0 {
            // Shorter than it was: somebody removed or cut it.
            return Ok(Piece::End(Outcome::Interrupted {
                reason: "the log was deleted".into(),
            }));
        }
        Ok(Piece::Bytes(bytes.into()))
    })
    .await
}

/// Runs file work on the blocking pool.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Error::internal("read a log", &e))?
}

/// Returns where the last `lines` lines begin, not counting control lines. Reads backwards, block by block.
fn tail_start(file: &File, length: u64, lines: u64) -> std::io::Result<u64> {
    const BLOCK: u64 = 64 * 1024;
    if lines == 0 {
        return Ok(length);
    }
    let mut seen = 0;
    // The first bytes of what follows the block: they tell whether a line that begins at its end is a control line.
    let mut after: Vec<u8> = Vec::new();
    let mut end = length;
    let mut last = true;
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        let mut block = vec![0; usize::try_from(end - start).unwrap_or(0)];
        file.read_exact_at(&mut block, start)?;
        let size = block.len();
        block.extend_from_slice(&after);
        for at in (0..size).rev().filter(|at| block[*at] == b'\n') {
            // The line feed that ends the log begins no line.
            let begins_line = !(last && start + at as u64 + 1 == length);
            if begins_line && !block[at + 1..].starts_with(CONTROL) {
                seen += 1;
                if seen == lines {
                    return Ok(start + at as u64 + 1);
                }
            }
        }
        last = false;
        block.truncate(CONTROL.len());
        after = block;
        end = start;
    }
    Ok(0)
}
