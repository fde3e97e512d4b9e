//! AWS as a cloud: EC2 machines through EC2's own API, reached by SSH like any other host.
//!
//! ```text
//!  offers (price list) ─► make: tags, token, zones ─► reach: SSH, our file, `sky __node` ─► agent
//!                           │ order: network, image, key    (as on hosts of the user's own)
//!                           │ keep: seeds of tokens
//!                           └ machines, end ─► ec2 ─► crate::aws
//! ```
//!
//! What exists is known by its tags; what this server made carries its id. `docs/aws.md` says what is made and tagged.

mod ec2;
mod end;
mod fault;
mod image;
mod keep;
mod machines;
mod make;
mod network;
mod order;
mod reach;
mod settings;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use serde::Deserialize;
use serde_json::Value;

use super::binary::{Arch, Binary};
use super::{
    Capabilities, Catalogs, Category, Cloud, CloudError, CloudId, CloudResult, Instance, NodeSet,
    Observed,
};
use crate::api::agent::PeerAddress;
use crate::aws::{Aws as Caller, Params, Service};
use crate::base::ids::NodeRank;
use crate::base::timings::{self, Part};
use crate::base::{Error, Kind};
use crate::catalog::{Offer, Supply};
use crate::node::protocol::Ask;
use crate::sys::paths::Paths;
use crate::task::Shape;
use crate::transport::Transport;

pub(crate) use settings::Settings;

use ec2::{ALIVE, Ec2, Machine};
use keep::Keep;
use machines::{find_all, ids, wait_for};
use make::Maker;
use reach::{Agent, Name, Reach, make_node, node};

/// The tag with the name of the set.
const SET_TAG: &str = "sky-set";
/// The tag with the rank.
const RANK_TAG: &str = "sky-rank";
/// The tag with the server that made it.
const SERVER_TAG: &str = "sky-server";
/// The tag with the name of who logs in.
const USER_TAG: &str = "sky-login";
/// How long a machine may take to start an agent.
const START: Duration = Duration::from_secs(60);

/// States of machines that are not about to run any more.
const BEGUN: [&str; 5] = [
    "running",
    "stopping",
    "stopped",
    "shutting-down",
    "terminated",
];

/// The cloud. Cheap to clone.
#[derive(Clone)]
pub(super) struct Aws {
    /// Who calls.
    caller: Caller,
    /// What the operator chose.
    settings: Arc<Settings>,
    /// What is kept here.
    keep: Keep,
    /// The ways to machines.
    reach: Reach,
    /// What machines cost.
    catalogs: Catalogs,
}

/// Answer of `GetCallerIdentity`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Identity {
    /// The result.
    get_caller_identity_result: Account,
}

/// Who one is.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Account {
    /// The account's number.
    account: String,
    /// The user or role.
    arn: String,
}

impl Aws {
    /// Makes the cloud; nothing is read or connected yet.
    pub(super) fn new(paths: &Paths, settings: Settings, catalogs: Catalogs) -> Self {
        let keep = Keep::new(paths.state());
        Self {
            caller: Caller::of_profile(paths.home(), settings.profile.clone()),
            settings: Arc::new(settings),
            reach: Reach {
                keep: keep.clone(),
                control: paths.state().join("ssh"),
                binary: Binary::new(paths.state()),
            },
            keep,
            catalogs,
        }
    }

    /// Returns who calls.
    pub(super) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Returns EC2 in a region.
    fn ec2(&self, region: &str) -> Ec2 {
        Ec2 {
            aws: self.caller.clone(),
            region: region.to_owned(),
        }
    }

    /// Returns EC2 in the region of a set.
    fn ec2_of(&self, set: &NodeSet) -> CloudResult<Ec2> {
        match &set.offer.region {
            Some(region) => Ok(self.ec2(region)),
            None => Err(CloudError::new(
                Category::Fatal,
                Error::new(Kind::Internal, "a machine of AWS has a region"),
            )),
        }
    }

    /// Makes or finds the machines of a set, and a node on each.
    async fn make(&self, set: &NodeSet) -> CloudResult<Vec<Instance>> {
        let maker = Maker {
            ec2: self.ec2_of(set)?,
            settings: &self.settings,
            keep: &self.keep,
            server: self.keep.server()?,
            set,
        };
        // The intent first: what is made after this line is found again, whatever happens.
        self.keep.note_region(&maker.ec2.region)?;
        let (machines, user) = maker.run().await?;
        let settled = machines
            .into_iter()
            .map(|(rank, machine)| self.settle(set, rank, machine, &user));
        join_all(settled).await.into_iter().collect()
    }

