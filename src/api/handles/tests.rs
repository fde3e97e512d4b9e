//! Handles against the recorded golden bytes.

use super::*;

/// The golden bytes of a file under `tests/compat/captures/handmade`.
fn golden(text: &str) -> String {
    let file: serde_json::Value = serde_json::from_str(text).expect("valid JSON");
    file["base64"].as_str().expect("it has bytes").to_owned()
}

/// Reads a golden file.
macro_rules! golden {
    ($name:literal) => {
        golden(include_str!(concat!(
            "../../../tests/compat/captures/handmade/",
            $name,
            ".json"
        )))
    };
}

fn bytes(base64_text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD
        .decode(base64_text)
        .expect("valid base64")
}

/// Cuts the resources out of a handle: ours bring their own text and price, the golden ones do not.
fn without_resources(pickle: &[u8]) -> Vec<u8> {
    let find = |from: usize, what: &[u8]| {
        let at = pickle[from..].windows(what.len()).position(|w| w == what);
        from + at.expect("a handle has resources")
    };
    let begin = find(0, b"csky.resources\nResources\n");
    let end = find(begin, b"X\x0b\0\0\0docker_user");
    [&pickle[..begin], &pickle[end..]].concat()
}

fn aws() -> NodeResources {
    NodeResources {
        infra: "aws/us-east-1/us-east-1a".into(),
        instance_type: Some("m6i.large".into()),
        display: "AWS".into(),
        region: Some("us-east-1".into()),
        zone: Some("us-east-1a".into()),
        cpus: None,
        memory: None,
        accelerators: None,
        use_spot: false,
        hourly_cost: 0.096,
    }
}

fn up(name: &str, nodes: &[(&str, &str, &str)]) -> Handle {
    let text = |text: &str| text.to_owned();
    Handle {
        cluster_name: text(name),
        cluster_name_on_cloud: format!("{name}-a1b2c3d4"),
        cluster_yaml: Some(format!("~/.sky/generated/{name}.yml")),
        launched_nodes: u32::try_from(nodes.len()).expect("few"),
        launched_resources: aws(),
        stable_internal_external_ips: Some(
            nodes.iter().map(|(_, a, b)| (text(a), text(b))).collect(),
        ),
        stable_ssh_ports: Some(nodes.iter().map(|_| 22).collect()),
        docker_user: None,
        is_grpc_enabled: true,
        ssh_user: Some(text("ubuntu")),
        instance_ids: nodes.iter().map(|(id, ..)| text(id)).collect(),
    }
}

#[test]
fn resources_are_the_golden_bytes() {
    assert_eq!(
        aws().pickled().to_base64(),
        golden!("resources-aws-self-priced")
    );
}

#[test]
fn handles_are_the_golden_bytes() {
    let one = [("i-0001", "10.0.0.1", "203.0.113.10")];
    let two = [one[0], ("i-0002", "10.0.0.2", "203.0.113.11")];
    let mut stopped = up("c1", &one);
    stopped.stable_internal_external_ips = None;
    stopped.stable_ssh_ports = None;
    for (ours, golden) in [
        (up("c1", &one), golden!("handle-aws-up")),
        (up("c2", &two), golden!("handle-aws-two-nodes-gpu")),
        (stopped, golden!("handle-aws-stopped")),
    ] {
        let written = without_resources(&bytes(&ours.pickled().to_base64()));
        let golden = without_resources(&bytes(&golden));
        let show = |bytes: &[u8]| bytes.escape_ascii().to_string();
        assert_eq!(show(&written), show(&golden), "{}", ours.cluster_name);
    }
}

#[test]
fn this_machine_is_the_base_class_with_a_name() {
    let local = NodeResources {
        infra: "local".into(),
        instance_type: None,
        display: "Local".into(),
        region: None,
        zone: None,
        cpus: Some("2".into()),
        memory: Some("8".into()),
        accelerators: Some([("L4".to_owned(), 2.0)].into()),
        hourly_cost: 0.0,
        ..aws()
    };
    assert_eq!(local.text(), "Local(cpus=2, mem=8, gpus=L4:2)");
    let written = bytes(&local.pickled().to_base64());
    let has = |what: &[u8]| written.windows(what.len()).any(|w| w == what);
    assert!(has(
        b"csky.clouds.cloud\nCloud\n)\x81}(X\x05\0\0\0_REPRX\x05\0\0\0Local"
    ));
    assert!(has(b"_accelerators}(X\x02\0\0\0L4J\x02\0\0\0u"));
}

#[test]
fn a_handle_stored_by_an_earlier_release_is_read() {
    let stored = serde_json::json!({
        "cluster_name": "a", "cluster_name_on_cloud": "a-1", "cluster_yaml": null, "launched_nodes": 1,
        "launched_resources": { "infra": "local", "instance_type": null },
        "stable_internal_external_ips": [["127.1.0.1", "127.1.0.1"]], "stable_ssh_ports": null,
        "docker_user": null, "is_grpc_enabled": true, "ssh_user": null,
    });
    let handle: Handle = serde_json::from_value(stored).expect("it is read");
    assert_eq!(handle.cluster_name, "a");
}
