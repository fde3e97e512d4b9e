//! Buckets in file mounts, against an API as S3 has it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use crate::testbed::AwsApi;
use crate::world::World;

/// Says who writes; the API of the testbed believes it.
const SIGNED: &str = "authorization: AWS4-HMAC-SHA256 Credential=testing/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";

/// Puts a bucket, or an object into one.
fn put(api: &AwsApi, path: &str, content: &[u8]) {
    let host = api.endpoint.trim_start_matches("http://");
    let mut stream = TcpStream::connect(host).expect("it answers");
    let head = format!(
        "PUT /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{SIGNED}\r\ncontent-type: application/octet-stream\r\ncontent-length: {}\r\n\r\n",
        content.len()
    );
    stream.write_all(head.as_bytes()).expect("sent");
    stream.write_all(content).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// Every file below a directory of this name.
fn find(dir: &Path, name: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            found.extend(find(&entry.path(), name));
        } else if entry.file_name().to_string_lossy() == name {
            found.push(entry.path());
        }
    }
    found
}

#[test]
fn objects_become_files_of_every_node_and_only_changes_are_fetched() {
    let api = AwsApi::up();
    let world = api.point(World::new());
    put(&api, "some-bucket", b"");
    for number in 0..30 {
        let content = format!("object {number}\n");
        let path = format!("some-bucket/data/d%20{}/o{number}", number % 3);
        put(&api, &path, content.as_bytes());
    }
    put(&api, "some-bucket/data/a%2Bb%C3%A4", b"odd\n");
    put(&api, "some-bucket/data2/other", b"not wanted\n");
    let big: Vec<u8> = (0..=250).cycle().take(6 << 20).collect();
    put(&api, "some-bucket/models/big.bin", &big);
    let task = world.file(
        "task.yaml",
        "num_nodes: 2\nfile_mounts:\n  ~/data: s3://some-bucket/data\n  \
         ~/m/model: {source: s3://some-bucket/models/big.bin, mode: COPY}\n\
         run: cat ~/data/d*/* | wc -l; cat ~/data/a+bä ~/data/d*/o7; wc -c < ~/m/model; ls ~/data\n",
    );
    let task = task.to_string_lossy().into_owned();
    let launch = || world.sky(&["launch", "-y", "-c", "demo", &task]).ok();
    let ran = launch()
        .shows("s3://some-bucket/data -> ~/data")
        .shows("✓ Synced file_mounts.");
    for text in [") 30", ") odd", ") object 7", ") 6291456"] {
        assert_eq!(ran.all().matches(text).count(), 2, "{text}: {}", ran.all());
    }
    assert!(!ran.all().contains("other"), "{}", ran.all());
    for model in find(&world.state(), "model") {
        assert!(fs::read(model).expect("readable") == big);
    }

    // One changes, one is new; what is not touched is not written again.
    let kept = find(&world.state(), "o8").remove(0);
    let inode = |path: &Path| {
        use std::os::unix::fs::MetadataExt as _;
        path.metadata().expect("it is there").ino()
    };
    // The time of objects has no parts of a second: those of just now are looked at once more.
    crate::world::wait_until("objects are old", || {
        let written = kept.metadata().and_then(|meta| meta.modified());
        let age = written.expect("a time").elapsed().unwrap_or_default();
        if age.as_secs() >= 3 {
            Ok(())
        } else {
            Err(format!("{age:?}"))
        }
    });
    launch();
    let before = inode(&kept);
    put(&api, "some-bucket/data/d%201/o7", b"changed\n");
    put(&api, "some-bucket/data/d%201/o99", b"new\n");
    let ran = launch();
    assert_eq!(ran.all().matches(") changed").count(), 2, "{}", ran.all());
    assert_eq!(ran.all().matches(") 31").count(), 2, "{}", ran.all());
    assert_eq!(inode(&kept), before);

    // No credentials and no permissions are on the nodes.
    let nodes = world.state().join("local");
    let held = |text: &str| {
        let grep = std::process::Command::new("grep")
            .args(["-rl", text])
            .arg(&nodes)
            .output();
        String::from_utf8_lossy(&grep.expect("grep runs").stdout).into_owned()
    };
    assert_eq!(held("X-Amz-Signature"), "");
    assert_eq!(held("AWS_SECRET_ACCESS_KEY"), "");
    world.sky(&["down", "-y", "demo"]).ok();
}

