//! The log-in with a browser: its page, who vouches, and the client that waits.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, HeaderValue};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::table::Table;
use crate::base::{Error, Kind, Result};
use crate::server::app::App;
use crate::server::extract::{Form, Sent};
use crate::server::login;
use crate::server::openapi::Doc;
use crate::server::visitor::Standing;

/// Adds the routes.
pub(super) fn routes(table: Table) -> Table {
    table
        .get("/auth/authorize", page)
        .doc(Doc::default().html())
        .post("/api/v1/auth/authorize", authorize)
        .doc(Doc::default().body::<Authorize>())
        .get("/api/v1/auth/token", token)
        .doc(Doc::default().query::<Waiting>())
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
    if form.visitor.standing == Standing::Local {
        return Err(Error::new(
            Kind::Conflict,
            "this address of the server asks nobody to log in",
        ));
    }
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
    let session = app.directory.create_session(user.clone()).await?;
    let cookies = json!({ login::COOKIE: session.reveal() });
    let token = json!({ "v": 1, "user": user, "cookies": cookies }).to_string();
    let mut response = Json(json!({ "token": BASE64.encode(token) })).into_response();
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
