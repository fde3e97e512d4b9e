//! One job's log while somebody follows it: one stream from the agent, its last bytes in memory, one notification.
//!
//! ```text
//! agent ── one stream ──► reader ──► window (bounded) ──► all who have caught up
//!   └───── bounded reads at any byte ───────────────────► each who is behind the window
//! ```
//!
//! The reader begins when the first follower has reached the end of what is there, and ends with the last follower. It
//! reads only while somebody waits: followers that have stopped cost no more than followers that are not there. What
//! it reads is kept as far as the window goes; a follower that falls behind it reads by itself until it has caught up.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::api::frames::{Frame, Outcome};
use crate::base::{Error, Kind, Result};
use crate::http::stream::Piece;
use crate::http::window::{WINDOW, Window};
use crate::transport::agent_log::Start;

/// Where a job's log comes from.
pub(super) trait Origin: Send + Sync {
    /// Returns bytes at an offset, or how the job stands at the end of them. Does not wait, and is through with the
    /// node when it returns.
    fn piece(&self, offset: u64) -> BoxFuture<'_, Result<Piece>>;

    /// Returns where the last lines begin.
    fn tail_offset(&self, lines: u64) -> BoxFuture<'_, Result<u64>>;

    /// Reads to the end of the log, waiting for it to grow.
    fn follow(&self, start: Start) -> BoxFuture<'_, Result<BoxStream<'static, Result<Frame>>>>;
}

/// The log of a job and those who follow it. The reader ends when this is dropped.
pub(super) struct Hub {
    /// What the reader shares.
    shared: Arc<Shared>,
    /// Stops the reader, here or with the server.
    stop: CancellationToken,
    /// Stops it at the end of this.
    _guard: DropGuard,
}

/// What followers and the reader share.
struct Shared {
    /// Where the log comes from.
    origin: Box<dyn Origin>,
    /// What changes.
    live: Mutex<Live>,
    /// Fires when something has changed.
    news: Notify,
    /// Followers that wait for news.
    waiting: AtomicUsize,
    /// Fires when the first of them begins to wait.
    wanted: Notify,
}

/// What changes.
struct Live {
    /// The last bytes that were read.
    window: Window,
    /// How the reader stands.
    phase: Phase,
}

/// How the reader stands.
enum Phase {
    /// Nobody has needed it yet.
    Idle,
    /// It reads.
    Reading,
    /// It has read to the end of the log, or the server stops.
    Ended(Outcome),
    /// The log cannot be read any more.
    Failed(Error),
}

/// What is at an offset.
pub(super) enum Look {
    /// Bytes in memory.
    Bytes(Bytes),
    /// Nothing in memory, and nobody knows what there is: the reader was not started.
    Unknown,
    /// Bytes, but no longer in memory.
    Behind,
    /// Nothing yet.
    Wait,
    /// Nothing any more.
    End(Outcome),
    /// Nothing that could be had.
    Failed(Error),
}

impl Hub {
    /// Makes the hub of a log; `stop` is the server's.
    pub(super) fn new(origin: Box<dyn Origin>, stop: &CancellationToken) -> Self {
        let stop = stop.child_token();
        Self {
            shared: Arc::new(Shared {
                origin,
                live: Mutex::new(Live {
                    window: Window::default(),
                    phase: Phase::Idle,
                }),
                news: Notify::new(),
                waiting: AtomicUsize::new(0),
                wanted: Notify::new(),
            }),
            _guard: stop.clone().drop_guard(),
            stop,
        }
    }

    /// Returns where the log comes from.
    pub(super) fn origin(&self) -> &dyn Origin {
        &*self.shared.origin
    }

    /// Returns whether followers may still join.
    pub(super) fn is_open(&self) -> bool {
        match self.shared.lock().phase {
            Phase::Idle | Phase::Reading => true,
            Phase::Ended(_) | Phase::Failed(_) => false,
        }
    }

    /// Looks at `offset` without waiting.
    pub(super) fn look(&self, offset: u64) -> Look {
        self.shared.look(offset)
    }

    /// Starts the reader, unless it was started; called by a follower that has reached the end of an open log.
    pub(super) fn start(&self, tasks: &TaskTracker) {
        {
            let mut live = self.shared.lock();
            if !matches!(live.phase, Phase::Idle) {
                return;
            }
            live.phase = Phase::Reading;
        }
        let (shared, stop) = (Arc::clone(&self.shared), self.stop.clone());
        tasks.spawn(async move {
            let phase = match stop.run_until_cancelled(shared.read()).await {
                Some(Ok(outcome)) => Phase::Ended(outcome),
                Some(Err(error)) => Phase::Failed(error),
                None => Phase::Ended(Outcome::Interrupted {
                    reason: "the server stops".to_owned(),
                }),
            };
            shared.lock().phase = phase;
            shared.news.notify_waiters();
        });
    }

    /// Waits until there is something at `offset`, or the end. Cancel safe.
    pub(super) async fn wait(&self, offset: u64) {
        let _turn = self.shared.turn();
        loop {
            let mut news = std::pin::pin!(self.shared.news.notified());
            // Enrolled before looking: a change from here on is not missed.
            news.as_mut().enable();
            if !matches!(self.look(offset), Look::Wait) {
                return;
            }
            news.await;
        }
    }
}

impl Shared {
    /// Locks what changes; a panic elsewhere does not spoil plain data.
    fn lock(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at an offset.
    fn look(&self, offset: u64) -> Look {
        let live = self.lock();
        if live.window.start().is_some_and(|start| offset < start) {
            return Look::Behind;
        }
        if let Some(bytes) = live.window.at(offset) {
            return Look::Bytes(bytes);
        }
        match &live.phase {
            Phase::Idle => Look::Unknown,
            Phase::Reading => Look::Wait,
            Phase::Ended(outcome) => Look::End(outcome.clone()),
            Phase::Failed(error) => Look::Failed(error.clone()),
        }
    }

    /// Counts a follower that waits.
    fn turn(&self) -> Turn<'_> {
        if self.waiting.fetch_add(1, Ordering::SeqCst) == 0 {
            self.wanted.notify_one();
        }
        Turn(self)
    }

    /// Returns when somebody waits.
    async fn demand(&self) {
        // A notification without a listener is kept for the next one: none is missed between look and wait.
        while self.waiting.load(Ordering::SeqCst) == 0 {
            self.wanted.notified().await;
        }
    }

    /// Reads to the end of the log. A node that is out of reach is reached anew once for each break.
    async fn read(&self) -> Result<Outcome> {
        let mut start = Start::Back(WINDOW);
        let mut frames = None;
        let mut broken = false;
        loop {
            self.demand().await;
            let stream = match &mut frames {
                Some(stream) => stream,
                None => frames.insert(self.origin.follow(start).await?),
            };
            match stream.next().await {
                Some(Ok(Frame::Data { offset, bytes })) => {
                    broken = false;
                    start = Start::At(offset + bytes.len() as u64);
                    self.lock().window.push(offset, bytes);
                    self.news.notify_waiters();
                }
                Some(Ok(Frame::Heartbeat { .. })) => broken = false,
                Some(Ok(Frame::End { outcome, .. })) => return Ok(outcome),
                Some(Err(error)) if error.kind() == Kind::Unreachable && !broken => {
                    broken = true;
                    frames = None;
                }
                Some(Err(error)) => return Err(error),
                None => {
                    let message = "the log of a job ended without its end";
                    return Err(Error::new(Kind::Internal, message));
                }
            }
        }
    }
}

/// A follower that waits.
struct Turn<'a>(&'a Shared);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}
