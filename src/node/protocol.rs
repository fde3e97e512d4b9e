//! What the API server asks of `sky __node` on another machine, and what comes back.
//!
//! One argument, one line of standard output: `sky __node '{"verb":"facts"}'` prints `{"ok": …}` or `{"error": …}`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Standing;
use super::machine::Machine;
use crate::base::Error;
use crate::base::ids::NodeRank;

/// What to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case")]
pub(crate) enum Ask {
    /// Say what the machine has and who uses it: [`Facts`].
    Facts,
    /// Make a node, or switch it on: [`Made`]. Refused when the machine has not so much left.
    Create {
        /// Which.
        node: NodeName,
        /// What of the machine is for it.
        share: Share,
        /// Whether nodes of other machines belong to the set and must reach its agent.
        networked: bool,
        /// Whether the machine is this node's alone: jobs have the home of who logs in.
        #[serde(default)]
        whole: bool,
    },
    /// Start the agent, unless it runs: null.
    Start {
        /// Which.
        node: NodeName,
    },
    /// End all processes and switch it off: null.
    Stop {
        /// Which.
        node: NodeName,
    },
    /// Stop and remove what the machine has of a set: null.
    Remove {
        /// The name of the set.
        set: String,
    },
    /// Remove everything of ours, this program's file included: null. Refused while there are nodes.
    Leave,
}

/// A node of a machine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct NodeName {
    /// The name of its set.
    pub(crate) set: String,
    /// Its place in the set.
    pub(crate) rank: NodeRank,
}

/// A part of a machine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Share {
    /// CPUs.
    pub(crate) cpus: f64,
    /// Memory in GB.
    pub(crate) memory_gb: f64,
    /// Accelerators by model.
    #[serde(default)]
    pub(crate) accelerators: BTreeMap<String, f64>,
}

/// A node that a machine has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tenant {
    /// Which.
    pub(crate) node: NodeName,
    /// What is for it.
    pub(crate) share: Share,
    /// The GPUs that are its own, by index.
    #[serde(default)]
    pub(crate) devices: Vec<u32>,
    /// How it stands.
    pub(crate) standing: Standing,
}

/// A machine as it is now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Facts {
    /// What it has in all.
    pub(crate) machine: Machine,
    /// Who uses it.
    pub(crate) tenants: Vec<Tenant>,
}

impl Facts {
    /// Returns what nobody has taken. Nodes that are switched off keep their disk but not their share.
    pub(crate) fn free(&self) -> Share {
        let mut free = Share {
            cpus: self.machine.cpus,
            memory_gb: self.machine.memory_gb,
            accelerators: self
                .machine
                .models()
                .into_iter()
                .map(|(name, count)| (name, f64::from(count)))
                .collect(),
        };
        for tenant in &self.tenants {
            if tenant.standing == Standing::Running {
                free.take(&tenant.share);
            }
        }
        free
    }

    /// Picks GPUs that no running node has for a share; those in `before` where they are still free. Too few where it
    /// does not fit.
    pub(crate) fn pick(&self, share: &Share, before: &[u32]) -> Vec<u32> {
        let is_taken = |index: u32| {
            let mut tenants = self.tenants.iter();
            tenants.any(|t| t.standing == Standing::Running && t.devices.contains(&index))
        };
        let mut picked = Vec::new();
        for (model, count) in &share.accelerators {
            let mut free: Vec<u32> = self
                .machine
                .gpus
                .iter()
                .filter(|gpu| gpu.model.eq_ignore_ascii_case(model))
                .map(|gpu| gpu.index)
                .filter(|index| !is_taken(*index))
                .collect();
            free.sort_by_key(|index| (!before.contains(index), *index));
            picked.extend(free.into_iter().take(whole(*count)));
        }
        picked.sort_unstable();
        picked
    }
}

/// So many GPUs are needed for an amount.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates, which is what is wanted"
)]
const fn whole(count: f64) -> usize {
    count.ceil() as usize
}

/// Amounts below this are rounding.
const GRAIN: f64 = 1e-6;

