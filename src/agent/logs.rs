//! The logs of jobs while they grow: one task per active job merges, any number of followers reads the file.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot, watch};

use super::merge::{Merger, Origin, Source};
use super::watch::Changes;
use crate::api::agent::RankInfo;
use crate::api::frames::Outcome;
use crate::base::{Error, Result};
use crate::http::logfile;
use crate::http::stream::{self, Piece};

/// Pause before merging goes on after the disk refused (it is full, and the jobs go on).
const RETRY: Duration = Duration::from_secs(1);

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
    file: Option<Arc<File>>,
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

    /// Returns the file, once it exists.
    fn file(&mut self) -> Result<Option<Arc<File>>> {
        if self.file.is_none() {
            self.file = match File::open(&self.path) {
                Ok(file) => Some(Arc::new(file)),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
                Err(e) => return Err(self.unreadable(&e)),
            };
        }
        Ok(self.file.clone())
    }

    /// The error of a log that cannot be read.
    fn unreadable(&self, error: &std::io::Error) -> Error {
        Error::io(format!("read `{}`", self.path.display()), error)
    }

    /// Returns its length now.
    pub(crate) fn length(&mut self) -> Result<u64> {
        match self.file()?.map(|file| file.metadata()) {
            None => Ok(0),
            Some(found) => found.map(|m| m.len()).map_err(|e| self.unreadable(&e)),
        }
    }

    /// Reads at an offset; empty at the end.
    async fn read_at(&mut self, offset: u64) -> Result<Bytes> {
        let Some(file) = self.file()? else {
            return Ok(Bytes::new());
        };
        logfile::read_at(&file, offset)
            .await
            .map_err(|e| self.unreadable(&e))
    }
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
        Box::pin(async move {
            match self.file()? {
                None => Ok(0),
                Some(file) => logfile::tail_offset(file, lines)
                    .await
                    .map_err(|e| self.unreadable(&e)),
            }
        })
    }
}

/// A log of which only so much is asked.
pub(crate) struct Limited<G> {
    /// The log.
    log: Log<G>,
    /// The byte before which it ends.
    end: u64,
}

impl<G> Limited<G> {
    /// Cuts a log at a byte.
    pub(crate) const fn new(log: Log<G>, end: u64) -> Self {
        Self { log, end }
    }
}

impl<G: Growing> stream::Source for Limited<G> {
    fn read(&mut self, offset: u64, wait: bool) -> BoxFuture<'_, Result<Piece>> {
        Box::pin(async move {
            let room = self.end.saturating_sub(offset);
            if room == 0 {
                return Ok(Piece::Quiet(Outcome::File));
            }
            match self.log.read(offset, wait).await? {
                Piece::Bytes(mut bytes) => {
                    bytes.truncate(usize::try_from(room).unwrap_or(usize::MAX));
                    Ok(Piece::Bytes(bytes))
                }
                end @ (Piece::End(_) | Piece::Quiet(_)) => Ok(end),
            }
        })
    }

    fn tail_offset(&mut self, lines: u64) -> BoxFuture<'_, Result<u64>> {
        self.log.tail_offset(lines)
    }
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
    use crate::http::stream::Source as _;

    /// The growth of a log that is complete.
    struct Complete;

    impl Growing for Complete {
        fn is_open(&mut self) -> bool {
            false
        }

        fn changed(&mut self) -> BoxFuture<'_, ()> {
            Box::pin(std::future::pending())
        }

        fn outcome(&mut self) -> BoxFuture<'_, Result<Outcome>> {
            Box::pin(std::future::ready(Ok(Outcome::File)))
        }
    }

    #[tokio::test]
    async fn the_tail_begins_at_a_line() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("log");
        let mut log = Log::new(path.clone(), Complete);
        let none = log.tail_offset(5).await.expect("no file is no lines");
        assert_eq!((none, log.length().expect("none")), (0, 0));
        std::fs::write(&path, "one\ntwo\nthree\n").expect("it writes");
        for (lines, at) in [(0, 14), (1, 8), (2, 4), (3, 0), (9, 0)] {
            assert_eq!(log.tail_offset(lines).await.expect("it reads"), at);
        }
        let many = "x\n".repeat(100_000);
        std::fs::write(&path, &many).expect("it writes");
        assert_eq!(log.tail_offset(70_000).await.expect("it reads"), 60_000);
        assert_eq!(log.length().expect("it is there"), 200_000);
    }

    #[tokio::test]
    async fn a_limit_cuts_and_says_so_only_at_its_end() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("log");
        std::fs::write(&path, "0123456789").expect("it writes");
        let mut log = Limited::new(Log::new(path, Complete), 6);
        let piece = |text: &'static str| Piece::Bytes(Bytes::from_static(text.as_bytes()));
        let read = log.read(2, true).await.expect("it reads");
        assert_eq!(read, piece("2345"));
        let cut = log.read(6, true).await.expect("it reads");
        assert_eq!(cut, Piece::Quiet(Outcome::File));
    }
}
