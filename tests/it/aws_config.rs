//! What the operator chose for AWS, against the testbed's EC2: profile, network, group; and refusals that concern a part only.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::aws::{count, world};
use crate::testbed::AwsApi;
use crate::world::{Ran, World, wait_for};

/// Makes a VPC `mine` with the subnets `outer` (us-east-1a) and `inner` (us-east-1b) and the group `locked`; prints the id
/// of the inner subnet.
const NETWORK: &str = r#"
import boto3
ec2 = boto3.client("ec2")
named = lambda kind, name: [{"ResourceType": kind, "Tags": [{"Key": "Name", "Value": name}]}]
vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16", TagSpecifications=named("vpc", "mine"))["Vpc"]["VpcId"]
for i, (name, zone) in enumerate([("outer", "us-east-1a"), ("inner", "us-east-1b")]):
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.9.{i}.0/24", AvailabilityZone=zone,
                               TagSpecifications=named("subnet", name))["Subnet"]["SubnetId"]
group = ec2.create_security_group(GroupName="locked", Description="-", VpcId=vpc)["GroupId"]
ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[
    {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}])
print(subnet)
"#;

/// Makes that network; returns the id of the inner subnet.
fn network(api: &AwsApi) -> String {
    let python = api.bed.json("aws", &["status"])["python"].clone();
    let mut command = Command::new(python.as_str().expect("an interpreter"));
    command.args(["-c", NETWORK]).envs(api.envs());
    let ran = Ran::from(&command.output().expect("it runs")).ok();
    ran.stdout.trim().to_owned()
}

/// Gives the server this section `aws`; the next command starts it with that.
fn configure(world: &World, section: &Value) {
    if world.server_pid().is_some() {
        world.sky(&["api", "stop"]).ok();
        wait_for("the server is gone", || world.server_pid().is_none());
    }
    fs::create_dir_all(world.state()).expect("a directory");
    let text = json!({ "aws": section }).to_string();
    fs::write(world.state().join("config.yaml"), text).expect("written");
}

/// The arguments of a launch.
fn launch<'a>(name: &'a str, command: &'a str) -> [&'a str; 9] {
    [
        "launch", "-y", "-c", name, "--infra", "aws", "--cpus", "2", command,
    ]
}

#[test]
fn the_profile_that_is_configured_is_used() {
    let api = AwsApi::up();
    // Nothing of the environment leads to the API, and what keys there are belong to somebody else.
    let world = World::new()
        .env("AWS_ACCESS_KEY_ID", "other")
        .env("AWS_SECRET_ACCESS_KEY", "other")
        .env("AWS_PROFILE", "other");
    let aws = world.home().join(".aws");
    fs::create_dir(&aws).expect("a directory");
    let config = format!(
        "[profile work]\nregion = us-east-1\nendpoint_url = {}\naws_access_key_id = testing\naws_secret_access_key = testing\n",
        api.endpoint
    );
    fs::write(aws.join("config"), config).expect("a file");
    configure(&world, &json!({"profile": "work"}));
    world.sky(&["check", "aws"]).ok().shows("AWS: enabled");
    assert_eq!(count(&api, "GetCallerIdentity"), 1);
    configure(&world, &json!({"profile": "none"}));
    world
        .sky(&["check", "aws"])
        .shows("AWS: disabled")
        .shows("there is no AWS profile `none` (`aws.profile` in the server's configuration)");
}

#[test]
fn machines_are_made_in_the_network_that_is_configured() {
    let (world, api) = world();
    let inner = network(&api);
    let section = |key: &str, value: &str| {
        let mut section = json!({"vpc_name": "mine", "subnet_names": ["inner"], "security_group_name": "locked",
                                 "use_internal_ips": true});
        section[key] = value.into();
        section
    };
    // What is named and not there is told, with what to correct.
    configure(&world, &section("security_group_name", "none"));
    world
        .sky(&launch("demo", "true"))
        .expect_code(1)
        .shows("has no security group `none`");
    configure(&world, &section("vpc_name", "other"));
    world
        .sky(&launch("demo", "true"))
        .expect_code(1)
        .shows("has no VPC named other");
    assert_eq!(api.instances(), [] as [Value; 0]);
    configure(&world, &section("vpc_name", "mine"));
    world
        .sky(&launch("demo", "echo works"))
        .ok()
        .shows("the VPC `vpc-")
        .shows("⚙︎ Launching on AWS us-east-1 (us-east-1b).")
        .shows(") works");
    let made = api.alive();
    assert_eq!(made.len(), 1, "{made:?}");
    assert_eq!(made[0]["subnet"], inner);
    assert_eq!(made[0]["public_ip"], Value::Null);
    assert_eq!(made[0]["groups"], json!(["locked"]));
    assert_eq!(count(&api, "CreateSecurityGroup"), 1, "the test's own");
    world.sky(&["down", "-y", "demo"]).ok();
    assert_eq!(api.alive(), [] as [Value; 0]);
}

#[test]
fn what_concerns_a_region_or_an_image_leaves_the_rest_alone() {
    let (world, api) = world();
    api.fault(&json!({"action": "RunInstances", "region": "us-east-1", "code": "PendingVerification", "count": 0}));
    world
        .sky(&launch("there", "echo works"))
        .ok()
        .shows("⨯ AWS us-east-1 (us-east-1a): PendingVerification")
        .shows("⚙︎ Launching on AWS us-east-2")
        .shows(") works");
    api.no_faults();
    world.sky(&["down", "-y", "there"]).ok();
    let terms =
        "In order to use this AWS Marketplace product you need to accept terms and subscribe.";
    let refuse =
        json!({"action": "RunInstances", "code": "OptInRequired", "status": 401, "message": terms});
    api.fault(&refuse);
    world
        .sky(&launch("mine", "true"))
        .expect_code(1)
        .shows(terms)
        .shows("accept the terms of the image");
    // Others may launch at once: nothing is left out for it.
    world
        .sky(&launch("others", "echo works"))
        .ok()
        .shows("⚙︎ Launching on AWS us-east-2")
        .shows(") works");
    world.sky(&["down", "-y", "others"]).ok();
    assert_eq!(api.alive(), [] as [Value; 0]);
}
