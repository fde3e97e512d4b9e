//! The agent as a program: one per node directory, ready when it says so, gone without harm at any moment.

use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::files::Desk;
use super::git;
use super::head::Head;
use super::options;
use super::rpc::Agent;
use super::rpc::{peer_router, router};
use super::runner::Runner;
use super::watch::Watcher;
use crate::api::agent::AGENT_TOKEN;
use crate::base::{Error, Kind, Result};
use crate::http::conn::Limits;
use crate::http::listen::bind_tcp;
use crate::http::serve::{Listener, Options, Policy, Server};
use crate::store::{self, Db};
use crate::sys::lock::FileLock;
use crate::sys::ready::Reporter;
use crate::sys::{env, fs, process};
use crate::transport::ssh::GREETING;

/// Memory for pages of the store: an agent has few records.
const CACHE: usize = 1024 * 1024;
/// How long calls may take to finish when the agent exits.
const DRAIN: Duration = Duration::from_secs(2);

/// How long a predecessor may hold the lock.
const LAST_BREATH: Duration = Duration::from_secs(2);

/// Runs `sky __agent --dir DIR [--port N] [--ready-fd N]`, `sky __agent connect --dir DIR` or `sky __agent git --dir DIR`, to its end.
pub(crate) fn run(arguments: &[OsString]) -> ExitCode {
    log_to_stderr();
    if arguments.first().is_some_and(|first| first == "connect") {
        return finish(enter(async {
            connect(Path::new(options::value_of(arguments, "--dir")?)).await
        }));
    }
    if arguments.first().is_some_and(|first| first == "git") {
        let directory = options::value_of(arguments, "--dir");
        return finish(directory.and_then(|directory| git::help(Path::new(directory))));
    }
    let reporter = match options::number(arguments, "--ready-fd") {
        Ok(fd) => Reporter::new(fd),
        Err(error) => return finish(Err(error)),
    };
    let asked = options::value_of(arguments, "--dir")
        .map(PathBuf::from)
        .and_then(|node| Ok((node, options::number(arguments, "--port")?)));
    finish(asked.and_then(|(node, port)| enter(serve(&node, port, reporter))))
}

/// Sends what operators read to standard error, which is the agent's log.
pub(super) fn log_to_stderr() {
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        // On a full disk the log cannot be written, and complaining about that on the same file would panic.
        .log_internal_errors(false)
        .with_writer(std::io::stderr)
        .with_max_level(tracing::Level::INFO);
    // Fails only when it was done before.
    drop(subscriber.try_init());
}

/// Requests at a time from one API server, which has at most so many connections itself.
const FOLLOWERS: u32 = 32 * 1024;

/// Runs a future on a runtime of one thread.
fn enter<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_keep_alive(Duration::from_secs(1))
        .thread_stack_size(512 * 1024)
        .build()
        .map_err(|e| Error::io("start the runtime", &e))?;
    let result = runtime.block_on(work);
    // A thread that still reads standard input must not hold up the end.
    runtime.shutdown_background();
    result
}

/// Turns a result into an exit code; the reason goes to the agent's log.
fn finish(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = %error.one_line(), "the agent ends");
            ExitCode::from(error.kind().exit_code())
        }
    }
}

/// Starts, reports, and serves until it is told to go.
async fn serve(node: &Path, port: Option<u16>, reporter: Reporter) -> Result<()> {
    match Running::start(node, port).await {
        Ok(running) => {
            reporter.ready(&process::own_id().to_string());
            running.until_the_end().await
        }
        Err(error) => {
            reporter.failed(&error);
            Err(error)
        }
    }
}

/// A running agent.
struct Running {
    /// No second agent works in the same directory.
    _lock: FileLock,
    /// The routes.
    server: Server,
    /// The routes for other nodes of the set, where they are on other machines.
    network: Option<Network>,
    /// What goes on beside them.
    background: JoinSet<()>,
    /// Fires when the agent must exit.
    exit: CancellationToken,
}

