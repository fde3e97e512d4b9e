//! Hosts that the system's OpenSSH reaches: commands on them, and streams to agents there.
//!
//! The user's own configuration, agents, jump hosts and known hosts hold. Connections are shared (`ControlMaster`):
//! only the first command to a host pays for the handshake.
#![expect(
    clippy::disallowed_methods,
    reason = "this file is a seam through which `ssh` is started"
)]

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::Stdio;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{
    AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, Join, ReadBuf,
};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use super::ByteStream;
use crate::base::timings::{self, Part, Step};
use crate::base::{Error, Kind, Result};
use crate::sys::env;

/// The line by which `sky __agent connect` says that what follows comes from the agent.
pub(crate) const GREETING: &str = "sky agent";
/// How long a TCP connection may take; the whole handshake gets [`HANDSHAKE`].
const CONNECT_SECS: u32 = 8;
/// How long it may take until an agent's stream is open.
const HANDSHAKE: Duration = Duration::from_secs(20);
/// Lines of other programs (a shell's greeting) before ours.
const NOISE: usize = 64;
/// The longest path of a socket, less what ssh adds to it while it is made.
const LONGEST_CONTROL: usize = 107 - 17;
/// Characters of `%C`.
const CONTROL_HASH: usize = 40;

/// How to reach a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Host {
    /// An alias of the user's SSH configuration, or an address.
    pub(crate) destination: String,
    /// User, unless the configuration says.
    pub(crate) user: Option<String>,
    /// Port, unless the configuration says.
    pub(crate) port: Option<u16>,
    /// Key, unless the configuration says.
    pub(crate) identity: Option<PathBuf>,
    /// A key of the host that was never seen is taken at first contact; a changed one never.
    pub(crate) trust_first: bool,
}

/// Starts a command line of the system's ssh, which reads the configuration of the account; where `HOME` leads elsewhere,
/// of that directory.
fn ssh() -> Command {
    let mut ssh = Command::new("ssh");
    if let Some(home) = env::moved_home() {
        let config = home.join(".ssh/config");
        if config.is_file() {
            ssh.arg("-F").arg(config);
        }
        let known = home.join(".ssh/known_hosts");
        ssh.arg("-o")
            .arg(format!("UserKnownHostsFile={}", known.display()));
    }
    ssh
}

/// Starts a command line of the system's ssh that reads no configuration.
fn ssh_to_ours(ours: &Ours) -> Command {
    let mut ssh = Command::new("ssh");
    ssh.args(["-F", "none", "-o", "GlobalKnownHostsFile=/dev/null", "-o"])
        .arg(format!("UserKnownHostsFile={}", ours.known_hosts.display()))
        .arg("-o")
        .arg(format!("HostKeyAlias={}", ours.alias));
    if let Some(command) = &ours.proxy_command {
        ssh.arg("-o").arg(format!("ProxyCommand={command}"));
    }
    ssh
}

/// Returns whether a block of the user's SSH configuration is about this host by name: more than `Host *`.
pub(crate) async fn is_configured(destination: &str) -> Result<bool> {
    let asked = ssh()
        .args(["-v", "-G", "--", destination])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(HANDSHAKE, asked)
        .await
        .map_err(|_| Error::new(Kind::Timeout, "`ssh -G` did not end"))?
        .map_err(|e| no_ssh(&e))?;
    // debug1: /home/u/.ssh/config line 3: Applying options for gpu-box
    Ok(String::from_utf8_lossy(&output.stderr)
        .lines()
        .filter_map(|line| line.split_once(": Applying options for "))
        .any(|(_, pattern)| pattern.trim() != "*"))
}

/// Makes a key without a passphrase: the private part in `path`, the public one beside it.
pub(crate) async fn make_key(path: &Path) -> Result<()> {
    let mut program = Command::new("ssh-keygen");
    program
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "sky", "-f"])
        .arg(path)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = timeout(HANDSHAKE, program.output())
        .await
        .map_err(|_| Error::new(Kind::Timeout, "`ssh-keygen` did not end"))?
        .map_err(|e| {
            Error::new(Kind::Internal, "cannot start `ssh-keygen`")
                .caused_by(&e)
                .hint("install the OpenSSH client")
        })?;
    if output.status.success() {
        return Ok(());
    }
    let told = String::from_utf8_lossy(&output.stderr);
    let what = format!("`ssh-keygen` failed: {}", told.trim());
    Err(Error::new(Kind::Internal, what))
}

/// Says that there is no `ssh` to start.
fn no_ssh(e: &std::io::Error) -> Error {
    let error = Error::new(Kind::Unreachable, "cannot start `ssh`").caused_by(e);
    match e.kind() {
        std::io::ErrorKind::NotFound => error.hint("install the OpenSSH client"),
        _ => error,
    }
}

