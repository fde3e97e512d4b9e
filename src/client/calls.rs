//! One method for each route of the API server that the command line uses. One try each; no waiting, no retries.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::identity::Identity;
use super::target::Target;
use crate::api::bodies::{ApiCancelBody, DownloadBody, LogsBody, ProvisionLogsBody};
use crate::api::health::Health;
use crate::api::records::CancelReceipt;
use crate::api::requests::{RequestPayload, StatusQuery, StreamQuery};
use crate::api::versions::{
    API_VERSION, API_VERSION_HEADER, COMPATIBLE_RELEASE, FRAMES_CONTENT_TYPE, IDEMPOTENCY_HEADER,
    PLAIN_JSON_CONTENT_TYPE, REQUEST_ID_HEADER, SKY_VERSION_HEADER, USER_HEADER, VERSION,
    VERSION_HEADER,
};
use crate::base::ids::{BlobId, IdempotencyKey, RequestId, UserId};
use crate::base::{Error, Kind, Result};
use crate::http::answer::read_error;
use crate::http::call::{Answer, Call, Client};

/// The time for an answer that needs no work.
const QUICK: Duration = Duration::from_secs(5);
/// The time to take in a submission.
const SUBMIT: Duration = Duration::from_secs(30);
/// One wait for a result; then it is asked for again, so that a dead connection does not go unnoticed.
const RESULT: Duration = Duration::from_secs(60);
/// The time for a chunk of an upload, or the first byte of a download.
const TRANSFER: Duration = Duration::from_secs(180);
/// The largest result that is read.
const RESULT_LIMIT: usize = 256 << 20;

/// Calls to one server.
pub(crate) struct Calls {
    /// The connections.
    client: Client,
}

/// What `/api/cancel` answers.
#[derive(Debug)]
pub(crate) enum Cancelled {
    /// Our server cancels at once.
    Receipt(CancelReceipt),
    /// `SkyPilot`'s server makes a request of it.
    Request(RequestId),
}

/// How far an upload is.
#[derive(Debug, Deserialize)]
pub(crate) struct UploadState {
    /// `completed` or `uploading`.
    pub(crate) status: String,
    /// `part7`: the chunks that the server does not have.
    #[serde(default)]
    pub(crate) missing_chunks: Option<Vec<String>>,
}

impl UploadState {
    /// Returns the numbers of the chunks that the server does not have, where it says so.
    pub(crate) fn missing(&self) -> Option<BTreeSet<u64>> {
        let named = self.missing_chunks.as_ref()?.iter();
        Some(
            named
                .filter_map(|name| name.strip_prefix("part")?.parse().ok())
                .collect(),
        )
    }
}

impl Calls {
    /// Prepares calls in the name of a user.
    pub(crate) fn new(target: &Target, identity: &Identity) -> Result<Self> {
        let mut client = base_client(target)?.with_header(USER_HEADER, &identity.header())?;
        if let Some(token) = &target.token {
            client = client.with_header("authorization", &format!("Bearer {}", token.reveal()))?;
        } else if let Some(cookies) = &target.cookies {
            client = client.with_header("cookie", cookies.reveal())?;
        }
        Ok(Self { client })
    }

    /// Prepares calls to the local server before anybody's name matters.
    pub(crate) fn to_local(target: &Target) -> Result<Self> {
        base_client(target).map(|client| Self { client })
    }

    /// `GET /api/health`
    pub(crate) async fn health(&self) -> Result<Health> {
        let call = Call::get("/api/health").timeout(QUICK);
        self.client.fetch_json(call).await
    }

    /// Submits a request; the same key never makes a second one on our server.
    pub(crate) async fn submit(
        &self,
        path: &str,
        body: &impl Serialize,
        key: &IdempotencyKey,
    ) -> Result<RequestId> {
        let call = Call::post(path)
            .json(body)
            .header(IDEMPOTENCY_HEADER, key.as_str())
            .timeout(SUBMIT);
        request_id(&self.client.fetch(call).await?)
    }

    /// Submits a request that is a `GET`.
    pub(crate) async fn submit_get(&self, path: &str) -> Result<RequestId> {
        request_id(&self.client.fetch(Call::get(path).timeout(SUBMIT)).await?)
    }

    /// `POST /validate`
    pub(crate) async fn validate(&self, body: &impl Serialize) -> Result<()> {
        let call = Call::post("/validate").json(body).timeout(SUBMIT);
        self.client.fetch(call).await.map(drop)
    }

    /// `GET /api/get`: waits until the request is over; a failed one is an answer too.
    pub(crate) async fn result(&self, id: &str) -> Result<RequestPayload> {
        #[derive(Deserialize)]
        struct Failed {
            detail: RequestPayload,
        }
        let call = Call::get("/api/get")
            .query(&[("request_id", id)])
            .timeout(RESULT);
        let answer = self.client.send(call).await?;
        let status = answer.status();
        if status.is_success() {
            return answer.json(RESULT_LIMIT).await;
        }
        let retry_after = answer.header("retry-after").and_then(|v| v.parse().ok());
        let bytes = answer.bytes(RESULT_LIMIT).await?;
        if let Ok(failed) = serde_json::from_slice::<Failed>(&bytes) {
            return Ok(failed.detail);
        }
        let error = read_error(status, &HeaderMap::new(), &bytes);
        Err(match retry_after {
            Some(seconds) => error.retry_after(Duration::from_secs(seconds)),
            None => error,
        })
    }

