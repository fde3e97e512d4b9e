//! What is stored of a cluster.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::state::{Event, IllegalTransition, State};
use crate::api::agent::AutostopSetting;
use crate::base::clock::Moment;
use crate::base::cx::Caller;
use crate::base::ids::{ClusterName, NodeRank, RequestId, UserId};
use crate::base::{Error, Kind};
use crate::clouds::{CloudId, Instance, NodeSet};

/// The most past events that are kept of a cluster.
const MAX_EVENTS: usize = 100;

/// A cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cluster {
    /// Version of this record's shape.
    pub(crate) v: u32,
    /// The name users know.
    pub(crate) name: ClusterName,
    /// Tells this life of the name from earlier and later ones.
    pub(crate) hash: String,
    /// Who made it.
    pub(crate) owner: Owner,
    /// Where it is in its life.
    pub(crate) state: State,
    /// Whose machines.
    pub(crate) cloud: CloudId,
    /// The machines that are wanted, by the name chosen before the first was made.
    pub(crate) set: NodeSet,
    /// Whether a call that makes the machines of `set` may have been made: then they may exist.
    #[serde(default = "may_exist")]
    pub(crate) tried: bool,
    /// How many places were tried.
    #[serde(default)]
    pub(crate) tries: u32,
    /// Sets at other places of which something may be left.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) remnants: Vec<Remnant>,
    /// Set while its launch waits for a time at which it tries again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) waits: Option<Waits>,
    /// Why its removal does not come to an end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stuck: Option<String>,
    /// The machines that were made, by rank.
    pub(crate) instances: Vec<Instance>,
    /// The autostop setting.
    pub(crate) autostop: Option<AutostopSetting>,
    /// When it was launched last.
    pub(crate) launched_at: Moment,
    /// The request that provisioned it last: its log is the provision log.
    pub(crate) provisioned_by: RequestId,
    /// The command line that used it last.
    pub(crate) last_command: Option<String>,
    /// Whether it was UP once.
    pub(crate) ever_up: bool,
    /// When machines ran.
    pub(crate) usage: Vec<Usage>,
    /// What happened, oldest first.
    pub(crate) events: Vec<Past>,
}

/// What a record says that was written before it was noted: they may.
const fn may_exist() -> bool {
    true
}

/// A set at a place that refused, or that a launch gave up: what is left of it is still to be removed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Remnant {
    /// Whose machines.
    pub(crate) cloud: CloudId,
    /// Which.
    pub(crate) set: NodeSet,
    /// Why they could not be removed, when that was tried.
    pub(crate) why: Option<String>,
}

/// A launch waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Waits {
    /// When it tries again.
    pub(crate) until: Moment,
    /// What it waits for.
    pub(crate) reason: String,
}

/// Who made a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owner {
    /// Identity.
    pub(crate) id: UserId,
    /// Display name.
    pub(crate) name: String,
}

impl From<&Caller> for Owner {
    fn from(caller: &Caller) -> Self {
        Self {
            id: caller.id.clone(),
            name: caller.name.clone(),
        }
    }
}

/// A stretch of time in which machines ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Usage {
    /// Its beginning.
    pub(crate) from: Moment,
    /// Its end; none while it lasts.
    pub(crate) to: Option<Moment>,
}

/// A past event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Past {
    /// When.
    pub(crate) at: Moment,
    /// What.
    pub(crate) event: Event,
}

/// A cluster that is no more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Buried {
    /// As it was last.
    pub(crate) cluster: Cluster,
    /// When it was removed.
    pub(crate) removed_at: Moment,
    /// Why, when nobody asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

impl Cluster {
    /// Makes the record of a cluster whose machines are wanted.
    pub(crate) fn intended(
        name: ClusterName,
        owner: Owner,
        cloud: CloudId,
        set: NodeSet,
        by: RequestId,
        now: Moment,
    ) -> Self {
        Self {
            v: 1,
            name,
            hash: uuid::Uuid::new_v4().to_string(),
            owner,
            state: State::Launching { since: now },
            cloud,
            set,
            tried: false,
            tries: 0,
            remnants: Vec::new(),
            waits: None,
            stuck: None,
            instances: Vec::new(),
            autostop: None,
            launched_at: now,
            provisioned_by: by,
            last_command: None,
            ever_up: false,
            usage: vec![Usage {
                from: now,
                to: None,
            }],
            events: vec![Past {
                at: now,
                event: Event::LaunchIntended,
            }],
        }
    }

