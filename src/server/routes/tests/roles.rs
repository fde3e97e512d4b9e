//! Who is let in, and who may do what.

use super::*;

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
