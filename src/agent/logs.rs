//! The logs of jobs while they grow: one task per active job merges, any number of followers reads the file.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot, watch};

use super::merge::{Merger, Origin, Source};
use super::watch::Changes;
use crate::api::agent::RankInfo;
use crate::api::frames::Outcome;
use crate::base::{Error, Result};
use crate::http::stream::{self, Piece};

/// Pause before merging goes on after the disk refused (it is full, and the jobs go on).
const RETRY: Duration = Duration::from_secs(1);
/// How much a follower reads at once.
const READ: usize = 128 * 1024;

/// How far a log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Growth {
    /// Readable bytes.
    pub(crate) length: u64,
    /// More may come.
    pub(crate) open: bool,
}

/// What the merging task is told.
enum Order {
    /// A new source.
    Add(Source),
    /// A source is complete.
    End(String),
    /// Answer when everything that is there is in the log.
    Settle(oneshot::Sender<()>),
}

/// The merging task of one job, from outside. It ends when this is dropped.
pub(crate) struct Combined {
    /// The way to the task. Unbounded: a job has a handful of sources.
    orders: mpsc::UnboundedSender<Order>,
}

impl Combined {
    /// Returns the handle and the task's work, which publishes the log's length through `growth`.
    pub(crate) fn new(
        directory: PathBuf,
        log: PathBuf,
        changes: Changes,
        growth: watch::Sender<Growth>,
    ) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let (orders, receiver) = mpsc::unbounded_channel();
        let work = merge(directory, log, changes, growth, receiver);
        (Self { orders }, work)
    }

    /// Adds a file whose lines get `prefix`.
    pub(crate) fn add_file(&self, label: &str, path: PathBuf, prefix: String) {
        self.send(Order::Add(Source {
            label: label.to_owned(),
            origin: Origin::File(path),
            prefix,
        }));
    }

    /// Adds a line of the agent; once for each label, whatever restarts.
    pub(crate) fn say(&self, label: &str, line: &str) {
        self.send(Order::Add(Source {
            label: label.to_owned(),
            origin: Origin::Text(format!("{line}\n")),
            prefix: String::new(),
        }));
    }

    /// Says that a file is complete.
    pub(crate) fn end(&self, label: &str) {
        self.send(Order::End(label.to_owned()));
    }

    /// Returns when everything that was there at the call is in the log.
    pub(crate) async fn settle(&self) {
        let (reply, answer) = oneshot::channel();
        self.send(Order::Settle(reply));
        // Fails only when the task is gone, and then nothing more will be merged.
        drop(answer.await);
    }

    /// Sends an order; the task lives as long as this handle.
    fn send(&self, order: Order) {
        if self.orders.send(order).is_err() {
            tracing::error!("the merging of a job's log has ended early");
        }
    }
}

/// Merges until the handle is dropped. A full disk only delays.
async fn merge(
    directory: PathBuf,
    log: PathBuf,
    mut changes: Changes,
    growth: watch::Sender<Growth>,
    mut orders: mpsc::UnboundedReceiver<Order>,
) {
    let mut merger = loop {
        let (directory, log) = (directory.clone(), log.clone());
        match blocking(move || Merger::open(&directory, &log)).await {
            Ok(merger) => break merger,
            Err(error) => {
                tracing::error!(error = %error.one_line(), "cannot open a job's log");
                tokio::time::sleep(RETRY).await;
            }
        }
    };
    let mut backlog: Vec<Order> = Vec::new();
    loop {
        let failed;
        (merger, backlog, failed) = step(merger, backlog).await;
        publish(&growth, merger.length());
        if failed {
            tokio::time::sleep(RETRY).await;
        } else {
            tokio::select! {
                () = changes.next() => {}
                order = orders.recv() => match order {
                    Some(order) => backlog.push(order),
                    None => return,
                },
            }
        }
        while let Ok(order) = orders.try_recv() {
            backlog.push(order);
        }
    }
}

