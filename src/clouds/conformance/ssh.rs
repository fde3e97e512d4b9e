//! The cases against SSH hosts: real daemons on this machine, with homes of their own.
#![expect(
    clippy::disallowed_methods,
    reason = "a test starts the daemons of the hosts"
)]

use std::fmt::Write as _;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use super::{Subject, conforms, in_a_home};
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
    let config = format!(
        "ListenAddress {address}:{port}\nHostKey {dir}/host_key\nAuthorizedKeysFile {dir}/authorized_keys\n\
         StrictModes no\nUsePAM no\nPasswordAuthentication no\nPidFile none\nPermitRootLogin yes\n\
         SetEnv HOME={dir}/home\n",
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
    for (number, _) in hosts.iter().enumerate() {
        let nodes = dir.path().join(format!("{}/home/.sky/nodes", number + 1));
        let left = fs::read_dir(nodes).into_iter().flatten().flatten();
        let left: Vec<_> = left
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| !name.starts_with('.') && name.starts_with("conf-"))
            .collect();
        assert!(left.is_empty(), "host {} keeps {left:?}", number + 1);
    }
}

#[tokio::test]
#[ignore = "`ssh` runs it in a home of its own"]
async fn inside() {
    let cloud = Ssh::new(&Paths::of_user(None));
    conforms(&Subject::new(Arc::new(cloud), 2, true)).await;
}
