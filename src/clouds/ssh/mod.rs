//! The user's own hosts as a cloud: pools of `~/.sky/ssh_node_pools.yaml`, shared by clusters as far as they have room.
//!
//! Nothing is installed and no root is needed: our one file is copied to `~/.sky/bin` once, and a node is a directory
//! in `~/.sky/nodes` (see `node`). What of a host is free is known by the host itself, so that several API servers can
//! share it.

mod agent;
mod make;
mod offers;
mod placement;
mod pools;
mod upkeep;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use serde_json::Value;

use super::binary::Binary;
use super::host::Host;
use super::{
    Capabilities, Category, Cloud, CloudError, CloudId, CloudResult, Instance, NodeSet, Observed,
};
use crate::base::ids::NodeRank;
use crate::base::timings::{self, Part};
use crate::base::{Error, Kind, Result};
use crate::catalog::{Offer, Supply};
use crate::node::Standing;
use crate::node::protocol::{Ask, Facts, NodeName};
use crate::sys::fs;
use crate::sys::paths::Paths;
use crate::task::Shape;
use crate::transport::Transport;
use crate::transport::ssh::{Host as Address, Ssh as Way, is_configured};

pub(crate) use upkeep::{HostReport, Stock};

use agent::{Agent, parts};
use offers::offer_of;
use placement::Placements;
use pools::Pools;

/// What a job occupies of CPUs: a node with less could run none.
const LEAST_CPUS: f64 = 0.5;
/// How long a host may take to say what it has.
const LOOK: Duration = Duration::from_secs(15);
/// How long it may take to start an agent, which adopts its jobs first.
const START: Duration = Duration::from_secs(60);
/// How long it may take to end the processes of a node: their grace, and some.
const STOP: Duration = Duration::from_secs(120);

/// The cloud. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Ssh {
    /// What all clones share.
    inner: Arc<Inner>,
}

/// What all clones share.
struct Inner {
    /// The user's file.
    file: PathBuf,
    /// What `~` stands for in it.
    home: PathBuf,
    /// Sockets of shared connections.
    control: PathBuf,
    /// Where sets are.
    placements: Placements,
    /// What is put on hosts.
    binary: Binary,
    /// Whether the user's SSH configuration is about a host, as far as asked.
    configured: Mutex<HashMap<String, bool>>,
}

