//! Whether another machine still answers: asked every few seconds as long as a job needs it.
//!
//! A connection that is taken or refused is an answer: the machine is there, whatever its agent does. Only silence counts,
//! and only silence into which this node asked: one that stood still itself begins anew.
//!
//! ```text
//!  answer ──5 s──► question ──3 s──► no answer ──1 s──► question …   12 s after the first of at least three: lost
//! ```
//!
//! So a machine is lost 12 to 21 s after it went, and a link that is away for ten is not noticed.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::base::clock::Moment;

/// The pause after an answer, and after questions to a machine that is lost.
const EVERY: Duration = Duration::from_secs(5);
/// The time that an answer has: on a line that loses packets the second one that asks for a connection gets through.
const ANSWER: Duration = Duration::from_secs(3);
/// The pause after a question without an answer.
const AGAIN: Duration = Duration::from_secs(1);
/// So long after the first question without an answer a machine is lost.
pub(super) const LOST: Duration = Duration::from_secs(12);
/// Not before so many questions.
const QUESTIONS: u32 = 3;
/// More time between the ends of two questions means that this node stood still.
const GAP: Duration = Duration::from_secs(13);

/// What was heard of a machine. Pure: it is told the times.
#[derive(Debug, Clone, Copy)]
struct Heard {
    /// When something was heard last, or it was asked in vain last.
    last: Instant,
    /// When the first of the questions without an answer was asked, and how many there were.
    silent: Option<(Instant, u32)>,
}

impl Heard {
    /// Begins.
    const fn new(now: Instant) -> Self {
        Self {
            last: now,
            silent: None,
        }
    }

    /// Notes a sign of life.
    const fn alive(&mut self, now: Instant) {
        self.last = now;
        self.silent = None;
    }

    /// Notes that a question had no answer.
    fn missed(&mut self, asked: Instant, now: Instant) {
        if self.silent.is_none() && self.last > asked {
            // Something else was heard meanwhile.
            return;
        }
        let (since, questions) = match self.silent {
            // What a node did not hear while it stood still says nothing.
            _ if now.duration_since(self.last) > GAP => (now, 0),
            Some(silent) => silent,
            None => (asked, 0),
        };
        self.last = now;
        self.silent = Some((since, questions + 1));
    }

    /// Whether it counts as lost.
    fn is_lost(&self, now: Instant) -> bool {
        self.silent.is_some_and(|(since, questions)| {
            questions >= QUESTIONS && now.duration_since(since) >= LOST
        })
    }

    /// How long to wait before the next question.
    fn pause(&self, now: Instant) -> Duration {
        if self.silent.is_none() || self.is_lost(now) {
            EVERY
        } else {
            AGAIN
        }
    }
}

/// Asks one machine. Cheap to clone; the questions begin with the first who wants to know, and end with the last clone.
#[derive(Clone)]
pub(crate) struct Pulse {
    /// What clones share.
    shared: Arc<Shared>,
    /// Asks.
    asking: Arc<OnceLock<JoinSet<()>>>,
}

/// What clones share.
struct Shared {
    /// Where it is.
    address: (String, u16),
    /// What was heard, and when by the wall's clock.
    heard: Mutex<(Heard, Moment)>,
    /// When it was heard of last, if it is lost.
    lost: watch::Sender<Option<Moment>>,
}

impl Pulse {
    /// Makes the pulse of a machine that listens at an address; nobody is asked yet.
    pub(crate) fn new(host: String, port: u16) -> Self {
        Self {
            shared: Arc::new(Shared {
                address: (host, port),
                heard: Mutex::new((Heard::new(Instant::now()), Moment::now())),
                lost: watch::channel(None).0,
            }),
            asking: Arc::default(),
        }
    }

    /// Notes a sign of life.
    pub(crate) fn alive(&self) {
        self.shared.alive(Instant::now());
    }

    /// Waits until the machine is lost; returns when it was heard of last.
    pub(crate) async fn lost(&self) -> Moment {
        self.begin();
        let mut lost = self.shared.lost.subscribe();
        match lost.wait_for(Option::is_some).await.map(|since| *since) {
            Ok(Some(since)) => since,
            // The sender lives as long as this.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    /// Waits until the machine is not lost any more.
    pub(crate) async fn back(&self) {
        self.begin();
        let mut lost = self.shared.lost.subscribe();
        // The sender lives as long as this.
        drop(lost.wait_for(Option::is_none).await);
    }

    /// Begins to ask, unless that was done.
    fn begin(&self) {
        self.asking.get_or_init(|| {
            self.shared.alive(Instant::now());
            let mut asking = JoinSet::new();
            asking.spawn(Arc::clone(&self.shared).ask());
            asking
        });
    }
}

impl Shared {
    /// Locks what was heard.
    fn heard(&self) -> MutexGuard<'_, (Heard, Moment)> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a sign of life.
    fn alive(&self, now: Instant) {
        let mut heard = self.heard();
        heard.0.alive(now);
        heard.1 = Moment::now();
        self.lost.send_if_modified(|lost| lost.take().is_some());
    }

    /// Notes that there was no answer.
    fn missed(&self, asked: Instant, now: Instant) {
        let mut heard = self.heard();
        heard.0.missed(asked, now);
        if heard.0.is_lost(now) {
            let since = heard.1;
            self.lost
                .send_if_modified(|lost| lost.replace(since).is_none());
        }
    }

    /// Asks, for ever.
    async fn ask(self: Arc<Self>) {
        loop {
            let asked = Instant::now();
            let (host, port) = &self.address;
            let taken = timeout(ANSWER, TcpStream::connect((host.as_str(), *port))).await;
            let now = Instant::now();
            if taken.is_ok_and(|taken| is_answer(&taken)) {
                self.alive(now);
            } else {
                self.missed(asked, now);
            }
            let pause = self.heard().0.pause(now);
            tokio::time::sleep(pause).await;
        }
    }
}

/// Whether the outcome of a connection came from the machine. What keeps this node from asking counts as one, too: it says nothing.
fn is_answer(taken: &io::Result<TcpStream>) -> bool {
    !taken.as_ref().is_err_and(|e| {
        matches!(
            e.kind(),
            io::ErrorKind::HostUnreachable
                | io::ErrorKind::NetworkUnreachable
                | io::ErrorKind::NetworkDown
                | io::ErrorKind::TimedOut
        )
    })
}

#[cfg(test)]
mod tests;
