//! The kernel's table of processes, read from `/proc`.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

/// One process, told apart from a later one with the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// Process id.
    pub(crate) pid: u32,
    /// Start time in clock ticks since boot.
    pub(crate) start: u64,
}

/// What one line of the table says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// Who it is.
    pub(super) identity: Identity,
    /// Its parent.
    pub(super) parent: u32,
    /// Its session.
    pub(super) session: u32,
    /// It has ended and waits for its parent to take note.
    pub(super) dead: bool,
}

/// Returns the identity of a living process.
pub(crate) fn identity(pid: u32) -> Option<Identity> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    parse_stat(&text)
        .filter(|entry| !entry.dead)
        .map(|entry| entry.identity)
}

/// Returns a text that changes with every boot of the machine.
pub(crate) fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}

/// Returns the living processes that descend from `root`, without `root` itself.
pub(crate) fn descendants(root: u32) -> Vec<Identity> {
    below(&entries(), root)
}

/// Returns the living processes of a session and what descends from them.
pub(crate) fn of_session(session: u32) -> Vec<Identity> {
    let table = entries();
    let members = table
        .iter()
        .filter(|entry| entry.session == session && !entry.dead)
        .map(|entry| entry.identity);
    with_descendants(&table, members)
}

/// Returns the living processes whose environment at their start held `name=value`, and what descends from them.
///
/// Only processes of this user can be looked into; those of others are left out.
pub(crate) fn marked(variable: &str) -> Vec<Identity> {
    let wanted = variable.as_bytes();
    let table = entries();
    let members = table
        .iter()
        .filter(|entry| !entry.dead)
        .filter(|entry| {
            std::fs::read(format!("/proc/{}/environ", entry.identity.pid))
                .is_ok_and(|environ| environ.split(|byte| *byte == 0).any(|v| v == wanted))
        })
        .map(|entry| entry.identity);
    with_descendants(&table, members)
}

/// Adds to `members` everything below them, each process once.
fn with_descendants(table: &[Entry], members: impl Iterator<Item = Identity>) -> Vec<Identity> {
    let mut seen = HashSet::new();
    let mut all = Vec::new();
    for member in members {
        for one in std::iter::once(member).chain(below(table, member.pid)) {
            if seen.insert(one) {
                all.push(one);
            }
        }
    }
    all
}

/// Returns the living processes below `root`. A dead one has no children: they were handed on when it ended.
fn below(table: &[Entry], root: u32) -> Vec<Identity> {
    let mut children: HashMap<u32, Vec<&Entry>> = HashMap::new();
    for entry in table {
        children.entry(entry.parent).or_default().push(entry);
    }
    let mut found = Vec::new();
    let mut next = vec![root];
    while let Some(parent) = next.pop() {
        for entry in children.remove(&parent).into_iter().flatten() {
            next.push(entry.identity.pid);
            if !entry.dead {
                found.push(entry.identity);
            }
        }
    }
    found
}

/// Reads the whole table. A process that ends meanwhile is left out.
fn entries() -> Vec<Entry> {
    let Ok(directory) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    directory
        .filter_map(|entry| {
            let name = entry.ok()?.file_name();
            let pid: u32 = name.to_str()?.parse().ok()?;
            parse_stat(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
        })
        .collect()
}

/// Reads a line of `/proc/<pid>/stat`. The name stands in brackets and may itself hold brackets and spaces.
pub(super) fn parse_stat(line: &str) -> Option<Entry> {
    let (pid, rest) = line.split_once(" (")?;
    let (_name, rest) = rest.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    Some(Entry {
        identity: Identity {
            pid: pid.parse().ok()?,
            start: fields.get(19)?.parse().ok()?,
        },
        parent: fields.get(1)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        dead: matches!(*fields.first()?, "Z" | "X" | "x"),
    })
}