    /// Makes the node on a machine that runs.
    async fn settle(
        &self,
        set: &NodeSet,
        rank: NodeRank,
        machine: Machine,
        user: &str,
    ) -> CloudResult<Instance> {
        let name = Name {
            region: set.offer.region.clone().unwrap_or_default(),
            id: machine.instance_id,
            set: set.name.clone(),
            user: user.to_owned(),
        };
        let internal_ip = machine.private_ip_address.unwrap_or_default();
        let external_ip = machine.ip_address;
        let outside = external_ip.as_ref().filter(|_| !self.settings.internal);
        let address = outside.unwrap_or(&internal_ip);
        let host = self.reach.host(&self.settings, &name, address)?;
        let making = make_node(&host, node(&set.name, rank), set.count > 1);
        let made = timings::during(Part::Connect, making)
            .await
            .map_err(|e| e.context(format!("machine {} cannot be used", name.id)))?;
        Ok(Instance {
            rank,
            id: name.text(),
            agent: match made.network {
                Some(network) => PeerAddress::Tcp {
                    address: format!("{internal_ip}:{}", network.port),
                    token: network.token,
                },
                None => PeerAddress::Unix { path: made.socket },
            },
            internal_ip,
            external_ip,
        })
    }

    /// Lists the sets that this server has in a region.
    async fn sets_in(&self, region: &str) -> CloudResult<Vec<String>> {
        let server = self.keep.server()?;
        let params = Params::new()
            .filter(&format!("tag:{SERVER_TAG}"), [server])
            .filter("instance-state-name", ALIVE);
        let machines = self.ec2(region).machines(params).await?;
        Ok(machines
            .iter()
            .filter_map(|machine| machine.tag(SET_TAG).map(str::to_owned))
            .collect())
    }

    /// Ends the connections to the machines of a set.
    async fn disconnect(&self, set: &NodeSet, machines: &[&Machine]) {
        let region = set.offer.region.clone().unwrap_or_default();
        for machine in machines {
            let name = Name {
                region: region.clone(),
                id: machine.instance_id.clone(),
                set: set.name.clone(),
                user: String::new(),
            };
            if let Ok(host) = self.reach.host(&self.settings, &name, "-") {
                host.ssh.close().await;
            }
        }
    }
}

/// Keeps the offers whose machines there is a program for.
fn runnable(binary: &Binary, supply: Supply) -> CloudResult<Supply> {
    let runs = |arch: &str| arch.parse::<Arch>().is_ok_and(|arch| binary.has(arch));
    if supply.offers.is_empty() {
        return Ok(supply);
    }
    let offers = supply.offers.into_iter();
    let offers: Vec<Offer> = offers
        .filter(|offer| offer.arch.as_deref().is_none_or(runs))
        .collect();
    if offers.is_empty() {
        let what = format!(
            "the machine types that fit are not `{}`, for which this API server's program is built",
            Arch::own()
        );
        let error = Error::new(Kind::NotSupported, what);
        return Err(CloudError::new(
            Category::Configuration,
            error
                .hint("name a machine type of that kind")
                .hint("or give the server a program for the others: docs/building.md"),
        ));
    }
    Ok(Supply { offers, ..supply })
}

impl Cloud for Aws {
    fn id(&self) -> CloudId {
        CloudId::Aws
    }

    fn capabilities(&self, offer: &Offer) -> Capabilities {
        // Spot machines are bought once: what is stopped does not come back.
        Capabilities {
            stop: !offer.spot,
            own_machines: true,
        }
    }

