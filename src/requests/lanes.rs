//! Who runs next: two lanes with limits, fair among users; one change of a cluster at a time, in order of arrival.
//!
//! Pure: holds ids and what decides about their order, no bodies, no tasks. Every operation is O(log n).
//!
//! ```text
//!  arrive ──► gate of its cluster ──► ready (per lane, per user) ──next──► running ──leave──►
//!             (exclusive ones)                    ▲                          │ park
//!                                                 └────────unpark── parked ◄─┘  (keeps its cluster)
//! ```

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use super::record::Lane;
use crate::base::ids::{ClusterName, RequestId, UserId};

/// What the lanes know of a request.
#[derive(Debug, Clone)]
pub(crate) struct Ticket {
    /// The request.
    pub(crate) id: RequestId,
    /// The verb, to name it when it blocks another.
    pub(crate) name: Arc<str>,
    /// Whose turn it takes.
    pub(crate) user: UserId,
    /// Which limit it counts against.
    pub(crate) lane: Lane,
    /// The cluster it concerns.
    pub(crate) cluster: Option<ClusterName>,
    /// One at a time on its cluster.
    pub(crate) exclusive: bool,
    /// Ahead of what is queued for its cluster, when what was there before it has gone.
    pub(crate) preempts: bool,
}

/// Where a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Behind another request of its cluster.
    Gated,
    /// Waits for a place in its lane.
    Ready,
    /// Has a place in its lane.
    Running,
    /// Waits for a time.
    Parked,
}

/// How a request arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// It wants to run.
    Queued,
    /// It was parked when the server stopped.
    Parked,
}

/// Order among requests of one kind: those that preempt first, then by arrival (ids grow).
type Turn = (bool, RequestId);

/// Requests of one cluster.
#[derive(Debug, Default)]
struct Gate {
    /// The exclusive request whose turn it is.
    holder: Option<RequestId>,
    /// Exclusive requests behind it.
    queue: BTreeSet<Turn>,
    /// Requests that do not exclude others; one that preempts waits for the older of them.
    shared: BTreeSet<RequestId>,
}

/// The ready requests of one user in one lane.
type Ready = BTreeSet<Turn>;

/// One lane.
#[derive(Debug)]
struct Queue {
    /// How many may run.
    limit: usize,
    /// How many run.
    running: usize,
    /// Who is ready.
    users: HashMap<UserId, Ready>,
    /// Whose turn it is: each user with ready requests stands in it once.
    ring: VecDeque<UserId>,
}

impl Queue {
    /// Makes an empty lane.
    fn new(limit: usize) -> Self {
        Self {
            limit: limit.max(1),
            running: 0,
            users: HashMap::new(),
            ring: VecDeque::new(),
        }
    }

    /// Adds a ready request.
    fn push(&mut self, user: &UserId, turn: Turn) {
        if let Some(ready) = self.users.get_mut(user) {
            ready.insert(turn);
            return;
        }
        self.users.insert(user.clone(), Ready::from([turn]));
        self.ring.push_back(user.clone());
    }

    /// Takes the next request of the next user, if there is a free place.
    fn pop(&mut self) -> Option<RequestId> {
        if self.running >= self.limit {
            return None;
        }
        while let Some(user) = self.ring.pop_front() {
            let Some(ready) = self.users.get_mut(&user) else {
                continue;
            };
            let first = ready.pop_first();
            if ready.is_empty() {
                self.users.remove(&user);
            } else {
                self.ring.push_back(user);
            }
            if let Some((_, id)) = first {
                self.running += 1;
                return Some(id);
            }
        }
        None
    }

    /// Removes a ready request. A user who has no other stays in the ring until the ring passes.
    fn remove(&mut self, user: &UserId, turn: Turn) {
        if let Some(ready) = self.users.get_mut(user) {
            // The set is left empty on purpose: removing the user here would let it enter the ring twice.
            ready.remove(&turn);
        }
    }
}

/// What a request waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Blocker {
    /// Another request of its cluster.
    Request {
        /// That request.
        id: RequestId,
        /// Its verb.
        name: Arc<str>,
        /// The cluster.
        cluster: ClusterName,
    },
    /// A place in its lane: so many are taken.
    Lane(Lane, usize),
}

impl Blocker {
    /// Returns the reason as `sky api status` shows it.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Request { id, name, cluster } => {
                format!(
                    "waiting for {} (sky.{name}) on cluster `{cluster}`",
                    id.short()
                )
            }
            Self::Lane(Lane::Long, taken) => {
                format!("waiting for a free place: {taken} long requests are running")
            }
            Self::Lane(Lane::Short, taken) => {
                format!("waiting for a free place: {taken} short requests are running")
            }
        }
    }
}

/// All requests that want to run.
#[derive(Debug)]
pub(crate) struct Lanes {
    /// Look-ups.
    short: Queue,
    /// Changes of the world.
    long: Queue,
    /// One gate for each cluster that has requests.
    gates: HashMap<ClusterName, Gate>,
    /// Everything, with where it stands.
    tickets: HashMap<RequestId, (Ticket, Place)>,
}

impl Lanes {
    /// Makes empty lanes.
    pub(crate) fn new(short: usize, long: usize) -> Self {
        Self {
            short: Queue::new(short),
            long: Queue::new(long),
            gates: HashMap::new(),
            tickets: HashMap::new(),
        }
    }

    /// Returns how many requests there are.
    pub(crate) fn len(&self) -> usize {
        self.tickets.len()
    }

    /// Returns how many run: short, long.
    pub(crate) const fn running(&self) -> (usize, usize) {
        (self.short.running, self.long.running)
    }

