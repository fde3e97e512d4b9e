//! Exceptions against the recorded golden bytes.

use base64::Engine as _;

use super::*;

/// Compares an error with a golden file.
macro_rules! same {
    ($error:expr, $name:literal) => {
        let file = include_str!(concat!(
            "../../../tests/compat/captures/handmade/",
            $name,
            ".json"
        ));
        let file: Value = serde_json::from_str(file).expect("valid JSON");
        assert_eq!(pickled(&$error).to_base64(), file["base64"], $name);
    };
}

#[test]
fn exceptions_are_the_golden_bytes() {
    same!(
        Error::new(Kind::ClusterNotFound, "Cluster 'nope' does not exist."),
        "error-cluster-does-not-exist"
    );
    same!(
        Error::new(Kind::ClusterNotUp, "Cluster 'c1' is not up.")
            .attribute("cluster_status", "STOPPED"),
        "error-cluster-not-up"
    );
    same!(
        Error::new(
            Kind::ResourcesUnavailable,
            "No resource satisfying the request."
        )
        .attribute("no_failover", true),
        "error-resources-unavailable"
    );
    same!(Error::new(Kind::Invalid, "bad input"), "error-value-error");
}

#[test]
fn the_causes_of_a_refused_launch_are_exceptions() {
    let error = Error::new(Kind::ResourcesUnavailable, "all refused")
        .attribute("failover_history", vec!["AWS: no room".to_owned()]);
    let written = pickled(&error).to_base64();
    let written = base64::engine::general_purpose::STANDARD
        .decode(written)
        .expect("valid");
    let cause = b"cbuiltins\nRuntimeError\n(X\x0c\0\0\0AWS: no roomtR";
    assert!(written.windows(cause.len()).any(|w| w == cause));
    assert_eq!(
        plain(&error)["attributes"]["failover_history"][0],
        "AWS: no room"
    );
}

#[test]
fn hints_are_lines_of_the_message() {
    let error = Error::new(Kind::ClusterNotUp, "cluster `a` is stopped").hint("sky start a");
    assert_eq!(
        plain(&error)["message"],
        "cluster `a` is stopped\nsky start a"
    );
    assert_eq!(plain(&error)["attributes"]["cluster_status"], Value::Null);
}
