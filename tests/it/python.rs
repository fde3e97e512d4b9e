//! Python programs that tests need, each set in a virtual environment of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The published client and server.
pub(crate) const SKYPILOT: (&str, &str) = ("skypilot-0.14.1", "skypilot==0.14.1");

/// What judges the OpenAPI document, and the server by it.
pub(crate) const OPENAPI: (&str, &[&str]) = (
    "openapi",
    &["openapi-spec-validator==0.9.0", "schemathesis==4.32.5"],
);

/// Returns the virtual environment with these packages; makes it unless it stands (`scripts/test` has made it already).
pub(crate) fn python_env(name: &str, requirements: &[&str]) -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/python-env.sh");
    let output = Command::new(script).arg(name).args(requirements).output();
    let output = output.expect("bash runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
}
