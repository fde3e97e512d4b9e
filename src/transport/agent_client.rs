//! The client of one node's agent: one multiplexed HTTP/2 connection over any transport, one method per route.
//!
//! The connection is made by the first call and made again by the next call after it broke. Calls are idempotent by
//! the protocol (`api::agent`), so a call whose connection broke is repeated once over a new one. Every call has a
//! deadline, or a connection that is asked for signs of life where waiting is the purpose.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use hyper::client::conn::http2::SendRequest;
use hyper::header::HeaderMap;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;

use super::Transport;
use super::agent_events::Events;
use super::agent_log::{LogReader, Start};
use crate::api::agent::{
    AgentInfo, AutostopSetting, CancelJobs, Cancelled, FetchFiles, GitState, GitWorkdir, JobInfo,
    NodeConfig, SubmitJob, Submitted,
};
use crate::base::clock::Moment;
use crate::base::ids::JobId;
use crate::base::{Error, Kind, Result};
use crate::http::answer::{Answer, AnswerBody, within};
use crate::http::body::JSON_LIMIT;
use crate::http::call::Call;
use crate::http::exec::Tasks;

/// The time for calls that an agent answers from memory.
const QUICK: Duration = Duration::from_secs(15);
/// The time for calls that wait for processes to die: longer than an agent gives them, which is their grace of 30 s,
/// two minutes for nodes that have to be reached again, and at a shutdown the grace once more for processes of
/// other heads. So its own answer arrives, which says what is left. A node that is gone shows by its silence.
const STOPPING: Duration = Duration::from_secs(240);
/// The time to make a connection: an SSH log-in through a jump host takes seconds.
const CONNECT: Duration = Duration::from_secs(30);
/// Silence after which the node is asked for a sign of life.
const PING_AFTER: Duration = Duration::from_secs(10);
/// The time it has to give one.
const PING_WITHIN: Duration = Duration::from_secs(10);
/// The largest HTTP/2 frame that an agent may send.
const MAX_FRAME: u32 = 512 * 1024;
/// The longest answer about files.
const LONGEST_LACKING: usize = 1024 * 1024 * 1024;
/// What stands before paths: HTTP/2 wants a host, the transport decides where the bytes go.
const BASE: &str = "http://agent";

/// A client of one agent. Cheap to clone: clones share the connection.
#[derive(Clone)]
pub(crate) struct AgentClient {
    /// Shared parts.
    inner: Arc<Inner>,
}

/// What clones share.
struct Inner {
    /// Makes connections.
    transport: Arc<dyn Transport>,
    /// The connection, once one was made. Locked while one is being made, so that callers share it.
    connection: Mutex<Slot>,
    /// Drive the connections.
    tasks: Arc<Tasks>,
}

/// The place of the connection.
#[derive(Default)]
struct Slot {
    /// Connections made so far.
    made: u64,
    /// The one in use.
    current: Option<Connection>,
}

/// A connection and its number, by which a caller tells whether the one that failed it was replaced already.
#[derive(Clone)]
struct Connection {
    /// Counts from one.
    number: u64,
    /// Sends requests.
    sender: SendRequest<Body>,
}

impl AgentClient {
    /// Makes a client; nothing is connected yet.
    pub(crate) fn new(transport: Arc<dyn Transport>) -> Self {
        Self {
            inner: Arc::new(Inner {
                transport,
                connection: Mutex::default(),
                tasks: Arc::default(),
            }),
        }
    }

    /// Returns where it leads, for messages.
    pub(crate) fn describe(&self) -> String {
        self.inner.transport.describe()
    }

    /// Returns the node's home when it can be read by path, see [`Transport::home`].
    pub(crate) fn home(&self) -> Option<&Path> {
        self.inner.transport.home()
    }

    /// `GET /v1/info`
    pub(crate) async fn info(&self) -> Result<AgentInfo> {
        self.json(Call::get("/v1/info").timeout(QUICK)).await
    }

    /// `PUT /v1/config`
    pub(crate) async fn configure(&self, config: &NodeConfig) -> Result<()> {
        self.done(Call::put("/v1/config").json(config).timeout(QUICK))
            .await
    }

    /// `POST /v1/jobs`
    pub(crate) async fn submit(&self, job: &SubmitJob) -> Result<Submitted> {
        self.json(Call::post("/v1/jobs").json(job).timeout(QUICK))
            .await
    }

