//! What a node may use of its machine, kept beside it.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::protocol::{Facts, Made, Network, NodeName, Share, Tenant};
use super::{Node, Standing, machine, sets};
use crate::base::ids::NodeRank;
use crate::base::{Error, Kind, Result};
use crate::sys::lock::FileLock;
use crate::sys::{env, fs};

/// How long others may hold the machine's lock: they only read and write a few small files.
const PATIENCE: Duration = Duration::from_secs(20);
/// The file with what is for the node.
const FILE: &str = "share.json";

/// What is for a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Deed {
    /// Its part of the machine.
    pub(super) share: Share,
    /// How other nodes of its set reach it.
    pub(super) network: Option<Network>,
}

impl Deed {
    /// Reads what is for the node in a directory; none where the machine is not shared.
    pub(super) fn read(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join(FILE);
        let Some(text) = fs::read_optional(&path)? else {
            return Ok(None);
        };
        serde_json::from_str(&text).map(Some).map_err(|e| {
            Error::new(
                Kind::Internal,
                format!("`{}` is not readable", path.display()),
            )
            .caused_by(&e)
        })
    }

    /// Writes it down, for the eyes of this user only.
    fn write(&self, dir: &Path) -> Result<()> {
        let text = serde_json::to_vec(self).map_err(|e| Error::internal("write a share", &e))?;
        fs::write_atomic(&dir.join(FILE), &text, 0o600)
    }
}

/// Says what this machine has and who uses it.
pub(super) fn facts(root: &Path) -> Result<Facts> {
    let mut tenants = Vec::new();
    for set in sets(root)? {
        for rank in ranks(&root.join(&set)) {
            let node = Node::new(&root.join(&set), rank);
            let Some(deed) = Deed::read(node.dir())? else {
                continue;
            };
            tenants.push(Tenant {
                node: NodeName {
                    set: set.clone(),
                    rank,
                },
                share: deed.share,
                standing: node.observe(),
            });
        }
    }
    tenants.sort_by(|a, b| a.node.cmp(&b.node));
    Ok(Facts {
        machine: machine::describe(),
        tenants,
    })
}

/// Lists the ranks that a set has here.
pub(super) fn ranks(set: &Path) -> Vec<NodeRank> {
    let entries = std::fs::read_dir(set).into_iter().flatten().flatten();
    let mut ranks: Vec<NodeRank> = entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok().map(NodeRank))
        .collect();
    ranks.sort_unstable();
    ranks
}

/// Makes a node if there is room for it; one that is there is switched on, again only if there is room.
pub(super) fn create(root: &Path, name: &NodeName, share: Share, networked: bool) -> Result<Made> {
    fs::private_dir(root)?;
    // Two servers, or two requests, may want the same room.
    let _lock = FileLock::acquire_within(&root.join(".lock"), PATIENCE)?;
    let node = Node::new(&root.join(&name.set), name.rank);
    let known = Deed::read(node.dir())?;
    if known.is_none() || node.observe() != Standing::Running {
        let lacks = facts(root)?.free().lacks(&share);
        if !lacks.is_empty() {
            return Err(Error::new(
                Kind::ResourcesUnavailable,
                format!("no room: {}", lacks.join(", ")),
            ));
        }
    }
    let deed = match known {
        Some(deed) => Deed { share, ..deed },
        None => Deed {
            share,
            network: if networked { Some(network()?) } else { None },
        },
    };
    fs::private_dir(node.dir())?;
    deed.write(node.dir())?;
    node.create()?;
    Ok(Made {
        socket: node.socket().to_string_lossy().into_owned(),
        address: own_address(),
        network: deed.network,
    })
}

/// Returns the address at which this SSH session arrived.
fn own_address() -> Option<String> {
    // client address, client port, own address, own port
    let session = env::var("SSH_CONNECTION")?;
    session.split(' ').nth(2).map(str::to_owned)
}

/// Finds a port that nobody listens on, and makes a secret; the node keeps both for its life.
fn network() -> Result<Network> {
    let port = TcpListener::bind(("0.0.0.0", 0))
        .and_then(|listener| listener.local_addr())
        .map_err(|e| Error::io("find a free port", &e))?
        .port();
    let mut secret = [0; 32];
    getrandom::fill(&mut secret)
        .map_err(|e| Error::new(Kind::Internal, format!("cannot make a secret: {e}")))?;
    Ok(Network {
        port,
        token: hex::encode(secret),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(set: &str) -> NodeName {
        NodeName {
            set: set.to_owned(),
            rank: NodeRank::HEAD,
        }
    }

    fn half() -> Share {
        let machine = machine::describe();
        Share {
            cpus: machine.cpus / 2.0,
            memory_gb: machine.memory_gb / 2.0,
            accelerators: [].into(),
        }
    }

    #[test]
    fn a_machine_is_shared_until_it_is_full() {
        let root = tempfile::tempdir().expect("a directory");
        create(root.path(), &name("a"), half(), false).expect("room");
        let made = create(root.path(), &name("b"), half(), true).expect("room");
        assert!(made.network.is_some());
        // Again: the same node, the same port.
        let again = create(root.path(), &name("b"), half(), true).expect("it is there");
        assert_eq!(again, made);
        let full = create(root.path(), &name("c"), half(), false).expect_err("full");
        assert_eq!(full.kind(), Kind::ResourcesUnavailable);
        assert!(full.message().contains("CPUs free"), "{full}");
        assert_eq!(facts(root.path()).expect("facts").tenants.len(), 2);
        assert!(
            !root.path().join("c").exists(),
            "nothing is left of a refusal"
        );
    }
}
