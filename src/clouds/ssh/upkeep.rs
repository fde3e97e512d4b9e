//! What users do with hosts themselves: get them ready, look at them, leave them as they were.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use serde::Serialize;
use serde_json::Value;

use super::{LOOK, Pools, STOP, Ssh};
use crate::base::{Error, Kind, Result};
use crate::clouds::Standing;
use crate::node::protocol::{Ask, Facts, Share};
use crate::transport::ssh::Host as Address;

/// A host of a pool, as it was found.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct HostReport {
    /// The pool.
    pub(crate) pool: String,
    /// Its name in the pool.
    pub(crate) host: String,
    /// What it has; none when it could not be asked, or is not ready yet.
    #[serde(flatten)]
    pub(crate) stock: Option<Stock>,
    /// Why it cannot be used.
    pub(crate) error: Option<String>,
}

/// What a host has.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Stock {
    /// CPUs.
    pub(crate) cpus: f64,
    /// Memory in GB.
    pub(crate) memory_gb: f64,
    /// GPUs by model.
    pub(crate) gpus: BTreeMap<String, u32>,
    /// What nobody has taken.
    pub(crate) free: Share,
    /// The sets of nodes on it.
    pub(crate) used_by: Vec<String>,
}

impl Stock {
    /// Reads it out of what a host says.
    fn of(facts: &Facts) -> Self {
        let running = |standing| matches!(standing, Standing::Running | Standing::Stopped);
        let mut used_by: Vec<String> = facts
            .tenants
            .iter()
            .filter(|tenant| running(tenant.standing))
            .map(|tenant| tenant.node.set.clone())
            .collect();
        used_by.dedup();
        Self {
            cpus: facts.machine.cpus,
            memory_gb: facts.machine.memory_gb,
            gpus: facts.machine.models(),
            free: facts.free(),
            used_by,
        }
    }
}

/// What is asked of hosts.
#[derive(Debug, Clone, Copy)]
enum Deed {
    /// Our file and what the host has.
    Prepare,
    /// What the host has, where our file is there.
    Look,
    /// To forget us.
    Clean,
}

impl Ssh {
    /// The hosts of one pool, or of all.
    fn hosts_of(&self, pool: Option<&str>) -> Result<Vec<(String, Address)>> {
        let mut pools: Pools = self.some_pools()?;
        if let Some(name) = pool {
            let known: Vec<String> = pools.keys().map(|name| format!("`{name}`")).collect();
            pools.retain(|of, _| of == name);
            if pools.is_empty() {
                let what = format!(
                    "there is no pool `{name}` in `{}`",
                    self.inner.file.display()
                );
                let known = format!("pools there: {}", known.join(", "));
                return Err(Error::new(Kind::NotFound, what).hint(known));
            }
        }
        let all = pools.into_iter();
        Ok(all
            .flat_map(|(pool, hosts)| hosts.into_iter().map(move |host| (pool.clone(), host)))
            .collect())
    }

    /// Gets hosts ready, all at a time: connects, copies our file, asks what they have.
    pub(crate) async fn prepare(&self, pool: Option<&str>) -> Result<Vec<HostReport>> {
        self.report(pool, Deed::Prepare).await
    }

    /// Looks at hosts without putting anything on them.
    pub(crate) async fn inventory(&self, pool: Option<&str>) -> Result<Vec<HostReport>> {
        self.report(pool, Deed::Look).await
    }

    /// Removes what we put on hosts; refused where a cluster of anybody is on one of them.
    pub(crate) async fn clean(&self, pool: Option<&str>) -> Result<Vec<HostReport>> {
        let found = self.inventory(pool).await?;
        let used = found.iter().filter_map(|report| {
            let used_by = &report.stock.as_ref()?.used_by;
            (!used_by.is_empty())
                .then(|| format!("host `{}` has {}", report.host, used_by.join(", ")))
        });
        let used: Vec<String> = used.collect();
        if !used.is_empty() {
            let mut error = Error::new(Kind::Conflict, "clusters use these hosts")
                .hint("remove the clusters first: sky down CLUSTER");
            for one in used {
                error = error.caused_by(&Error::new(Kind::Conflict, one));
            }
            return Err(error);
        }
        self.report(pool, Deed::Clean).await
    }

    /// Asks all hosts, and reports in the order of the pools.
    async fn report(&self, pool: Option<&str>, deed: Deed) -> Result<Vec<HostReport>> {
        let asks = self
            .hosts_of(pool)?
            .into_iter()
            .map(|(pool, address)| async move {
                let host = address.destination.clone();
                let (stock, error) = match self.put(address, deed).await {
                    Ok(facts) => (facts.as_ref().map(Stock::of), None),
                    Err(error) => (None, Some(error.one_line())),
                };
                HostReport {
                    pool,
                    host,
                    stock,
                    error,
                }
            });
        Ok(join_all(asks).await)
    }

    /// Asks one host.
    async fn put(&self, address: Address, deed: Deed) -> Result<Option<Facts>> {
        let host = self.host(address).await?;
        match deed {
            Deed::Prepare => host.ask(&Ask::Facts, LOOK).await.map(Some),
            Deed::Look => host.ask_if_ready(&Ask::Facts, LOOK).await,
            Deed::Clean => {
                // A cluster that came meanwhile is refused there, under the lock that its making takes.
                host.ask_if_ready::<Value>(&Ask::Leave, STOP).await?;
                Ok(None)
            }
        }
    }

    /// Returns the pools as the HTTP API shows them: addresses, and nothing that lets anybody in.
    pub(crate) fn pools_shown(&self) -> Result<Value> {
        let pools = self.pools()?;
        let shown = pools.iter().map(|(name, hosts)| {
            let hosts: Vec<&str> = hosts.iter().map(|host| host.destination.as_str()).collect();
            (name.clone(), serde_json::json!({ "hosts": hosts }))
        });
        Ok(Value::Object(shown.collect()))
    }
}
