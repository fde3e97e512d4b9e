//! Nodes onto hosts: where there is room, and what is asked of the host.

use super::placement::Placement;
use super::{LOOK, Ssh};
use crate::api::agent::PeerAddress;
use crate::base::ids::NodeRank;
use crate::base::{Error, Kind, Result};
use crate::catalog::Offer;
use crate::clouds::host::Host;
use crate::clouds::{Category, CloudError, CloudResult, Instance, NodeSet};
use crate::node::protocol::{Ask, Facts, Made, NodeName, Share};
use crate::transport::ssh::Host as Address;

impl Ssh {
    /// Makes what is missing of a set, on hosts that have room.
    pub(super) async fn make(&self, set: &NodeSet) -> CloudResult<Vec<Instance>> {
        let pools = self.pools()?;
        let pool = set.offer.region.clone().unwrap_or_default();
        let hosts = pools.get(&pool).ok_or_else(|| {
            let what = format!(
                "there is no pool `{pool}` in `{}`",
                self.inner.file.display()
            );
            CloudError::new(Category::Configuration, Error::new(Kind::NotFound, what))
        })?;
        let mut placement = self.inner.placements.read(&set.name)?.unwrap_or(Placement {
            pool,
            hosts: Vec::new(),
        });
        let mut instances = Vec::new();
        let mut seen: Option<Vec<(Address, Result<Facts>)>> = None;
        for rank in (0..set.count).map(NodeRank) {
            if let Some(name) = placement.host(rank) {
                let host = self.named(&pools, name).await?;
                instances.push(self.create(&host, set, rank).await?);
                continue;
            }
            if seen.is_none() {
                seen = Some(self.look(hosts).await);
            }
            let seen = seen.as_deref().unwrap_or_default();
            instances.push(self.place(set, rank, &mut placement, seen).await?);
        }
        Ok(instances)
    }

    /// Puts a rank on the host with the least room that is enough.
    async fn place(
        &self,
        set: &NodeSet,
        rank: NodeRank,
        placement: &mut Placement,
        seen: &[(Address, Result<Facts>)],
    ) -> CloudResult<Instance> {
        let wish = share_of(&set.offer);
        let mut refusals = Vec::new();
        let mut roomy = Vec::new();
        for (address, facts) in seen {
            let name = &address.destination;
            match facts {
                _ if placement.uses(name) => {
                    refusals.push(format!("`{name}` has another node of this cluster"));
                }
                Err(error) => refusals.push(error.one_line()),
                Ok(facts) => match facts.free().lacks(&wish) {
                    lacks if lacks.is_empty() => roomy.push((facts.free().cpus, address)),
                    lacks => refusals.push(format!("`{name}` has {}", lacks.join(", "))),
                },
            }
        }
        roomy.sort_by(|a, b| a.0.total_cmp(&b.0));
        for (_, address) in roomy {
            let host = self.host(address.clone()).await?;
            // The intent first: what is made after this line is found again, whatever happens.
            placement.put(rank, &address.destination);
            self.inner.placements.write(&set.name, placement)?;
            match self.create(&host, set, rank).await {
                Ok(instance) => return Ok(instance),
                Err(refusal) if refusal.is_place_bound() => {
                    placement.hosts.retain(|(of, _)| *of != rank);
                    self.inner.placements.write(&set.name, placement)?;
                    refusals.push(refusal.error.one_line());
                }
                Err(other) => return Err(other),
            }
        }
        let what = format!(
            "no host of pool `{}` has room for node {rank}",
            placement.pool
        );
        let mut error = Error::new(Kind::ResourcesUnavailable, what);
        for refusal in refusals {
            error = error.caused_by(&Error::new(Kind::ResourcesUnavailable, refusal));
        }
        Err(CloudError::new(Category::Capacity, error))
    }

    /// Makes a node on a host, or finds it there.
    async fn create(&self, host: &Host, set: &NodeSet, rank: NodeRank) -> CloudResult<Instance> {
        let node = NodeName {
            set: set.name.clone(),
            rank,
        };
        let ask = Ask::Create {
            node,
            share: share_of(&set.offer),
            networked: set.count > 1,
            whole: false,
        };
        let made: Made = host.ask(&ask, LOOK).await.map_err(|error| {
            let category = match error.kind() {
                Kind::ResourcesUnavailable => Category::Capacity,
                _ => CloudError::from(error.clone()).category,
            };
            CloudError::new(category, error)
        })?;
        let ip = made
            .address
            .unwrap_or_else(|| host.ssh.destination().to_owned());
        Ok(Instance {
            rank,
            id: format!("{}/{}/{rank}", host.ssh.destination(), set.name),
            agent: match made.network {
                Some(network) => PeerAddress::Tcp {
                    address: format!("{}:{}", bracketed(&ip), network.port),
                    token: network.token,
                },
                None => PeerAddress::Unix { path: made.socket },
            },
            internal_ip: ip,
            external_ip: None,
        })
    }
}

/// An address as it stands before a port.
fn bracketed(ip: &str) -> String {
    if ip.contains(':') {
        format!("[{ip}]")
    } else {
        ip.to_owned()
    }
}

/// What of a machine a node takes.
fn share_of(offer: &Offer) -> Share {
    Share {
        cpus: offer.vcpus,
        memory_gb: offer.memory_gb,
        accelerators: offer
            .accelerators
            .iter()
            .map(|a| (a.name.clone(), a.count))
            .collect(),
    }
}