    /// Returns the lane of a request.
    pub(crate) fn lane(&self, id: RequestId) -> Option<Lane> {
        self.tickets.get(&id).map(|(ticket, _)| ticket.lane)
    }

    /// Takes in a request.
    pub(crate) fn arrive(&mut self, ticket: Ticket, arrival: Arrival) {
        let (id, turn) = (ticket.id, turn(&ticket));
        let gate = ticket.cluster.clone();
        let exclusive = ticket.exclusive;
        let place = match arrival {
            Arrival::Queued => Place::Gated,
            Arrival::Parked => Place::Parked,
        };
        self.tickets.insert(id, (ticket, place));
        let Some(cluster) = gate else {
            self.make_ready(id);
            return;
        };
        let gate = self.gates.entry(cluster.clone()).or_default();
        if exclusive {
            gate.queue.insert(turn);
            self.open_gate(&cluster);
        } else {
            gate.shared.insert(id);
            self.make_ready(id);
        }
    }

    /// Takes the next request to run, which has a place in its lane from now on.
    pub(crate) fn next(&mut self) -> Option<RequestId> {
        let id = self.short.pop().or_else(|| self.long.pop())?;
        if let Some((_, place)) = self.tickets.get_mut(&id) {
            *place = Place::Running;
        }
        Some(id)
    }

    /// Takes the place of a running request that waits for a time now. It keeps its cluster.
    pub(crate) fn park(&mut self, id: RequestId) {
        let Some((ticket, place)) = self.tickets.get_mut(&id) else {
            return;
        };
        if *place == Place::Running {
            *place = Place::Parked;
            let lane = ticket.lane;
            self.queue(lane).running -= 1;
        }
    }

    /// Lets a parked request run again; returns false when it is not parked.
    pub(crate) fn unpark(&mut self, id: RequestId) -> bool {
        let parked = self
            .tickets
            .get(&id)
            .is_some_and(|(_, place)| *place == Place::Parked);
        if parked {
            if let Some((_, place)) = self.tickets.get_mut(&id) {
                *place = Place::Gated;
            }
            self.make_ready(id);
        }
        parked
    }

    /// Removes a request, wherever it stands, and lets the next of its cluster in.
    pub(crate) fn leave(&mut self, id: RequestId) {
        let Some((ticket, place)) = self.tickets.remove(&id) else {
            return;
        };
        let turn = turn(&ticket);
        match place {
            Place::Ready => self.queue(ticket.lane).remove(&ticket.user, turn),
            Place::Running => self.queue(ticket.lane).running -= 1,
            Place::Gated | Place::Parked => {}
        }
        let Some(cluster) = &ticket.cluster else {
            return;
        };
        if let Some(gate) = self.gates.get_mut(cluster) {
            gate.queue.remove(&turn);
            gate.shared.remove(&id);
            if gate.holder == Some(id) {
                gate.holder = None;
            }
        }
        self.open_gate(cluster);
    }

    /// Returns what a request waits for; `None` when it runs, is parked or will start at once.
    pub(crate) fn blocker(&self, id: RequestId) -> Option<Blocker> {
        let (ticket, place) = self.tickets.get(&id)?;
        match place {
            Place::Running | Place::Parked => None,
            Place::Ready => {
                let queue = match ticket.lane {
                    Lane::Short => &self.short,
                    Lane::Long => &self.long,
                };
                (queue.running >= queue.limit).then_some(Blocker::Lane(ticket.lane, queue.running))
            }
            Place::Gated => {
                let cluster = ticket.cluster.as_ref()?;
                let gate = self.gates.get(cluster)?;
                let first = gate
                    .holder
                    .or_else(|| gate.shared.first().copied().filter(|_| ticket.preempts))
                    .or_else(|| gate.queue.first().map(|(_, id)| *id))?;
                let (other, _) = self.tickets.get(&first)?;
                Some(Blocker::Request {
                    id: other.id,
                    name: Arc::clone(&other.name),
                    cluster: cluster.clone(),
                })
            }
        }
    }

    /// Gives the cluster to the next in its queue, if it is free.
    fn open_gate(&mut self, cluster: &ClusterName) {
        let Some(gate) = self.gates.get_mut(cluster) else {
            return;
        };
        if gate.holder.is_some() {
            return;
        }
        let Some((behind, id)) = gate.queue.first().copied() else {
            if gate.shared.is_empty() {
                self.gates.remove(cluster);
            }
            return;
        };
        let preempts = !behind;
        if preempts && gate.shared.first().is_some_and(|oldest| *oldest < id) {
            return;
        }
        gate.queue.pop_first();
        gate.holder = Some(id);
        self.make_ready(id);
    }

    /// Puts a request into its lane, unless it is parked.
    fn make_ready(&mut self, id: RequestId) {
        let Some((ticket, place)) = self.tickets.get_mut(&id) else {
            return;
        };
        if *place == Place::Parked {
            return;
        }
        *place = Place::Ready;
        let turn = turn(ticket);
        match ticket.lane {
            Lane::Short => self.short.push(&ticket.user, turn),
            Lane::Long => self.long.push(&ticket.user, turn),
        }
    }

    /// Returns a lane.
    const fn queue(&mut self, lane: Lane) -> &mut Queue {
        match lane {
            Lane::Short => &mut self.short,
            Lane::Long => &mut self.long,
        }
    }
}

/// The order of a request among its kind.
const fn turn(ticket: &Ticket) -> Turn {
    (!ticket.preempts, ticket.id)
}
