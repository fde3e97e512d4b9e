//! Verbs as requests, and how their refusals look to each kind of client.

use super::*;

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
