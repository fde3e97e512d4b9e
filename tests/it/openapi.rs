//! The OpenAPI document: valid, and true of a server that runs. Other people's programs judge both.

use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::python::{OPENAPI, python_env};
use crate::world::{Ran, World};

/// The most examples for each route.
const EXAMPLES: &str = "12";

/// Runs a program of the environment.
fn python(env: &Path, world: &World, program: &str, args: &[&str]) -> Ran {
    let output = Command::new(env.join("bin").join(program))
        .args(args)
        .env_clear()
        .env("HOME", world.home())
        .env("PATH", "/usr/bin:/bin")
        .env("LANG", "C.UTF-8")
        .current_dir(world.cwd())
        .output();
    Ran::from(&output.expect("it runs"))
}

/// The seed of a run: `SKY_FUZZ_SEED`, else the clock.
fn seed() -> String {
    std::env::var("SKY_FUZZ_SEED").unwrap_or_else(|_| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.expect("after 1970").subsec_nanos().to_string()
    })
}

#[test]
fn the_document_is_valid_and_the_server_keeps_to_it() {
    let env = python_env(OPENAPI.0, OPENAPI.1);
    let world = World::new();
    world.sky(&["api", "start"]).ok();
    let url = format!("{}/api/openapi.json", world.url());
    let fetch = "import sys, urllib.request as r; open('openapi.json', 'wb').write(r.urlopen(sys.argv[1]).read())";
    python(&env, &world, "python", &["-c", fetch, &url]).ok();
    python(&env, &world, "openapi-spec-validator", &["openapi.json"]).ok();
    let seed = seed();
    println!("SKY_FUZZ_SEED={seed}");
    let common = [
        "run",
        &url,
        "--seed",
        &seed,
        "--max-examples",
        EXAMPLES,
        "--phases",
        "coverage,fuzzing",
        "--request-timeout",
        "10",
        "--no-color",
        "--workers",
        "2",
    ];
    // A request that failed is an answer with status 500 to its one question: so the protocol wants it.
    let everything = [
        "--exclude-path",
        "/api/get",
        "--checks",
        "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
    ];
    let results = [
        "--include-path",
        "/api/get",
        "--checks",
        "status_code_conformance,content_type_conformance,response_schema_conformance",
    ];
    for more in [&everything[..], &results] {
        let ran = python(&env, &world, "schemathesis", &[&common[..], more].concat());
        assert_eq!(
            ran.code, 0,
            "SKY_FUZZ_SEED={seed}\n{}\n{}",
            ran.stdout, ran.stderr
        );
    }
    // It is still there.
    world.sky(&["api", "status"]).ok();
}