    /// `GET /v1/jobs`, newest first.
    pub(crate) async fn jobs(&self, unfinished: bool, limit: Option<u64>) -> Result<Vec<JobInfo>> {
        let query = JobsQuery { unfinished, limit };
        self.json(Call::get("/v1/jobs").query(&query).timeout(QUICK))
            .await
    }

    /// `GET /v1/jobs/{id}`; the latest without an id. `None` when there is no such job.
    pub(crate) async fn job(&self, id: Option<JobId>) -> Result<Option<JobInfo>> {
        let call = Call::get(format!("/v1/jobs/{}", job_name(id))).timeout(QUICK);
        match self.json(call).await {
            Ok(job) => Ok(Some(job)),
            Err(e) if e.kind() == Kind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// `POST /v1/jobs/cancel`; answers when the processes are gone.
    pub(crate) async fn cancel(&self, which: &CancelJobs) -> Result<Cancelled> {
        self.json(Call::post("/v1/jobs/cancel").json(which).timeout(STOPPING))
            .await
    }

    /// `GET /v1/jobs/{id}/log`: a reader that goes on at the byte after an interruption.
    pub(crate) fn log(&self, id: Option<JobId>, start: Start, follow: bool) -> LogReader {
        let path = format!("/v1/jobs/{}/log", job_name(id));
        LogReader::new(self.clone(), path, start, follow)
    }

    /// `GET /v1/jobs/{id}/files`: a tar of the job's log directory.
    pub(crate) async fn files(&self, id: JobId) -> Result<AnswerBody> {
        let call = Call::get(format!("/v1/jobs/{id}/files")).timeout(QUICK);
        Ok(self.call(call).await?.into_body())
    }

    /// `PUT /v1/autostop`
    pub(crate) async fn set_autostop(&self, setting: Option<&AutostopSetting>) -> Result<()> {
        self.done(Call::put("/v1/autostop").json(&setting).timeout(QUICK))
            .await
    }

    /// `GET /v1/events`: what happens on the node, until the connection breaks.
    pub(crate) async fn events(&self, since: Option<Moment>) -> Result<Events> {
        let query = EventsQuery { since };
        let call = Call::get("/v1/events").query(&query).timeout(QUICK);
        Ok(Events::new(self.call(call).await?.into_body()))
    }

    /// `POST /v1/files/compare`: what a node lacks of a list of files; `None` when it does not know the digest.
    ///
    /// `list` is the compressed list, or nothing to ask by the digest alone.
    pub(crate) async fn compare_files(
        &self,
        files: FilesQuery<'_>,
        list: Bytes,
        limit: Duration,
    ) -> Result<Option<Bytes>> {
        let call = Call::post("/v1/files/compare")
            .query(&files)
            .bytes(list)
            .timeout(limit);
        let answer = self.call(call).await?.bytes(LONGEST_LACKING).await?;
        Ok(Some(answer).filter(|answer| !answer.is_empty()))
    }

    /// `PUT /v1/files/content`: puts files in their places. Not repeated when the connection breaks.
    pub(crate) async fn put_files(
        &self,
        files: FilesQuery<'_>,
        content: Body,
        limit: Duration,
    ) -> Result<()> {
        let call = Call::put("/v1/files/content").query(&files);
        self.done(call.stream(content).timeout(limit)).await
    }

    /// `POST /v1/files/fetch`: lets a node get files from elsewhere.
    pub(crate) async fn fetch_files(&self, files: &FetchFiles, limit: Duration) -> Result<()> {
        let call = Call::post("/v1/files/fetch").json(files);
        self.done(call.timeout(limit)).await
    }

    /// `POST /v1/files/git`: brings a repository to the node.
    pub(crate) async fn git(&self, workdir: &GitWorkdir, limit: Duration) -> Result<GitState> {
        let call = Call::post("/v1/files/git").json(workdir);
        self.json(call.timeout(limit)).await
    }

    /// `POST /v1/shutdown`: stops all processes of jobs, then the agent.
    pub(crate) async fn shutdown(&self) -> Result<()> {
        self.done(Call::post("/v1/shutdown").timeout(STOPPING))
            .await
    }

    /// Calls and reads the answer as JSON.
    async fn json<T: DeserializeOwned>(&self, call: Call) -> Result<T> {
        self.call(call).await?.json(JSON_LIMIT).await
    }

    /// Calls where the answer holds nothing.
    async fn done(&self, call: Call) -> Result<()> {
        self.call(call).await?.bytes(JSON_LIMIT).await.map(drop)
    }

    /// Calls; an answer that is no success is the error it carries. The time to connect is not part of the call's.
    pub(super) async fn call(&self, mut call: Call) -> Result<Answer> {
        let mut may_repeat = true;
        loop {
            let mut connection = self.connection().await?;
            let deadline = call.deadline();
            let request = call.request(BASE, &HeaderMap::new())?;
            let sent = async { Ok(connection.sender.try_send_request(request).await) };
            let mut failed = match within(deadline, sent).await {
                Ok(Ok(response)) => {
                    let tasks = Arc::clone(&self.inner.tasks);
                    return Answer::new(response, tasks, deadline).success().await;
                }
                Ok(Err(failed)) => failed,
                Err(timeout) => {
                    // Whether the node or the way to it is dead cannot be told from here: the next call dials.
                    self.forget(connection.number).await;
                    return Err(timeout.context(format!("{} gave no answer", self.describe())));
                }
            };
            self.forget(connection.number).await;
            let unsent = failed.take_message();
            let can_repeat = unsent.is_some() || call.is_repeatable();
            if !(may_repeat && can_repeat) {
                return Err(self.broke_off(&failed.into_error()));
            }
            if let Some(unsent) = unsent {
                call.put_back(unsent.into_body());
            }
            may_repeat = false;
        }
    }

    /// Returns the connection, made anew when there is none that is open.
    async fn connection(&self) -> Result<Connection> {
        let mut slot = self.inner.connection.lock().await;
        if let Some(connection) = slot.current.as_ref().filter(|c| !c.sender.is_closed()) {
            return Ok(connection.clone());
        }
        slot.current = None;
        let sender = tokio::time::timeout(CONNECT, self.connect())
            .await
            .unwrap_or_else(|_| {
                let seconds = CONNECT.as_secs();
                let message = format!("cannot reach {} within {seconds} s", self.describe());
                Err(Error::new(Kind::Unreachable, message))
            })?;
        slot.made += 1;
        let number = slot.made;
        Ok(slot.current.insert(Connection { number, sender }).clone())
    }

    /// Lets the next call make a new connection, unless that was done already; streams on the old one go on.
    async fn forget(&self, number: u64) {
        let mut slot = self.inner.connection.lock().await;
        if slot.current.as_ref().is_some_and(|c| c.number == number) {
            slot.current = None;
        }
    }

    /// Makes a connection.
    async fn connect(&self) -> Result<SendRequest<Body>> {
        let stream = self.inner.transport.connect().await?;
        let spawner = self.inner.tasks.spawner();
        let (sender, connection) = hyper::client::conn::http2::Builder::new(spawner.clone())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_AFTER)
            .keep_alive_timeout(PING_WITHIN)
            .initial_stream_window_size(1024 * 1024)
            .initial_connection_window_size(8 * 1024 * 1024)
            // A log's frame in one HTTP/2 frame: the default of 16 KiB costs half of the throughput.
            .max_frame_size(MAX_FRAME)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|e| self.broke_off(&e))?;
        spawner.spawn(async move {
            if let Err(error) = connection.await {
                // Whoever waits for an answer hears of it too.
                tracing::debug!(%error, "a connection to an agent ended");
            }
        });
        Ok(sender)
    }

    /// The error of a connection that ended before its answer.
    fn broke_off(&self, source: &dyn std::error::Error) -> Error {
        let message = format!("the connection to {} broke", self.describe());
        Error::new(Kind::Unreachable, message).caused_by(source)
    }
}

/// Query of `GET /v1/jobs`.
#[derive(Serialize)]
struct JobsQuery {
    /// Only those that are not finished.
    unfinished: bool,
    /// At most so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
}

/// Query of the calls about files.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct FilesQuery<'a> {
    /// Under the node's home.
    pub(crate) dest: &'a str,
    /// Names the list of files: its SHA-256 in hexadecimal.
    pub(crate) digest: &'a str,
    /// Whether the content is compressed.
    pub(crate) packed: bool,
}

/// Query of `GET /v1/events`.
#[derive(Serialize)]
struct EventsQuery {
    /// Only later ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Moment>,
}

/// A job in a path.
fn job_name(id: Option<JobId>) -> String {
    id.map_or_else(|| "latest".to_owned(), |id| id.to_string())
}
