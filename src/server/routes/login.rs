//! The log-in with a browser: its page, who vouches, and the client that waits.

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, HeaderValue};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::table::Table;
use crate::base::ids::UserId;
use crate::base::{Error, Kind, Result};
use crate::server::app::App;
use crate::server::extract::{Form, Sent};
use crate::server::login;
use crate::server::openapi::Doc;
use crate::server::visitor::{Standing, Visitor};

/// Adds the routes.
pub(super) fn routes(table: Table) -> Table {
    table
        .get("/auth/authorize", page)
        .doc(Doc::default().html())
        .post("/api/v1/auth/authorize", authorize)
        .doc(Doc::default().body::<Authorize>())
        .get("/api/v1/auth/token", token)
        .doc(Doc::default().query::<Waiting>())
        .get("/token", page)
        .doc(Doc::default().html())
        .post("/api/v1/auth/session", session)
}

/// The page.
async fn page() -> Response {
    login::page()
}

/// Body of the page's POST.
#[derive(Deserialize, JsonSchema)]
struct Authorize {
    /// The client's challenge.
    code_challenge: String,
}

/// Vouches for a client.
async fn authorize(State(app): State<App>, form: Form<Authorize>) -> Result<Json<Value>> {
    needs_log_in(&form.visitor)?;
    app.logins
        .authorize(form.body.code_challenge, form.visitor.caller.id)?;
    Ok(Json(json!({ "status": "authorized" })))
}

/// Query of a client that waits.
#[derive(Deserialize, JsonSchema)]
struct Waiting {
    /// Its secret.
    code_verifier: String,
}

/// Hands a session to the client for which somebody vouched: cookies, as clients keep them.
async fn token(State(app): State<App>, sent: Sent<Waiting>) -> Result<Response> {
    let Some(user) = app.logins.take(&sent.0.code_verifier) else {
        let body = json!({ "detail": "nobody has authorized this log-in yet" });
        return Ok((StatusCode::NOT_FOUND, Json(body)).into_response());
    };
    new_session(&app, user).await
}

/// Hands a session to a caller with credentials: the page shows it, to be pasted into a terminal.
async fn session(
    State(app): State<App>,
    Extension(visitor): Extension<Visitor>,
) -> Result<Response> {
    needs_log_in(&visitor)?;
    new_session(&app, visitor.caller.id).await
}

/// Refuses log-ins where nobody needs one.
fn needs_log_in(visitor: &Visitor) -> Result<()> {
    if visitor.standing == Standing::Local {
        return Err(Error::new(
            Kind::Conflict,
            "this address of the server asks nobody to log in",
        ));
    }
    Ok(())
}

/// Makes a session: cookies, as clients keep them.
async fn new_session(app: &App, user: UserId) -> Result<Response> {
    let session = app.directory.create_session(user.clone()).await?;
    let cookies = json!({ login::COOKIE: session.reveal() });
    let token = json!({ "v": 1, "user": user, "cookies": cookies }).to_string();
    let mut response = Json(json!({ "token": BASE64.encode(token) })).into_response();
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
