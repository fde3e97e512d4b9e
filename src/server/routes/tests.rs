//! The whole router without a network: who may call what, and how every refusal looks.

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

/// A call of a route that does no harm and is complete enough to reach the handler.
fn harmless(path: &str) -> (String, Value) {
    let uri = path
        .replace("{kind}", "storage_name")
        .replace("{name}", "pool");
    match path {
        "/api/v1/auth/token" => (format!("{uri}?code_verifier=x"), Value::Null),
        "/api/cancel" => (uri, json!({ "request_ids": [] })),
        "/validate" | "/optimize" => (uri, json!({ "dag": "run: echo" })),
        _ => (
            uri,
            json!({ "user_id": 7, "token_id": 7, "token_name": 7, "task": 7, "cluster_name": 7 }),
        ),
    }
}

#[tokio::test]
async fn every_route_asks_for_the_right_role() {
    let world = World::new().await;
    let mut callers = vec![(None, None)];
    for role in [Role::Viewer, Role::User, Role::Admin] {
        callers.push((Some(role), Some(world.token(role).await)));
    }
    for (method, path, access) in RULES {
        let (uri, body) = harmless(path);
        for (role, token) in &callers {
            let headers: Vec<_> = token
                .iter()
                .map(|t| ("authorization", t.as_str()))
                .collect();
            let answer = world
                .call(Via::Team, method, &uri, &headers, body.to_string())
                .await;
            let what = format!(
                "{method} {uri} as {role:?}: {} {}",
                answer.status, answer.text
            );
            match role {
                None if *access == Access::Open => {
                    assert!(matches!(answer.status.as_u16(), 200 | 404), "{what}");
                }
                None => assert_eq!(answer.status, 401, "{what}"),
                Some(role) if access.permits(*role) => {
                    assert!(!matches!(answer.status.as_u16(), 401 | 403), "{what}");
                }
                Some(_) => {
                    assert_eq!(answer.status, 403, "{what}");
                    assert_eq!(answer.json()["detail"], "Forbidden", "{what}");
                }
            }
        }
    }
}

#[tokio::test]
async fn wrong_credentials_are_refused_everywhere() {
    let world = World::new().await;
    for header in [
        "Bearer sky_wrong",
        "Bearer ",
        "Basic !!!",
        "Basic YWRtaW46d3Jvbmc=",
        "Digest x",
        "nonsense",
    ] {
        for path in ["/api/health", "/api/status", "/no/such/path"] {
            let headers = [("authorization", header), (USER_HEADER, "0123abcd;me")];
            let answer = world
                .call(Via::Team, &Method::GET, path, &headers, "")
                .await;
            assert_eq!(answer.status, 401, "{header} {path}: {}", answer.text);
            assert_eq!(answer.headers["cache-control"], "no-store");
        }
    }
    let anonymous = world
        .call(Via::Team, &Method::GET, "/api/health", &[], "")
        .await;
    assert_eq!(anonymous.json()["status"], "needs_auth");
    assert!(anonymous.json().get("pid").is_none());
}

#[tokio::test]
async fn users_log_in_by_password_until_it_changes() {
    let world = World::new().await;
    let made = json!({ "username": "ann", "password": "correct horse", "role": "user" });
    let ann = world.post("/users/create", &[], &made).await;
    assert_eq!(ann.status, 200, "{}", ann.text);
    assert!(!ann.text.contains("argon2") && !ann.text.contains("horse"));
    let basic = format!("Basic {}", base64_of("ann:correct horse"));
    let headers = [("authorization", basic.as_str())];
    for _ in 0..2 {
        let role = world
            .call(Via::Team, &Method::GET, "/users/role", &headers, "")
            .await;
        assert_eq!(role.json()["role"], "user", "{}", role.text);
    }
    let change = json!({ "user_id": ann.json()["id"], "password": "battery staple" });
    assert_eq!(world.post("/users/update", &[], &change).await.status, 200);
    let after = world
        .call(Via::Team, &Method::GET, "/users/role", &headers, "")
        .await;
    assert_eq!(after.status, 401, "{}", after.text);
}