    fn check(&self) -> BoxFuture<'_, CloudResult<Option<String>>> {
        Box::pin(async move {
            let region = self.caller.region()?;
            let found: Identity = self
                .caller
                .query(Service::Sts, &region, "GetCallerIdentity", &Params::new())
                .await?;
            let Account { account, arn } = found.get_caller_identity_result;
            tracing::info!(account, arn, region, "AWS can be used");
            Ok(Some(format!("{arn} [account={account}]")))
        })
    }

    fn offers<'a>(&'a self, wish: &'a Shape) -> BoxFuture<'a, CloudResult<Supply>> {
        Box::pin(async move {
            self.caller.credentials().await?;
            let table = self.catalogs.get(CloudId::Aws.as_str()).await?;
            let supply = table.map_or_else(Supply::default, |table| table.supply(wish));
            runnable(&self.reach.binary, supply)
        })
    }

    fn zones<'a>(&'a self, offer: &'a Offer) -> BoxFuture<'a, CloudResult<Vec<String>>> {
        Box::pin(async move {
            let (Some(region), Some(name)) = (&offer.region, &offer.instance_type) else {
                return Ok(Vec::new());
            };
            Ok(self.ec2(region).zones(name).await?)
        })
    }

    fn accelerators(&self) -> BoxFuture<'_, CloudResult<BTreeMap<String, Vec<f64>>>> {
        // What is sold is in the price list, for whoever asks.
        Box::pin(async { Ok(BTreeMap::new()) })
    }

    fn provision<'a>(&'a self, set: &'a NodeSet) -> BoxFuture<'a, CloudResult<Vec<Instance>>> {
        Box::pin(self.make(set))
    }

    fn bootstrap<'a>(
        &'a self,
        set: &'a NodeSet,
        instance: &'a Instance,
    ) -> BoxFuture<'a, CloudResult<()>> {
        Box::pin(async move {
            let ask = Ask::Start {
                node: node(&set.name, instance.rank),
            };
            let host = self.reach.host_of(&self.settings, instance)?;
            host.ask::<Value>(&ask, START).await?;
            Ok(())
        })
    }

    fn at_power_off<'a>(&'a self, set: &'a NodeSet, down: bool) -> BoxFuture<'a, CloudResult<()>> {
        Box::pin(async move {
            if set.offer.spot {
                // They are terminated in any case.
                return Ok(());
            }
            let ec2 = self.ec2_of(set)?;
            let found = find_all(&ec2, &self.keep.server()?, &set.name, &ALIVE).await?;
            for id in ids(&found) {
                let then = if down { "terminate" } else { "stop" };
                let params = Params::new()
                    .with("InstanceId", id)
                    .with("InstanceInitiatedShutdownBehavior.Value", then);
                ec2.tell("ModifyInstanceAttribute", &params).await?;
            }
            Ok(())
        })
    }

    fn stop<'a>(&'a self, set: &'a NodeSet) -> BoxFuture<'a, CloudResult<()>> {
        Box::pin(async move {
            let ec2 = self.ec2_of(set)?;
            let mut found = find_all(&ec2, &self.keep.server()?, &set.name, &ALIVE).await?;
            let late = end::late(&ec2, &self.keep, &set.name, |_| true, &found).await?;
            found.extend(late.into_iter().filter(|m| ALIVE.contains(&m.state())));
            let pending = found.iter().filter(|m| m.state() == "pending");
            // EC2 stops what runs, not what is about to.
            wait_for(&ec2, &ids(pending), &BEGUN).await?;
            let on: Vec<&Machine> = found
                .iter()
                .filter(|m| matches!(m.state(), "running" | "pending"))
                .collect();
            self.disconnect(set, &on).await;
            let on = ids(on);
            ec2.each("StopInstances", &on).await?;
            wait_for(&ec2, &ids(&found), &["stopped", "terminated"]).await
        })
    }

    fn terminate<'a>(&'a self, set: &'a NodeSet) -> BoxFuture<'a, CloudResult<()>> {
        Box::pin(async move {
            end::remove(&self.ec2_of(set)?, &self.keep, &set.name).await?;
            self.keep.forget(&set.name);
            Ok(())
        })
    }

    fn terminate_stray<'a>(&'a self, name: &'a str) -> BoxFuture<'a, CloudResult<()>> {
        Box::pin(async move {
            let mut ended = Ok(());
            for region in self.keep.regions()? {
                let removed = end::remove(&self.ec2(&region), &self.keep, name).await;
                // A region that is closed to us keeps no machine of another one alive.
                ended = ended.and(removed);
            }
            ended?;
            self.keep.forget(name);
            Ok(())
        })
    }

    fn observe<'a>(&'a self, set: &'a NodeSet) -> BoxFuture<'a, CloudResult<Vec<Observed>>> {
        Box::pin(async move { machines::observe(&self.ec2_of(set)?, &self.keep, set).await })
    }

    fn owned(&self) -> BoxFuture<'_, CloudResult<Vec<String>>> {
        Box::pin(async move {
            let (mut sets, mut refusals) = (Vec::new(), Vec::new());
            let regions = self.keep.regions()?;
            for region in &regions {
                match self.sets_in(region).await {
                    Ok(found) => sets.extend(found),
                    Err(refusal) => {
                        tracing::warn!(region, error = %refusal, "cannot list the machines of a region");
                        refusals.push(refusal);
                    }
                }
            }
            // One region may be closed to us; where all are, nothing is known.
            if refusals.len() == regions.len()
                && let Some(refusal) = refusals.pop()
            {
                return Err(refusal);
            }
            sets.sort();
            sets.dedup();
            Ok(sets)
        })
    }

    fn transport(&self, instance: &Instance) -> Arc<dyn Transport> {
        let name = Name::read(&instance.id);
        Arc::new(Agent {
            host: self.reach.host_of(&self.settings, instance),
            node: node(&name.set, instance.rank),
            id: name.id,
        })
    }
}
