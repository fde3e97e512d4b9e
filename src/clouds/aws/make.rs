//! Machines of a set: found by their tags, made where there are none, started where they are stopped.
//!
//! A machine carries its set and rank as tags from the moment it is made, and the call that makes it carries a token that
//! follows from them: whoever repeats it after a lost answer gets the machine that is there.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use ring::digest;

use crate::aws::Params;
use crate::base::clock::monotonic;
use crate::base::ids::NodeRank;
use crate::base::{Error, Kind};
use crate::clouds::{Category, CloudError, CloudResult, NodeSet};

use super::ec2::{ALIVE, Ec2, GONE, Machine, Reason, Subnet};
use super::fault::category_of;
use super::image::{self, Chosen};
use super::keep::Keep;
use super::network::{self, Network};
use super::settings::Settings;
use super::{RANK_TAG, SERVER_TAG, SET_TAG};

/// How long machines may take to run.
const RUN: Duration = Duration::from_secs(300);
/// How long they may take to stop or to be gone.
const STOP: Duration = Duration::from_secs(600);
/// The first pause between two looks; it grows.
const FIRST_LOOK: Duration = Duration::from_millis(400);
/// The longest pause.
const LONGEST_LOOK: Duration = Duration::from_secs(5);

/// Makes and finds the machines of one set.
pub(super) struct Maker<'a> {
    /// The API of the set's region.
    pub(super) ec2: Ec2,
    /// What the operator chose.
    pub(super) settings: &'a Settings,
    /// What is kept here.
    pub(super) keep: &'a Keep,
    /// Who this server is.
    pub(super) server: String,
    /// The set.
    pub(super) set: &'a NodeSet,
}

/// What all machines of a set are made with.
struct Plan {
    /// The network.
    network: Network,
    /// Security groups.
    groups: Vec<String>,
    /// The image.
    image: Chosen,
    /// The name of the key.
    key: String,
}

/// Machines by rank.
pub(super) type ByRank = BTreeMap<NodeRank, Machine>;

/// Finds all machines of a set that are in one of these states, two of a rank and those without one included.
pub(super) async fn find_all(
    ec2: &Ec2,
    server: &str,
    set: &str,
    states: &[&str],
) -> CloudResult<Vec<Machine>> {
    let params = Params::new()
        .filter(&format!("tag:{SET_TAG}"), [set])
        .filter(&format!("tag:{SERVER_TAG}"), [server])
        .filter("instance-state-name", states);
    Ok(ec2.machines(params).await?)
}

/// Finds the machines of a set that are, or will be again, by rank.
pub(super) async fn find(ec2: &Ec2, server: &str, set: &str) -> CloudResult<ByRank> {
    Ok(by_rank(find_all(ec2, server, set, &ALIVE).await?))
}

/// Finds the machines of a set that are gone for good, as long as AWS remembers them.
pub(super) async fn find_gone(ec2: &Ec2, server: &str, set: &str) -> CloudResult<ByRank> {
    Ok(by_rank(find_all(ec2, server, set, &GONE).await?))
}

/// Orders machines: of each rank the last one that was made.
fn by_rank(machines: Vec<Machine>) -> ByRank {
    let mut found = ByRank::new();
    for machine in machines {
        let rank = machine.tag(RANK_TAG).and_then(|text| text.parse().ok());
        let Some(rank) = rank.map(NodeRank) else {
            continue;
        };
        let later = |known: &Machine| known.launch_time < machine.launch_time;
        if found.get(&rank).is_none_or(later) {
            found.insert(rank, machine);
        }
    }
    found
}

