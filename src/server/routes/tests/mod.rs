//! The whole router without a network: who may call what, and how every refusal looks.

mod roles;
mod verbs;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::table::{Table, router};
use crate::api::users::CreateToken;
use crate::api::versions::{
    API_VERSION_HEADER, IDEMPOTENCY_HEADER, PLAIN_JSON_CONTENT_TYPE, REQUEST_ID_HEADER,
    STREAM_REQUEST_ID_HEADER, USER_HEADER, VERSION_HEADER,
};
use crate::base::cx::Role;
use crate::http::listen::{Peer, PeerKind, Policy};
use crate::server::access::{self, Access, RULES};
use crate::server::app::App;
use crate::server::startup;
use crate::server::visitor::local_caller;

/// A server without listeners.
struct World {
    /// Its state.
    _dir: tempfile::TempDir,
    /// Its parts.
    app: App,
    /// Its routes.
    router: Router,
}

/// An answer, read to its end.
struct Answer {
    /// Status.
    status: StatusCode,
    /// Headers.
    headers: HeaderMap,
    /// Body as text.
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    fn id(&self) -> String {
        self.headers[REQUEST_ID_HEADER]
            .to_str()
            .expect("it is text")
            .to_owned()
    }
}

/// The ways to reach the server.
#[derive(Clone, Copy)]
enum Via {
    /// Unix socket.
    Socket,
    /// Loopback TCP.
    Loopback,
    /// The team's address.
    Team,
}

impl Via {
    fn peer(self) -> Peer {
        let tcp = |policy| Peer {
            kind: PeerKind::Tcp {
                address: "127.0.0.1:50000".parse().expect("an address"),
                local: "127.0.0.1:46580".parse().expect("an address"),
                uid: Some(0),
            },
            policy,
            tls: false,
        };
        match self {
            Self::Socket => Peer::this_process(),
            Self::Loopback => tcp(Policy::SameUser),
            Self::Team => tcp(Policy::Open),
        }
    }
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let own = local_caller("0123abcd".parse().expect("a valid id"), "me".into());
        let app = startup::testing_app(dir.path(), own)
            .await
            .expect("it starts");
        Self {
            router: router(Arc::clone(&app)),
            app,
            _dir: dir,
        }
    }

    async fn token(&self, role: Role) -> String {
        let admin = local_caller("0123abcd".parse().expect("a valid id"), "me".into());
        let new = CreateToken {
            token_name: format!("{role:?}"),
            expires_in_days: None,
            role: Some(role),
        };
        let made = self.app.directory.create_token(&admin, new).await;
        format!("Bearer {}", made.expect("admins may").token)
    }

    async fn call(
        &self,
        via: Via,
        method: &Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.extension(Arc::new(via.peer())).body(body.into());
        let answer = self.router.clone().oneshot(request.expect("valid")).await;
        let (parts, body) = answer.expect("it never fails").into_parts();
        let bytes = body.collect().await.expect("it ends").to_bytes();
        Answer {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8_lossy(&bytes).into_owned(),
        }
    }

    async fn get(&self, path: &str) -> Answer {
        self.call(Via::Socket, &Method::GET, path, &[], Body::empty())
            .await
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        self.call(Via::Socket, &Method::POST, path, headers, body.to_string())
            .await
    }
}

#[test]
fn every_route_has_a_rule_and_every_rule_a_route() {
    let served = Table::full().served;
    assert_eq!(served.len(), RULES.len());
    for (method, path, _) in RULES {
        assert!(
            served.iter().any(|(m, p, _)| m == method && p == path),
            "{method} {path}"
        );
    }
}

#[test]
fn every_route_is_in_the_openapi_document() {
    let served = Table::full().served;
    let document = crate::server::openapi::document(&served);
    let mut ids = std::collections::BTreeSet::new();
    for (method, path, _) in &served {
        let operation = &document["paths"][*path][method.as_str().to_ascii_lowercase()];
        let id = operation["operationId"].as_str().unwrap_or_default();
        assert!(
            ids.insert(id.to_owned()) && !id.is_empty(),
            "{method} {path}"
        );
        assert!(operation["responses"]["200"].is_object(), "{method} {path}");
        assert!(operation["responses"]["422"].is_object(), "{method} {path}");
    }
    let count: usize = document["paths"]
        .as_object()
        .expect("a map")
        .values()
        .filter_map(|path| path.as_object().map(serde_json::Map::len))
        .sum();
    assert_eq!(count, served.len());
    let launch = &document["paths"]["/launch"]["post"];
    let body = &launch["requestBody"]["content"]["application/json"]["schema"]["$ref"];
    assert_eq!(body, "#/components/schemas/LaunchBody");
    let fields = &document["components"]["schemas"]["LaunchBody"];
    assert_eq!(fields["required"], json!(["task", "cluster_name"]));
    // Those of every body stand in each.
    assert!(fields["properties"]["env_vars"].is_object());
}

#[test]
fn unknown_routes_have_no_rule() {
    assert_eq!(access::of(&Method::GET, "/launch"), None);
    assert_eq!(access::of(&Method::HEAD, "/api/health"), Some(Access::Open));
}
