//! EC2's API in one region: the actions that are used, and of their answers what is read.

use serde::Deserialize;

use crate::aws::{Aws, Fault, Params, Service, Set};

/// The states of machines that are, or will be again.
pub(super) const ALIVE: [&str; 4] = ["pending", "running", "stopping", "stopped"];
/// The states of machines that are gone for good, or on their way there.
pub(super) const GONE: [&str; 2] = ["shutting-down", "terminated"];

/// The API of a region. Cheap to clone.
#[derive(Clone)]
pub(super) struct Ec2 {
    /// Who calls.
    pub(super) aws: Aws,
    /// Where.
    pub(super) region: String,
}

/// A tag.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Tag {
    /// Name.
    pub(super) key: String,
    /// Value.
    #[serde(default)]
    pub(super) value: String,
}

/// A machine.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Machine {
    /// `i-…`
    pub(super) instance_id: String,
    /// State.
    pub(super) instance_state: MachineState,
    /// Address in its network.
    pub(super) private_ip_address: Option<String>,
    /// Address in the world.
    pub(super) ip_address: Option<String>,
    /// Zone.
    pub(super) placement: Option<Placement>,
    /// Why it is in its state.
    pub(super) state_reason: Option<Reason>,
    /// When it was made.
    #[serde(default)]
    pub(super) launch_time: String,
    /// Tags.
    #[serde(default)]
    pub(super) tag_set: Set<Tag>,
}

/// The state of a machine.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct MachineState {
    /// `pending`, `running` …
    pub(super) name: String,
}

/// Where a machine is.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Placement {
    /// Zone.
    #[serde(default)]
    pub(super) availability_zone: String,
}

/// Why a machine is in its state.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Reason {
    /// Code.
    #[serde(default)]
    pub(super) code: String,
    /// Words.
    #[serde(default)]
    pub(super) message: String,
}

impl Machine {
    /// Returns a tag.
    pub(super) fn tag(&self, key: &str) -> Option<&str> {
        let found = self.tag_set.item.iter().find(|tag| tag.key == key);
        found.map(|tag| tag.value.as_str())
    }

    /// Returns its state.
    pub(super) fn state(&self) -> &str {
        &self.instance_state.name
    }

    /// Returns its zone.
    pub(super) fn zone(&self) -> &str {
        self.placement
            .as_ref()
            .map_or("", |placement| &placement.availability_zone)
    }
}

/// Answer of `DescribeInstances`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reservations {
    /// Machines that were made together.
    #[serde(default)]
    reservation_set: Set<Reservation>,
    /// More to come.
    next_token: Option<String>,
}

/// Machines that were made together; also the answer of `RunInstances`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reservation {
    /// The machines.
    #[serde(default)]
    instances_set: Set<Machine>,
}

/// A VPC.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Vpc {
    /// Id.
    pub(super) vpc_id: String,
    /// Tags.
    #[serde(default)]
    pub(super) tag_set: Set<Tag>,
}

/// A subnet.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Subnet {
    /// Id.
    #[serde(rename = "subnetId")]
    pub(super) id: String,
    /// Zone.
    pub(super) availability_zone: String,
    /// Free addresses.
    #[serde(default)]
    pub(super) available_ip_address_count: u32,
    /// Whether machines get an address in the world.
    #[serde(default)]
    pub(super) map_public_ip_on_launch: bool,
}

/// A security group.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Group {
    /// Id.
    pub(super) group_id: String,
}

/// An image.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Image {
    /// Id.
    #[serde(rename = "imageId")]
    pub(super) id: String,
    /// Name.
    #[serde(default)]
    pub(super) name: String,
    /// Description.
    #[serde(default)]
    pub(super) description: String,
    /// `/dev/sda1`.
    pub(super) root_device_name: Option<String>,
    /// Its disks.
    #[serde(default)]
    pub(super) block_device_mapping: Set<Device>,
}

/// A disk of an image.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Device {
    /// Name.
    pub(super) device_name: Option<String>,
    /// What is on it.
    pub(super) ebs: Option<Ebs>,
}

/// A volume of an image.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Ebs {
    /// Gigabytes.
    pub(super) volume_size: Option<u64>,
}

/// Where a machine type is sold.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Offering {
    /// The place.
    #[serde(default)]
    location: String,
}

/// An answer of which nothing is read.
#[derive(Deserialize)]
pub(super) struct Nothing {}

/// Makes the type of an answer with one list.
macro_rules! listing {
    ($name:ident, $field:ident, $item:ty) => {
        /// An answer with one list.
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct $name {
            /// The list.
            #[serde(default)]
            $field: Set<$item>,
        }
    };
}

listing!(Vpcs, vpc_set, Vpc);
listing!(Subnets, subnet_set, Subnet);
listing!(Groups, security_group_info, Group);
listing!(Images, images_set, Image);
listing!(Offerings, instance_type_offering_set, Offering);

/// Answer of `CreateSecurityGroup`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MadeGroup {
    /// Its id.
    group_id: String,
}

/// Answer of SSM's `GetParameter`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Parameter {
    /// The parameter.
    parameter: ParameterValue,
}

/// A parameter.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ParameterValue {
    /// Its value.
    value: String,
}

impl Ec2 {
    /// Calls an action.
    pub(super) async fn call<T: serde::de::DeserializeOwned>(
        &self,
        action: &str,
        params: &Params,
    ) -> Result<T, Fault> {
        self.aws
            .query(Service::Ec2, &self.region, action, params)
            .await
    }