fn base64_of(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

#[tokio::test]
async fn browsers_of_other_pages_and_hosts_are_kept_out() {
    let world = World::new().await;
    let call = async |headers: &[(&str, &str)]| {
        world
            .call(Via::Loopback, &Method::GET, "/api/health", headers, "")
            .await
            .status
    };
    assert_eq!(call(&[("host", "127.0.0.1:46580")]).await, 200);
    assert_eq!(
        call(&[
            ("host", "127.0.0.1:46580"),
            ("origin", "http://localhost:46580")
        ])
        .await,
        200
    );
    assert_eq!(call(&[("host", "evil.example:46580")]).await, 403);
    assert_eq!(
        call(&[
            ("host", "127.0.0.1:46580"),
            ("origin", "https://evil.example")
        ])
        .await,
        403
    );
    assert_eq!(call(&[]).await, 403);
}

/// Method, path, body, the status of the answer, and words in it.
type Row = (Method, &'static str, &'static [u8], u16, &'static str);

/// Wrong calls.
const WRONG: [Row; 16] = [
    (Method::GET, "/no/such", b"", 404, "Not Found"),
    (Method::GET, "/api/../etc/passwd", b"", 404, "Not Found"),
    (
        Method::DELETE,
        "/api/status",
        b"",
        405,
        "Method Not Allowed",
    ),
    (Method::GET, "/launch", b"", 405, "Method Not Allowed"),
    (Method::POST, "/launch", b"{}", 422, "Field required"),
    (
        Method::POST,
        "/launch",
        b"{\"task\"",
        422,
        "JSON decode error",
    ),
    (Method::POST, "/launch", b"\xff", 422, "UTF-8"),
    (Method::POST, "/launch", b"[]", 422, "object"),
    (Method::POST, "/launch", &[b' '; 17 << 20], 413, "larger"),
    (
        Method::POST,
        "/launch",
        br#"{"task":"run: a","cluster_name":"../x"}"#,
        400,
        "not valid",
    ),
    (
        Method::POST,
        "/down",
        br#"{"cluster_name":["hunter2"]}"#,
        422,
        "expected a string",
    ),
    (Method::GET, "/api/get", b"", 422, "Field required"),
    (
        Method::GET,
        "/api/get?request_id=zzz",
        b"",
        404,
        "not found",
    ),
    (Method::GET, "/api/status?limit=many", b"", 422, ""),
    (Method::GET, "/api/stream?format=pdf", b"", 400, "format"),
    (
        Method::GET,
        "/upload_v2/blob?blob_id=../../x",
        b"",
        400,
        "blob id",
    ),
];

#[tokio::test]
async fn wrong_calls_get_one_clear_answer_each() {
    let world = World::new().await;
    let call = async |method: Method, path: &str, body: Vec<u8>| {
        world.call(Via::Socket, &method, path, &[], body).await
    };
    for (method, path, body, status, words) in WRONG {
        let answer = call(method, path, body.to_vec()).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text);
        let value = answer.json();
        assert!(value.get("error").is_some(), "{path}: {}", answer.text);
        assert!(
            value["detail"].to_string().contains(words),
            "{path}: {}",
            answer.text
        );
        assert!(!answer.text.contains("hunter2"), "{path}: {}", answer.text);
    }
}

#[tokio::test]
async fn versions_are_negotiated() {
    let world = World::new().await;
    let with = async |number: &str| {
        let headers = [(API_VERSION_HEADER, number), (VERSION_HEADER, "0.14.1")];
        world
            .call(Via::Socket, &Method::GET, "/api/health", &headers, "")
            .await
    };
    let old = with("23").await;
    assert_eq!(old.status, 400);
    assert_eq!(old.json()["error"], "version_mismatch");
    assert_eq!(old.headers[API_VERSION_HEADER], "62");
    let new = with("99").await;
    assert_eq!(new.status, 200);
    assert_eq!(new.headers[VERSION_HEADER], "0.14.1");
    assert!(
        !world
            .get("/api/health")
            .await
            .headers
            .contains_key(VERSION_HEADER)
    );
}

#[tokio::test]
async fn a_verb_becomes_a_request_that_can_be_fetched_and_followed() {
    let world = World::new().await;
    let accepted = world.get("/workspaces").await;
    assert_eq!(
        (accepted.status, accepted.text.as_str()),
        (StatusCode::OK, "null")
    );
    let id = accepted.id();
    let got = world
        .get(&format!("/api/get?request_id={}", &id[..10]))
        .await;
    assert_eq!(got.status, 200, "{}", got.text);
    let payload = got.json();
    assert_eq!(payload["status"], "SUCCEEDED");
    assert_eq!(payload["name"], "sky.workspaces.get");
    assert!(
        payload["return_value"]
            .as_str()
            .is_some_and(|v| v.contains("default"))
    );
    assert!(payload.get("pid").is_some_and(Value::is_null));
    let log = world
        .get(&format!(
            "/api/stream?request_id={}&format=console",
            &id[..8]
        ))
        .await;
    assert_eq!(log.status, 200);
    assert_eq!(log.headers[STREAM_REQUEST_ID_HEADER], id[..8]);
    let unfinished = world.get("/api/status").await;
    assert_eq!(unfinished.json(), json!([]));
    let all = world
        .get("/api/status?all_status=True&fields=request_id&fields=status")
        .await;
    assert_eq!(all.json()[0]["request_id"], id.as_str());
}

#[tokio::test]
async fn a_failed_request_is_a_500_with_the_error_inside() {
    let world = World::new().await;
    let accepted = world
        .post("/queue", &[], &json!({ "cluster_name": "none" }))
        .await;
    let got = world
        .get(&format!("/api/get?request_id={}", accepted.id()))
        .await;
    assert_eq!(got.status, 500);
    let detail = &got.json()["detail"];
    let error: Value = serde_json::from_str(detail["error"].as_str().expect("text")).expect("JSON");
    assert_eq!(error["type"], "ClusterDoesNotExist", "{error}");
    assert_eq!(error["sky"]["kind"], "cluster_not_found", "{error}");
}

#[tokio::test]
async fn the_same_key_is_the_same_request_even_with_secrets() {
    let world = World::new().await;
    let body = |run: &str| json!({ "task": format!("run: {run}\nsecrets: {{A: hunter2}}"), "cluster_name": "a", "dryrun": true });
    let key = [(IDEMPOTENCY_HEADER, "k-1")];
    let first = world.post("/launch", &key, &body("echo")).await;
    let again = world.post("/launch", &key, &body("echo")).await;
    assert_eq!(first.status, 200, "{}", first.text);
    assert_eq!(first.id(), again.id());
    let other = world.post("/launch", &key, &body("other")).await;
    assert_eq!(other.status, 409, "{}", other.text);
    let shown = world
        .get(&format!("/api/status?request_ids={}", first.id()))
        .await;
    assert!(shown.text.contains("<redacted>"), "{}", shown.text);
    assert!(!shown.text.contains("hunter2"), "{}", shown.text);
}

#[tokio::test]
async fn requests_of_others_look_as_if_they_did_not_exist() {
    let world = World::new().await;
    let (ann, bob) = (world.token(Role::User).await, world.token(Role::User).await);
    let get = async |token: &str, path: &str| {
        let headers = [("authorization", token)];
        world
            .call(Via::Team, &Method::GET, path, &headers, "")
            .await
    };
    let id = get(&ann, "/workspaces").await.id();
    assert_eq!(
        get(&ann, &format!("/api/get?request_id={id}")).await.status,
        200
    );
    assert_eq!(
        get(&bob, &format!("/api/get?request_id={id}")).await.status,
        404
    );
    assert_eq!(
        get(&bob, &format!("/api/stream?request_id={id}"))
            .await
            .status,
        404
    );
    assert_eq!(
        get(&bob, "/api/status?all_status=1").await.json(),
        json!([])
    );
    assert_eq!(
        get(&bob, &format!("/api/status?request_ids={id}"))
            .await
            .json(),
        json!([])
    );
    let log = get(&bob, "/api/stream?log_path=~/.sky/api_server/server.log").await;
    assert_eq!(log.status, 403);
    let headers = [
        ("authorization", bob.as_str()),
        ("accept", PLAIN_JSON_CONTENT_TYPE),
    ];
    let cancel = |body: Value| {
        world.call(
            Via::Team,
            &Method::POST,
            "/api/cancel",
            &headers,
            body.to_string(),
        )
    };
    let receipt = cancel(json!({ "request_ids": [id] })).await.json();
    assert_eq!(receipt["cancelled"], json!([]));
    assert_eq!(receipt["left"][0][0], id.as_str());
    assert_eq!(cancel(json!({})).await.status, 403);
}

#[tokio::test]
async fn clients_of_skypilot_get_refusals_as_results() {
    let world = World::new().await;
    let answer = world.post("/serve/up", &[], &json!({ "task": "x" })).await;
    assert_eq!(answer.status, 200);
    let got = world
        .get(&format!("/api/get?request_id={}", answer.id()))
        .await;
    assert!(got.text.contains("NotSupportedError"), "{}", got.text);
    let ours = [("accept", PLAIN_JSON_CONTENT_TYPE)];
    assert_eq!(world.post("/serve/up", &ours, &json!({})).await.status, 400);
    let queue = world.post("/jobs/queue/v2", &[], &json!({})).await;
    let got = world
        .get(&format!("/api/get?request_id={}", queue.id()))
        .await
        .json();
    assert_eq!(got["name"], "sky.jobs.queue_v2");
    let queue: Value =
        serde_json::from_str(got["return_value"].as_str().expect("text")).expect("JSON");
    assert_eq!(queue["jobs"], json!([]));
    assert_eq!(queue["total"], 0);
    let cancelled = world
        .post("/api/cancel", &[], &json!({ "request_ids": ["abc"] }))
        .await;
    let got = world
        .get(&format!("/api/get?request_id={}", cancelled.id()))
        .await
        .json();
    assert_eq!(got["return_value"], "[]");
}

/// The headers of `SkyPilot`'s client.
const PUBLISHED: [(&str, &str); 2] = [(API_VERSION_HEADER, "62"), (VERSION_HEADER, "0.14.1")];

#[tokio::test]
async fn clients_of_skypilot_get_wrong_verbs_as_results() {
    let world = World::new().await;
    let body = json!({ "task": "run: a", "cluster_name": "../x" });
    let answer = world.post("/launch", &PUBLISHED, &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let got = world
        .get(&format!("/api/get?request_id={}", answer.id()))
        .await;
    assert_eq!(got.status, 500);
    assert!(got.text.contains("InvalidClusterNameError"), "{}", got.text);
    let at_once = world.post("/ssh_node_pools", &PUBLISHED, &json!({})).await;
    assert_eq!(at_once.status, 403, "{}", at_once.text);
}

#[tokio::test]
async fn a_log_in_with_a_browser_makes_a_session() {
    let world = World::new().await;
    let made = json!({ "username": "ann", "password": "correct horse", "role": "user" });
    world.post("/users/create", &[], &made).await;
    let page = world
        .call(Via::Team, &Method::GET, "/auth/authorize", &[], "")
        .await;
    assert!(page.text.contains("Authorize"), "{}", page.text);
    let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    let wait = format!("/api/v1/auth/token?code_verifier={verifier}");
    let poll = async || world.call(Via::Team, &Method::GET, &wait, &[], "").await;
    assert_eq!(poll().await.status, 404);
    let vouch = json!({ "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM" });
    let authorize = async |headers: &[(&str, &str)]| {
        let path = "/api/v1/auth/authorize";
        world
            .call(Via::Team, &Method::POST, path, headers, vouch.to_string())
            .await
    };
    assert_eq!(authorize(&[]).await.status, 401);
    let basic = format!("Basic {}", base64_of("ann:correct horse"));
    let vouched = authorize(&[("authorization", &basic)]).await;
    assert_eq!(vouched.json()["status"], "authorized", "{}", vouched.text);
    let token = poll().await.json()["token"]
        .as_str()
        .expect("text")
        .to_owned();
    assert_eq!(poll().await.status, 404, "a log-in is used once");
    let token: Value = serde_json::from_slice(&from_base64(&token)).expect("JSON");
    let session = token["cookies"]["sky_session"].as_str().expect("a session");
    let cookie = format!("other=1; sky_session={session}");
    let role = async || {
        let headers = [("cookie", cookie.as_str())];
        world
            .call(Via::Team, &Method::GET, "/users/role", &headers, "")
            .await
    };
    assert_eq!(role().await.json()["role"], "user");
    assert_eq!(role().await.json()["id"], token["user"]);
    let change = json!({ "user_id": token["user"], "password": "battery staple" });
    assert_eq!(world.post("/users/update", &[], &change).await.status, 200);
    assert_eq!(role().await.status, 401, "another password ends sessions");
}

fn from_base64(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD
        .decode(text)
        .expect("valid base64")
}

#[tokio::test]
async fn the_log_of_a_job_on_no_cluster_is_an_error_in_both_dialects() {
    let world = World::new().await;
    let body = json!({ "cluster_name": "none" });
    let tail = world.post("/logs", &[], &body).await;
    assert_eq!((tail.status, tail.text.as_str()), (StatusCode::OK, ""));
    let got = world
        .get(&format!("/api/get?request_id={}", tail.id()))
        .await;
    assert_eq!(got.status, 500);
    assert!(got.text.contains("ClusterDoesNotExist"), "{}", got.text);
    let ours = [("accept", PLAIN_JSON_CONTENT_TYPE)];
    assert_eq!(world.post("/logs", &ours, &body).await.status, 404);
}

#[test]
fn unknown_routes_have_no_rule() {
    assert_eq!(access::of(&Method::GET, "/launch"), None);
    assert_eq!(access::of(&Method::HEAD, "/api/health"), Some(Access::Open));
}
