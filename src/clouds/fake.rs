//! A cloud in memory, for tests: regions, zones and machines, and faults as a test orders them.
//!
//! Its machines run no agent: what is tested with it is everything up to there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;

use super::{
    Capabilities, Category, Cloud, CloudError, CloudId, CloudResult, Instance, NodeSet, Observed,
    Standing,
};
use crate::api::agent::PeerAddress;
use crate::base::ids::NodeRank;
use crate::base::units::Dollars;
use crate::base::{Error, Kind, Result};
use crate::catalog::{Offer, Supply};
use crate::task::Shape;
use crate::transport::{ByteStream, Transport};

/// A kind of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    /// Making machines.
    Provision,
    /// Removing them.
    Terminate,
    /// Stopping them.
    Stop,
    /// Looking at them.
    Observe,
}

/// What goes wrong in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is refused, and nothing happens.
    Refuse(Category),
    /// It happens, and the reply is lost.
    LoseReply,
    /// So many machines are made, then it is refused.
    Partly(u32, Category),
}

/// A fault that a test has ordered.
#[derive(Debug, Clone)]
struct Order {
    /// In which call.
    call: Call,
    /// In which zone or region; everywhere if none.
    place: Option<String>,
    /// What.
    fault: Fault,
    /// How often still.
    times: u32,
}

/// A machine.
#[derive(Debug, Clone)]
struct Machine {
    /// How it stands.
    seen: Observed,
    /// The token of the call that made it.
    token: String,
    /// In which zone it is.
    zone: Option<String>,
}

/// What there is.
#[derive(Debug, Default)]
struct World {
    /// Machines by region, name of their set and rank.
    machines: BTreeMap<(String, String, u32), Machine>,
    /// Faults to come.
    orders: Vec<Order>,
    /// What was called, and where.
    calls: Vec<String>,
}

/// The cloud. Clones are the same cloud.
#[derive(Clone)]
pub(crate) struct Fake {
    /// Which cloud it stands for.
    id: CloudId,
    /// Its regions, dearer ones later, each with its zones.
    regions: Arc<Vec<(&'static str, Vec<&'static str>)>>,
    /// What there is.
    world: Arc<Mutex<World>>,
}

