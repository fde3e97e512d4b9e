//! What every call passes before its handler: browser checks, versions, who calls, whether they may.
//!
//! ```text
//! call ─► versions ─► host and origin ─► credentials ─► access table ─► handler
//! ```

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{CACHE_CONTROL, HOST, HeaderValue, ORIGIN, WWW_AUTHENTICATE};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::access::{self, Access};
use super::accounts::model::forbidden;
use super::app::App;
use super::visitor::{Dialect, Standing, Visitor, text};
use crate::api::versions::{
    API_VERSION, API_VERSION_HEADER, COMPATIBLE_RELEASE, MIN_API_VERSION, SKY_VERSION_HEADER,
    VERSION, VERSION_HEADER,
};
use crate::base::{Error, Kind, Result};
use crate::http::body::reply_error;
use crate::http::guard;
use crate::http::listen::Peer;

/// Lets a call through to its handler, or answers in its place.
pub(crate) async fn gate(State(app): State<App>, request: Request, next: Next) -> Response {
    let client = Client::of(request.headers());
    let mut response = if client.is_too_old() {
        too_old()
    } else {
        pass(&app, request, next).await
    };
    client.sign(&mut response);
    app.metrics.answered(response.status());
    response
}

/// What a client says of itself.
struct Client {
    /// Its API number, when it says number and release.
    version: Option<u32>,
    /// Whose words it understands.
    dialect: Dialect,
}

impl Client {
    /// Reads the headers.
    fn of(headers: &HeaderMap) -> Self {
        let number = text(headers, API_VERSION_HEADER).and_then(|v| v.trim().parse().ok());
        Self {
            version: number.filter(|_| headers.contains_key(VERSION_HEADER)),
            dialect: Dialect::of(headers),
        }
    }

    /// Whether it speaks something that we no longer do.
    fn is_too_old(&self) -> bool {
        self.version
            .is_some_and(|version| version < MIN_API_VERSION)
    }

    /// Adds our versions to an answer, as far as this client expects them.
    fn sign(&self, response: &mut Response) {
        // SkyPilot's clients end with a trace at 429, but wait and come back at 503.
        if response.status() == StatusCode::TOO_MANY_REQUESTS && self.dialect == Dialect::SkyPilot {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        let headers = response.headers_mut();
        headers.insert(SKY_VERSION_HEADER, HeaderValue::from_static(VERSION));
        if self.version.is_some() {
            headers.insert(API_VERSION_HEADER, HeaderValue::from(API_VERSION));
            headers.insert(VERSION_HEADER, HeaderValue::from_static(COMPATIBLE_RELEASE));
        }
    }
}

/// The answer to a client that is too old.
fn too_old() -> Response {
    let message = format!(
        "this server speaks API {MIN_API_VERSION} to {API_VERSION} (SkyPilot 0.11.0 to {COMPATIBLE_RELEASE}); \
         your client is older: upgrade it"
    );
    let body = axum::Json(json!({ "error": "version_mismatch", "message": message }));
    (StatusCode::BAD_REQUEST, body).into_response()
}

/// Checks, then calls the handler.
async fn pass(app: &App, mut request: Request, next: Next) -> Response {
    match admit(app, &mut request).await {
        Ok(()) => next.run(request).await,
        Err(error) if error.kind() == Kind::Unauthenticated => unauthenticated(&error),
        Err(error) => reply_error(&error),
    }
}

/// Finds out who calls and whether they may; puts the visitor into the request's extensions.
async fn admit(app: &App, request: &mut Request) -> Result<()> {
    let peer = request.extensions().get::<Arc<Peer>>().cloned();
    let peer = peer.ok_or_else(|| Error::new(Kind::Internal, "a call without a peer"))?;
    let standing = Standing::of(&peer);
    match (standing, peer.local_port()) {
        (Standing::Local, Some(port)) => guard::check(request, port)?,
        (Standing::Local, None) => {}
        (Standing::Team, _) => {
            let host = request.uri().authority().map(Authority::as_str);
            check_same_site(host, request.headers())?;
        }
    }
    let visitor = match standing {
        Standing::Local => Some(Visitor::local(request.headers(), &app.own)?),
        Standing::Team => Visitor::team(request.headers(), &app.directory).await?,
    };
    let path = request.extensions().get::<MatchedPath>();
    // A path or method that does not exist is answered as such, but only to those who may know.
    let access = path.and_then(|path| access::of(request.method(), path.as_str()));
    check_access(access.unwrap_or(Access::Read), visitor.as_ref())?;
    if let Some(visitor) = visitor {
        request.extensions_mut().insert(visitor);
    }
    Ok(())
}

/// Refuses what a route does not permit.
fn check_access(access: Access, visitor: Option<&Visitor>) -> Result<()> {
    match visitor {
        None if access == Access::Open => Ok(()),
        None => Err(Error::new(Kind::Unauthenticated, "Authentication required")
            .hint("log in first: sky api login")),
        Some(visitor) if access.permits(visitor.caller.role) => Ok(()),
        Some(_) => Err(forbidden()),
    }
}

/// Refuses a page of another site that borrows the credentials which its visitor's browser knows.
fn check_same_site(authority: Option<&str>, headers: &HeaderMap) -> Result<()> {
    let Some(origin) = headers.get(ORIGIN) else {
        return Ok(());
    };
    let origin = origin.to_str().unwrap_or_default();
    let site = origin.split_once("://").map_or(origin, |(_, site)| site);
    let host = authority.or_else(|| text(headers, HOST.as_str()));
    if host.is_some_and(|host| host.eq_ignore_ascii_case(site)) {
        return Ok(());
    }
    Err(Error::new(
        Kind::PermissionDenied,
        "the request comes from a page of another site",
    ))
}

/// The answer to somebody without valid credentials.
fn unauthenticated(error: &Error) -> Response {
    let mut response = reply_error(error);
    let headers = response.headers_mut();
    let realm = HeaderValue::from_static("Basic realm=\"SkyPilot\"");
    headers.insert(WWW_AUTHENTICATE, realm);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_added_for_those_who_send_theirs() {
        let mut headers = HeaderMap::new();
        headers.insert(API_VERSION_HEADER, HeaderValue::from_static("62"));
        let mut response = Response::default();
        Client::of(&headers).sign(&mut response);
        assert!(!response.headers().contains_key(API_VERSION_HEADER));
        headers.insert(VERSION_HEADER, HeaderValue::from_static("0.14.1"));
        Client::of(&headers).sign(&mut response);
        assert_eq!(response.headers()[API_VERSION_HEADER], "62");
        headers.insert(API_VERSION_HEADER, HeaderValue::from_static("23"));
        assert!(Client::of(&headers).is_too_old());
    }

    #[test]
    fn other_sites_do_not_borrow_credentials() {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("sky.example:30050"));
        assert!(check_same_site(None, &headers).is_ok());
        headers.insert(
            ORIGIN,
            HeaderValue::from_static("https://sky.example:30050"),
        );
        assert!(check_same_site(None, &headers).is_ok());
        headers.insert(ORIGIN, HeaderValue::from_static("https://evil.example"));
        assert!(check_same_site(None, &headers).is_err());
        headers.insert(ORIGIN, HeaderValue::from_static("null"));
        assert!(check_same_site(None, &headers).is_err());
    }
}