impl Ssh {
    /// Makes the cloud; nothing is read or connected yet.
    pub(super) fn new(paths: &Paths) -> Self {
        let inner = Inner {
            file: paths.sky().join("ssh_node_pools.yaml"),
            home: paths.home().to_path_buf(),
            control: paths.state().join("ssh"),
            placements: Placements::new(paths.state().join("ssh_sets")),
            binary: Binary::new(paths.state()),
            configured: Mutex::default(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Reads the pools.
    fn pools(&self) -> Result<Pools> {
        pools::read(&self.inner.file, &self.inner.home)
    }

    /// Reads the pools; none is an error.
    fn some_pools(&self) -> CloudResult<Pools> {
        let pools = self.pools()?;
        if !pools.is_empty() {
            return Ok(pools);
        }
        let what = format!("there are no pools in `{}`", self.inner.file.display());
        let error = Error::new(Kind::NoCloudAccess, what)
            .hint("name your hosts there: `my-pool: {hosts: [10.0.0.11]}` (see docs/ssh.md)");
        Err(CloudError::new(Category::Auth, error))
    }

    /// Makes the way to a host. Where the user's SSH configuration is about it, that alone holds.
    async fn host(&self, mut address: Address) -> Result<Host> {
        fs::private_dir(&self.inner.control)?;
        let known = self.is_configured(&address.destination);
        if timings::during(Part::Connect, known).await? {
            address.user = None;
            address.identity = None;
            address.trust_first = false;
        }
        Ok(Host {
            ssh: Way::new(address, &self.inner.control),
            binary: self.inner.binary.clone(),
        })
    }

    /// Returns whether the user's SSH configuration is about a host.
    async fn is_configured(&self, destination: &str) -> Result<bool> {
        let known = || {
            self.inner
                .configured
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        let found = known().get(destination).copied();
        if let Some(configured) = found {
            return Ok(configured);
        }
        let configured = is_configured(destination).await?;
        known().insert(destination.to_owned(), configured);
        Ok(configured)
    }

    /// Finds a host of a pool by its name; one that left the pool is reached as the user's configuration says.
    async fn named(&self, pools: &Pools, name: &str) -> Result<Host> {
        let known = pools.values().flatten().find(|h| h.destination == name);
        let address = known.cloned().unwrap_or_else(|| Address {
            destination: name.to_owned(),
            user: None,
            port: None,
            identity: None,
            trust_first: false,
        });
        self.host(address).await
    }

    /// Asks hosts what they have, all at a time.
    async fn look(&self, hosts: &[Address]) -> Vec<(Address, Result<Facts>)> {
        let looks = hosts.iter().map(|address| async move {
            let facts = match self.host(address.clone()).await {
                Ok(host) => host.ask::<Facts>(&Ask::Facts, LOOK).await,
                Err(error) => Err(error),
            };
            (address.clone(), facts)
        });
        join_all(looks).await
    }

    /// Asks the hosts of a set the same, each for its rank; the first error counts.
    async fn each(&self, set: &str, ask: impl Fn(NodeName) -> Ask, most: Duration) -> Result<()> {
        let Some(placement) = self.inner.placements.read(set)? else {
            return Ok(());
        };
        let pools = self.pools()?;
        let asks = placement.hosts.iter().map(|(rank, name)| {
            let ask = ask(NodeName {
                set: set.to_owned(),
                rank: *rank,
            });
            let pools = &pools;
            async move {
                let host = self.named(pools, name).await?;
                host.ask::<Value>(&ask, most).await
            }
        });
        for result in join_all(asks).await {
            result?;
        }
        Ok(())
    }
}

/// Says why no host can be used: what each said.
fn all_refused(mut refusals: Vec<Error>) -> Error {
    if let [_] = refusals[..] {
        return refusals.remove(0);
    }
    let kind = refusals.first().map_or(Kind::Unreachable, Error::kind);
    let mut all = Error::new(kind, "none of the hosts can be used");
    for refusal in refusals {
        all = all.caused_by(&Error::new(kind, refusal.one_line()));
        for hint in refusal.hints() {
            all = all.hint(hint.clone());
        }
    }
    all
}

impl Cloud for Ssh {
    fn id(&self) -> CloudId {
        CloudId::Ssh
    }

    fn capabilities(&self, _: &Offer) -> Capabilities {
        Capabilities {
            stop: true,
            own_machines: false,
        }
    }

    fn check(&self) -> BoxFuture<'_, CloudResult<Option<String>>> {
        Box::pin(async move {
            let pools = self.some_pools()?;
            let hosts: Vec<Address> = pools.into_values().flatten().collect();
            let mut refusals = Vec::new();
            for (_, facts) in self.look(&hosts).await {
                match facts {
                    Ok(_) => return Ok(None),
                    Err(error) => refusals.push(error),
                }
            }
            let mut error = Error::new(Kind::Unreachable, "no host of any pool can be used");
            for refusal in &refusals {
                error = error.caused_by(refusal);
            }
            Err(CloudError::new(Category::Auth, error))
        })
    }

    fn offers<'a>(&'a self, wish: &'a Shape) -> BoxFuture<'a, CloudResult<Supply>> {
        Box::pin(async move {
            let named = wish.infra.cloud.is_some();
            if wish
                .infra
                .cloud
                .as_ref()
                .is_some_and(|cloud| cloud != CloudId::Ssh.as_str())
            {
                return Ok(Supply::default());
            }
            let mut offers: Vec<Offer> = Vec::new();
            let mut refusals = Vec::new();
            for (pool, hosts) in self.some_pools()? {
                if wish.infra.region.as_ref().is_some_and(|r| *r != pool) {
                    continue;
                }
                for (_, facts) in self.look(&hosts).await {
                    match facts {
                        Ok(facts) => offers.push(offer_of(&pool, &facts, wish)),
                        Err(error) => refusals.push(error),
                    }
                }
            }
            for error in &refusals {
                tracing::warn!(error = %error.one_line(), "a host is left out");
            }
            if named && offers.is_empty() && !refusals.is_empty() {
                // Whoever names the pool wants to know why it is not used.
                return Err(all_refused(refusals).into());
            }
            offers.sort_by(|a, b| b.vcpus.total_cmp(&a.vcpus));
            offers.dedup();
            Ok(Supply::select(wish, &offers))
        })
    }

    fn accelerators(&self) -> BoxFuture<'_, CloudResult<BTreeMap<String, Vec<f64>>>> {
        Box::pin(async move {
            let mut all: BTreeMap<String, Vec<f64>> = BTreeMap::new();
            let hosts: Vec<Address> = self.pools()?.into_values().flatten().collect();
            for (_, facts) in self.look(&hosts).await {
                let Ok(facts) = facts else { continue };
                for (name, counts) in facts.machine.quantities() {
                    let known = all.entry(name).or_default();
                    known.extend(counts);
                    known.sort_by(f64::total_cmp);
                    known.dedup();
                }
            }
            Ok(all)
        })
    }

    fn provision<'a>(&'a self, set: &'a NodeSet) -> BoxFuture<'a, CloudResult<Vec<Instance>>> {
        Box::pin(timings::during(Part::Start, self.make(set)))
    }

    fn bootstrap<'a>(
        &'a self,
        set: &'a NodeSet,
        instance: &'a Instance,
    ) -> BoxFuture<'a, CloudResult<()>> {
        Box::pin(async move {
            let (name, _) = parts(instance);
            let ask = Ask::Start {
                node: NodeName {
                    set: set.name.clone(),
                    rank: instance.rank,
                },
            };
            let host = self.named(&self.pools()?, name).await?;
            host.ask::<Value>(&ask, START).await?;
            Ok(())
        })
    }

