//! What is in memory of each unfinished request: its place in the lanes, its token, its message. Some hundred bytes.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::lanes::{Arrival, Blocker, Lanes, Ticket};
use super::record::{Home, Lane, Record};
use super::state::State;
use super::store::Row;
use crate::base::clock::Moment;
use crate::base::ids::RequestId;

/// What is in memory of one unfinished request.
#[derive(Debug, Default)]
struct Live {
    /// Fires when its work should stop; there while it works.
    token: Option<CancellationToken>,
    /// Why it waits, as its work said.
    message: Option<Box<str>>,
    /// When it is to be woken.
    due: Option<Moment>,
}

/// All unfinished requests.
#[derive(Debug)]
pub(super) struct Board {
    /// Who runs next.
    lanes: Lanes,
    /// What else is known of them.
    live: HashMap<RequestId, Live>,
    /// Those that wait for a time.
    due: BTreeSet<(Moment, RequestId)>,
    /// Who waits for the end of which request.
    watchers: HashMap<RequestId, Arc<Notify>>,
    /// No new work is taken or started.
    closing: bool,
}

impl Board {
    /// Makes an empty board.
    pub(super) fn new(lanes: Lanes) -> Self {
        Self {
            lanes,
            live: HashMap::new(),
            due: BTreeSet::new(),
            watchers: HashMap::new(),
            closing: false,
        }
    }

    /// Returns how many requests are in the lanes, running ones included.
    pub(super) fn in_lanes(&self) -> usize {
        self.lanes.len()
    }

    /// Returns how many run: short, long.
    pub(super) const fn running(&self) -> (usize, usize) {
        self.lanes.running()
    }

    /// Returns whether no new work is taken.
    pub(super) const fn is_closing(&self) -> bool {
        self.closing
    }

    /// Takes and starts no new work from now on.
    pub(super) const fn close(&mut self) {
        self.closing = true;
    }

    /// Takes in a request of the lanes.
    pub(super) fn arrive(&mut self, id: RequestId, row: &Row, arrival: Arrival) {
        let profile = &row.profile;
        let on_cluster = profile.cluster.is_some();
        self.live.insert(id, Live::default());
        self.lanes.arrive(
            Ticket {
                id,
                name: row.name.as_str().into(),
                user: row.caller.id.clone(),
                lane: profile.lane,
                cluster: profile.cluster.clone(),
                exclusive: on_cluster && (profile.exclusive || profile.preempts),
                preempts: on_cluster && profile.preempts,
            },
            arrival,
        );
    }

    /// Takes in a request that its connection drives.
    pub(super) fn attach(&mut self, id: RequestId, token: CancellationToken) {
        self.live.insert(
            id,
            Live {
                token: Some(token),
                ..Live::default()
            },
        );
    }

    /// Takes the next request to run, with the token of this run.
    pub(super) fn next(&mut self) -> Option<(RequestId, CancellationToken)> {
        if self.closing {
            return None;
        }
        let id = self.lanes.next()?;
        let token = CancellationToken::new();
        let live = self.live.entry(id).or_default();
        live.token = Some(token.clone());
        live.message = None;
        Some((id, token))
    }

    /// Returns the token of a request that works.
    pub(super) fn token(&self, id: RequestId) -> Option<CancellationToken> {
        self.live.get(&id)?.token.clone()
    }

    /// Returns the lane of a request.
    pub(super) fn lane(&self, id: RequestId) -> Option<Lane> {
        self.lanes.lane(id)
    }

    /// Returns what keeps a request from starting.
    pub(super) fn blocker(&self, id: RequestId) -> Option<Blocker> {
        self.lanes.blocker(id)
    }

    /// Parks a request until a time.
    pub(super) fn park(&mut self, id: RequestId, until: Moment) {
        self.lanes.park(id);
        let live = self.live.entry(id).or_default();
        live.token = None;
        if let Some(before) = live.due.replace(until) {
            self.due.remove(&(before, id));
        }
        self.due.insert((until, id));
    }

    /// Lets a parked request run again; does nothing to others.
    pub(super) fn unpark(&mut self, id: RequestId) {
        if !self.lanes.unpark(id) {
            return;
        }
        if let Some(at) = self.live.get_mut(&id).and_then(|live| live.due.take()) {
            self.due.remove(&(at, id));
        }
    }

    /// Returns when the next parked request is due.
    pub(super) fn next_due(&self) -> Option<Moment> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Lets all run again that are due at `now`.
    pub(super) fn wake_due(&mut self, now: Moment) {
        while let Some((at, id)) = self.due.first().copied()
            && at <= now
        {
            self.due.pop_first();
            if let Some(live) = self.live.get_mut(&id) {
                live.due = None;
            }
            self.lanes.unpark(id);
        }
    }

    /// Removes a request that is final; returns who waits for that.
    pub(super) fn leave(&mut self, id: RequestId) -> Option<Arc<Notify>> {
        self.lanes.leave(id);
        if let Some(Live { due: Some(at), .. }) = self.live.remove(&id) {
            self.due.remove(&(at, id));
        }
        self.watchers.remove(&id)
    }

    /// Returns what fires when a request becomes final.
    pub(super) fn watch(&mut self, id: RequestId) -> Arc<Notify> {
        Arc::clone(self.watchers.entry(id).or_default())
    }

    /// Forgets the watchers of a request that has ended or never was.
    pub(super) fn unwatch(&mut self, id: RequestId) {
        if !self.live.contains_key(&id) {
            self.watchers.remove(&id);
        }
    }

    /// Sets why a request waits.
    pub(super) fn set_message(&mut self, id: RequestId, message: Option<&str>) {
        if let Some(live) = self.live.get_mut(&id) {
            live.message = message.map(Into::into);
        }
    }

    /// Adds to a record what only memory knows.
    pub(super) fn decorate(&self, record: &mut Record) {
        if record.status().is_final() {
            return;
        }
        let said = self
            .live
            .get(&record.id)
            .and_then(|live| live.message.as_deref().map(str::to_owned));
        let cancelling = record
            .state
            .cancel_mark()
            .map(|_| "being cancelled".to_owned());
        record.status_msg = cancelling.or(said).or_else(|| match record.home {
            Home::Lanes => self.lanes.blocker(record.id).map(|blocker| blocker.text()),
            Home::Attached => None,
        });
        if let (State::Waiting { reason, .. }, None) = (&record.state, &record.status_msg) {
            record.status_msg = Some(reason.clone());
        }
    }
}
