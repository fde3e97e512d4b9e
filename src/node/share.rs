//! What a node may use of its machine, kept beside it.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::machine::Machine;
use super::protocol::{Facts, Made, Network, NodeName, Share, Tenant};
use super::{Node, Standing, sets};
use crate::base::ids::NodeRank;
use crate::base::{Error, Kind, Result};
use crate::sys::lock::FileLock;
use crate::sys::random;
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
    /// The GPUs that are its own, by index; nothing where the machine has none.
    #[serde(default)]
    pub(super) devices: Option<Vec<u32>>,
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
pub(super) fn facts(root: &Path, machine: Machine) -> Result<Facts> {
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
                devices: deed.devices.unwrap_or_default(),
                standing: node.observe(),
            });
        }
    }
    tenants.sort_by(|a, b| a.node.cmp(&b.node));
    Ok(Facts { machine, tenants })
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

/// What a node shall be.
pub(super) struct Wanted {
    /// Its part of the machine.
    pub(super) share: Share,
    /// Whether other machines must reach its agent.
    pub(super) networked: bool,
    /// The home that jobs have, where it is not one of the node's own.
    pub(super) home: Option<PathBuf>,
}

/// Makes a node if there is room for it; one that is there is switched on, again only if there is room.
pub(super) fn create(
    root: &Path,
    machine: Machine,
    name: &NodeName,
    wanted: Wanted,
) -> Result<Made> {
    let Wanted {
        share,
        networked,
        home,
    } = wanted;
    fs::private_dir(root)?;
    // Two servers, or two requests, may want the same room.
    let _lock = FileLock::acquire_within(&root.join(".lock"), PATIENCE)?;
    let node = Node::new(&root.join(&name.set), name.rank);
    let known = Deed::read(node.dir())?;
    let has_gpus = !machine.gpus.is_empty();
    let mut devices = known.as_ref().and_then(|deed| deed.devices.clone());
    if known.is_none() || node.observe() != Standing::Running {
        let facts = facts(root, machine)?;
        let lacks = facts.free().lacks(&share);
        if !lacks.is_empty() {
            return Err(Error::new(
                Kind::ResourcesUnavailable,
                format!("no room: {}", lacks.join(", ")),
            ));
        }
        devices = has_gpus.then(|| facts.pick(&share, &devices.unwrap_or_default()));
    }
    let deed = match known {
        Some(deed) => Deed {
            share,
            devices,
            ..deed
        },
        None => Deed {
            share,
            devices,
            network: if networked { Some(network()?) } else { None },
        },
    };
    fs::private_dir(node.dir())?;
    deed.write(node.dir())?;
    node.create(home.as_deref())?;
    Ok(Made {
        socket: node.socket().to_string_lossy().into_owned(),
        address: own_address(),
        network: deed.network,
    })
}

/// Removes what is of ours beside nodes: the files of this program, and the folders that are empty then.
pub(super) fn leave(root: &Path) -> Result<()> {
    fs::private_dir(root)?;
    let lock = FileLock::acquire_within(&root.join(".lock"), PATIENCE)?;
    let sets = sets(root)?;
    if !sets.is_empty() {
        let what = format!("there are nodes of {}", sets.join(", "));
        return Err(Error::new(Kind::Conflict, what));
    }
    let own = root.with_file_name("bin");
    for entry in std::fs::read_dir(&own).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("sky-") || name.starts_with(".sky-") {
            let doing = |e| Error::io(format!("remove `{}`", entry.path().display()), &e);
            std::fs::remove_file(entry.path()).map_err(doing)?;
        }
    }
    std::fs::remove_dir_all(root)
        .map_err(|e| Error::io(format!("remove `{}`", root.display()), &e))?;
    drop(lock);
    // Folders that hold something of others stay.
    for folder in [Some(own.as_path()), own.parent()].into_iter().flatten() {
        if std::fs::remove_dir(folder).is_err() {
            break;
        }
    }
    Ok(())
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
    Ok(Network {
        port,
        token: hex::encode(random::bytes::<32>()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::gpus::Gpu;

    fn name(set: &str) -> NodeName {
        NodeName {
            set: set.to_owned(),
            rank: NodeRank::HEAD,
        }
    }

    fn machine() -> Machine {
        let gpu = |index| Gpu {
            index,
            model: "H100".to_owned(),
        };
        Machine {
            cpus: 4.0,
            memory_gb: 16.0,
            gpus: (0..4).map(gpu).collect(),
        }
    }

    fn make(root: &Path, set: &str, networked: bool) -> Result<Made> {
        let half = Share {
            cpus: 2.0,
            memory_gb: 8.0,
            accelerators: [("h100".to_owned(), 2.0)].into(),
        };
        let wanted = Wanted {
            share: half,
            networked,
            home: None,
        };
        create(root, machine(), &name(set), wanted)
    }

    fn devices(root: &Path, set: &str) -> Vec<u32> {
        let facts = facts(root, machine()).expect("facts");
        let tenant = facts.tenants.into_iter().find(|t| t.node == name(set));
        tenant.expect("it is there").devices
    }

    #[test]
    fn a_machine_of_its_own_lends_a_node_the_home_of_who_logs_in() {
        let dir = tempfile::tempdir().expect("a directory");
        let home = dir.path().join("me");
        std::fs::create_dir(&home).expect("a home");
        let made = |login: Option<&Path>| {
            let wanted = Wanted {
                share: Share::default(),
                networked: false,
                home: login.map(Path::to_path_buf),
            };
            create(dir.path(), machine(), &name("a"), wanted).expect("made");
            dir.path().join("a/0/home").canonicalize().expect("a home")
        };
        assert_eq!(made(Some(&home)), home.canonicalize().expect("there"));
        assert_eq!(made(Some(Path::new("/"))), home, "it stays what it is");
        let node = Node::new(&dir.path().join("a"), NodeRank::HEAD);
        assert_eq!(node.observe(), Standing::Running);
    }

    #[test]
    fn a_machine_is_shared_until_it_is_full() {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path();
        make(root, "a", false).expect("room");
        let made = make(root, "b", true).expect("room");
        assert!(made.network.is_some());
        // Again: the same node, the same port, the same devices.
        let again = make(root, "b", true).expect("it is there");
        assert_eq!(again, made);
        assert_eq!(devices(root, "a"), [0, 1]);
        assert_eq!(devices(root, "b"), [2, 3]);
        let full = make(root, "c", false).expect_err("full");
        assert_eq!(full.kind(), Kind::ResourcesUnavailable);
        assert!(full.message().contains("CPUs free"), "{full}");
        assert!(!root.join("c").exists(), "nothing is left of a refusal");
        assert_eq!(leave(root).expect_err("nodes").kind(), Kind::Conflict);
        // What is switched off gives its devices away, and finds others when it is switched on again.
        std::fs::write(root.join("a/0/stopped"), "").expect("switched off");
        make(root, "c", false).expect("room");
        assert_eq!(devices(root, "c"), [0, 1]);
        std::fs::write(root.join("b/0/stopped"), "").expect("switched off");
        make(root, "a", false).expect("room");
        assert_eq!(devices(root, "a"), [2, 3]);
    }
}
