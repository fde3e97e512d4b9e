//! The routes about files: lists, content, repositories, and files that are fetched from elsewhere.

use std::path::PathBuf;

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{post, put};
use serde::Deserialize;

use super::{Agent, detached, read, transfer};
use crate::agent::files::{Destination, Place, compare, destination, receive as receive_records};
use crate::agent::{fetch, git};
use crate::api::agent::{FetchFiles, GitWorkdir};
use crate::api::bodies::lenient_bool;
use crate::api::manifest::Hash;
use crate::base::{Error, Kind, Result};
use crate::http::body;

/// The largest list of files, compressed.
const LONGEST_LIST: usize = 512 * 1024 * 1024;

/// Returns the routes.
pub(super) fn routes() -> Router<Agent> {
    Router::new()
        .route("/v1/files/compare", post(compare_files))
        .route("/v1/files/content", put(put_files))
        .route("/v1/files/fetch", post(fetch_files))
        .route("/v1/files/git", post(git_workdir))
}

/// Reads the name of a list.
fn digest(text: &str) -> Result<Hash> {
    let mut hash = Hash::default();
    hex::decode_to_slice(text, &mut hash)
        .map_err(|e| Error::new(Kind::Invalid, "the digest is not valid").caused_by(&e))?;
    Ok(hash)
}

/// Returns the node's home and where files for `dest` go.
async fn place_of(agent: &Agent, dest: &str) -> Result<(PathBuf, Destination)> {
    let home = agent.head.runner().home().to_path_buf();
    let dest = destination(&home, agent.head.owns_machine().await, dest)?;
    Ok((home, dest))
}

/// Which files, and where they go.
#[derive(Deserialize)]
struct FilesQuery {
    /// Under the node's home.
    dest: String,
    /// Names the list of files: its SHA-256 in hexadecimal.
    digest: String,
    /// Whether the content is compressed.
    #[serde(default, deserialize_with = "lenient_bool")]
    packed: bool,
}

/// `POST /v1/files/compare`
async fn compare_files(
    State(agent): State<Agent>,
    Query(query): Query<FilesQuery>,
    request: Request,
) -> Result<Response> {
    let expected = digest(&query.digest)?;
    let (home, dest) = place_of(&agent, &query.dest).await?;
    let list = body::collect(request.into_body(), LONGEST_LIST).await?;
    let turn = agent.desk.turn(&dest.path).await?;
    let work = move || -> Result<Vec<u8>> {
        dest.open()?;
        let before = turn.remembered();
        let before = before.as_ref();
        let now;
        let (manifest, before) = match before {
            Some((known, manifest)) if *known == expected => (manifest, Some(manifest)),
            _ if list.is_empty() => return Ok(Vec::new()),
            _ => {
                now = turn.remember(&list, &expected)?;
                (&now, before.map(|(_, manifest)| manifest))
            }
        };
        Ok(compare(&turn, &home, &dest.path, manifest, before)?.encode())
    };
    let answer = tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Error::internal("compare files", &e))??;
    Ok(Body::from(answer).into_response())
}

/// `PUT /v1/files/content`
async fn put_files(
    State(agent): State<Agent>,
    Query(query): Query<FilesQuery>,
    request: Request,
) -> Result<Response> {
    let expected = digest(&query.digest)?;
    let (home, Destination { path, .. }) = place_of(&agent, &query.dest).await?;
    let turn = agent.desk.turn(&path).await?;
    let stop = turn.stop.clone();
    let work = move |stream: transfer::Incoming| {
        let manifest = turn.known(&expected)?;
        let stream = transfer::unpacked(stream, query.packed)?;
        receive_records(stream, &turn, &home, &path, &manifest)
    };
    let received = transfer::receive(request.into_body(), &stop, None, work).await?;
    Ok(body::reply_json(&received))
}

/// `POST /v1/files/git`
async fn git_workdir(State(agent): State<Agent>, request: Request) -> Result<Response> {
    let asked: GitWorkdir = read(request).await?;
    let (home, Destination { path, .. }) = place_of(&agent, &asked.dest).await?;
    let turn = agent.desk.turn(&path).await?;
    // Half a checkout must not stay behind; who asks again takes over.
    detached(&agent.calls.clone(), async move {
        git::bring(&turn, &home, &path, asked).await
    })
    .await
}

/// `POST /v1/files/fetch`
async fn fetch_files(State(agent): State<Agent>, request: Request) -> Result<Response> {
    let asked: FetchFiles = read(request).await?;
    let expected = digest(&asked.digest)?;
    let (home, Destination { path, .. }) = place_of(&agent, &asked.dest).await?;
    let turn = agent.desk.turn(&path).await?;
    let opening = move || {
        let manifest = turn.known(&expected)?;
        Place::open(turn, &home, &path, manifest)
    };
    let place = tokio::task::spawn_blocking(opening)
        .await
        .map_err(|e| Error::internal("fetch files", &e))??;
    Ok(body::reply_json(&fetch::all(place, asked.files).await?))
}
