//! The engine: the state that all parts of `requests` share, admission, and what follows each commit.
//!
//! The store is the authority: every change of state is one closure on its writer thread, and memory (the board)
//! follows in commit order through the hooks of the commits. So there is no moment at which the two disagree about
//! who comes first, and no race between a cancel and a start: whichever commits first wins.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::board::Board;
use super::cancel;
use super::index::{self, Scope};
use super::lanes::{Arrival, Lanes};
use super::logs::Logs;
use super::record::{Admission, Admitted, Dispatch, Home};
use super::recover::{Recovery, on_restart};
use super::state::{Effect, Event};
use super::store::{self, Prepared, Row};
use super::{Options, run};
use crate::api::status::RequestStatus;
use crate::base::clock::Moment;
use crate::base::ids::RequestId;
use crate::base::{Error, Kind, Result};
use crate::store::{Db, WriteTx};

/// What the last run of the server left, and what becomes of it.
type Left = (RequestId, Row, Recovery);

/// What all handles share.
pub(super) struct Core {
    /// The store.
    pub(super) db: Db,
    /// The work.
    pub(super) dispatch: Arc<dyn Dispatch>,
    /// Limits and deadlines.
    pub(super) options: Options,
    /// The number of this run of the server.
    pub(super) epoch: u64,
    /// The logs.
    pub(super) logs: Logs,
    /// The unfinished requests.
    board: Mutex<Board>,
    /// Fires when the earliest due-time has changed.
    pub(super) timer: Notify,
    /// Fires when retention has something to do.
    pub(super) nudge: Notify,
    /// Owns all tasks.
    pub(super) tracker: TaskTracker,
    /// Where they run.
    handle: Handle,
    /// Fires when no new work is started: background tasks end.
    pub(super) closing: CancellationToken,
    /// Fires when running work is abandoned: the next run of the server resumes it.
    pub(super) stop: CancellationToken,
}

impl Core {
    /// Opens the requests in `db` and starts what the last run left.
    pub(super) async fn start(
        db: Db,
        logs_dir: PathBuf,
        dispatch: Arc<dyn Dispatch>,
        options: Options,
    ) -> Result<Arc<Self>> {
        let (epoch, left) = db.write(recover).await?;
        let core = Arc::new(Self {
            db,
            dispatch,
            epoch,
            logs: Logs::new(logs_dir),
            board: Mutex::new(Board::new(Lanes::new(options.short, options.long))),
            timer: Notify::new(),
            nudge: Notify::new(),
            tracker: TaskTracker::new(),
            handle: Handle::current(),
            closing: CancellationToken::new(),
            stop: CancellationToken::new(),
            options,
        });
        core.take_over(&left);
        core.pump();
        Ok(core)
    }