impl Maker<'_> {
    /// Makes all machines run; returns them with the name of who logs in.
    pub(super) async fn run(&self) -> CloudResult<(ByRank, String)> {
        let mut machines = self.settle().await?;
        machines.retain(|rank, _| rank.0 < self.set.count);
        let missing: Vec<NodeRank> = (0..self.set.count)
            .map(NodeRank)
            .filter(|rank| !machines.contains_key(rank))
            .collect();
        let stopped = ids(machines.values().filter(|m| m.state() == "stopped"));
        self.ec2.each("StartInstances", &stopped).await?;
        let user = if missing.is_empty() {
            self.user(&machines).await?
        } else {
            self.fill(&mut machines, &missing).await?
        };
        self.wait_running(&mut machines).await?;
        Ok((machines, user))
    }

    /// Finds the machines; those that are on their way down are waited for.
    async fn settle(&self) -> CloudResult<ByRank> {
        let begun = monotonic();
        let mut pause = FIRST_LOOK;
        loop {
            let found = find(&self.ec2, &self.server, &self.set.name).await?;
            if found.values().all(|machine| machine.state() != "stopping") {
                return Ok(found);
            }
            look_again(begun, &mut pause, STOP, "the machines do not stop").await?;
        }
    }

    /// Returns who logs in to machines that exist.
    async fn user(&self, machines: &ByRank) -> CloudResult<String> {
        if let Some(user) = machines.values().find_map(|m| m.tag(super::USER_TAG)) {
            return Ok(user.to_owned());
        }
        let chosen = image::choose(&self.ec2, self.settings, self.set).await?;
        Ok(chosen.user)
    }

    /// Makes the missing machines in the first zone that has them all; what was made in another is removed.
    async fn fill(&self, machines: &mut ByRank, missing: &[NodeRank]) -> CloudResult<String> {
        let here = machines.values().next().map(|m| m.zone().to_owned());
        let plan = self.plan(here.as_deref()).await?;
        let mut refusals: Vec<(String, CloudError)> = Vec::new();
        for subnet in &plan.network.subnets {
            let results = join_all(
                missing
                    .iter()
                    .map(|rank| self.make_one(&plan, subnet, *rank)),
            )
            .await;
            let mut refusal: Option<CloudError> = None;
            let mut made = Vec::new();
            for result in results {
                match result {
                    Ok(machine) => made.push(machine),
                    // Whatever is not about this zone ends the search.
                    Err(error) if refusal.as_ref().is_none_or(CloudError::is_place_bound) => {
                        refusal = Some(error);
                    }
                    Err(_) => {}
                }
            }
            let Some(refusal) = refusal else {
                machines.extend(missing.iter().copied().zip(made));
                return Ok(plan.image.user);
            };
            self.ec2.each("TerminateInstances", &ids(&made)).await?;
            // Their tokens stand for machines that are gone.
            let seed = self.keep.seed(&self.set.name, None)?;
            self.keep.seed(&self.set.name, Some(&seed))?;
            if refusal.category != Category::Capacity {
                return Err(refusal);
            }
            refusals.push((subnet.availability_zone.clone(), refusal));
        }
        Err(nowhere(self.set.offer.instance_type.as_deref(), refusals))
    }

    /// Looks up and makes what machines are made with.
    async fn plan(&self, zone: Option<&str>) -> CloudResult<Plan> {
        let zone = zone.or(self.set.offer.zone.as_deref());
        let (ec2, settings) = (&self.ec2, self.settings);
        let (network, image, key) = tokio::try_join!(
            Network::find(ec2, settings, zone),
            image::choose(ec2, settings, self.set),
            self.key(),
        )?;
        let cluster = self.cluster();
        let group = if let Some(name) = settings.group(cluster) {
            network::existing_group(ec2, &network.vpc, name).await?
        } else {
            let user = crate::sys::env::user_name();
            network::own_group(ec2, &network.vpc, &user, &self.server).await?
        };
        let mut groups = vec![group];
        let ports = &self.set.wish.ports;
        if !ports.is_empty() {
            let set = &self.set.name;
            groups.push(network::open_ports(ec2, &network.vpc, set, ports, &self.server).await?);
        }
        Ok(Plan {
            network,
            groups,
            image,
            key,
        })
    }

    /// Returns the name that users know the set by.
    fn cluster(&self) -> &str {
        let label = self.set.labels.get("sky-cluster");
        label.unwrap_or(&self.set.name)
    }

    /// Makes the key known in the region; returns its name.
    async fn key(&self) -> CloudResult<String> {
        let key = self.keep.key().await?;
        let coded = base64::Engine::encode(
            &base64::engine::general_purpose::STANDARD,
            key.public.as_bytes(),
        );
        let params = Params::new()
            .with("KeyName", &key.name)
            .with("PublicKeyMaterial", coded);
        match self.ec2.tell("ImportKeyPair", &params).await {
            Err(fault) if fault.code() != "InvalidKeyPair.Duplicate" => Err(fault.into()),
            _ => Ok(key.name),
        }
    }

    /// Makes one machine, or gets the one that this token has made before.
    async fn make_one(&self, plan: &Plan, subnet: &Subnet, rank: NodeRank) -> CloudResult<Machine> {
        let params = self.params(plan, subnet, rank);
        let mut seed = self.keep.seed(&self.set.name, None)?;
        let mut is_first = true;
        loop {
            let token = self.token(&seed, &subnet.id, rank);
            let answer = self
                .ec2
                .run(&params.clone().with("ClientToken", token))
                .await;
            let made = match answer {
                Ok(made) => made.into_iter().next(),
                // The token stands for a machine that was made otherwise, before.
                Err(fault) if is_first && fault.code() == "IdempotentParameterMismatch" => None,
                Err(fault) => return Err(fault.into()),
            };
            if let Some(machine) = made {
                // The answer may be that to an earlier call, about a machine that is gone by now.
                let params = Params::new().filter("instance-id", [&machine.instance_id]);
                match self.ec2.machines(params).await?.into_iter().next() {
                    Some(now) if ALIVE.contains(&now.state()) => return Ok(now),
                    Some(gone) if !is_first => return Err(went(&gone)),
                    Some(_) => {}
                    None => return Ok(machine),
                }
            }
            is_first = false;
            seed = self.keep.seed(&self.set.name, Some(&seed))?;
        }
    }

    /// Returns the token of a machine: the same for the same machine, another for every other.
    fn token(&self, seed: &str, subnet: &str, rank: NodeRank) -> String {
        let text = format!("{} {seed} {rank} {subnet}", self.set.token);
        hex::encode(digest::digest(&digest::SHA256, text.as_bytes()))
    }

    /// Returns the parameters of a machine, all but the token.
    fn params(&self, plan: &Plan, subnet: &Subnet, rank: NodeRank) -> Params {
        let (set, settings) = (self.set, self.settings);
        let instance_type = set.offer.instance_type.as_deref().unwrap_or_default();
        let params = Params::new()
            .with("InstanceType", instance_type)
            .with("MinCount", 1)
            .with("MaxCount", 1)
            .with("KeyName", &plan.key)
            .with("MetadataOptions.HttpTokens", "required")
            .with("InstanceInitiatedShutdownBehavior", self.at_power_off())
            .maybe("IamInstanceProfile.Name", settings.identity(self.cluster()));
        let params = self.placed(params, plan, subnet);
        let params = if set.offer.spot {
            params
                .with("InstanceMarketOptions.MarketType", "spot")
                .with(
                    "InstanceMarketOptions.SpotOptions.SpotInstanceType",
                    "one-time",
                )
                .with(
                    "InstanceMarketOptions.SpotOptions.InstanceInterruptionBehavior",
                    "terminate",
                )
        } else {
            params
        };
        let params = plan.image.add_to(params, settings, set);
        self.tagged(params, &plan.image.user, rank)
    }

    /// Adds where the machine is in the network.
    fn placed(&self, params: Params, plan: &Plan, subnet: &Subnet) -> Params {
        let public = !self.settings.internal;
        if subnet.map_public_ip_on_launch == public {
            return params
                .with("SubnetId", &subnet.id)
                .list("SecurityGroupId", &plan.groups);
        }
        // Another choice than the subnet's own is made on the interface.
        params
            .with("NetworkInterface.1.DeviceIndex", 0)
            .with("NetworkInterface.1.SubnetId", &subnet.id)
            .with("NetworkInterface.1.AssociatePublicIpAddress", public)
            .list("NetworkInterface.1.SecurityGroupId", &plan.groups)
    }

    /// What a machine that switches itself off becomes.
    fn at_power_off(&self) -> &'static str {
        let down = self.set.wish.autostop.is_some_and(|wish| wish.down);
        if self.set.offer.spot || down {
            "terminate"
        } else {
            "stop"
        }
    }

    /// Adds the tags of machine and disk.
    fn tagged(&self, mut params: Params, user: &str, rank: NodeRank) -> Params {
        let mut tags: BTreeMap<String, String> = self.settings.labels.clone();
        tags.extend(self.set.labels.clone());
        let own = [
            ("Name", format!("{}-{rank}", self.set.name)),
            (SET_TAG, self.set.name.clone()),
            (RANK_TAG, rank.to_string()),
            (SERVER_TAG, self.server.clone()),
            (super::USER_TAG, user.to_owned()),
        ];
        // What machines are found by wins over what users call them.
        tags.extend(own.map(|(name, value)| (name.to_owned(), value)));
        for (i, resource) in ["instance", "volume"].iter().enumerate() {
            let at = format!("TagSpecification.{}", i + 1);
            params = params.with(format!("{at}.ResourceType"), resource);
            for (j, (name, value)) in tags.iter().enumerate() {
                params = params
                    .with(format!("{at}.Tag.{}.Key", j + 1), name)
                    .with(format!("{at}.Tag.{}.Value", j + 1), value);
            }
        }
        params
    }

    /// Waits until all run; one that goes instead is an error with AWS's reason.
    async fn wait_running(&self, machines: &mut ByRank) -> CloudResult<()> {
        let begun = monotonic();
        let mut pause = FIRST_LOOK;
        loop {
            let ids = ids(machines.values());
            // By id, not by tag: what has just been made may not be found by tag yet.
            let params = Params::new().filter("instance-id", &ids);
            for machine in self.ec2.machines(params).await? {
                if !ALIVE.contains(&machine.state()) {
                    return Err(went(&machine));
                }
                let same = |known: &&mut Machine| known.instance_id == machine.instance_id;
                if let Some(known) = machines.values_mut().find(same) {
                    *known = machine;
                }
            }
            let runs = |m: &Machine| m.state() == "running" && m.private_ip_address.is_some();
            if machines.values().all(runs) {
                return Ok(());
            }
            look_again(begun, &mut pause, RUN, "the machines do not run").await?;
        }
    }
}

