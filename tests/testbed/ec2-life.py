"""Lives of instances on the testbed's EC2, by the API that clients use: ec2-life.py FOLDER. Run by tests/it/testbed.rs."""

import json, subprocess, sys, time
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError

HERE, FOLDER = Path(__file__).resolve().parent, Path(sys.argv[1])
ONCE = Config(retries={"total_max_attempts": 1})
ec2, ssm, sts, s3 = (boto3.client(name, config=ONCE) for name in ("ec2", "ssm", "sts", "s3"))
ANYWHERE = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}


def aws(*words):
    subprocess.run([HERE / "aws", *words], check=True, stdout=subprocess.DEVNULL)


def fault(**fault):
    aws("fault", json.dumps(fault))


def refused(code, call, **options):
    try:
        call(**options)
    except ClientError as e:
        assert e.response["Error"]["Code"] == code, e
    else:
        raise AssertionError(f"no {code}")


def until(what, condition):
    deadline = time.monotonic() + 30
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what}: not in time"
        time.sleep(0.05)
    return value


def look(instance):
    return ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]


def becomes(instance, state):
    until(f"{instance} is {state}", lambda: look(instance)["State"]["Name"] == state)
    return look(instance)


def ssh(instance, command):
    options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "ConnectTimeout=1"]
    words = ["ssh", "-i", FOLDER / "id", *(f"-o{o}" for o in options), f"ubuntu@{look(instance)['PrivateIpAddress']}"]
    return subprocess.run([*words, command], capture_output=True, text=True)


subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", FOLDER / "id"], check=True)
ec2.import_key_pair(KeyName="key", PublicKeyMaterial=(FOLDER / "id.pub").read_bytes())
group = ec2.create_security_group(GroupName="group", Description="-", VpcId=ec2.describe_vpcs()["Vpcs"][0]["VpcId"])["GroupId"]
image = ec2.describe_images(Owners=["099720109477"])["Images"][0]["ImageId"]


def run(**options):
    usual = {"ImageId": image, "InstanceType": "m5.large", "KeyName": "key", "SecurityGroupIds": [group]}
    return ec2.run_instances(**{**usual, "MinCount": 1, "MaxCount": 1, **options})["Instances"][0]["InstanceId"]


# Created once for each token; what does not exist is refused.
first = run(ClientToken="first", UserData="#!/bin/sh\necho hello >/hello\n")
assert look(first)["State"]["Name"] == "pending"
assert run(ClientToken="first") == first
refused("IdempotentParameterMismatch", run, ClientToken="first", InstanceType="m5.xlarge")
refused("InvalidKeyPair.NotFound", run, KeyName="other")
refused("InvalidAMIID.NotFound", run, ImageId="ami-00000000")
refused("InvalidInstanceType.NotFound", run, InstanceType="x0.none")

# Closed until it is opened; user data ran; stopped from within, it is there again after a start.
becomes(first, "running")
assert ssh(first, "true").returncode == 255
ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[ANYWHERE])
until("it lets in", lambda: ssh(first, "sudo cat /hello").stdout == "hello\n")
ssh(first, "touch mark; sudo shutdown -h now")
assert becomes(first, "stopped")["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"
ec2.start_instances(InstanceIds=[first])
becomes(first, "running")
until("its disk is there", lambda: ssh(first, "ls").stdout == "mark\n")

# The other behaviour of a shutdown, and a loss of power that nobody is told of.
second = run(InstanceInitiatedShutdownBehavior="terminate")
becomes(second, "running")
until("it turns itself off", lambda: look(second)["State"]["Name"] != "running" or ssh(second, "sudo poweroff") and None)
becomes(second, "terminated")
aws("crash", first)
assert look(first)["State"]["Name"] == "running" and ssh(first, "true").returncode == 255

# Faults: by zone, with a lost answer, of each service, late.
fault(action="RunInstances", zone="us-east-1a", code="InsufficientInstanceCapacity", count=2)
refused("InsufficientInstanceCapacity", run, Placement={"AvailabilityZone": "us-east-1a"})
others = [run(Placement={"AvailabilityZone": "us-east-1b"})]
refused("InsufficientInstanceCapacity", run)
fault(action="RunInstances", lost=True)
try:
    run(ClientToken="lost")
    raise AssertionError("it was answered")
except ConnectionClosedError:
    found = [i["InstanceId"] for r in ec2.describe_instances(Filters=[{"Name": "client-token", "Values": ["lost"]}])["Reservations"] for i in r["Instances"]]
    assert found == [run(ClientToken="lost")], found
    others += found
for action, call in [("GetCallerIdentity", sts.get_caller_identity), ("s3:GET", s3.list_buckets),
                     ("GetParameter", lambda: ssm.get_parameter(Name="none"))]:
    fault(action=action, code="AccessDenied")
    refused("AccessDenied", call)
fault(action="DescribeInstances", delay=0.5)
began = time.monotonic()
look(first)
assert time.monotonic() - began > 0.5

# What was made is not shown yet, but for its token; then it is, until somebody removes it.
fault(action="RunInstances", unseen=1)
hidden = run(ClientToken="hidden")
refused("InvalidInstanceID.NotFound", ec2.terminate_instances, InstanceIds=[hidden])
tokens = [{"Name": "client-token", "Values": ["hidden"]}]
assert ec2.describe_instances(Filters=tokens)["Reservations"] == [] and run(ClientToken="hidden") == hidden
until("it is shown", lambda: ec2.describe_instances(Filters=tokens)["Reservations"])
aws("remove", hidden)
assert becomes(hidden, "terminated")["StateReason"]["Code"] == "Client.UserInitiatedShutdown"

# A group in use stays; the one instance that is left cannot be stopped.
spot = run(InstanceMarketOptions={"MarketType": "spot"})
becomes(spot, "running")
refused("UnsupportedOperation", ec2.stop_instances, InstanceIds=[spot])
ec2.terminate_instances(InstanceIds=[first, *others])
for instance in [first, *others]:
    becomes(instance, "terminated")
refused("DependencyViolation", ec2.delete_security_group, GroupId=group)
print(spot)