    /// Applies an event: state, event list and usage change together.
    pub(crate) fn apply(&mut self, event: Event, now: Moment) -> Result<(), IllegalTransition> {
        let before = self.state.clone();
        self.state = before.clone().apply(event.clone(), now)?;
        if self.state == before && !event.is_note() {
            return Ok(());
        }
        self.events.push(Past { at: now, event });
        let excess = self.events.len().saturating_sub(MAX_EVENTS);
        self.events.drain(..excess);
        match (before.is_in_use(), self.state.is_in_use()) {
            (false, true) => self.usage.push(Usage {
                from: now,
                to: None,
            }),
            (true, false) => self.close_usage(now),
            (true, true) | (false, false) => {}
        }
        if let State::Up { .. } = self.state {
            self.ever_up = true;
        }
        Ok(())
    }

    /// Whether its machines were stopped before the launch that is under way, or failed.
    pub(crate) fn was_stopped(&self) -> bool {
        let earlier = self.events.iter().rev().map(|past| &past.event);
        let decisive =
            earlier.skip_while(|event| event.is_note() || matches!(event, Event::LaunchIntended));
        matches!(decisive.into_iter().next(), Some(Event::AllStopped))
    }

    /// Begins a stretch of use, unless one lasts.
    pub(crate) fn open_usage(&mut self, now: Moment) {
        if self.usage.last().is_none_or(|last| last.to.is_some()) {
            self.usage.push(Usage {
                from: now,
                to: None,
            });
        }
    }

    /// Makes of the set whose machines may exist one that is to be removed.
    pub(crate) fn leave_place(&mut self) {
        if std::mem::take(&mut self.tried) {
            self.remnants.push(Remnant {
                cloud: self.cloud,
                set: self.set.clone(),
                why: None,
            });
        }
        self.instances.clear();
    }

    /// Ends the stretch of use that lasts.
    pub(crate) fn close_usage(&mut self, now: Moment) {
        if let Some(last) = self.usage.last_mut() {
            last.to.get_or_insert(now);
        }
    }

    /// Returns how long machines ran.
    pub(crate) fn used_for(&self, now: Moment) -> Duration {
        self.usage
            .iter()
            .map(|u| u.to.unwrap_or(now).since(u.from))
            .sum()
    }

    /// Returns the machine of a rank.
    pub(crate) fn instance(&self, rank: NodeRank) -> Result<&Instance, Error> {
        self.instances
            .iter()
            .find(|i| i.rank == rank)
            .ok_or_else(|| {
                Error::new(
                    Kind::NotFound,
                    format!("cluster `{}` has no node of rank {rank}", self.name),
                )
            })
    }

    /// Returns normally when jobs can be submitted; else says what to do.
    pub(crate) fn require_up(&self) -> Result<(), Error> {
        let name = &self.name;
        let error = |text: String| {
            Err(Error::new(Kind::ClusterNotUp, text)
                .attribute("cluster_status", self.state.status().as_str()))
        };
        match &self.state {
            State::Up { .. } => Ok(()),
            State::Stopped { .. } => error(format!("cluster `{name}` is stopped"))
                .map_err(|e| e.hint(format!("sky start {name}"))),
            State::Stopping { idle, .. } => error(format!(
                "cluster `{name}` is being stopped{}",
                if *idle { " because it was idle" } else { "" }
            ))
            .map_err(|e| e.hint(format!("wait, then: sky start {name}"))),
            State::Terminating { .. } => error(format!("cluster `{name}` is being removed")),
            State::Launching { .. } => error(format!("cluster `{name}` is not up yet"))
                .map_err(|e| e.hint(format!("see how far it is: sky logs --provision {name}"))),
            State::Unhealthy { reason, .. } => {
                error(format!("cluster `{name}` is not healthy: {reason}"))
                    .map_err(|e| e.hint(format!("repair it: sky start {name}")))
            }
        }
    }
}