impl Share {
    /// Takes a part away.
    fn take(&mut self, part: &Self) {
        self.cpus = (self.cpus - part.cpus).max(0.0);
        self.memory_gb = (self.memory_gb - part.memory_gb).max(0.0);
        for (name, count) in &part.accelerators {
            let mut models = self.accelerators.iter_mut();
            if let Some((_, have)) = models.find(|(of, _)| of.eq_ignore_ascii_case(name)) {
                *have = (*have - count).max(0.0);
            }
        }
    }

    /// Returns what of a wish is not there, in words; nothing when it fits.
    pub(crate) fn lacks(&self, wish: &Self) -> Vec<String> {
        let mut lacks = Vec::new();
        if wish.cpus > self.cpus + GRAIN {
            lacks.push(format!("{} of {} CPUs free", self.cpus, wish.cpus));
        }
        if wish.memory_gb > self.memory_gb + GRAIN {
            lacks.push(format!(
                "{:.1} of {:.1} GB of memory free",
                self.memory_gb, wish.memory_gb
            ));
        }
        for (name, count) in &wish.accelerators {
            let mut models = self.accelerators.iter();
            let have = models.find(|(of, _)| of.eq_ignore_ascii_case(name));
            let have = have.map_or(0.0, |(_, have)| *have);
            if *count > have + GRAIN {
                lacks.push(format!("{have} of {count} {name} free"));
            }
        }
        lacks
    }
}

/// A node that was made, or found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Made {
    /// Where its agent listens on the machine.
    pub(crate) socket: String,
    /// The address of the machine, as whoever asks reached it.
    pub(crate) address: Option<String>,
    /// How other nodes of the set reach it.
    pub(crate) network: Option<Network>,
}

/// How other nodes reach an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Network {
    /// The port, on all addresses of the machine.
    pub(crate) port: u16,
    /// Who names it is let in.
    pub(crate) token: String,
}

/// What `sky __node` prints.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// It is done; what was asked for.
    Ok(serde_json::Value),
    /// It was not done.
    Error(Error),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::gpus::Gpu;

    fn share(cpus: f64, memory_gb: f64, gpus: f64) -> Share {
        Share {
            cpus,
            memory_gb,
            accelerators: [("H100".to_owned(), gpus)].into(),
        }
    }

    #[test]
    fn what_is_free_is_what_running_nodes_have_not_taken() {
        let tenant = |set: &str, standing| Tenant {
            node: NodeName {
                set: set.to_owned(),
                rank: NodeRank::HEAD,
            },
            share: share(2.0, 8.0, 1.0),
            devices: vec![1],
            standing,
        };
        let facts = Facts {
            machine: Machine {
                cpus: 8.0,
                memory_gb: 32.0,
                gpus: (0..4)
                    .map(|index| Gpu {
                        index,
                        model: "H100".to_owned(),
                    })
                    .collect(),
            },
            tenants: vec![
                tenant("a", Standing::Running),
                tenant("b", Standing::Stopped),
            ],
        };
        assert_eq!(facts.free(), share(6.0, 24.0, 3.0));
        assert_eq!(facts.pick(&share(1.0, 1.0, 2.0), &[]), [0, 2]);
        assert_eq!(facts.pick(&share(1.0, 1.0, 2.0), &[1, 3]), [0, 3]);
        assert_eq!(facts.pick(&Share::default(), &[0]), [] as [u32; 0]);
        assert!(facts.free().lacks(&share(6.0, 24.0, 3.0)).is_empty());
        assert_eq!(
            facts.free().lacks(&share(7.0, 25.0, 4.0)),
            [
                "6 of 7 CPUs free",
                "24.0 of 25.0 GB of memory free",
                "3 of 4 H100 free"
            ]
        );
    }

    #[test]
    fn questions_and_answers_read_back() {
        let ask = Ask::Create {
            node: NodeName {
                set: "demo-a1b2c3d4".to_owned(),
                rank: NodeRank(1),
            },
            share: share(2.0, 8.0, 1.0),
            networked: true,
            whole: false,
        };
        let text = serde_json::to_string(&ask).expect("JSON");
        assert_eq!(serde_json::from_str::<Ask>(&text).expect("read"), ask);
    }
}