    /// Locks the board. Never held across an await or a disk access.
    pub(super) fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Spawns a task that this part owns.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn_on(task, &self.handle);
    }

    /// Puts what the last run left onto the board. Who was at work comes first: it holds its cluster.
    fn take_over(&self, left: &[Left]) {
        let mut board = self.board();
        for (id, row, recovery) in left {
            match recovery {
                Recovery::Resume | Recovery::Reconcile => {
                    board.arrive(*id, row, Arrival::Queued);
                }
                Recovery::Rearm => {
                    board.arrive(*id, row, Arrival::Parked);
                    if let super::state::State::Waiting { until, .. } = &row.state {
                        board.park(*id, *until);
                    }
                }
                Recovery::Requeue | Recovery::Close(_) | Recovery::Keep => {}
            }
        }
        for (id, row, recovery) in left {
            if *recovery == Recovery::Requeue {
                board.arrive(*id, row, Arrival::Queued);
            }
        }
    }

    /// Accepts a request: durable when this returns.
    pub(super) async fn submit(self: &Arc<Self>, admission: Admission) -> Result<Admitted> {
        let new = Prepared::new(admission, Home::Lanes)?;
        let core = Arc::clone(self);
        self.db.write(move |tx| core.admit(tx, new)).await
    }

    /// Accepts a request inside of a transaction.
    fn admit(self: Arc<Self>, tx: &mut WriteTx<'_>, new: Prepared) -> Result<Admitted> {
        if let Some(id) = store::known(tx, &new)? {
            return Ok(Admitted { id, new: false });
        }
        self.check_room(new.row.profile.preempts)?;
        let now = Moment::now();
        let (id, row) = store::insert(tx, new, now)?;
        if let (true, Some(cluster)) = (row.profile.preempts, &row.profile.cluster) {
            let reason = format!("request {} (sky.{}) ended it", id.short(), row.name);
            for other in index::open_ids(tx, Scope::Cluster(cluster))? {
                if other != id && store::existing_row(tx, other)?.home == Home::Lanes {
                    cancel::in_tx(&self, tx, other, None, Some(reason.clone()))?;
                }
            }
        }
        tx.on_commit(move || {
            self.board().arrive(id, &row, Arrival::Queued);
            self.pump();
        });
        Ok(Admitted { id, new: true })
    }

    /// Refuses new work when there is too much, or when the server stops.
    fn check_room(&self, preempts: bool) -> Result<()> {
        let board = self.board();
        if board.is_closing() {
            return Err(Error::new(Kind::TooBusy, "the server is stopping")
                .retry_after(Duration::from_secs(1)));
        }
        let pending = board.in_lanes();
        // What makes work end (down, stop) is let in all the same.
        if pending < self.options.max_pending || preempts {
            return Ok(());
        }
        Err(Error::new(
            Kind::TooBusy,
            format!("{pending} requests are pending already"),
        )
        .retry_after(Duration::from_secs(2))
        .hint("wait, or cancel some: `sky api cancel`"))
    }

    /// Starts what may run.
    pub(super) fn pump(self: &Arc<Self>) {
        loop {
            let Some((id, token)) = self.board().next() else {
                return;
            };
            self.spawn(run::work(Arc::clone(self), id, token));
        }
    }

    /// Applies an event in a transaction; memory follows when it is committed.
    pub(super) fn apply(
        self: &Arc<Self>,
        tx: &mut WriteTx<'_>,
        id: RequestId,
        event: Event,
        log_bytes: u64,
    ) -> Result<(Row, Vec<Effect>)> {
        let (row, effects) = store::transition(tx, id, event, Moment::now(), log_bytes)?;
        let (core, status, todo) = (Arc::clone(self), row.state.status(), effects.clone());
        tx.on_commit(move || core.follow(id, status, todo));
        Ok((row, effects))
    }

    /// Does what follows a change of state. Runs on the store's writer thread, in commit order.
    fn follow(self: &Arc<Self>, id: RequestId, status: RequestStatus, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Stop => {
                    let token = self.board().token(id);
                    if let Some(token) = token {
                        token.cancel();
                    }
                }
                Effect::WindDown => self.board().unpark(id),
                Effect::Arm(until) => {
                    self.board().park(id, until);
                    self.timer.notify_one();
                }
                Effect::Close => {
                    let watchers = self.board().leave(id);
                    if let Some(watchers) = watchers {
                        watchers.notify_waiters();
                    }
                    self.nudge.notify_one();
                }
            }
        }
        self.logs.stands(id, status);
        self.pump();
    }

    /// Sets why a request waits, as its status shows it.
    pub(super) fn set_message(&self, id: RequestId, message: Option<&str>) {
        self.board().set_message(id, message);
    }

    /// Changes the store, however long that takes: what was done in the world must not be forgotten because the disk
    /// is full for a while. Gives up only when the server stops; recovery does the rest.
    pub(super) async fn persist<T, W>(&self, id: RequestId, what: impl Fn() -> W) -> Result<T>
    where
        T: Send + 'static,
        W: FnOnce(&mut WriteTx<'_>) -> Result<T> + Send + 'static,
    {
        let mut delay = Duration::from_millis(50);
        let mut told = false;
        loop {
            let error = match self.db.write(what()).await {
                Err(error) if error.kind() == Kind::StorageFull => error,
                other => {
                    if told {
                        self.set_message(id, None);
                    }
                    return other;
                }
            };
            told = true;
            self.set_message(id, Some("waiting for space on the server's disk"));
            tokio::select! {
                () = self.stop.cancelled() => return Err(error),
                // Space comes back without telling anybody: this is the one thing that has to be tried again.
                () = tokio::time::sleep(delay) => {}
            }
            delay = (delay * 2).min(Duration::from_secs(5));
        }
    }

    /// Wakes parked requests at their times, until the server stops. One timer for all.
    pub(super) async fn keep_time(self: Arc<Self>) {
        /// The wall clock can be set: look again at least so often.
        const LONGEST: Duration = Duration::from_secs(600);
        loop {
            let due = self.board().next_due();
            let pause = due.map_or(LONGEST, |at| at.since(Moment::now()).min(LONGEST));
            tokio::select! {
                () = self.closing.cancelled() => return,
                () = self.timer.notified() => {}
                () = tokio::time::sleep(pause), if due.is_some() => {
                    let now = Moment::now();
                    let reached = due.filter(|_| pause < LONGEST).map_or(now, |at| at.max(now));
                    self.board().wake_due(reached);
                    self.pump();
                }
            }
        }
    }
}

/// Counts this run, and decides about everything the last one left.
fn recover(tx: &mut WriteTx<'_>) -> Result<(u64, Vec<Left>)> {
    let epoch = store::next_epoch(tx)?;
    let mut left = Vec::new();
    for (id, row) in store::unfinished(tx)? {
        let recovery = on_restart(&row.state, row.home);
        if let Recovery::Close(reason) = recovery {
            let event = Event::Fail(Error::new(Kind::Interrupted, reason));
            let (_, effects) = store::transition(tx, id, event, Moment::now(), 0)?;
            if effects.contains(&Effect::WindDown) {
                store::transition(tx, id, Event::WoundDown { note: None }, Moment::now(), 0)?;
            }
        }
        left.push((id, row, recovery));
    }
    Ok((epoch, left))
}
