//! The cases against SSH hosts: real daemons on this machine, with homes of their own.
#![expect(
    clippy::disallowed_methods,
    reason = "a test starts the daemons of the hosts"
)]

use std::fmt::Write as _;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use super::faults::{Fault, Mishaps, NotPossible};
use super::{Subject, conforms, entries, in_a_home};
use crate::clouds::NodeSet;
use crate::clouds::ssh::Ssh;
use crate::sys::paths::Paths;

/// A daemon, killed at the end.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Makes a key without a passphrase.
fn make_key(path: &Path) {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(path)
        .status();
    assert!(
        made.expect("ssh-keygen; scripts/test installs it")
            .success()
    );
}

/// Starts a host; returns its daemon, its address and its port.
fn host(root: &Path, number: u8, key: &Path) -> (Daemon, String, u16) {
    let dir = root.join(number.to_string());
    fs::create_dir_all(dir.join("home")).expect("a home");
    fs::create_dir_all("/run/sshd").expect("sshd's directory");
    make_key(&dir.join("host_key"));
    fs::copy(key.with_extension("pub"), dir.join("authorized_keys")).expect("a key");
    let address = format!("127.0.2.{number}");
    let free = TcpListener::bind((address.as_str(), 0)).expect("a free port");
    let port = free.local_addr().expect("an address").port();
    drop(free);
    // Behind it, the reply to a request for a node is lost when there is a file `lose`.
    let door = dir.join("door");
    let script = format!(
        "#!/bin/sh\ncase $SSH_ORIGINAL_COMMAND in *'\"create\"'*)\n\
         if mv {dir}/lose {dir}/lost 2>/dev/null; then sh -c \"$SSH_ORIGINAL_COMMAND\" >/dev/null; exit 255; fi;;\nesac\n\
         exec sh -c \"$SSH_ORIGINAL_COMMAND\"\n",
        dir = dir.display()
    );
    fs::write(&door, script).expect("a script");
    fs::set_permissions(&door, fs::Permissions::from_mode(0o755)).expect("executable");
    let config = format!(
        "ListenAddress {address}:{port}\nHostKey {dir}/host_key\nAuthorizedKeysFile {dir}/authorized_keys\n\
         StrictModes no\nUsePAM no\nPasswordAuthentication no\nPidFile none\nPermitRootLogin yes\n\
         SetEnv HOME={dir}/home\nForceCommand {dir}/door\n",
        dir = dir.display()
    );
    fs::write(dir.join("sshd_config"), config).expect("a configuration");
    let daemon = Command::new("/usr/sbin/sshd")
        .args(["-D", "-e", "-f"])
        .arg(dir.join("sshd_config"))
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("sshd; scripts/test installs openssh-server");
    let daemon = Daemon(daemon);
    for _ in 0..200 {
        if TcpStream::connect((address.as_str(), port)).is_ok() {
            return (daemon, address, port);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("sshd never listened");
}

#[test]
fn ssh() {
    let dir = tempfile::Builder::new().prefix("sky-").tempdir();
    let dir = dir.expect("a directory");
    let home = dir.path().join("home");
    fs::create_dir_all(home.join(".sky")).expect("a directory");
    fs::create_dir_all(home.join(".ssh")).expect("a directory");
    let key = dir.path().join("key");
    make_key(&key);
    let mut pools = format!("lab:\n  identity_file: {}\n  hosts:\n", key.display());
    let hosts: Vec<_> = (1..=2).map(|n| host(dir.path(), n, &key)).collect();
    for (_, address, port) in &hosts {
        writeln!(pools, "    - {{ip: {address}, port: {port}}}").expect("a line");
    }
    fs::write(home.join(".sky/ssh_node_pools.yaml"), pools).expect("pools");
    in_a_home("clouds::conformance::ssh::inside", &home, &[]);
    for number in 1..=hosts.len() {
        let mut left = entries(&nodes(dir.path(), number));
        left.retain(|name| name.starts_with("conf-"));
        assert!(left.is_empty(), "host {number} keeps {left:?}");
    }
}

/// Where a host has its nodes.
fn nodes(root: &Path, number: usize) -> PathBuf {
    root.join(format!("{number}/home/.sky/nodes"))
}

/// What can happen to two hosts and the ways to them.
struct Hosts {
    /// Where their directories are.
    root: PathBuf,
}

impl Mishaps for Hosts {
    fn order(&self, fault: Fault, set: &mut NodeSet) -> Result<(), NotPossible> {
        match fault {
            Fault::LostReply => {
                for number in 1..=2 {
                    fs::write(self.root.join(format!("{number}/lose")), "").expect("a file");
                }
            }
            Fault::Capacity => set.offer.vcpus = 1e6,
            // Each host has one node of a set.
            Fault::Partly => set.count = 3,
            Fault::NodeLost => {}
            Fault::ShownLate => return Err(NotPossible::NeverLate),
            Fault::Quota | Fault::Throttled => return Err(NotPossible::NoAccount),
            Fault::Auth => return Err(NotPossible::OneOfMany),
            Fault::Interrupted => return Err(NotPossible::NoMarket),
        }
        Ok(())
    }

    fn strike(&self, _: Fault, set: &NodeSet) {
        let node = format!("{}/{}", set.name, set.count - 1);
        let of_host = |number| fs::remove_dir_all(nodes(&self.root, number).join(&node));
        assert!(of_host(1).is_ok() || of_host(2).is_ok(), "it had {node}");
    }

    fn calm(&self) {}

    fn machines(&self, set: &NodeSet) -> usize {
        let of_host = |number| entries(&nodes(&self.root, number).join(&set.name)).len();
        of_host(1) + of_host(2)
    }
}

#[tokio::test]
#[ignore = "`ssh` runs it in a home of its own"]
async fn inside() {
    let cloud = Ssh::new(&Paths::of_user(None));
    let root = Paths::of_user(None).home().join("..");
    let subject = Subject::new(Arc::new(cloud), Box::new(Hosts { root }));
    assert_eq!(
        conforms(&subject).await,
        [
            ("shown late", NotPossible::NeverLate),
            ("quota", NotPossible::NoAccount),
            ("throttled", NotPossible::NoAccount),
            ("auth", NotPossible::OneOfMany),
            ("interrupted", NotPossible::NoMarket),
        ]
    );
}
