//! TLS: a certificate of the team's own, and clients that trust it or not.

use std::fs;

use super::Team;
use crate::world::World;

/// A self-signed certificate for a name and its key, as files.
fn certificate(world: &World) -> (String, String) {
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    let cert = world.file("cert.pem", &made.cert.pem());
    let key = world.file("key.pem", &made.signing_key.serialize_pem());
    (
        cert.to_string_lossy().into_owned(),
        key.to_string_lossy().into_owned(),
    )
}

#[test]
fn https_is_served_to_those_who_trust_the_certificate() {
    let files = World::new();
    let (cert, key) = certificate(&files);
    let team = Team::start_with(&["--tls-cert", &cert, "--tls-key", &key]);
    let url = team.url().replace("http:", "https:");
    let world = World::new().env("SSL_CERT_FILE", &cert);
    world
        .sky(&["api", "login", "-e", &url, "-t", &team.admin])
        .ok();
    world.sky(&["api", "info"]).ok().shows(&url).shows("admin");
    world
        .sky(&["launch", "-y", "-c", "sealed", "echo over TLS"])
        .ok()
        .shows(") over TLS");
    world
        .sky(&["exec", "sealed", "--async", "echo hi"])
        .ok()
        .shows("sky api logs");
    let wary = World::new();
    let ran = wary
        .sky(&["api", "login", "-e", &url, "-t", &team.admin])
        .expect_code(1)
        .shows("certificate");
    assert!(ran.all().contains("SSL_CERT_FILE"), "{}", ran.all());
    let plain = Team::start();
    let wrong = plain.url().replace("http:", "https:");
    wary.sky(&["api", "login", "-e", &wrong])
        .expect_code(1)
        .shows("try http://");
    // Plain HTTP on the same port: an error, not a hang, and the server goes on.
    let ran = wary
        .sky(&["api", "login", "-e", &team.url(), "-t", &team.admin])
        .expect_code(1);
    assert!(!ran.all().contains("panicked"), "{}", ran.all());
    world.sky(&["status"]).ok().shows("sealed");
}

#[test]
fn a_certificate_that_cannot_be_used_is_said_at_the_start() {
    let world = World::new();
    let (cert, key) = certificate(&world);
    let empty = world.file("empty.pem", "");
    let empty = empty.to_str().expect("utf-8");
    let bind = format!("0.0.0.0:{}", world.port());
    for (cert, key) in [(cert.as_str(), empty), (empty, &key), ("/nowhere", &key)] {
        let args = [
            "__serve",
            "--bind",
            &bind,
            "--tls-cert",
            cert,
            "--tls-key",
            key,
        ];
        let ran = world.sky(&args);
        assert!(ran.code == 1 || ran.code == 2, "{ran:?}");
        let bad = if key == empty { key } else { cert };
        assert!(ran.all().contains(bad), "{ran:?}");
    }
    let args = ["__serve", "--bind", &bind, "--tls-cert", &cert];
    world.sky(&args).expect_code(2).shows("--tls-key");
    assert!(fs::read_dir(world.home()).is_ok());
}
