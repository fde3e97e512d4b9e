//! Servers of other times: each is refused with one clear sentence.

use serde_json::json;

use super::answers::{Answer, serve};
use crate::world::World;

/// A world whose commands speak to an address.
fn world(url: &str) -> World {
    World::new().env("SKYPILOT_API_SERVER_ENDPOINT", url)
}

#[test]
fn a_server_that_is_too_old_is_refused() {
    let url = serve(|_| {
        Answer::json(
            200,
            &json!({"status": "healthy", "api_version": "11", "version": "0.9.3", "commit": "c"}),
        )
    });
    let refusal = format!(
        "Error: the server at {url} is too old: it speaks API version 11, this program needs 24 or newer\n\
         └── Hint: upgrade the server\n"
    );
    let world = world(&url);
    for command in [
        &["status"][..],
        &["launch", "-y", "true"],
        &["api", "info"],
        &["api", "login", "-e", &url],
    ] {
        let ran = world.sky(command).expect_code(1);
        assert_eq!(ran.stderr, refusal, "{command:?}");
    }
}

#[test]
fn a_server_that_is_too_new_refuses_and_that_is_said_in_our_words() {
    let url = serve(|call| {
        assert!(
            call.head.contains("x-skypilot-api-version: 62\r\n"),
            "{call:?}"
        );
        assert!(
            call.head.contains("x-skypilot-version: 0.14.1\r\n"),
            "{call:?}"
        );
        let message = "Your SkyPilot client version is too old:0.14.1\nThe server is running on 0.30.0\n\
                       Upgrade your client with:\npip install -U \"skypilot==0.30.0\"";
        Answer::json(
            400,
            &json!({"error": "version_mismatch", "message": message}),
        )
        .header("x-skypilot-api-version", "162")
        .header("x-skypilot-version", "0.30.0")
    });
    let world = world(&url);
    for command in [
        &["status"][..],
        &["api", "status"],
        &["api", "info"],
        &["api", "login", "-e", &url],
        &["launch", "-y", "true"],
    ] {
        let ran = world.sky(command).expect_code(1);
        let said = ran
            .stderr
            .strip_prefix("Error: the server is too new for this program: it no longer speaks API version 62\n")
            .unwrap_or_else(|| panic!("{command:?}: {}", ran.stderr));
        assert!(said.contains("install a newer release of `sky`"), "{said}");
        assert!(!said.contains("pip"), "{said}");
    }
}

#[test]
fn a_newer_server_that_still_speaks_our_version_is_used() {
    let url = serve(|call| match call.path.as_str() {
        "/api/health" => Answer::json(
            200,
            &json!({"status": "healthy", "api_version": "162", "version": "0.30.0", "commit": "c",
                    "what_nobody_knows_yet": {"a": [1]}}),
        ),
        "/api/status" => Answer::json(200, &json!([])),
        path => Answer::json(404, &json!({"detail": format!("no {path}")})),
    });
    let world = world(&url);
    world
        .sky(&["api", "info"])
        .ok()
        .shows("HEALTHY, commit: c, version: 0.30.0");
    world
        .sky(&["api", "status"])
        .ok()
        .shows("No requests in progress");
}

#[test]
fn what_is_no_api_server_is_told_apart() {
    let page = serve(|_| Answer::text("<html><title>Welcome to nginx!</title></html>"));
    let other = serve(|_| Answer::json(200, &json!({"status": "ok"})));
    let absent = serve(|_| Answer::json(404, &json!({"detail": "Not Found"})));
    for url in [page, other, absent] {
        let ran = world(&url).sky(&["status"]).expect_code(1);
        assert!(ran.stderr.starts_with("Error: "), "{ran:?}");
        assert!(ran.stderr.lines().count() <= 4, "{ran:?}");
    }
}
