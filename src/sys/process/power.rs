//! What takes the rights of root: switching the machine off, and small scripts.
#![expect(
    clippy::disallowed_methods,
    reason = "this file is a seam through which programs are started"
)]

use std::ffi::OsStr;
use std::io::Read as _;
use std::process::{Command, Stdio};

use crate::base::{Error, Result};

/// As root, or by the right that images of clouds give to who logs in.
const SCRIPT: &str = r#"PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
if [ "$(id -u)" = 0 ]; then exec shutdown -h now; else exec sudo -n shutdown -h now; fi"#;

/// Begins to switch the machine off; complaints go to standard error.
pub(crate) fn power_off() -> Result<()> {
    // Not waited for: whoever adopts orphans reaps it.
    Command::new("sh")
        .args(["-c", SCRIPT])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .map(drop)
        .map_err(|e| Error::io("switch the machine off", &e))
}

/// Runs a script with arguments, bounded in time, by the right to do so without a password.
const AS_ROOT: &str = r#"PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
if [ "$(id -u)" = 0 ]; then exec sh -c "$@"; else exec timeout 20 sudo -n sh -c "$@"; fi"#;
/// Bytes of a complaint that are kept.
const COMPLAINT: u64 = 4096;

/// Runs a short script as root and returns what it complained of. Blocks.
///
/// Whether it did its work is for the caller to look at: in an agent somebody else reaps all children.
pub(crate) fn as_root(script: &str, arguments: &[&OsStr]) -> std::io::Result<String> {
    let mut child = Command::new("sh")
        .args(["-c", AS_ROOT, "sh", script, "sh"])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut complaint = Vec::new();
    if let Some(pipe) = child.stderr.take() {
        pipe.take(COMPLAINT).read_to_end(&mut complaint)?;
    }
    Ok(String::from_utf8_lossy(&complaint).trim().to_owned())
}
