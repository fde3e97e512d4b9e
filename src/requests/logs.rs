//! Logs of requests: one append-only file each, and a live hub while somebody writes or follows.
//!
//! A line is in the file before anybody is told of it, so a line that was shown survives the death of the process.
//! Followers share the hub's tail in memory and one notification; who is far behind, or late, reads the file.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use futures_util::future::BoxFuture;

use super::hub::{Hub, Look};
use crate::api::frames::{MAX_PAYLOAD, Outcome};
use crate::api::status::RequestStatus;
use crate::base::ids::RequestId;
use crate::base::{Error, Result};
use crate::http::stream::{Piece, Source};

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
            let news = self.hub.news();
            tokio::pin!(news);
            news.as_mut().enable();
            match self.hub.look(offset) {
                Look::Bytes(bytes) => return Ok(Piece::Bytes(bytes)),
                Look::End(outcome) => return Ok(Piece::End(outcome)),
                Look::InFile => return read_file(self.hub.path().to_path_buf(), offset).await,
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
        let (path, length) = (self.hub.path().to_path_buf(), self.hub.length());
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