    /// `GET /api/status`
    pub(crate) async fn list(&self, query: &StatusQuery) -> Result<Vec<RequestPayload>> {
        let call = Call::get("/api/status").query(query).timeout(SUBMIT);
        self.client.fetch_json(call).await
    }

    /// `POST /api/cancel`
    pub(crate) async fn cancel(
        &self,
        body: &ApiCancelBody,
        key: &IdempotencyKey,
    ) -> Result<Cancelled> {
        let call = Call::post("/api/cancel")
            .json(body)
            .header(IDEMPOTENCY_HEADER, key.as_str())
            .timeout(SUBMIT);
        let answer = self.client.fetch(call).await?;
        let id = request_id(&answer);
        match answer.json::<Option<CancelReceipt>>(RESULT_LIMIT).await? {
            Some(receipt) => Ok(Cancelled::Receipt(receipt)),
            None => id.map(Cancelled::Request),
        }
    }

    /// `GET /api/stream`
    pub(crate) async fn stream(&self, query: &StreamQuery) -> Result<Answer> {
        let call = Call::get("/api/stream").query(query);
        self.client.fetch(framed(call)).await
    }

    /// `POST /logs`, from a byte on.
    pub(crate) async fn logs(&self, body: &LogsBody, offset: Option<u64>) -> Result<Answer> {
        let call = Call::post("/logs").json(body).query(&Offset { offset });
        self.client.fetch(framed(call)).await
    }

    /// `POST /provision_logs`, from a byte on.
    pub(crate) async fn provision_logs(
        &self,
        body: &ProvisionLogsBody,
        follow: bool,
        tail: i64,
        offset: Option<u64>,
    ) -> Result<Answer> {
        let call = Call::post("/provision_logs")
            .json(body)
            .query(&[("follow", follow.to_string()), ("tail", tail.to_string())])
            .query(&Offset { offset });
        self.client.fetch(framed(call)).await
    }

    /// `GET /api/v1/auth/token`: what a browser log-in gives, once somebody has vouched for it.
    pub(crate) async fn session_of(&self, verifier: &str) -> Result<Option<String>> {
        #[derive(Deserialize)]
        struct Session {
            token: String,
        }
        let call = Call::get("/api/v1/auth/token")
            .query(&[("code_verifier", verifier)])
            .timeout(QUICK);
        match self.client.fetch_json::<Session>(call).await {
            Ok(session) => Ok(Some(session.token)),
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// `GET /api/completion/…`
    pub(crate) async fn completion(&self, kind: &str, incomplete: &str) -> Result<Vec<String>> {
        let call = Call::get(format!("/api/completion/{kind}"))
            .query(&[("incomplete", incomplete)])
            .timeout(Duration::from_secs(2));
        self.client.fetch_json(call).await
    }

    /// `GET /upload_v2/blob`: whether the server has the content already.
    pub(crate) async fn blob_exists(
        &self,
        user: &UserId,
        blob: &BlobId,
        size: u64,
    ) -> Result<bool> {
        #[derive(Deserialize)]
        struct Reply {
            exists: bool,
        }
        let call = Call::get("/upload_v2/blob")
            .query(&[
                ("user_hash", user.as_str()),
                ("blob_id", blob.as_str()),
                ("size_bytes", &size.to_string()),
            ])
            .timeout(SUBMIT);
        let reply: Reply = self.client.fetch_json(call).await?;
        Ok(reply.exists)
    }

    /// `POST /upload_v2`: one chunk.
    pub(crate) async fn upload(
        &self,
        user: &UserId,
        blob: &BlobId,
        chunk: (u64, u64),
        bytes: Vec<u8>,
    ) -> Result<UploadState> {
        let call = Call::post("/upload_v2")
            .query(&[
                ("user_hash", user.as_str()),
                ("upload_id", blob.as_str()),
                ("chunk_index", &chunk.0.to_string()),
                ("total_chunks", &chunk.1.to_string()),
            ])
            .header("content-type", "application/octet-stream")
            .bytes(bytes)
            .timeout(TRANSFER);
        self.client.fetch_json(call).await
    }

    /// `POST /download`: a zip of directories on the server.
    pub(crate) async fn download(&self, body: &DownloadBody) -> Result<Answer> {
        let call = Call::post("/download").json(body).timeout(TRANSFER);
        self.client.fetch(call).await
    }
}

/// Where to go on in a stream.
#[derive(Serialize)]
struct Offset {
    /// The byte.
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
}

/// Makes a client with the headers of every call.
fn base_client(target: &Target) -> Result<Client> {
    Client::new(target.endpoint.clone())?
        .with_header(API_VERSION_HEADER, &API_VERSION.to_string())?
        .with_header(VERSION_HEADER, COMPATIBLE_RELEASE)?
        .with_header(SKY_VERSION_HEADER, VERSION)?
        .with_header("accept", PLAIN_JSON_CONTENT_TYPE)
}

/// Asks for frames.
fn framed(call: Call) -> Call {
    call.header("accept", FRAMES_CONTENT_TYPE)
}

/// Returns the id of the request that a call made.
fn request_id(answer: &Answer) -> Result<RequestId> {
    answer.header(REQUEST_ID_HEADER).map_or_else(
        || {
            Err(Error::new(
                Kind::Internal,
                "the server did not say which request it made of the call",
            ))
        },
        str::parse,
    )
}

/// Returns the JSON document inside a string of the wire.
pub(crate) fn document(text: &str) -> Result<Value> {
    serde_json::from_str(text).map_err(|e| Error::internal("read the result of the request", &e))
}