    fn stop<'a>(&'a self, set: &'a NodeSet) -> BoxFuture<'a, CloudResult<()>> {
        Box::pin(async move {
            Ok(self
                .each(&set.name, |node| Ask::Stop { node }, STOP)
                .await?)
        })
    }

    fn terminate<'a>(&'a self, set: &'a NodeSet) -> BoxFuture<'a, CloudResult<()>> {
        self.terminate_stray(&set.name)
    }

    fn terminate_stray<'a>(&'a self, name: &'a str) -> BoxFuture<'a, CloudResult<()>> {
        Box::pin(async move {
            let remove = |node: NodeName| Ask::Remove { set: node.set };
            self.each(name, remove, STOP).await?;
            self.inner.placements.remove(name)?;
            Ok(())
        })
    }

    fn observe<'a>(&'a self, set: &'a NodeSet) -> BoxFuture<'a, CloudResult<Vec<Observed>>> {
        Box::pin(async move {
            let Some(placement) = self.inner.placements.read(&set.name)? else {
                return Ok(vec![Standing::Gone.into(); set.count as usize]);
            };
            let pools = self.pools()?;
            let looks = (0..set.count).map(NodeRank).map(|rank| {
                let (pools, name) = (&pools, placement.host(rank));
                async move {
                    let Some(name) = name else {
                        return Ok(Standing::Gone.into());
                    };
                    let host = self.named(pools, name).await?;
                    let facts: Facts = match host.ask(&Ask::Facts, LOOK).await {
                        Ok(facts) => facts,
                        // Whether it is off or only the way to it is cut cannot be told from here: its nodes are not gone.
                        Err(error) if error.kind() == Kind::Unreachable => {
                            return Ok(Observed {
                                standing: Standing::Running,
                                why: Some(error.one_line()),
                            });
                        }
                        Err(error) => return Err(error.into()),
                    };
                    let tenant = facts
                        .tenants
                        .into_iter()
                        .find(|t| t.node.set == set.name && t.node.rank == rank);
                    Ok(tenant.map_or(Standing::Gone, |t| t.standing).into())
                }
            });
            join_all(looks).await.into_iter().collect()
        })
    }

    fn owned(&self) -> BoxFuture<'_, CloudResult<Vec<String>>> {
        Box::pin(async move { Ok(self.inner.placements.sets()?) })
    }

    fn transport(&self, instance: &Instance) -> Arc<dyn Transport> {
        let (name, set) = parts(instance);
        Arc::new(Agent {
            cloud: self.clone(),
            host: name.to_owned(),
            node: NodeName {
                set: set.to_owned(),
                rank: instance.rank,
            },
        })
    }
}
