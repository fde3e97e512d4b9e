//! A gate on a host: holds a command that was sent there by SSH until the test lets it go.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use crate::testbed::Hosts;
use crate::world::{sky_binary, wait_for};

/// Runs what was asked for by SSH; one with the word of the file `held` waits until that is gone.
const GATE: &str = r#"#!/bin/sh
if word=$(cat "$HOME/held" 2>/dev/null); then
    case "$SSH_ORIGINAL_COMMAND" in
    *"$word"*)
        : >"$HOME/reached"
        while [ -e "$HOME/held" ]; do sleep 0.02; done
        ;;
    esac
fi
exec bash -c "$SSH_ORIGINAL_COMMAND"
"#;

/// The gate of a host.
pub(super) struct Gate {
    /// The home of who logs in.
    home: PathBuf,
}

impl Gate {
    /// Puts it there; it holds what has `word` in it.
    pub(super) fn closed(hosts: &Hosts, host: usize, word: &str) -> Self {
        hosts.program(host, "gate", GATE);
        let home = hosts.machines[host].root.join("home/dev");
        fs::write(home.join("held"), word).expect("a file");
        let keys = home.join(".ssh/authorized_keys");
        let known = fs::read_to_string(&keys).expect("a key");
        // Written in place: it stays the file of who logs in.
        fs::write(keys, format!("command=\"gate\" {known}")).expect("a key");
        Self { home }
    }

    /// Waits until a command is held.
    pub(super) fn reached(&self) {
        wait_for("a command is held", || self.home.join("reached").exists());
    }

    /// Lets it go, and everything after it.
    pub(super) fn open(&self) {
        fs::remove_file(self.home.join("held")).expect("it was closed");
    }
}

/// Puts the program under test onto a host, as a launch before would have.
pub(super) fn seed(hosts: &Hosts, host: usize) {
    static NAME: OnceLock<String> = OnceLock::new();
    let name = NAME.get_or_init(|| {
        let sum = Command::new("sha256sum").arg(sky_binary()).output();
        let sum = String::from_utf8(sum.expect("sha256sum").stdout).expect("a text");
        format!("sky-{}", &sum[..16])
    });
    let bin = hosts.machines[host].root.join("home/dev/.sky/bin");
    fs::create_dir_all(&bin).expect("a directory");
    fs::copy(sky_binary(), bin.join(name)).expect("a copy");
    let own = "chown -R dev:dev /home/dev/.sky && chmod -R go= /home/dev/.sky";
    hosts.sh(host, own).ok();
}