impl Running {
    /// Takes the directory, goes on with its jobs, and listens.
    async fn start(node: &Path, port: Option<u16>) -> Result<Self> {
        fs::ensure_private_dir(node)?;
        // Jobs see this path as their home; it must not depend on where the agent was started.
        let node = std::fs::canonicalize(node)
            .map_err(|e| Error::io(format!("find `{}`", node.display()), &e))?;
        let own = node.join("agent");
        for directory in [&own, &node.join("home"), &node.join("jobs")] {
            fs::private_dir(directory)?;
        }
        // One that was just killed may not have let go yet: the kernel closes its descriptors one by one.
        let lock =
            FileLock::acquire_within(&own.join("lock"), LAST_BREATH).map_err(
                |error| match error.kind() {
                    Kind::Timeout => Error::new(
                        Kind::Conflict,
                        format!("another agent works in `{}`", node.display()),
                    ),
                    _ => error,
                },
            )?;
        process::adopt_orphans()?;
        let mut background = JoinSet::new();
        background.spawn(reap()?);
        let (watcher, watching) = Watcher::start()?;
        background.spawn(watching);
        let db = open_store(own.join("store.redb")).await?;
        let runner = Runner::new(&node, watcher.clone());
        let head = Head::start(db, runner, watcher).await?;
        let (saving, idle, ending) = (head.clone(), head.clone(), head.clone());
        background.spawn(async move { saving.keep_saving().await });
        background.spawn(async move { idle.watch_idle().await });
        background.spawn(super::power::watch(ending));
        let exit = CancellationToken::new();
        let agent = Agent {
            head,
            exit: exit.clone(),
            calls: TaskTracker::new(),
            desk: Arc::new(Desk::new(own.join("files"))),
        };
        let network = match port {
            Some(port) => Some(Network::listen(port, &agent).await?),
            None => None,
        };
        let server = Server::new(router(agent), options());
        let socket = crate::http::unix::bind(&node.join("agent.sock")).await?;
        server.listen(Listener::Unix(socket), Policy::SameUser);
        Ok(Self {
            _lock: lock,
            server,
            network,
            background,
            exit,
        })
    }

    /// Serves until a shutdown or TERM; jobs go on after TERM.
    async fn until_the_end(mut self) -> Result<()> {
        let listen = |kind| signal(kind).map_err(|e| Error::io("listen for signals", &e));
        let mut terminate = listen(SignalKind::terminate())?;
        let _ignored = listen(SignalKind::hangup())?;
        tokio::select! {
            () = self.exit.cancelled() => {}
            _ = terminate.recv() => {}
            _ = self.background.join_next() => {
                return Err(Error::new(Kind::Internal, "a part of the agent ended early"));
            }
        }
        self.server.drain(DRAIN).await;
        if let Some(network) = &self.network {
            network.server.drain(DRAIN).await;
        }
        Ok(())
    }
}

/// Where the head of the set reaches this agent from another machine.
struct Network {
    /// The few routes that it needs.
    server: Server,
}

impl Network {
    /// Listens on all addresses for those who know the secret.
    async fn listen(port: u16, agent: &Agent) -> Result<Self> {
        let token = env::var(AGENT_TOKEN).ok_or_else(|| {
            Error::new(
                Kind::Usage,
                format!("`--port` needs a secret in `{AGENT_TOKEN}`"),
            )
        })?;
        let listener = bind_tcp((Ipv4Addr::UNSPECIFIED, port).into()).await?;
        let server = Server::new(peer_router(agent.clone(), &token), options());
        server.listen(Listener::Tcp(listener), Policy::Open);
        Ok(Self { server })
    }
}

/// Limits of the agent's server: each follower of a log is one stream on the API server's single connection.
fn options() -> Options {
    let limits = Limits {
        max_streams: FOLLOWERS,
        ..Limits::default()
    };
    Options {
        limits,
        ..Options::default()
    }
}

/// Opens the store, on a thread that may block.
async fn open_store(path: PathBuf) -> Result<Db> {
    let options = store::Options {
        cache_bytes: CACHE,
        ..store::Options::default()
    };
    tokio::task::spawn_blocking(move || Db::open(&path, options))
        .await
        .map_err(|e| Error::internal("open the store", &e))?
}

/// Takes note of ended children (supervisors, and orphans of killed ones), for ever.
fn reap() -> Result<impl Future<Output = ()>> {
    let mut children =
        signal(SignalKind::child()).map_err(|e| Error::io("listen for signals", &e))?;
    Ok(async move {
        loop {
            process::reap_children(|pid, code| tracing::debug!(pid, code, "a child ended"));
            children.recv().await;
        }
    })
}

/// Joins standard input and output with the agent's socket: the other end of a byte stream through a shell.
async fn connect(node: &Path) -> Result<()> {
    let path = node.join("agent.sock");
    let socket = crate::http::unix::connect(&path).await.map_err(|e| {
        Error::new(
            Kind::Unreachable,
            format!("no agent listens at `{}`", path.display()),
        )
        .caused_by(&e)
    })?;
    let (mut from, mut to) = socket.into_split();
    let copy = async {
        let (mut input, mut output) = (tokio::io::stdin(), tokio::io::stdout());
        // Shells on the way may have printed something: from here on it is the agent.
        output.write_all(format!("{GREETING}\n").as_bytes()).await?;
        output.flush().await?;
        let inward = async {
            tokio::io::copy(&mut input, &mut to).await?;
            to.shutdown().await
        };
        let outward = async {
            tokio::io::copy(&mut from, &mut output).await?;
            output.flush().await
        };
        tokio::pin!(inward, outward);
        tokio::select! {
            done = &mut outward => done,
            done = &mut inward => { done?; outward.await }
        }
    };
    copy.await
        .map_err(|e| Error::io("pass bytes to the agent", &e))
}
