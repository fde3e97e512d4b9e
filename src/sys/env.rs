//! The environment of this process, read in one place.
#![expect(
    clippy::disallowed_methods,
    reason = "this file is the seam through which the environment enters"
)]

use std::path::PathBuf;

/// Returns a variable; one that is empty or not UTF-8 counts as unset.
pub(crate) fn var(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Returns a variable as it is, empty or not.
pub(crate) fn exact(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Returns whether a variable is `1` or `true` in any case.
pub(crate) fn flag(name: &str) -> bool {
    var(name).is_some_and(|value| value == "1" || value.eq_ignore_ascii_case("true"))
}

/// Returns the home directory: `HOME`, else the entry in `/etc/passwd`, else `/`.
pub(crate) fn home() -> PathBuf {
    var("HOME").map_or_else(
        || passwd_entry().map_or_else(|| "/".into(), |e| e.home),
        PathBuf::from,
    )
}

/// Returns the home directory when `HOME` says another than the account has.
pub(crate) fn moved_home() -> Option<PathBuf> {
    let account = passwd_entry()?.home;
    Some(home()).filter(|home| *home != account)
}

/// Returns the name of the user that runs this process.
pub(crate) fn user_name() -> String {
    passwd_entry()
        .map(|entry| entry.name)
        .or_else(|| var("USER"))
        .unwrap_or_else(|| format!("uid{}", rustix::process::getuid().as_raw()))
}

/// Returns all variables whose name begins with `prefix`.
pub(crate) fn with_prefix(prefix: &str) -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name.starts_with(prefix))
        .collect()
}

/// Returns all variables, whatever bytes they hold.
pub(crate) fn all() -> impl Iterator<Item = (std::ffi::OsString, std::ffi::OsString)> {
    std::env::vars_os()
}

/// An entry of `/etc/passwd`.
struct PasswdEntry {
    /// Login name.
    name: String,
    /// Home directory.
    home: PathBuf,
}

/// Reads the entry of this user. Not through libc: its name services need modules that a static binary lacks.
fn passwd_entry() -> Option<PasswdEntry> {
    let uid = rustix::process::getuid().as_raw().to_string();
    let text = std::fs::read_to_string("/etc/passwd").ok()?;
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then_some(())?;
        let home = fields.nth(2)?;
        Some(PasswdEntry {
            name: name.to_owned(),
            home: home.into(),
        })
    })
}
