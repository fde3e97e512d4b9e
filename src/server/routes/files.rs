//! Uploads and downloads.

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::table::Table;
use crate::api::bodies::DownloadBody;
use crate::base::Result;
use crate::base::ids::{BlobId, UserId};
use crate::server::app::App;
use crate::server::download;
use crate::server::extract::{Asked, Posted};
use crate::server::openapi::Doc;
use crate::server::uploads::{Chunk, Early, Progress, Trust};
use crate::server::visitor::{Dialect, Visitor};

/// Adds the routes.
pub(super) fn routes(table: Table) -> Table {
    table
        .get("/upload_v2/blob", exists)
        .doc(Doc::default().query::<Blob>())
        .post("/upload_v2", upload)
        .doc(Doc::default().query::<Part>().bytes())
        .post("/upload", upload_early)
        .doc(Doc::default().query::<Part>().bytes())
        .post("/download", download)
        .doc(Doc::default().body::<DownloadBody>().zip())
}

/// Query of `/upload_v2/blob`.
#[derive(Deserialize, JsonSchema)]
struct Blob {
    /// Whose, where nobody has logged in.
    #[serde(default)]
    user_hash: Option<String>,
    /// Which.
    #[serde(rename = "blob_id")]
    id: String,
    /// How large it will be.
    #[serde(default)]
    size_bytes: Option<u64>,
}

/// Query of `/upload_v2`.
#[derive(Deserialize, JsonSchema)]
struct Part {
    /// Whose, where nobody has logged in.
    #[serde(default)]
    user_hash: Option<String>,
    /// The blob.
    upload_id: String,
    /// Which chunk.
    chunk_index: u32,
    /// Of how many.
    total_chunks: u32,
}

impl Part {
    /// The chunk of a blob.
    fn chunk(&self, visitor: &Visitor, blob: BlobId, trust: Trust) -> Result<Chunk> {
        Ok(Chunk {
            user: owner(visitor, self.user_hash.as_deref())?,
            blob,
            index: self.chunk_index,
            total: self.total_chunks,
            trust,
        })
    }
}

/// Whose upload it is: who has logged in cannot upload for others.
fn owner(visitor: &Visitor, user_hash: Option<&str>) -> Result<UserId> {
    match user_hash.filter(|_| visitor.anonymous) {
        Some(id) => id.parse(),
        None => Ok(visitor.caller.id.clone()),
    }
}

/// Says whether an upload is there already.
async fn exists(State(app): State<App>, asked: Asked<Blob>) -> Result<Json<Value>> {
    let Asked { visitor, query } = asked;
    let user = owner(&visitor, query.user_hash.as_deref())?;
    let blob: BlobId = query.id.parse()?;
    let exists = app.blobs.exists(&user, &blob, query.size_bytes)?;
    Ok(Json(json!({ "exists": exists })))
}

/// Takes a chunk.
async fn upload(State(app): State<App>, asked: Asked<Part>, request: Request) -> Result<Response> {
    let Asked { visitor, query } = asked;
    let trust = match visitor.dialect {
        Dialect::Sky => Trust::Verify,
        Dialect::SkyPilot => Trust::Believe,
    };
    let chunk = query.chunk(&visitor, query.upload_id.parse()?, trust)?;
    let progress = app.blobs.receive(chunk, request.into_body()).await?;
    Ok(progressed(&progress))
}

/// Takes a chunk of a client before API 41.
async fn upload_early(
    State(app): State<App>,
    asked: Asked<Part>,
    request: Request,
) -> Result<Response> {
    let Asked { visitor, query } = asked;
    let blob = Early::blob(&query.upload_id)?;
    let chunk = query.chunk(&visitor, blob.clone(), Trust::Believe)?;
    let user = chunk.user.clone();
    let progress = app.blobs.receive(chunk, request.into_body()).await?;
    if progress == Progress::Complete {
        app.early.note(user, blob);
    }
    Ok(progressed(&progress))
}

/// Says what is still missing.
fn progressed(progress: &Progress) -> Response {
    Json(match progress {
        Progress::Complete => json!({ "status": "completed", "missing_chunks": null }),
        Progress::Missing(chunks) => json!({ "status": "uploading", "missing_chunks": chunks }),
    })
    .into_response()
}

/// Sends directories of the caller's log tree.
async fn download(State(app): State<App>, posted: Posted<DownloadBody>) -> Result<Response> {
    let user = &posted.visitor.caller.id;
    download::answer(&app.clients, &app.home, user, &posted.body.folder_paths)
}
