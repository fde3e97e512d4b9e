//! The network of machines: VPC, subnets by zone, security groups.

use crate::aws::Params;
use crate::base::{Error, Kind};
use crate::clouds::{Category, CloudError, CloudResult};
use crate::task::PortRange;

use super::ec2::{Ec2, Subnet};
use super::settings::Settings;

/// What a group's description says.
const ABOUT: &str = "machines of sky";

/// A VPC and its subnets.
#[derive(Debug, Clone)]
pub(super) struct Network {
    /// The VPC.
    pub(super) vpc: String,
    /// One subnet for each zone, the preferred one first, then by zone.
    pub(super) subnets: Vec<Subnet>,
}

impl Network {
    /// Finds the network that is configured, else the default one; `zone` limits it. Where an earlier call has used a subnet,
    /// that is `preferred`.
    pub(super) async fn find(
        ec2: &Ec2,
        settings: &Settings,
        zone: Option<&str>,
        preferred: Option<&str>,
    ) -> CloudResult<Self> {
        let vpc = find_vpc(ec2, settings).await?;
        let mut params = Params::new()
            .filter("vpc-id", [&vpc])
            .filter("state", ["available"]);
        if let Some(zone) = zone {
            params = params.filter("availability-zone", [zone]);
        }
        if !settings.subnets.is_empty() {
            params = params.filter("tag:Name", &settings.subnets);
        }
        let mut subnets = ec2.subnets(&params).await?;
        // Machines that must be reached from outside need a subnet that gives addresses, where there is one.
        subnets.sort_by(|a, b| {
            let fit = |s: &Subnet| {
                (
                    preferred == Some(s.id.as_str()),
                    s.map_public_ip_on_launch != settings.internal,
                    s.available_ip_address_count,
                )
            };
            a.availability_zone
                .cmp(&b.availability_zone)
                .then_with(|| fit(b).cmp(&fit(a)))
        });
        subnets.dedup_by(|a, b| a.availability_zone == b.availability_zone);
        subnets.sort_by_key(|subnet| preferred != Some(subnet.id.as_str()));
        if subnets.is_empty() {
            let place = zone.unwrap_or(&ec2.region);
            let what = format!("the VPC `{vpc}` has no subnet to use in {place}");
            return Err(CloudError::new(
                Category::Capacity,
                Error::new(Kind::ResourcesUnavailable, what).hint(
                    "make one, or name others in the server's configuration: aws.subnet_names",
                ),
            ));
        }
        Ok(Self { vpc, subnets })
    }
}

/// Finds the VPC.
async fn find_vpc(ec2: &Ec2, settings: &Settings) -> CloudResult<String> {
    let region = &ec2.region;
    if settings.vpcs.is_empty() {
        let params = Params::new().filter("is-default", ["true"]);
        let found = ec2.vpcs(&params).await?.into_iter().next();
        return found.map(|vpc| vpc.vpc_id).ok_or_else(|| {
            let what = format!("region {region} has no default VPC");
            let error = Error::new(Kind::InvalidConfig, what)
                .hint(format!(
                    "make one: aws ec2 create-default-vpc --region {region}"
                ))
                .hint("or name one in the server's configuration: aws.vpc_name");
            CloudError::new(Category::Configuration, error)
        });
    }
    let params = Params::new().filter("tag:Name", &settings.vpcs);
    let found = ec2.vpcs(&params).await?;
    let named = |name: &String| {
        let has = |tag: &super::ec2::Tag| tag.key == "Name" && tag.value == *name;
        found.iter().find(|vpc| vpc.tag_set.item.iter().any(has))
    };
    match settings.vpcs.iter().find_map(named) {
        Some(vpc) => Ok(vpc.vpc_id.clone()),
        // Another region may have it.
        None => Err(CloudError::new(
            Category::Capacity,
            Error::new(
                Kind::ResourcesUnavailable,
                format!(
                    "region {region} has no VPC named {}",
                    settings.vpcs.join(" or ")
                ),
            )
            .hint("correct `aws.vpc_name` in the server's configuration"),
        )),
    }
}

/// Returns the filter of a group by name.
fn by_name(vpc: &str, name: &str) -> Params {
    Params::new()
        .filter("vpc-id", [vpc])
        .filter("group-name", [name])
}

