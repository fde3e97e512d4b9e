//! Another node's agent, as the head speaks to it: patient for a minute while the agent is away, and as long as [`Pulse`] says
//! while its machine is; then the job is given up with the reason.
//!
//! Every call is idempotent, so each is simply made again while the other agent is being restarted.

use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::pulse::{LOST, Pulse};
use super::runner::RankKey;
use crate::api::agent::{self as wire, PeerAddress, Phase, RankInfo, StartRank};
use crate::api::frames::{Frame, Outcome};
use crate::base::ids::{JobId, NodeRank};
use crate::base::{Error, Kind, Result};
use crate::http::call::{Call, Client, Endpoint, Remote};

/// How long a node may be out of reach.
const PATIENCE: Duration = Duration::from_secs(60);
/// The first pause before a call is made again; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// The time for calls that are answered from memory.
const QUICK: Duration = Duration::from_secs(15);
/// The time after which a call that waits for an end is made again: a node that is gone shows then.
const WAITING: Duration = Duration::from_secs(60);
/// The time for calls that end processes, beyond any usual grace.
const STOPPING: Duration = Duration::from_secs(180);
/// How long a node that was away is expected back.
const LATER: Duration = Duration::from_hours(1);
/// Silence after which a log stream counts as broken; heartbeats come far more often.
const SILENCE: Duration = Duration::from_secs(60);

/// Another node's agent. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Peer {
    /// The way to it.
    client: Arc<Client>,
    /// Its name, for messages.
    name: String,
    /// Whether its machine is there; none where it is this machine.
    pulse: Option<Pulse>,
}

/// Query of a process.
#[derive(Serialize)]
struct RankQuery {
    /// Wait for the end.
    wait: bool,
    /// Wait for a process id.
    started: bool,
}

/// Query of a log.
#[derive(Serialize)]
struct LogQuery {
    /// First byte.
    offset: u64,
}

impl Peer {
    /// Makes the client of a node; nothing is connected yet.
    pub(crate) fn new(peer: &wire::Peer) -> Result<Self> {
        let (client, pulse) = match &peer.address {
            PeerAddress::Unix { path } => (Client::new(Endpoint::Unix(path.into()))?, None),
            PeerAddress::Tcp { address, token } => {
                let remote = remote(address)?;
                let pulse = Pulse::new(remote.host.clone(), remote.port);
                let bearer = format!("Bearer {token}");
                let client = Client::new(Endpoint::Http(remote))?;
                (client.with_header("authorization", &bearer)?, Some(pulse))
            }
        };
        Ok(Self {
            client: Arc::new(client),
            name: match &pulse {
                Some(_) => format!("{} ({})", peer.rank.label(), peer.ip),
                None => peer.rank.label(),
            },
            pulse,
        })
    }

    /// Starts a process, unless it was started before.
    pub(crate) async fn start(&self, what: &StartRank) -> Result<()> {
        let call = || Call::post("/v1/ranks").json(what).timeout(QUICK);
        self.unless_lost(self.patiently(call, is_passing)).await
    }

    /// Switches the machine of the node off.
    pub(crate) async fn power_off(&self) -> Result<()> {
        let call = Call::post("/v1/poweroff").json(&()).timeout(QUICK);
        self.client.fetch(call).await.map(drop)
    }

    /// Waits until a process has a process id (or has ended, or is not there).
    pub(crate) async fn running(&self, key: RankKey) -> Result<RankInfo> {
        let query = RankQuery {
            wait: false,
            started: true,
        };
        self.unless_lost(self.wait(key, query)).await
    }

    /// Waits until a process has ended (or is not there).
    pub(crate) async fn ended(&self, key: RankKey) -> Result<RankInfo> {
        let query = RankQuery {
            wait: true,
            started: false,
        };
        self.unless_lost(self.wait(key, query)).await
    }

    /// Asks for a process until there is an answer; makes sure meanwhile that the node still answers at all.
    async fn wait(&self, key: RankKey, query: RankQuery) -> Result<RankInfo> {
        let is_away = |error: &Error| is_passing(error) && error.kind() != Kind::Timeout;
        loop {
            let call = || Call::get(path(key)).query(&query).timeout(WAITING);
            match self.patiently(call, is_away).await {
                Err(error) if error.kind() == Kind::Timeout => self.is_there().await?,
                answer => return answer,
            }
        }
    }

    /// Fails when the node does not answer.
    async fn is_there(&self) -> Result<()> {
        let call = || Call::get("/v1/info").timeout(QUICK);
        let info: serde_json::Value = self.patiently(call, is_passing).await?;
        tracing::debug!(node = self.name, %info, "still there");
        Ok(())
    }

    /// Ends a rank's processes; none is started later. Returns when they are gone.
    pub(crate) async fn stop(&self, job: JobId, rank: NodeRank) -> Result<()> {
        let call = || Call::post(format!("/v1/ranks/{job}/{rank}/stop")).timeout(STOPPING);
        self.unless_lost(self.patiently(call, is_passing)).await
    }

    /// Returns whether it is another machine.
    pub(crate) const fn is_elsewhere(&self) -> bool {
        self.pulse.is_some()
    }

    /// [`Self::stop`] for a node that was away: as soon as its machine is back. Gives up for good reasons only, or after an hour.
    pub(crate) async fn stop_later(&self, job: JobId, rank: NodeRank) -> Result<()> {
        let Some(pulse) = &self.pulse else {
            return Ok(());
        };
        let stop = async {
            loop {
                pulse.back().await;
                match self.stop(job, rank).await {
                    Err(error) if is_passing(&error) => tokio::time::sleep(LONGEST_PAUSE).await,
                    other => return other,
                }
            }
        };
        tokio::time::timeout(LATER, stop)
            .await
            .unwrap_or_else(|_| Err(Error::new(Kind::Unreachable, "the node did not come back")))
    }

