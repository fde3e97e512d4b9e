//! The routes of `api::agent`: parse, call, answer.

mod files;
pub(crate) mod transfer;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::events;
use super::files::Desk;
use super::head::Head;
use super::logs::{Limited, Log, RankGrowth};
use super::runner::{RankKey, Runner};
use crate::api::agent::Phase;
use crate::api::bodies::lenient_bool;
use crate::api::versions::FRAMES_CONTENT_TYPE;
use crate::base::ids::{JobId, NodeRank};
use crate::base::{Error, Kind, Result};
use crate::http::body;
use crate::http::stream::{Source, framed};

/// The largest JSON body: scripts are part of it.
const LARGEST_BODY: usize = 64 * 1024 * 1024;
/// The silence after which a log stream shows life.
const HEARTBEAT: Duration = Duration::from_secs(20);

/// What handlers need.
#[derive(Clone)]
pub(crate) struct Agent {
    /// The job table.
    pub(crate) head: Head,
    /// Fires when the agent must exit.
    pub(crate) exit: CancellationToken,
    /// Calls that go on when their callers are gone.
    pub(crate) calls: TaskTracker,
    /// What is remembered of files that arrived.
    pub(crate) desk: Arc<Desk>,
}

/// Returns the routes.
pub(crate) fn router(agent: Agent) -> Router {
    Router::new()
        .route("/v1/info", get(info))
        .route("/v1/config", put(configure))
        .route("/v1/jobs", post(submit).get(jobs))
        .route("/v1/jobs/cancel", post(cancel))
        .route("/v1/jobs/latest", get(latest))
        .route("/v1/jobs/latest/log", get(latest_log))
        .route("/v1/jobs/{id}", get(job))
        .route("/v1/jobs/{id}/log", get(job_log))
        .route("/v1/jobs/{id}/files", get(job_files))
        .route("/v1/autostop", put(autostop))
        .route("/v1/events", get(news))
        .merge(files::routes())
        .route("/v1/shutdown", post(shutdown))
        .merge(ranks())
        .fallback(no_route)
        .with_state(agent)
}

/// Returns the routes that the head of the set needs, for those who know the secret.
pub(crate) fn peer_router(agent: Agent, secret: &str) -> Router {
    let secret = Arc::new(Secret::new(secret));
    let admit = move |request: Request, next: Next| {
        let secret = Arc::clone(&secret);
        async move {
            if secret.is_named_by(request.headers()) {
                Ok(next.run(request).await)
            } else {
                Err(Error::new(
                    Kind::Unauthenticated,
                    "this agent serves its own set of nodes",
                ))
            }
        }
    };
    Router::new()
        .route("/v1/info", get(info))
        .route("/v1/poweroff", post(power_off))
        .merge(ranks())
        .fallback(no_route)
        .with_state(agent)
        .layer(axum::middleware::from_fn(admit))
}

/// The routes that drive the processes of this node.
fn ranks() -> Router<Agent> {
    Router::new()
        .route("/v1/ranks", post(start_rank))
        .route("/v1/ranks/{job}/{rank}/stop", post(stop_rank))
        .route("/v1/ranks/{job}/{rank}/{phase}", get(rank))
        .route("/v1/ranks/{job}/{rank}/{phase}/log", get(rank_log))
}

/// Answers what nobody serves.
async fn no_route() -> Error {
    Error::new(Kind::NotFound, "there is no such route")
}

/// The secret of the set, compared in a time that does not depend on where the first difference is.
struct Secret {
    /// Hash of the header's value.
    expected: [u8; 32],
}

impl Secret {
    /// Keeps it.
    fn new(secret: &str) -> Self {
        Self {
            expected: Sha256::digest(format!("Bearer {secret}")).into(),
        }
    }

    /// Whether a caller knows it.
    fn is_named_by(&self, headers: &HeaderMap) -> bool {
        headers
            .get(AUTHORIZATION)
            .is_some_and(|value| <[u8; 32]>::from(Sha256::digest(value)) == self.expected)
    }
}

/// Reads a JSON body.
async fn read<T: DeserializeOwned>(request: Request) -> Result<T> {
    body::json(request.into_body(), LARGEST_BODY).await
}