/// A host that a cloud made for us: nothing of the user's own configuration holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ours {
    /// The name under which its key is remembered, whatever its address is.
    pub(crate) alias: String,
    /// Where keys of such hosts are remembered.
    pub(crate) known_hosts: PathBuf,
    /// A command that reaches it, as OpenSSH's `ProxyCommand`.
    pub(crate) proxy_command: Option<String>,
}

/// The way to a host. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Ssh {
    /// The host.
    host: Host,
    /// What is special about a host that a cloud made for us.
    ours: Option<Ours>,
    /// Where the sockets of shared connections lie; none when the path would be too long for a socket.
    control: Option<PathBuf>,
}

/// What a command on a host printed and how it ended.
#[derive(Debug)]
pub(crate) struct Done {
    /// Exit code.
    pub(crate) code: i32,
    /// Standard output.
    pub(crate) stdout: Vec<u8>,
    /// Standard error.
    pub(crate) stderr: String,
}

impl Ssh {
    /// Names the way; `control` is a private directory that exists.
    pub(crate) fn new(host: Host, control: &Path) -> Self {
        let fits = control.as_os_str().len() + 1 + CONTROL_HASH <= LONGEST_CONTROL;
        Self {
            host,
            ours: None,
            control: fits.then(|| control.join("%C")),
        }
    }

    /// Names the way to a host that a cloud made for us. Its connections are its own: another host may get its address later.
    pub(crate) fn to_ours(host: Host, ours: Ours, control: &Path) -> Self {
        let fits = control.as_os_str().len() + 1 + ours.alias.len() <= LONGEST_CONTROL;
        let control = fits.then(|| control.join(&ours.alias));
        Self {
            host,
            ours: Some(ours),
            control,
        }
    }