/// Waits until machines are in one of some states, or not found any more.
pub(super) async fn wait_for(ec2: &Ec2, ids: &[String], states: &[&str]) -> CloudResult<()> {
    let begun = monotonic();
    let mut pause = FIRST_LOOK;
    while !ids.is_empty() {
        let params = Params::new().filter("instance-id", ids);
        let machines = ec2.machines(params).await?;
        if machines.iter().all(|m| states.contains(&m.state())) {
            break;
        }
        look_again(
            begun,
            &mut pause,
            STOP,
            "the machines do not change their state",
        )
        .await?;
    }
    Ok(())
}

/// Returns the ids of machines.
pub(super) fn ids<'a>(machines: impl IntoIterator<Item = &'a Machine>) -> Vec<String> {
    let id = |machine: &Machine| machine.instance_id.clone();
    machines.into_iter().map(id).collect()
}

/// Pauses before another look: EC2 tells nobody when a state changes.
async fn look_again(
    begun: std::time::Instant,
    pause: &mut Duration,
    most: Duration,
    what: &str,
) -> CloudResult<()> {
    if begun.elapsed() > most {
        let text = format!("{what} (waited {} s)", most.as_secs());
        return Err(CloudError::new(
            Category::Transient,
            Error::new(Kind::Timeout, text),
        ));
    }
    tokio::time::sleep(*pause).await;
    *pause = pause.mul_f64(1.5).min(LONGEST_LOOK);
    Ok(())
}