impl Fake {
    /// Makes one.
    pub(crate) fn new(id: CloudId, regions: &[(&'static str, &[&'static str])]) -> Self {
        let regions = regions
            .iter()
            .map(|(region, zones)| (*region, zones.to_vec()))
            .collect();
        Self {
            id,
            regions: Arc::new(regions),
            world: Arc::default(),
        }
    }

    /// Locks what there is.
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Orders a fault in the next so many calls of a kind, at a place or everywhere.
    pub(crate) fn order(&self, call: Call, place: Option<&str>, fault: Fault, times: u32) {
        self.world().orders.push(Order {
            call,
            place: place.map(str::to_owned),
            fault,
            times,
        });
    }

    /// Takes all orders back.
    pub(crate) fn calm(&self) {
        self.world().orders.clear();
    }

    /// Returns the machines there are: region, name of the set, rank.
    pub(crate) fn machines(&self) -> Vec<(String, String, u32)> {
        self.world().machines.keys().cloned().collect()
    }

    /// Returns what was called so far.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.world().calls.clone()
    }

    /// Lets something happen to a machine from outside.
    pub(crate) fn strike(&self, set: &str, rank: u32, seen: Observed) {
        let mut world = self.world();
        let key = world
            .machines
            .keys()
            .find(|(_, name, of)| name == set && *of == rank)
            .cloned();
        let Some(key) = key else { return };
        if seen.standing == Standing::Gone && seen.why.is_none() {
            world.machines.remove(&key);
        } else if let Some(machine) = world.machines.get_mut(&key) {
            machine.seen = seen;
        }
    }

    /// Notes a call and returns the fault that was ordered for it.
    fn fault(&self, call: Call, set: &NodeSet) -> Option<Fault> {
        let offer = &set.offer;
        let places = [offer.region.as_deref(), offer.zone.as_deref()];
        let mut world = self.world();
        let place = places.iter().flatten().copied().collect::<Vec<_>>();
        world.calls.push(format!("{call:?} {}", place.join("/")));
        let order = world.orders.iter_mut().find(|order| {
            let here = order.place.as_deref().is_none_or(|p| place.contains(&p));
            order.call == call && order.times > 0 && here
        })?;
        order.times -= 1;
        Some(order.fault)
    }

    /// Makes a call: `effect` happens as far as the fault lets it.
    async fn call<T>(
        &self,
        call: Call,
        set: &NodeSet,
        effect: impl Fn(&mut World, u32) -> T,
    ) -> CloudResult<T> {
        tokio::task::yield_now().await;
        match self.fault(call, set) {
            None => Ok(effect(&mut self.world(), set.count)),
            Some(Fault::Refuse(category)) => Err(refusal(category)),
            Some(Fault::LoseReply) => {
                effect(&mut self.world(), set.count);
                Err(refusal(Category::Transient))
            }
            Some(Fault::Partly(made, category)) => {
                effect(&mut self.world(), made.min(set.count));
                Err(refusal(category))
            }
        }
    }

    /// Returns an offer in a region.
    pub(crate) fn offer(&self, region: usize) -> Offer {
        Offer {
            cloud: self.id.as_str().to_owned(),
            display: self.id.display_name().to_owned(),
            region: Some(self.regions[region].0.to_owned()),
            zone: None,
            instance_type: Some("m6i.large".to_owned()),
            vcpus: 2.0,
            memory_gb: 8.0,
            accelerators: None,
            hourly: Dollars(0.1 + f64::from(u32::try_from(region).unwrap_or(0)) / 100.0),
            spot: false,
            arch: None,
        }
    }
}

/// Makes the refusal of a category.
pub(crate) fn refusal(category: Category) -> CloudError {
    let (kind, text) = match category {
        Category::Capacity => (Kind::ResourcesUnavailable, "there is no capacity"),
        Category::Quota => (Kind::ResourcesUnavailable, "the quota is used up"),
        Category::Auth => (Kind::PermissionDenied, "the credentials were refused"),
        Category::Throttled => (Kind::TooBusy, "the limit of calls is reached"),
        Category::Configuration => (Kind::InvalidConfig, "there is no such network"),
        Category::NotFound => (Kind::NotFound, "there is no such image"),
        Category::Conflict => (Kind::Conflict, "the name is taken"),
        Category::Transient => (Kind::Unreachable, "the connection broke"),
        Category::Fatal => (Kind::Internal, "it makes no sense"),
    };
    CloudError::new(category, Error::new(kind, text))
}

impl Cloud for Fake {
    fn id(&self) -> CloudId {
        self.id
    }

    fn capabilities(&self, _: &Offer) -> Capabilities {
        Capabilities {
            stop: true,
            own_machines: false,
        }
    }

