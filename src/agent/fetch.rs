//! Files that the node gets from elsewhere by URL: several at a time, large ones from where they broke off.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use futures_util::{StreamExt as _, TryStreamExt as _};

use super::files::{Arrival, Place, Received};
use super::rpc::transfer;
use crate::api::agent::FetchFile;
use crate::base::{Error, Kind, Result};
use crate::http::call::{Call, Client, Endpoint};

/// Downloads at a time.
const AT_A_TIME: usize = 12;
/// The time until an answer begins.
const ANSWER: Duration = Duration::from_secs(30);
/// How long a download may bring nothing.
const SILENCE: Duration = Duration::from_secs(30);
/// How often a download is tried without anything having arrived.
const TRIES: u32 = 5;
/// The pause before the second time; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// Fetches all files; what has arrived when one fails stays.
pub(crate) async fn all(place: Place, files: Vec<FetchFile>) -> Result<Received> {
    let place = Arc::new(place);
    let clients = Arc::new(Clients::default());
    let fetched = futures_util::stream::iter(files.into_iter().map(|file| {
        let (place, clients) = (Arc::clone(&place), Arc::clone(&clients));
        async move { one(&place, &clients, &file).await }
    }));
    fetched
        .buffer_unordered(AT_A_TIME)
        .try_fold(Received::default(), |sum, bytes| async move {
            Ok(Received {
                files: sum.files + 1,
                bytes: sum.bytes + bytes,
            })
        })
        .await
}

/// Clients by scheme and host, so that connections are used again.
#[derive(Default)]
struct Clients(Mutex<HashMap<String, Arc<Client>>>);

impl Clients {
    /// Splits a URL into a client of its host and the path.
    fn of(&self, url: &str) -> Result<(Arc<Client>, String)> {
        let wrong = || Error::new(Kind::Invalid, "a file has no URL that can be fetched");
        let after = url.find("://").ok_or_else(wrong)? + 3;
        let slash = url[after..].find('/').ok_or_else(wrong)? + after;
        let (base, path) = url.split_at(slash);
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(base) {
            return Ok((Arc::clone(client), path.to_owned()));
        }
        let endpoint: Endpoint = base.parse()?;
        let client = Arc::new(Client::new(endpoint)?);
        clients.insert(base.to_owned(), Arc::clone(&client));
        Ok((client, path.to_owned()))
    }
}

/// Fetches one file, again and again while that helps; returns the bytes that arrived.
async fn one(place: &Arc<Place>, clients: &Clients, file: &FetchFile) -> Result<u64> {
    let arrival = Arc::new(place.arrival(file.index)?);
    let (client, path) = clients.of(&file.url)?;
    let mut from = file.have.min(arrival.have());
    let mut tries = 0;
    loop {
        place.turn.check()?;
        let error = match attempt(place, &client, &path, (file, &arrival), from).await {
            Ok(bytes) => return Ok(bytes),
            Err(error) => error,
        };
        let now = arrival.have();
        tries = if now > from { 0 } else { tries + 1 };
        from = now;
        let passing = matches!(
            error.kind(),
            Kind::Unreachable | Kind::Timeout | Kind::TooBusy
        );
        if !passing || tries >= TRIES {
            return Err(lasting(error));
        }
        tracing::info!(error = %error.one_line(), from, "fetching a file again");
        let pause = FIRST_PAUSE.saturating_mul(1 << tries);
        if place
            .turn
            .stop
            .run_until_cancelled(tokio::time::sleep(pause))
            .await
            .is_none()
        {
            place.turn.check()?;
        }
    }
}

/// The caller reads `Unreachable` as: the agent cannot be reached. It can.
fn lasting(error: Error) -> Error {
    match error.kind() {
        Kind::Unreachable | Kind::Timeout => {
            Error::new(Kind::CommandFailed, "the node cannot download").caused_by(&Whole(error))
        }
        _ => error,
    }
}

/// An error with its causes as one text.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.one_line())]
struct Whole(Error);

/// One download.
async fn attempt(
    place: &Arc<Place>,
    client: &Client,
    path: &str,
    (file, arrival): (&FetchFile, &Arc<Arrival>),
    from: u64,
) -> Result<u64> {
    // Who writes holds the right to: this call may be dropped before its thread is done.
    let held = Arc::clone(place);
    if from == arrival.size {
        let arrival = Arc::clone(arrival);
        let work = move || {
            let taken = arrival.take(std::io::empty(), from);
            drop(held);
            taken
        };
        return blocking(work).await;
    }
    let mut call = Call::get(path)
        .timeout(ANSWER)
        .header("if-match", &file.etag);
    if from > 0 {
        call = call.header("range", &format!("bytes={from}-"));
    }
    let answer = client.send(call).await?;
    let status = answer.status().as_u16();
    let from = match status {
        206 => from,
        // Who ignores the range sends all.
        200 => 0,
        404 | 412 => {
            return Err(Error::new(
                Kind::Conflict,
                "an object changed after it was listed",
            ));
        }
        429 | 500..=599 => {
            return Err(Error::new(
                Kind::TooBusy,
                format!("a download was put off with status {status}"),
            ));
        }
        _ => {
            let text = answer.bytes(64 * 1024).await.unwrap_or_default();
            return Err(refused(status, &String::from_utf8_lossy(&text)));
        }
    };
    let body = Body::new(answer.into_body());
    let arrival = Arc::clone(arrival);
    let take = move |stream: transfer::Incoming| {
        let taken = arrival.take(stream, from);
        drop(held);
        taken
    };
    transfer::receive(body, &place.turn.stop, Some(SILENCE), take).await
}

/// The error of a download that was refused.
fn refused(status: u16, text: &str) -> Error {
    let code = text
        .split_once("<Code>")
        .and_then(|(_, rest)| rest.split_once("</Code>"))
        .map_or("", |(code, _)| code);
    let expired = text.contains("Request has expired") || code == "ExpiredToken";
    if expired {
        return Error::new(Kind::Conflict, "the permission to download is over");
    }
    let kind = if status == 403 {
        Kind::PermissionDenied
    } else {
        Kind::CommandFailed
    };
    let error = Error::new(
        kind,
        format!("a download was refused with status {status} {code}"),
    );
    match code {
        "AccessDenied" => error.hint("permit `s3:GetObject` to the credentials that launch"),
        "InvalidObjectState" => {
            error.hint("the object is archived: restore it first, or leave it out")
        }
        _ => error,
    }
}

/// Runs what blocks where it may.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Error::internal("take in a file", &e))?
}
