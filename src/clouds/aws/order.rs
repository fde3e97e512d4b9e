//! What machines are made with: network, image, key, and the parameters of the call that makes one.

use std::collections::BTreeMap;

use crate::aws::Params;
use crate::base::ids::NodeRank;
use crate::clouds::CloudResult;

use super::ec2::Subnet;
use super::image::{self, Chosen};
use super::make::Maker;
use super::network::{self, Network};
use super::{RANK_TAG, SERVER_TAG, SET_TAG};

/// What all machines of a set are made with.
pub(super) struct Plan {
    /// The network.
    pub(super) network: Network,
    /// Security groups.
    groups: Vec<String>,
    /// The image.
    pub(super) image: Chosen,
    /// The name of the key.
    key: String,
}

impl Maker<'_> {
    /// Looks up and makes what machines are made with.
    ///
    /// A subnet that is preferred comes first.
    pub(super) async fn plan(
        &self,
        zone: Option<&str>,
        preferred: Option<&str>,
    ) -> CloudResult<Plan> {
        let zone = zone.or(self.set.offer.zone.as_deref());
        let (ec2, settings) = (&self.ec2, self.settings);
        let (network, image, key) = tokio::try_join!(
            Network::find(ec2, settings, zone, preferred),
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

    /// Returns the parameters of a machine, all but the token.
    pub(super) fn params(&self, plan: &Plan, subnet: &Subnet, rank: NodeRank) -> Params {
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
}