    fn check(&self) -> BoxFuture<'_, CloudResult<Option<String>>> {
        Box::pin(async { Ok(None) })
    }

    fn offers<'a>(&'a self, wish: &'a Shape) -> BoxFuture<'a, CloudResult<Supply>> {
        Box::pin(async move {
            let offers: Vec<Offer> = (0..self.regions.len()).map(|r| self.offer(r)).collect();
            Ok(Supply::select(wish, &offers))
        })
    }

    fn zones<'a>(&'a self, offer: &'a Offer) -> BoxFuture<'a, CloudResult<Vec<String>>> {
        let region = self
            .regions
            .iter()
            .find(|(name, _)| offer.region.as_deref() == Some(name));
        let zones = region.map(|(_, zones)| zones.iter().map(|z| (*z).to_owned()).collect());
        Box::pin(async move { Ok(zones.unwrap_or_default()) })
    }

    fn accelerators(&self) -> BoxFuture<'_, CloudResult<BTreeMap<String, Vec<f64>>>> {
        Box::pin(async { Ok(BTreeMap::new()) })
    }

    fn provision<'a>(&'a self, set: &'a NodeSet) -> BoxFuture<'a, CloudResult<Vec<Instance>>> {
        Box::pin(async move {
            let region = set.offer.region.clone().unwrap_or_default();
            self.call(Call::Provision, set, |world, count| {
                (0..count)
                    .map(|rank| {
                        let key = (region.clone(), set.name.clone(), rank);
                        let machine = world.machines.entry(key).or_insert_with(|| Machine {
                            seen: Standing::Running.into(),
                            token: set.token.clone(),
                            zone: set.offer.zone.clone(),
                        });
                        machine.seen = Standing::Running.into();
                        instance(&region, set, rank, machine)
                    })
                    .collect()
            })
            .await
        })
    }

    fn bootstrap<'a>(&'a self, _: &'a NodeSet, _: &'a Instance) -> BoxFuture<'a, CloudResult<()>> {
        Box::pin(async { Err(refusal(Category::Fatal)) })
    }

    fn stop<'a>(&'a self, set: &'a NodeSet) -> BoxFuture<'a, CloudResult<()>> {
        Box::pin(self.call(Call::Stop, set, |world, _| {
            for ((_, name, _), machine) in &mut world.machines {
                if *name == set.name {
                    machine.seen = Standing::Stopped.into();
                }
            }
        }))
    }

    fn terminate<'a>(&'a self, set: &'a NodeSet) -> BoxFuture<'a, CloudResult<()>> {
        Box::pin(self.call(Call::Terminate, set, |world, _| {
            let here = |region: &String| set.offer.region.as_ref() == Some(region);
            world
                .machines
                .retain(|(region, name, _), _| *name != set.name || !here(region));
        }))
    }

    fn terminate_stray<'a>(&'a self, name: &'a str) -> BoxFuture<'a, CloudResult<()>> {
        self.world().machines.retain(|(_, of, _), _| of != name);
        Box::pin(async { Ok(()) })
    }

    fn observe<'a>(&'a self, set: &'a NodeSet) -> BoxFuture<'a, CloudResult<Vec<Observed>>> {
        Box::pin(self.call(Call::Observe, set, |world, _| {
            let region = set.offer.region.clone().unwrap_or_default();
            let seen = |rank| {
                let key = (region.clone(), set.name.clone(), rank);
                let machine = world.machines.get(&key);
                machine.map_or(Standing::Gone.into(), |m| m.seen.clone())
            };
            (0..set.count).map(seen).collect()
        }))
    }

    fn owned(&self) -> BoxFuture<'_, CloudResult<Vec<String>>> {
        Box::pin(async move {
            let mut names: Vec<String> = self
                .machines()
                .into_iter()
                .map(|(_, name, _)| name)
                .collect();
            names.sort();
            names.dedup();
            Ok(names)
        })
    }

    fn transport(&self, _: &Instance) -> Arc<dyn Transport> {
        Arc::new(Nowhere)
    }
}

/// Makes the instance of a machine.
fn instance(region: &str, set: &NodeSet, rank: u32, machine: &Machine) -> Instance {
    let zone = machine.zone.as_deref().unwrap_or("-");
    Instance {
        rank: NodeRank(rank),
        id: format!("{region}/{zone}/{}/{rank}/{}", set.name, machine.token),
        internal_ip: format!("10.0.0.{}", rank + 1),
        external_ip: None,
        agent: PeerAddress::Unix {
            path: "/nowhere".to_owned(),
        },
    }
}

/// Leads to no agent.
struct Nowhere;

impl Transport for Nowhere {
    fn connect(&self) -> BoxFuture<'_, Result<Box<dyn ByteStream>>> {
        Box::pin(async { Err(Error::new(Kind::Unreachable, "there is no agent")) })
    }

    fn describe(&self) -> String {
        "no agent".to_owned()
    }
}