/// `GET /v1/info`
async fn info(State(agent): State<Agent>) -> Response {
    body::reply_json(&agent.head.info().await)
}

/// `PUT /v1/config`
async fn configure(State(agent): State<Agent>, request: Request) -> Result<Response> {
    agent.head.configure(read(request).await?).await?;
    Ok(body::reply_json(&()))
}

/// `POST /v1/jobs`
async fn submit(State(agent): State<Agent>, request: Request) -> Result<Response> {
    let submission = read(request).await?;
    detached(&agent.calls.clone(), async move {
        agent.head.submit(submission).await
    })
    .await
}

/// Which jobs to list.
#[derive(Deserialize)]
struct JobsQuery {
    /// Only unfinished ones.
    #[serde(default, deserialize_with = "lenient_bool")]
    unfinished: bool,
    /// At most so many.
    #[serde(default)]
    limit: Option<usize>,
}

/// `GET /v1/jobs`
async fn jobs(State(agent): State<Agent>, Query(query): Query<JobsQuery>) -> Result<Response> {
    let jobs = agent.head.jobs(query.unfinished, query.limit).await?;
    Ok(body::reply_json(&jobs))
}

/// `GET /v1/jobs/latest`
async fn latest(State(agent): State<Agent>) -> Result<Response> {
    Ok(body::reply_json(&agent.head.job(None).await?))
}

/// `GET /v1/jobs/{id}`
async fn job(State(agent): State<Agent>, Path(id): Path<u64>) -> Result<Response> {
    Ok(body::reply_json(&agent.head.job(Some(JobId(id))).await?))
}

/// `POST /v1/jobs/cancel`
async fn cancel(State(agent): State<Agent>, request: Request) -> Result<Response> {
    let which = read(request).await?;
    detached(&agent.calls.clone(), async move {
        agent.head.cancel(which).await
    })
    .await
}

/// Where to begin in a log.
#[derive(Deserialize)]
struct LogQuery {
    /// At this byte.
    #[serde(default)]
    offset: u64,
    /// Go on while it grows.
    #[serde(default, deserialize_with = "lenient_bool")]
    follow: bool,
    /// At the last so many lines instead.
    #[serde(default)]
    tail: Option<u64>,
    /// At the last so many bytes instead.
    #[serde(default)]
    back: Option<u64>,
    /// Not more than so many bytes.
    #[serde(default)]
    limit: Option<u64>,
}

/// `GET /v1/jobs/{id}/log`
async fn job_log(
    State(agent): State<Agent>,
    Path(id): Path<u64>,
    Query(query): Query<LogQuery>,
) -> Result<Response> {
    log_of(&agent.head, JobId(id), &query).await
}

/// `GET /v1/jobs/latest/log`
async fn latest_log(State(agent): State<Agent>, Query(query): Query<LogQuery>) -> Result<Response> {
    let latest = agent.head.job(None).await?.job_id;
    log_of(&agent.head, latest, &query).await
}

/// A job's combined log, framed.
async fn log_of(head: &Head, job: JobId, query: &LogQuery) -> Result<Response> {
    let mut log = head.log(job).await?;
    let from = match (query.tail.filter(|lines| *lines > 0), query.back) {
        (Some(lines), _) => log.tail_offset(lines).await?,
        (None, Some(bytes)) => log.length()?.saturating_sub(bytes),
        (None, None) => query.offset,
    };
    let log: Box<dyn Source> = match query.limit {
        Some(limit) => Box::new(Limited::new(log, from.saturating_add(limit))),
        None => Box::new(log),
    };
    Ok(frames(log, from, query.follow))
}

/// `GET /v1/jobs/{id}/files`
async fn job_files(State(agent): State<Agent>, Path(id): Path<u64>) -> Result<Response> {
    let directory = agent.head.job_files(JobId(id)).await?;
    Ok(transfer::tar_body(directory).into_response())
}

/// `PUT /v1/autostop`
async fn autostop(State(agent): State<Agent>, request: Request) -> Result<Response> {
    agent.head.set_autostop(read(request).await?).await?;
    Ok(body::reply_json(&()))
}

/// `GET /v1/events`
async fn news(State(agent): State<Agent>) -> Body {
    events::body(&agent.head)
}

