//! Real SSH hosts on this machine: one `sshd` each, with an address and a home directory of its own.

use std::fmt::Write as _;
use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::world::{World, free_port, kill, processes_of, wait_until};

/// The program; sshd insists on being called by its whole path.
const SSHD: &str = "/usr/sbin/sshd";

/// A host.
pub(crate) struct Host {
    /// Its address: all of 127/8 is this machine.
    pub(crate) address: String,
    /// Its port.
    pub(crate) port: u16,
    /// Its directory.
    dir: PathBuf,
    /// The daemon.
    daemon: Option<Child>,
}

/// Hosts that a world reaches by key.
pub(crate) struct Hosts {
    /// By number.
    pub(crate) hosts: Vec<Host>,
    /// The key that lets in.
    pub(crate) key: PathBuf,
}

/// Runs a program that must succeed.
fn run(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).output();
    let output = output.unwrap_or_else(|e| panic!("{program}: {e}; scripts/test installs it"));
    assert!(output.status.success(), "{program} {args:?}: {output:?}");
}

/// Makes a key without a passphrase.
fn make_key(path: &Path) {
    let path = path.to_string_lossy();
    run(
        "ssh-keygen",
        &["-q", "-t", "ed25519", "-N", "", "-f", &path],
    );
}

impl Hosts {
    /// Makes and starts so many, and names them to the world as the pool `lab`.
    pub(crate) fn start(world: &World, count: usize) -> Self {
        let root = world.home().join("hosts");
        fs::create_dir_all(&root).expect("a directory");
        // The directory of privilege separation, which the package's service makes otherwise.
        fs::create_dir_all("/run/sshd").expect("sshd's directory");
        let key = root.join("key");
        make_key(&key);
        let hosts = (1..=count)
            .map(|number| Host::start(&root, number, &key))
            .collect();
        let hosts = Self { hosts, key };
        hosts.write_pool(world);
        hosts
    }

    /// Writes the user's file of pools.
    fn write_pool(&self, world: &World) {
        let mut text = format!("lab:\n  identity_file: {}\n  hosts:\n", self.key.display());
        for host in &self.hosts {
            let (ip, port) = (&host.address, host.port);
            writeln!(text, "    - {{ip: {ip}, port: {port}}}").expect("a line");
        }
        let sky = world.home().join(".sky");
        fs::create_dir_all(&sky).expect("a directory");
        fs::create_dir_all(world.home().join(".ssh")).expect("a directory");
        fs::write(sky.join("ssh_node_pools.yaml"), text).expect("pools");
    }
}

impl Host {
    /// Starts host number `number`.
    fn start(root: &Path, number: usize, key: &Path) -> Self {
        let dir = root.join(number.to_string());
        fs::create_dir_all(dir.join("home")).expect("a home");
        make_key(&dir.join("host_key"));
        let public = key.with_extension("pub");
        fs::copy(&public, dir.join("authorized_keys")).expect("a key");
        fs::set_permissions(
            dir.join("authorized_keys"),
            fs::Permissions::from_mode(0o600),
        )
        .expect("private");
        let mut host = Self {
            address: format!("127.0.1.{number}"),
            port: free_port(),
            dir,
            daemon: None,
        };
        let home = host.home();
        let config = format!(
            "ListenAddress {}:{}\nHostKey {dir}/host_key\nAuthorizedKeysFile {dir}/authorized_keys\n\
             StrictModes no\nUsePAM no\nPasswordAuthentication no\nPidFile none\nPermitRootLogin yes\n\
             SetEnv HOME={home}\n",
            host.address,
            host.port,
            dir = host.dir.display(),
            home = home.display(),
        );
        fs::write(host.dir.join("sshd_config"), config).expect("a configuration");
        host.switch_on();
        host
    }

    /// The home directory of who logs in.
    pub(crate) fn home(&self) -> PathBuf {
        self.dir.join("home")
    }

    /// Starts the daemon.
    pub(crate) fn switch_on(&mut self) {
        let config = self.dir.join("sshd_config");
        let log = fs::File::create(self.dir.join("sshd.log")).expect("a log");
        let daemon = Command::new(SSHD)
            .args(["-D", "-e", "-f"])
            .arg(config)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        self.daemon = Some(daemon.expect("sshd runs; scripts/test installs openssh-server"));
        wait_until("sshd listens", || {
            TcpStream::connect((self.address.as_str(), self.port)).map_err(|e| e.to_string())
        });
    }

    /// Nobody can connect any more; connections that stand are not concerned.
    pub(crate) fn switch_off(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill().expect("sshd ends");
            daemon.wait().expect("sshd ended");
        }
    }

    /// Processes that belong to nodes on the host.
    pub(crate) fn node_processes(&self) -> Vec<String> {
        let nodes = self.home().join(".sky/nodes");
        let found = processes_of(&nodes);
        found.into_iter().map(|(_, line)| line).collect()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.switch_off();
    }
}

/// Breaks all connections of a world's server to hosts; returns how many processes held one.
pub(crate) fn break_connections(world: &World) -> usize {
    let clients = processes_of(&world.state().join("ssh"));
    for (pid, _) in &clients {
        kill(*pid, "KILL");
    }
    clients.len()
}
