//! Price lists from the outside: update, show, and what other commands make of them.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use crate::world::World;

const LIST: &str = "\
InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,Price,SpotPrice,Region,AvailabilityZone,Arch
zz.large,,,2,8,,0.5,0.2,us-east-1,use1-az1,x86_64
zz.gpu,ZZ100,8,96,768,\"{'Gpus': [{'MemoryInfo': {'SizeInMiB': 81920}}]}\",40.5,,eu-west-1,euw1-az1,x86_64
";

#[test]
fn a_list_is_replaced_as_a_whole_and_seen_at_once() {
    let world = World::new();
    world
        .sky(&["gpus", "list", "V100"])
        .ok()
        .shows("p3.2xlarge")
        .shows("$ 3.060");
    world.sky(&["catalog", "list"]).ok().shows("built in");
    let file = world.file("vms.csv", LIST);
    let from = file.to_str().expect("a name");
    world
        .sky(&["catalog", "update", "--from", from])
        .ok()
        .shows("AWS: 2 machine types in 2 regions, 2 rows");
    let kept = world.home().join(".sky/catalogs/v8/aws/vms.csv");
    assert_eq!(fs::read_to_string(&kept).expect("the list"), LIST);
    // The server that runs already reads the new list.
    let found = world.sky(&["gpus", "list", "-o", "json"]).ok().json();
    assert_eq!(found["ZZ100"], serde_json::json!([8.0]));
    assert!(found.get("V100").is_none());
    let rows = world
        .sky(&["gpus", "list", "zz100:8", "-o", "json"])
        .ok()
        .json();
    let row = serde_json::json!([
        "AWS",
        "zz.gpu",
        "ZZ100",
        8.0,
        96.0,
        80.0,
        768.0,
        40.5,
        null,
        "eu-west-1"
    ]);
    assert_eq!(rows["ZZ100"], serde_json::json!([row]));
    world
        .sky(&["gpus", "list", "ZZ100", "--infra", "aws/us-east-1"])
        .expect_code(1);
    world
        .sky(&["gpus", "list", "ZZ100", "--region", "eu-west-1"])
        .ok()
        .shows("zz.gpu");
    world.sky(&["gpus", "list", "--infra", "local"]).ok();
    world
        .sky(&["catalog", "show", "aws", "zz.l"])
        .ok()
        .shows("$ 0.5000");
}

#[test]
fn what_cannot_be_used_changes_nothing() {
    let world = World::new();
    let file = world.file("vms.csv", LIST);
    let from = file.to_str().expect("a name");
    world.sky(&["catalog", "update", "--from", from]).ok();
    let kept = world.home().join(".sky/catalogs/v8/aws/vms.csv");
    let wrong = world.file("wrong.csv", &LIST.replace("0.5,", "cheap,"));
    world
        .sky(&[
            "catalog",
            "update",
            "--from",
            wrong.to_str().expect("a name"),
        ])
        .expect_code(1)
        .shows("line 2: column `Price`: `cheap` is not a number from 0")
        .shows("was not changed");
    world
        .sky(&["catalog", "update", "--from", "nosuch.csv"])
        .expect_code(1)
        .shows("nosuch.csv");
    let header = LIST.lines().next().expect("a header");
    let empty = world.file("empty.csv", header);
    world
        .sky(&[
            "catalog",
            "update",
            "--from",
            empty.to_str().expect("a name"),
        ])
        .expect_code(1)
        .shows("it has no rows");
    world
        .sky(&["catalog", "update", "nocloud", "--from", from])
        .expect_code(2)
        .shows("`nocloud`");
    world
        .sky(&["catalog", "show", "gcp"])
        .expect_code(1)
        .shows("sky catalog update gcp");
    assert_eq!(fs::read_to_string(&kept).expect("the list"), LIST);

    // A file that was spoilt by hand is named, with the way out.
    fs::write(&kept, "x,y\n1,2\n").expect("written");
    world
        .sky(&["gpus", "list"])
        .expect_code(1)
        .shows("vms.csv")
        .shows("sky catalog update");
}

/// Answers one request and returns the address to ask.
fn host(answer: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!(
        "http://{}/a/vms.csv?version=8",
        listener.local_addr().expect("an address")
    );
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a caller");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("a head");
            head.push(byte[0]);
        }
        assert!(head.starts_with(b"GET /a/vms.csv?version=8 HTTP/1.1\r\n"));
        stream.write_all(answer.as_bytes()).expect("answered");
    });
    url
}

#[test]
fn a_list_comes_from_an_address() {
    let world = World::new();
    let answer = |status: &str, body: &str| {
        format!(
            "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        )
    };
    let gone = host(answer("404 Not Found", "no"));
    world
        .sky(&["catalog", "update", "--from", &gone])
        .expect_code(1)
        .shows("404")
        .shows("was not changed");
    let url = host(answer("200 OK", LIST));
    world
        .sky(&["catalog", "update", "--from", &url])
        .ok()
        .shows("2 machine types");
    world
        .sky(&["catalog", "update", "--from", "ftp://x/y"])
        .expect_code(2)
        .shows("http://");
    assert!(world.server_pid().is_none(), "price lists need no server");
}

#[test]
fn a_plan_says_what_was_ruled_out() {
    let world = World::new();
    world
        .sky(&["launch", "--dryrun", "-v", "--cpus", "1", "true"])
        .ok()
        .shows("Considered resources (1 node):")
        .shows("Ruled out:\n")
        .shows("AWS is not enabled: there are no AWS credentials")
        .shows("Dryrun finished.");
    world
        .sky(&["launch", "--dryrun", "--gpus", "A10G:1", "true"])
        .expect_code(1)
        .shows("no enabled infra offers 1x(gpus=A10G:1)")
        .shows("Local has no such accelerators")
        .shows("it would give g5.xlarge in AWS (us-east-1) for $1.01 an hour");
    world
        .sky(&["launch", "--dryrun", "--infra", "aws/us-west-2", "true"])
        .expect_code(1)
        .shows("the infra `aws` is not enabled")
        .shows("m6i.2xlarge in AWS (us-west-2)");
    world
        .sky(&["launch", "--dryrun", "--infra", "gcp", "true"])
        .expect_code(1)
        .shows("GCP is not enabled: this release cannot reach it");
    let check = world
        .sky(&["check"])
        .ok()
        .shows("Local: enabled")
        .shows("AWS: disabled");
    assert!(!check.all().contains("Vast"), "{}", check.all());
    world
        .sky(&["check", "-v"])
        .ok()
        .shows("Vast: disabled")
        .shows("store some: aws configure");
    world
        .sky(&["check", "k8s"])
        .ok()
        .shows("Kubernetes: disabled");
}