/// The error of a machine that went instead of running.
fn went(machine: &Machine) -> CloudError {
    let Reason { code, message } = machine.state_reason.clone().unwrap_or_default();
    let category = category_of(&code).unwrap_or(Category::Fatal);
    let kind = match category {
        Category::Capacity | Category::Quota => Kind::ResourcesUnavailable,
        _ => Kind::CommandFailed,
    };
    let why = if message.is_empty() { code } else { message };
    let what = format!(
        "machine {} went instead of running: {why}",
        machine.instance_id
    );
    CloudError::new(category, Error::new(kind, what))
}

/// The error when no zone has the machines: the reason of each zone.
fn nowhere(instance_type: Option<&str>, refusals: Vec<(String, CloudError)>) -> CloudError {
    let name = instance_type.unwrap_or("machine");
    if let [(_, only)] = refusals.as_slice() {
        return only.clone();
    }
    let zones = refusals.len();
    let mut error = Error::new(
        Kind::ResourcesUnavailable,
        format!("none of {zones} zones has {name}"),
    );
    for (zone, refusal) in refusals {
        error = error.caused_by(&Error::new(
            Kind::ResourcesUnavailable,
            format!("{zone}: {}", refusal.error.one_line()),
        ));
    }
    CloudError::new(Category::Capacity, error)
}
