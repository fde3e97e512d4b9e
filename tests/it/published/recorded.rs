//! What a published server with a cluster answered (recorded), shown by our commands.

use serde_json::{Value, json};

use super::answers::{Answer, Call, serve};
use crate::world::World;

/// The cluster's name in the recording.
const CLUSTER: &str = "demo";

/// The recording.
fn recording() -> Value {
    serde_json::from_str(include_str!("../../fixtures/published.json")).expect("JSON")
}

/// The id of the request that a call of a path makes: the path, in hexadecimal digits.
fn id_of(path: &str) -> String {
    let number = path
        .bytes()
        .fold(0_u128, |sum, byte| sum << 8 | u128::from(byte));
    let digits = format!("{number:032x}");
    let part = |from: usize, to: usize| &digits[from..to];
    format!(
        "{}-{}-4{}-8{}-{}",
        part(0, 8),
        part(8, 12),
        part(12, 15),
        part(15, 18),
        part(20, 32)
    )
}

/// Answers as the recorded server did.
fn answer(recording: &Value, call: &Call) -> Answer {
    let recorded = &recording["answers"];
    match call.path.as_str() {
        "/api/health" => Answer::json(
            200,
            &json!({"status": "healthy", "api_version": "62", "version": "0.14.1", "commit": "7e59", "user": null}),
        ),
        "/validate" => Answer::json(200, &Value::Null),
        "/api/stream" => Answer::text(recording["request_log"].as_str().expect("text")),
        "/logs" => Answer::text(recording["job_log"].as_str().expect("text").trim_end())
            .header("x-skypilot-request-id", &id_of("/logs")),
        "/api/get" => {
            let known = recorded.as_object().expect("a map");
            let found = known
                .iter()
                .find(|(path, _)| call.query == format!("request_id={}", id_of(path)));
            let Some((path, ended)) = found else {
                return Answer::json(404, &json!({"detail": "no such request"}));
            };
            let mut payload = json!({
                "request_id": id_of(path), "entrypoint": "gAROLg==", "request_body": "gAROLg==",
                "created_at": 1_795_459_765.5, "user_id": "a1b2c3d4", "pid": null, "schedule_type": "long",
            });
            for (key, value) in ended.as_object().expect("a map") {
                payload[key] = value.clone();
            }
            if ended["status"] == "FAILED" {
                Answer::json(500, &json!({"detail": payload}))
            } else {
                Answer::json(200, &payload)
            }
        }
        path if recorded[path].is_object() => {
            // What this release insists on.
            let body: Value = serde_json::from_str(&call.body).unwrap_or_default();
            assert!(
                path == "/enabled_clouds" || body["env_vars"].is_object(),
                "{call:?}"
            );
            Answer::json(200, &Value::Null).header("x-skypilot-request-id", &id_of(path))
        }
        _ => Answer::json(404, &json!({"detail": "Not Found"})),
    }
}

/// A world whose commands speak to the recording.
fn world() -> World {
    let recording = recording();
    let url = serve(move |call| answer(&recording, call));
    World::new()
        .env("SKYPILOT_API_SERVER_ENDPOINT", &url)
        .env("SKYPILOT_USER_ID", "a1b2c3d4")
}

/// Nothing that only Python can read may be shown.
#[track_caller]
fn no_pickle(text: &str) {
    assert!(!text.contains("gAS"), "{text}");
}

#[test]
fn clusters_jobs_and_costs_are_shown() {
    let world = world();
    let status = world.sky(&["status"]).ok();
    status
        .clone()
        .shows("Enabled Infra: aws")
        .shows("demo  AWS (us-east-1)  1x(cpus=2, mem=8, m6i.large, ...)  UP");
    let all = world.sky(&["status", "-o", "json"]).ok();
    no_pickle(&all.stdout);
    assert_eq!(all.json()[0]["name"], CLUSTER);
    world
        .sky(&["status", "--ip", CLUSTER])
        .expect_code(1)
        .shows("the address of cluster 'demo' is not known")
        .shows("Hint: SkyPilot's server tells addresses to Python programs only");
    world
        .sky(&["queue", CLUSTER])
        .ok()
        .shows("Job queue of current user on cluster demo")
        .shows("1x[CPU:2+]");
    let costs = world.sky(&["cost-report"]).ok();
    costs.clone().shows("$ 0.01").shows("Total Cost: $0.01");
    assert!(!costs.stdout.contains("$ 0.00       $ 0.01"), "{costs:?}");
    let costs = world.sky(&["cost-report", "-o", "json"]).ok();
    no_pickle(&costs.stdout);
}

#[test]
fn a_launch_is_followed_and_nothing_of_its_streams_is_lost() {
    let world = world();
    let ran = world.sky(&["launch", "-y", "-c", CLUSTER, "true"]).ok();
    let ran = ran
        .shows("Considered resources (1 node):")
        .shows("⚙︎ Job submitted, ID: 1")
        .shows("(demo, pid=4242) line 2")
        // The last line of the recording, here without its line break.
        .shows("✓ Job finished (status: SUCCEEDED).")
        .shows("sky logs demo 1");
    assert!(!ran.all().contains("sky-payload"), "{ran:?}");
    no_pickle(&ran.all());
    let logs = world.sky(&["logs", CLUSTER, "1"]).ok();
    assert!(logs.stdout.ends_with('\n'), "{logs:?}");
    logs.shows("✓ Job finished (status: SUCCEEDED).");
}

#[test]
fn results_and_errors_come_without_pickles() {
    let world = world();
    let launch = world.sky(&["api", "get", &id_of("/launch")]).ok();
    assert_eq!(launch.json(), json!({"job_id": 1, "handle": null}));
    let start = world.sky(&["api", "get", &id_of("/start")]).ok();
    assert_eq!(start.json(), Value::Null);
    let exec = world.sky(&["exec", CLUSTER, "true"]).expect_code(1);
    exec.shows("Error: Cluster 'nope' does not exist.");
}