/// Returns a group that the operator made.
pub(super) async fn existing_group(ec2: &Ec2, vpc: &str, name: &str) -> CloudResult<String> {
    let found = ec2.groups(&by_name(vpc, name)).await?;
    found.into_iter().next().map(|g| g.group_id).ok_or_else(|| {
        let what = format!("the VPC `{vpc}` has no security group `{name}`");
        let error = Error::new(Kind::InvalidConfig, what)
            .hint("make it, or correct `aws.security_group_name` in the server's configuration");
        CloudError::new(Category::Configuration, error)
    })
}

/// Makes a group, or finds it.
async fn ensure_group(ec2: &Ec2, vpc: &str, name: &str, server: &str) -> CloudResult<String> {
    let params = Params::new()
        .with("GroupName", name)
        .with("GroupDescription", ABOUT)
        .with("VpcId", vpc)
        .with("TagSpecification.1.ResourceType", "security-group")
        .with("TagSpecification.1.Tag.1.Key", super::SERVER_TAG)
        .with("TagSpecification.1.Tag.1.Value", server);
    if let Some(group) = ec2.groups(&by_name(vpc, name)).await?.into_iter().next() {
        return Ok(group.group_id);
    }
    match ec2.make_group(&params).await {
        Ok(id) => Ok(id),
        // Somebody else was faster.
        Err(fault) if fault.code() == "InvalidGroup.Duplicate" => {
            existing_group(ec2, vpc, name).await
        }
        Err(fault) => Err(fault.into()),
    }
}

/// Adds a rule; one that is there stays.
async fn allow(ec2: &Ec2, group: &str, rule: Params) -> CloudResult<()> {
    let params = rule.with("GroupId", group);
    match ec2.tell("AuthorizeSecurityGroupIngress", &params).await {
        Err(fault) if fault.code() != "InvalidPermission.Duplicate" => Err(fault.into()),
        _ => Ok(()),
    }
}

/// Returns the rule that lets everybody use ports.
fn from_everywhere(first: u16, last: u16) -> Params {
    Params::new()
        .with("IpPermissions.1.IpProtocol", "tcp")
        .with("IpPermissions.1.FromPort", first)
        .with("IpPermissions.1.ToPort", last)
        .with("IpPermissions.1.IpRanges.1.CidrIp", "0.0.0.0/0")
}

/// The group of all machines: SSH from everywhere, and everything among them.
pub(super) async fn own_group(
    ec2: &Ec2,
    vpc: &str,
    user: &str,
    server: &str,
) -> CloudResult<String> {
    let group = ensure_group(ec2, vpc, &format!("sky-{user}"), server).await?;
    allow(ec2, &group, from_everywhere(22, 22)).await?;
    let among = Params::new()
        .with("IpPermissions.1.IpProtocol", "-1")
        .with("IpPermissions.1.Groups.1.GroupId", &group);
    allow(ec2, &group, among).await?;
    Ok(group)
}

/// The name of the group that opens the ports of a set.
fn port_group(set: &str) -> String {
    format!("sky-{set}-ports")
}

/// The group that opens the ports of a set.
pub(super) async fn open_ports(
    ec2: &Ec2,
    vpc: &str,
    set: &str,
    ports: &[PortRange],
    server: &str,
) -> CloudResult<String> {
    let group = ensure_group(ec2, vpc, &port_group(set), server).await?;
    for range in ports {
        allow(ec2, &group, from_everywhere(range.first, range.last)).await?;
    }
    Ok(group)
}

/// Returns the groups that open ports of a set.
pub(super) async fn port_groups(ec2: &Ec2, set: &str, server: &str) -> CloudResult<Vec<String>> {
    let params = Params::new()
        .filter("group-name", [port_group(set)])
        .filter(&format!("tag:{}", super::SERVER_TAG), [server]);
    let found = ec2.groups(&params).await?;
    Ok(found.into_iter().map(|group| group.group_id).collect())
}

/// Removes a group; one that is gone is removed.
pub(super) async fn remove_group(ec2: &Ec2, group: &str) -> CloudResult<()> {
    let params = Params::new().with("GroupId", group);
    match ec2.tell("DeleteSecurityGroup", &params).await {
        Err(fault) if fault.code() != "InvalidGroup.NotFound" => Err(fault.into()),
        _ => Ok(()),
    }
}