    /// Ends the connection that is shared, if there is one: the host is about to go.
    pub(crate) async fn close(&self) {
        let Some(path) = self.control.as_ref().filter(|path| path.exists()) else {
            return;
        };
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "none", "-O", "exit", "-o"])
            .arg(format!("ControlPath={}", path.display()))
            .arg("--")
            .arg(&self.host.destination)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        // The connection may be gone already, which is what is wanted.
        drop(timeout(HANDSHAKE, ssh.status()).await);
    }

    /// Returns the host's name.
    pub(crate) fn destination(&self) -> &str {
        &self.host.destination
    }

    /// Prepares a command on the host.
    fn command(&self, remote: &str) -> Command {
        let mut ssh = self.ours.as_ref().map_or_else(ssh, ssh_to_ours);
        ssh.args(["-T", "-x", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR"]);
        ssh.args(["-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3"]);
        ssh.arg("-o").arg(format!("ConnectTimeout={CONNECT_SECS}"));
        if let Some(path) = &self.control {
            ssh.args(["-o", "ControlMaster=auto", "-o", "ControlPersist=300"]);
            ssh.arg("-o").arg(format!("ControlPath={}", path.display()));
        }
        if self.host.trust_first {
            ssh.args(["-o", "StrictHostKeyChecking=accept-new"]);
        }
        if let Some(user) = &self.host.user {
            ssh.arg("-l").arg(user);
        }
        if let Some(port) = self.host.port {
            ssh.arg("-p").arg(port.to_string());
        }
        if let Some(identity) = &self.host.identity {
            ssh.args(["-o", "IdentitiesOnly=yes", "-i"]).arg(identity);
        }
        ssh.arg("--").arg(&self.host.destination).arg(remote);
        ssh.stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        ssh
    }

    /// Starts a command on the host.
    fn start(&self, remote: &str) -> Result<Child> {
        self.command(remote).spawn().map_err(|e| no_ssh(&e))
    }

    /// Runs a command of the host's shell with `input` to its end.
    pub(crate) async fn run(
        &self,
        remote: &str,
        input: impl AsyncRead + Send + Unpin,
        deadline: Duration,
    ) -> Result<Done> {
        self.run_within(remote, input, deadline, None).await
    }

    /// The same without input, for a command that prints a line as soon as it begins: the host is reached then.
    pub(crate) async fn ask(&self, remote: &str, deadline: Duration) -> Result<Done> {
        let reaching = timings::begin(Part::Connect);
        self.run_within(remote, tokio::io::empty(), deadline, reaching)
            .await
    }

    /// Runs a command within its deadline.
    async fn run_within(
        &self,
        remote: &str,
        input: impl AsyncRead + Send + Unpin,
        deadline: Duration,
        reaching: Option<Step>,
    ) -> Result<Done> {
        timeout(deadline, self.run_on(remote, input, reaching))
            .await
            .map_err(|_| {
                Error::new(
                    Kind::Unreachable,
                    format!(
                        "host `{}` did not answer in {} s",
                        self.host.destination,
                        deadline.as_secs()
                    ),
                )
            })?
    }

    /// Runs a command; `reaching` ends with the first of what it prints.
    async fn run_on(
        &self,
        remote: &str,
        mut input: impl AsyncRead + Send + Unpin,
        reaching: Option<Step>,
    ) -> Result<Done> {
        let mut child = self.start(remote)?;
        let doing =
            |e: &std::io::Error| Error::io(format!("talk to host `{}`", self.host.destination), e);
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let (to, mut out, mut err) = pipes(&mut child)?;
        let feed = async {
            let mut to = to;
            // A command that ends early does not want the rest; its exit code says why.
            drop(tokio::io::copy(&mut input, &mut to).await);
            drop(to.shutdown().await);
        };
        let read = async {
            out.read_buf(&mut stdout).await?;
            drop(reaching);
            out.read_to_end(&mut stdout).await
        };
        let ((), read, complained) = tokio::join!(feed, read, err.read_to_end(&mut stderr));
        read.and(complained).map_err(|e| doing(&e))?;
        let status = child.wait().await.map_err(|e| doing(&e))?;
        let stderr = String::from_utf8_lossy(&stderr).trim().to_owned();
        match status.code() {
            // By ssh itself, or by whoever killed it.
            Some(255) | None => Err(self.refusal(&stderr)),
            Some(code) => Ok(Done {
                code,
                stdout,
                stderr,
            }),
        }
    }

    /// Opens the stream to the agent behind a command that joins it to standard input and output.
    pub(crate) async fn open(&self, remote: &str) -> Result<Box<dyn ByteStream>> {
        timeout(HANDSHAKE, self.open_stream(remote))
            .await
            .map_err(|_| {
                let (host, seconds) = (&self.host.destination, HANDSHAKE.as_secs());
                Error::new(
                    Kind::Unreachable,
                    format!("the agent on host `{host}` did not answer in {seconds} s"),
                )
            })?
    }

    /// [`Self::open`] without its deadline.
    async fn open_stream(&self, remote: &str) -> Result<Box<dyn ByteStream>> {
        let mut child = self.start(remote)?;
        let (to, out, mut err) = pipes(&mut child)?;
        let mut out = BufReader::new(out);
        let mut line = String::new();
        for _ in 0..NOISE {
            line.clear();
            let read = out.read_line(&mut line).await;
            if !matches!(read, Ok(n) if n > 0) {
                let mut why = String::new();
                drop(err.read_to_string(&mut why).await);
                return Err(self.refusal(why.trim()));
            }
            if line.trim_end() == GREETING {
                return Ok(Box::new(Piped {
                    io: tokio::io::join(out, to),
                    _child: child,
                }));
            }
        }
        Err(self.refusal("the login shell prints too much"))
    }

    /// Says why ssh did not get through, from what it printed.
    fn refusal(&self, stderr: &str) -> Error {
        let host = &self.host.destination;
        let last = stderr.lines().last().unwrap_or("ssh ended without a word");
        let kind =
            if stderr.contains("Permission denied") || stderr.contains("Host key verification") {
                Kind::Unauthenticated
            } else {
                Kind::Unreachable
            };
        let error = Error::new(kind, format!("cannot reach host `{host}`: {last}"));
        error.hint(format!("see whether this works: {} true", self.by_hand()))
    }

    /// What to type to get there, but for the command.
    pub(crate) fn by_hand(&self) -> String {
        let host = &self.host;
        let port = host.port.map(|port| format!("-p {port} "));
        let key = host.identity.as_ref();
        let key = key.map(|key| format!("-i {} ", key.display()));
        let user = host.user.as_ref().map(|user| format!("{user}@"));
        let [port, key, user] = [port, key, user].map(Option::unwrap_or_default);
        format!("ssh {port}{key}{user}{}", host.destination)
    }
}

/// The three pipes of a child.
fn pipes(child: &mut Child) -> Result<(ChildStdin, ChildStdout, tokio::process::ChildStderr)> {
    match (child.stdin.take(), child.stdout.take(), child.stderr.take()) {
        (Some(to), Some(out), Some(err)) => Ok((to, out, err)),
        _ => Err(Error::new(
            Kind::Internal,
            "`ssh` was started without pipes",
        )),
    }
}

/// Standard input and output of a child as one stream; the child ends with it.
struct Piped {
    /// Both directions.
    io: Join<BufReader<ChildStdout>, ChildStdin>,
    /// Killed when dropped.
    _child: Child,
}

impl AsyncRead for Piped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Piped {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