    /// Calls an action whose answer does not matter.
    pub(super) async fn tell(&self, action: &str, params: &Params) -> Result<(), Fault> {
        self.call::<Nothing>(action, params).await.map(drop)
    }

    /// Lists machines, all pages.
    pub(super) async fn machines(&self, params: Params) -> Result<Vec<Machine>, Fault> {
        let mut found = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let page = params.clone().maybe("NextToken", next.take());
            let answer: Reservations = self.call("DescribeInstances", &page).await?;
            let sets = answer.reservation_set.item.into_iter();
            found.extend(sets.flat_map(|one| one.instances_set.item));
            match answer.next_token.filter(|token| !token.is_empty()) {
                None => return Ok(found),
                more => next = more,
            }
        }
    }

    /// Makes machines.
    pub(super) async fn run(&self, params: &Params) -> Result<Vec<Machine>, Fault> {
        let made: Reservation = self.call("RunInstances", params).await?;
        Ok(made.instances_set.item)
    }

    /// Does something to machines; to none of them is no call.
    pub(super) async fn each(&self, action: &str, ids: &[String]) -> Result<(), Fault> {
        for ids in ids.chunks(super::machines::MOST_IDS) {
            self.tell(action, &Params::new().list("InstanceId", ids))
                .await?;
        }
        Ok(())
    }

    /// Lists VPCs.
    pub(super) async fn vpcs(&self, params: &Params) -> Result<Vec<Vpc>, Fault> {
        let answer: Vpcs = self.call("DescribeVpcs", params).await?;
        Ok(answer.vpc_set.item)
    }

    /// Lists subnets.
    pub(super) async fn subnets(&self, params: &Params) -> Result<Vec<Subnet>, Fault> {
        let answer: Subnets = self.call("DescribeSubnets", params).await?;
        Ok(answer.subnet_set.item)
    }

    /// Lists security groups.
    pub(super) async fn groups(&self, params: &Params) -> Result<Vec<Group>, Fault> {
        let answer: Groups = self.call("DescribeSecurityGroups", params).await?;
        Ok(answer.security_group_info.item)
    }

    /// Makes a security group.
    pub(super) async fn make_group(&self, params: &Params) -> Result<String, Fault> {
        let made: MadeGroup = self.call("CreateSecurityGroup", params).await?;
        Ok(made.group_id)
    }

    /// Lists the zones that have a machine type, by name.
    pub(super) async fn zones(&self, instance_type: &str) -> Result<Vec<String>, Fault> {
        let params = Params::new()
            .with("LocationType", "availability-zone")
            .filter("instance-type", [instance_type]);
        let answer: Offerings = self.call("DescribeInstanceTypeOfferings", &params).await?;
        let places = answer.instance_type_offering_set.item.into_iter();
        let mut zones: Vec<String> = places.map(|one| one.location).collect();
        zones.sort();
        Ok(zones)
    }

    /// Returns an image; none when there is no such image.
    pub(super) async fn image(&self, id: &str) -> Result<Option<Image>, Fault> {
        let params = Params::new().list("ImageId", [id]);
        let answer: Images = self.call("DescribeImages", &params).await?;
        Ok(answer.images_set.item.into_iter().next())
    }

    /// Reads a parameter; none when there is no such parameter.
    pub(super) async fn parameter(&self, name: &str) -> Result<Option<String>, Fault> {
        let ask = serde_json::json!({ "Name": name });
        let answer = self
            .aws
            .json::<Parameter>(Service::Ssm, &self.region, "AmazonSSM.GetParameter", &ask)
            .await;
        match answer {
            Ok(found) => Ok(Some(found.parameter.value)),
            Err(fault) if fault.code() == "ParameterNotFound" => Ok(None),
            Err(fault) => Err(fault),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_are_read() {
        let text = "<DescribeInstancesResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>r</requestId><reservationSet>\
            <item><reservationId>r-1</reservationId><groupSet/><instancesSet><item><instanceId>i-1</instanceId><imageId>ami-1</imageId>\
            <instanceState><code>16</code><name>running</name></instanceState><privateIpAddress>10.0.0.1</privateIpAddress>\
            <placement><availabilityZone>us-east-1a</availabilityZone><tenancy>default</tenancy></placement>\
            <tagSet><item><key>sky-set</key><value>a-b</value></item><item><key>sky-rank</key><value>1</value></item></tagSet></item></instancesSet></item>\
            <item><instancesSet><item><instanceId>i-2</instanceId><instanceState><code>48</code><name>terminated</name></instanceState>\
            <stateReason><code>Server.SpotInstanceTermination</code><message>gone</message></stateReason><tagSet/></item></instancesSet></item>\
            </reservationSet></DescribeInstancesResponse>";
        let read: Reservations = quick_xml::de::from_str(text).expect("read");
        let machines: Vec<Machine> = read
            .reservation_set
            .item
            .into_iter()
            .flat_map(|one| one.instances_set.item)
            .collect();
        assert_eq!(machines[0].tag("sky-rank"), Some("1"));
        assert_eq!(machines[0].zone(), "us-east-1a");
        assert_eq!(machines[0].ip_address, None);
        assert_eq!(machines[1].state(), "terminated");
        let reason = machines[1].state_reason.clone().expect("a reason");
        assert_eq!(reason.code, "Server.SpotInstanceTermination");
        let empty: Reservations =
            quick_xml::de::from_str("<R><reservationSet/></R>").expect("read");
        assert!(empty.reservation_set.item.is_empty());
    }
}