#[test]
fn what_cannot_be_copied_says_why() {
    let api = AwsApi::up();
    let world = api.point(World::new());
    put(&api, "some-bucket", b"");
    put(&api, "some-bucket/a", b"x");
    put(&api, "some-bucket/a/b", b"x");
    let launch = |world: &World, mount: &str| {
        let task = world.file(
            "task.yaml",
            &format!("file_mounts:\n  ~/x: {mount}\nrun: true\n"),
        );
        world.sky(&["launch", "-y", "-c", "demo", &task.to_string_lossy()])
    };
    for (mount, text) in [
        (
            "s3://no-such-bucket/x",
            "there is no bucket `no-such-bucket`",
        ),
        (
            "s3://some-bucket/nothing",
            "there is nothing at `s3://some-bucket/nothing`",
        ),
        ("s3://X", "names no bucket"),
        ("gs://bucket/x", "it knows s3:// only"),
        ("{source: 's3://some-bucket/a'}", "mode: COPY"),
        (
            "{source: 's3://some-bucket/a', mode: MOUNT_CACHED}",
            "mode: COPY",
        ),
    ] {
        launch(&world, mount).expect_code(1).shows(text);
    }
    // Nothing was launched for it.
    let status = world.sky(&["status"]).ok();
    assert!(!status.all().contains("demo"), "{}", status.all());
    // What only the whole list shows comes later.
    launch(&world, "s3://some-bucket")
        .expect_code(1)
        .shows("it is an object and a directory of others");
    world.sky(&["down", "-y", "demo"]).ok();
    // Without credentials.
    let bare = World::new()
        .env("AWS_ENDPOINT_URL_S3", &api.endpoint)
        .env("AWS_EC2_METADATA_DISABLED", "true");
    launch(&bare, "s3://some-bucket/a")
        .expect_code(1)
        .shows("there are no AWS credentials");
}

#[test]
fn machines_of_their_own_have_mounts_everywhere_and_the_home_of_who_logs_in() {
    let api = AwsApi::up();
    let world = api.point(World::new());
    put(&api, "some-bucket", b"");
    put(&api, "some-bucket/set/one", b"an object\n");
    world.file("opt/tool/version", "7\n");
    let text = |infra: &str| {
        format!(
            "resources: {{infra: {infra}, cpus: 2+}}\nfile_mounts:\n  /data/set: s3://some-bucket/set\n  /opt/tool: ./opt/tool\n\
             run: cat /data/set/one /opt/tool/version; echo at $HOME; id -un; pwd\n"
        )
    };
    let task = world.file("task.yaml", &text("aws/us-east-1"));
    let task = task.to_string_lossy().into_owned();
    let launch = || world.sky(&["launch", "-y", "-c", "demo", &task]).ok();
    for _ in 0..2 {
        launch()
            .shows(") an object")
            .shows(") 7")
            .shows(") at /home/");
    }
    // What is in the way stays, and is named.
    let taken = text("aws/us-east-1").replace("/opt/tool:", "/etc:");
    world.file("taken.yaml", &taken);
    let taken = world.cwd().join("taken.yaml");
    world
        .sky(&["launch", "-y", "-c", "demo", &taken.to_string_lossy()])
        .expect_code(1)
        .shows("cannot make `/etc` on the node");
    world.sky(&["stop", "-y", "demo"]).ok();
    world.sky(&["start", "-y", "demo"]).ok();
    world
        .sky(&["exec", "demo", "cat /data/set/one"])
        .ok()
        .shows(") an object");
    world.sky(&["down", "-y", "demo"]).ok();

    // Nodes that share their machine are not chosen, and told why.
    let local = world.file("local.yaml", &text("local"));
    world
        .sky(&["launch", "-y", "-c", "here", &local.to_string_lossy()])
        .expect_code(1)
        .shows("nothing can be mounted at /data/set; mount it at ~/data/set");
    assert_eq!(
        world.sky(&["status", "-o", "json"]).ok().json(),
        serde_json::json!([])
    );
}