/// `POST /v1/ranks`
async fn start_rank(State(agent): State<Agent>, request: Request) -> Result<Response> {
    agent.head.runner().start(read(request).await?).await?;
    Ok(body::reply_json(&()))
}

/// The path of a process.
type RankPath = Path<(u64, u32, Phase)>;

/// Names a process.
fn key((job, rank, phase): (u64, u32, Phase)) -> RankKey {
    RankKey {
        job: JobId(job),
        rank: NodeRank(rank),
        phase,
    }
}

/// What to wait for.
#[derive(Deserialize)]
struct RankQuery {
    /// For the end.
    #[serde(default, deserialize_with = "lenient_bool")]
    wait: bool,
    /// For a process id.
    #[serde(default, deserialize_with = "lenient_bool")]
    started: bool,
}

/// `GET /v1/ranks/{job}/{rank}/{phase}`
async fn rank(
    State(agent): State<Agent>,
    Path(path): RankPath,
    Query(query): Query<RankQuery>,
) -> Result<Response> {
    let runner = agent.head.runner();
    let info = if query.wait {
        runner.ended(key(path)).await?
    } else if query.started {
        runner.running(key(path)).await?
    } else {
        runner.info(key(path))?
    };
    Ok(body::reply_json(&info))
}

/// `GET /v1/ranks/{job}/{rank}/{phase}/log`
async fn rank_log(
    State(agent): State<Agent>,
    Path(path): RankPath,
    Query(query): Query<LogQuery>,
) -> Result<Response> {
    let log = open_rank_log(agent.head.runner(), &agent.head, key(path))?;
    Ok(frames(Box::new(log), query.offset, true))
}

/// Returns the raw output of a process.
fn open_rank_log(runner: &Runner, head: &Head, key: RankKey) -> Result<Log<RankGrowth>> {
    let unknown = || Error::new(Kind::NotFound, "there is no such process on this node");
    let path = runner.log_path(key)?.ok_or_else(unknown)?;
    let rank = runner.follow(key)?.ok_or_else(unknown)?;
    let directory = path.parent().ok_or_else(unknown)?;
    let changes = head.watcher().listen(directory)?;
    Ok(Log::new(path, RankGrowth { rank, changes }))
}

/// `POST /v1/ranks/{job}/{rank}/stop`
async fn stop_rank(
    State(agent): State<Agent>,
    Path((job, rank)): Path<(u64, u32)>,
) -> Result<Response> {
    detached(&agent.calls.clone(), async move {
        let runner = agent.head.runner();
        runner.stop(JobId(job), NodeRank(rank)).await
    })
    .await
}

/// `POST /v1/poweroff`
async fn power_off(State(agent): State<Agent>) -> Result<Response> {
    if !agent.head.owns_machine().await {
        return Err(Error::new(
            Kind::PermissionDenied,
            "this machine is not the node's alone",
        ));
    }
    super::power::switch_off().await?;
    Ok(body::reply_json(&()))
}

/// `POST /v1/shutdown`
async fn shutdown(State(agent): State<Agent>, request: Request) -> Result<Response> {
    // Unread bytes would turn the end of the connection into a reset, and the answer would be lost.
    body::collect(request.into_body(), LARGEST_BODY).await?;
    detached(&agent.calls.clone(), async move {
        let done = agent.head.shut_down().await;
        agent.exit.cancel();
        done
    })
    .await
}

/// A framed log stream.
fn frames(log: Box<dyn Source>, from: u64, follow: bool) -> Response {
    let body = framed(log, from, follow, HEARTBEAT);
    let mut response = body.into_response();
    response.headers_mut().insert(
        axum::http::header::CONTENT_TYPE,
        axum::http::HeaderValue::from_static(FRAMES_CONTENT_TYPE),
    );
    response
}

/// Runs work that goes on when the caller is gone, and answers with its result.
async fn detached<T, F>(calls: &TaskTracker, work: F) -> Result<Response>
where
    T: serde::Serialize + Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    // Half a submission or half a cancel must not stay behind.
    let done = calls.spawn(work).await;
    let value = done.map_err(|e| Error::internal("answer a call", &e))??;
    Ok(body::reply_json(&value))
}