/// Takes orders and merges, on a thread that may block. Gives back what could not be done.
async fn step(mut merger: Merger, orders: Vec<Order>) -> (Merger, Vec<Order>, bool) {
    let work = move || {
        let mut waiting = Vec::new();
        let mut error = None;
        let mut left = Vec::new();
        for order in orders {
            match order {
                Order::Add(source) => match merger.add(source.clone()) {
                    Ok(()) => {}
                    Err(e) => {
                        error = Some(e);
                        left.push(Order::Add(source));
                    }
                },
                Order::End(label) if left.is_empty() => merger.end(&label),
                Order::Settle(reply) if left.is_empty() => waiting.push(reply),
                // Behind an order that failed everything waits: a source must be known before it ends.
                later @ (Order::End(_) | Order::Settle(_)) => left.push(later),
            }
        }
        if let Err(e) = merger.pass() {
            error = Some(e);
        }
        if let Some(error) = &error {
            tracing::warn!(error = %error.one_line(), "a job's log waits");
            left.extend(waiting.drain(..).map(Order::Settle));
        }
        (merger, left, waiting, error.is_some())
    };
    match tokio::task::spawn_blocking(work).await {
        Ok((merger, left, waiting, failed)) => {
            for reply in waiting {
                // Whoever asked may have gone.
                reply.send(()).ok();
            }
            (merger, left, failed)
        }
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

/// Tells followers the new length.
fn publish(growth: &watch::Sender<Growth>, length: u64) {
    growth.send_if_modified(|now| {
        let grown = now.length != length;
        now.length = length;
        grown
    });
}

/// Runs blocking work.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Error::internal("work on files", &e))?
}

/// A log as followers read it: a file, and news of its growth.
pub(crate) struct Log<G> {
    /// The file.
    path: PathBuf,
    /// The open file.
    file: Option<File>,
    /// Whether more may come, and how it ended.
    growing: G,
}

/// Knows whether a log grows.
pub(crate) trait Growing: Send {
    /// Returns how the log stands now: open, or complete.
    fn is_open(&mut self) -> bool;
    /// Returns when the log may have grown or been completed since the last look. Cancel safe.
    fn changed(&mut self) -> BoxFuture<'_, ()>;
    /// Returns how what is followed stands.
    fn outcome(&mut self) -> BoxFuture<'_, Result<Outcome>>;
}

impl<G: Growing> Log<G> {
    /// Makes the view of a file, which need not exist yet.
    pub(crate) const fn new(path: PathBuf, growing: G) -> Self {
        Self {
            path,
            file: None,
            growing,
        }
    }

    /// Reads at an offset; empty at the end.
    async fn read_at(&mut self, offset: u64) -> Result<Bytes> {
        let path = self.path.clone();
        let file = self.file.take();
        let (file, bytes) = blocking(move || read_file(file, &path, offset)).await?;
        self.file = file;
        Ok(bytes)
    }
}

/// Reads a file at an offset, opening it where needed.
fn read_file(file: Option<File>, path: &Path, offset: u64) -> Result<(Option<File>, Bytes)> {
    let failed = |e| Error::io(format!("read `{}`", path.display()), &e);
    let file = match file {
        Some(file) => file,
        None => match File::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok((None, Bytes::new())),
            Err(e) => return Err(failed(e)),
        },
    };
    let mut bytes = vec![0; READ];
    let count = file.read_at(&mut bytes, offset).map_err(failed)?;
    bytes.truncate(count);
    Ok((Some(file), bytes.into()))
}

impl<G: Growing> stream::Source for Log<G> {
    fn read(&mut self, offset: u64, wait: bool) -> BoxFuture<'_, Result<Piece>> {
        Box::pin(async move {
            loop {
                // Asked before the file is read: what was written before the end is then surely seen.
                let open = self.growing.is_open();
                let bytes = self.read_at(offset).await?;
                if !bytes.is_empty() {
                    return Ok(Piece::Bytes(bytes));
                }
                if !open {
                    return Ok(Piece::End(self.growing.outcome().await?));
                }
                if !wait {
                    return Ok(Piece::Quiet(self.growing.outcome().await?));
                }
                self.growing.changed().await;
            }
        })
    }

    fn tail_offset(&mut self, lines: u64) -> BoxFuture<'_, Result<u64>> {
        let path = self.path.clone();
        Box::pin(blocking(move || tail_offset(&path, lines)))
    }
}

/// Returns where the last `lines` lines of a file begin, reading it backwards.
fn tail_offset(path: &Path, lines: u64) -> Result<u64> {
    let failed = |e| Error::io(format!("read `{}`", path.display()), &e);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        Err(e) => return Err(failed(e)),
    };
    let length = file.metadata().map_err(failed)?.len();
    let mut block = vec![0; 64 * 1024];
    let mut end = length;
    let mut found = 0;
    while end > 0 {
        let size = end.min(block.len() as u64);
        let start = end - size;
        let part = &mut block[..usize::try_from(size).unwrap_or(usize::MAX)];
        file.read_exact_at(part, start).map_err(failed)?;
        for (at, byte) in part.iter().enumerate().rev() {
            let position = start + at as u64;
            // The line feed at the very end closes the last line instead of opening one.
            if *byte == b'\n' && position + 1 < length {
                found += 1;
                if found == lines {
                    return Ok(position + 1);
                }
            }
        }
        end = start;
    }
    Ok(if lines == 0 { length } else { 0 })
}

/// The raw output of one process: complete when the process is over.
pub(crate) struct RankGrowth {
    /// The process.
    pub(crate) rank: watch::Receiver<RankInfo>,
    /// The directory of its log.
    pub(crate) changes: Changes,
}

impl Growing for RankGrowth {
    fn is_open(&mut self) -> bool {
        !super::runner::is_over(*self.rank.borrow_and_update())
    }

    fn changed(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            tokio::select! {
                () = self.changes.next() => {}
                changed = self.rank.changed() => if changed.is_err() {
                    tracing::debug!("a process is not watched any more");
                },
            }
        })
    }

    fn outcome(&mut self) -> BoxFuture<'_, Result<Outcome>> {
        Box::pin(std::future::ready(Ok(Outcome::File)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_begins_at_a_line() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("log");
        assert_eq!(tail_offset(&path, 5).expect("no file is no lines"), 0);
        std::fs::write(&path, "one\ntwo\nthree\n").expect("it writes");
        let at = |lines| tail_offset(&path, lines).expect("it reads");
        assert_eq!((at(0), at(1), at(2), at(3), at(9)), (14, 8, 4, 0, 0));
        let long = "x\n".repeat(100_000);
        std::fs::write(&path, &long).expect("it writes");
        assert_eq!(tail_offset(&path, 70_000).expect("it reads"), 60_000);
    }
}
