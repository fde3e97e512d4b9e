//! Asking a program of the system.
#![expect(
    clippy::disallowed_methods,
    reason = "this file is a seam through which processes are started"
)]

use std::process::Stdio;
use std::time::Duration;

/// Returns what a program prints; nothing when it is not there, fails, or takes longer than `most` (it is killed then).
pub(crate) async fn output(program: &str, arguments: &[&str], most: Duration) -> Option<String> {
    let run = tokio::process::Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(most, run).await.ok()?.ok()?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then_some(printed)
}
