//! The side file that says who holds the store: `<store>.holder`.
//!
//! Only a courtesy for messages. The lock on the store itself is the guard; a stale side file is never believed,
//! because it is read only after the lock was found to be held.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::base::{Error, Kind, Result};
use crate::sys;

/// Who holds the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Holder {
    /// Process.
    pub(super) pid: i32,
    /// Where it listens.
    #[serde(default)]
    pub(super) endpoints: Vec<String>,
}

/// Returns the place of the side file of the store at `store`.
fn path(store: &Path) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push(".holder");
    name.into()
}

/// Writes that this process holds the store.
pub(super) fn announce(store: &Path, endpoints: &[String]) -> Result<()> {
    let holder = Holder {
        pid: rustix::process::getpid().as_raw_pid(),
        endpoints: endpoints.to_vec(),
    };
    let doing = "write the store's side file";
    let bytes = serde_json::to_vec(&holder).map_err(|e| Error::internal(doing, &e))?;
    // In place and without waiting for the disk: half of it is as good as none, and nothing is left of a crash.
    sys::fs::write_in_place(&path(store), &bytes).map_err(|e| Error::io(doing, &e))
}

/// Removes the side file.
pub(super) fn withdraw(store: &Path) {
    // It is a courtesy: a left-over file harms nobody.
    drop(std::fs::remove_file(path(store)));
}

/// Returns the error for a store that is held by somebody else.
pub(super) fn held_by_another(store: &Path) -> Error {
    let holder: Option<Holder> = sys::fs::read_optional(&path(store))
        .ok()
        .flatten()
        .and_then(|text| serde_json::from_str(&text).ok());
    let mut message = format!("another server uses `{}`", store.display());
    if let Some(holder) = holder {
        message.push_str(" (process ");
        message.push_str(&holder.pid.to_string());
        if !holder.endpoints.is_empty() {
            message.push_str(" at ");
            message.push_str(&holder.endpoints.join(", "));
        }
        message.push(')');
    }
    Error::new(Kind::Conflict, message)
        .hint("use that server, or stop it first: `sky api stop`")
        .hint("a server of its own needs a state directory of its own: `SKY_STATE_DIR`")
}