    /// Copies a process's output to a file here, from where the file ends, until it is complete.
    ///
    /// May be dropped and called again at any time. A full disk here is waited out: the process goes on meanwhile.
    pub(crate) async fn copy_log(&self, key: RankKey, to: &Path) -> Result<()> {
        self.unless_lost(self.copy(key, to)).await
    }

    /// [`Self::copy_log`] as long as the node is there.
    async fn copy(&self, key: RankKey, to: &Path) -> Result<()> {
        let mut last_progress = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let before = length(to)?;
            let Err(error) = self.copy_once(key, to, before).await else {
                return Ok(());
            };
            if error.kind() == Kind::NotFound {
                // It never started there, so there is nothing to copy.
                return Ok(());
            }
            if length(to)? > before || error.kind() == Kind::StorageFull {
                last_progress = Instant::now();
                pause = FIRST_PAUSE;
            }
            if !is_passing(&error) || last_progress.elapsed() > PATIENCE {
                return Err(self.given_up(error));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Copies from `offset` on over one connection.
    async fn copy_once(&self, key: RankKey, to: &Path, offset: u64) -> Result<()> {
        let call = Call::get(format!("{}/log", path(key)))
            .query(&LogQuery { offset })
            .timeout(QUICK);
        let mut frames = self.client.fetch(call).await?.frames();
        let mut next = offset;
        loop {
            let frame = tokio::time::timeout(SILENCE, frames.next())
                .await
                .map_err(|_| Error::new(Kind::Unreachable, "the log stream fell silent"))??;
            if let Some(pulse) = &self.pulse {
                // On a line that is full of output a question may be lost.
                pulse.alive();
            }
            match frame {
                Some(Frame::Data { offset, bytes }) if offset == next => {
                    next += bytes.len() as u64;
                    write_at(to.to_path_buf(), bytes, offset).await?;
                }
                Some(Frame::Data { .. }) => {
                    return Err(Error::new(Kind::Unreachable, "the log stream has a gap"));
                }
                Some(Frame::Heartbeat { .. }) => {}
                Some(Frame::End {
                    outcome: Outcome::Interrupted { reason },
                    ..
                }) => return Err(Error::new(Kind::Unreachable, reason)),
                Some(Frame::End {
                    outcome: Outcome::File | Outcome::Job { .. } | Outcome::Request { .. },
                    ..
                })
                | None => return Ok(()),
            }
        }
    }

    /// Makes a call again while its errors are `passing`, for a minute.
    async fn patiently<T: DeserializeOwned>(
        &self,
        call: impl Fn() -> Call,
        passing: impl Fn(&Error) -> bool,
    ) -> Result<T> {
        let deadline = Instant::now() + PATIENCE;
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match self.client.fetch_json(call()).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if !passing(&error) {
                return Err(error.context(format!("{} did not do what it was asked", self.name)));
            }
            if Instant::now() + pause > deadline {
                return Err(self.given_up(error));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Works until its end, or until the machine of the node is lost.
    async fn unless_lost<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let Some(pulse) = &self.pulse else {
            return work.await;
        };
        let since = tokio::select! {
            biased;
            done = work => return done,
            since = pulse.lost() => since.timestamp().strftime("%H:%M:%S UTC"),
        };
        let what = format!(
            "{} is unreachable since {since}: no answer for more than {} s, so its power or its link is gone",
            self.name,
            LOST.as_secs()
        );
        Err(Error::new(Kind::Unreachable, what))
    }

    /// The error when patience is over.
    fn given_up(&self, error: Error) -> Error {
        let seconds = PATIENCE.as_secs();
        error.context(format!("{} was out of reach for {seconds} s", self.name))
    }
}

/// Returns whether the same call may succeed when the other agent is back.
fn is_passing(error: &Error) -> bool {
    error.kind().is_retryable() || error.kind() == Kind::Interrupted
}

/// The path of a process.
fn path(key: RankKey) -> String {
    let phase = match key.phase {
        Phase::Setup => "setup",
        Phase::Run => "run",
    };
    format!("/v1/ranks/{}/{}/{phase}", key.job, key.rank)
}

/// Reads `host:port`.
fn remote(address: &str) -> Result<Remote> {
    let parsed = address.rsplit_once(':').and_then(|(host, port)| {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Some((host.to_owned(), port.parse().ok()?))
    });
    let (host, port) = parsed.ok_or_else(|| {
        Error::new(
            Kind::Invalid,
            format!("`{}` is not an address", crate::base::ids::clip(address)),
        )
    })?;
    Ok(Remote {
        host,
        port,
        prefix: String::new(),
        credentials: None,
    })
}

/// The length of a file; 0 when it does not exist.
fn length(path: &Path) -> Result<u64> {
    match std::fs::metadata(path) {
        Ok(metadata) => Ok(metadata.len()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(e) => Err(Error::io(format!("read `{}`", path.display()), &e)),
    }
}

/// Writes bytes where they belong: a copy that was dropped in the middle may still be writing the same bytes.
async fn write_at(path: PathBuf, bytes: Bytes, offset: u64) -> Result<()> {
    tokio::task::spawn_blocking(move || {
        let write = || {
            std::fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(&path)?
                .write_all_at(&bytes, offset)
        };
        write().map_err(|e: std::io::Error| Error::io(format!("write `{}`", path.display()), &e))
    })
    .await
    .map_err(|e| Error::internal("copy a log", &e))?
}
