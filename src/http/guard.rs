//! Who may address a local server through a browser: nobody but pages of the server itself.
//!
//! `Host` must name the loopback address and port exactly (a foreign name that resolves to 127.0.0.1 is an attack
//! by DNS rebinding), and an `Origin` must be our own. Unix sockets need neither check: no browser reaches them.

use hyper::header::{HOST, HeaderMap, ORIGIN};
use hyper::{Request, Version};

use crate::base::{Error, Kind, Result};

/// Checks host and origin of a request to a loopback listener at `port`.
pub(crate) fn check<B>(request: &Request<B>, port: u16) -> Result<()> {
    check_host(host(request)?, request.version(), port)?;
    check_origin(single(request.headers(), &ORIGIN)?, port)
}

/// The host that a request names: the authority of HTTP/2 (or of an absolute target), else the header.
///
/// Two different names are refused: which one would be believed depends on the reader.
fn host<B>(request: &Request<B>) -> Result<Option<&str>> {
    let header = single(request.headers(), &HOST)?;
    let authority = request
        .uri()
        .authority()
        .map(hyper::http::uri::Authority::as_str);
    match (authority, header) {
        (Some(a), Some(h)) if !a.eq_ignore_ascii_case(h) => Err(refused("names two hosts")),
        (Some(name), _) | (None, Some(name)) => Ok(Some(name)),
        (None, None) => Ok(None),
    }
}

/// The only value of a header; several are refused.
fn single<'a>(headers: &'a HeaderMap, name: &hyper::header::HeaderName) -> Result<Option<&'a str>> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(refused(&format!("repeats the header `{name}`")));
    }
    first
        .map(|value| {
            value
                .to_str()
                .map_err(|_| refused(&format!("has a malformed header `{name}`")))
        })
        .transpose()
}

/// Refuses a host that is not exactly this loopback listener; only HTTP/1.0 may leave it out.
pub(crate) fn check_host(host: Option<&str>, version: Version, port: u16) -> Result<()> {
    match host {
        Some(host) if is_ours(host, port) => Ok(()),
        Some(_) => Err(refused("names a host that is not this server's address")),
        None if version < Version::HTTP_11 => Ok(()),
        None => Err(refused("names no host")),
    }
}

/// Refuses an origin that is not a page of this server.
pub(crate) fn check_origin(origin: Option<&str>, port: u16) -> Result<()> {
    match origin {
        None => Ok(()),
        Some(origin) => match origin.strip_prefix("http://") {
            Some(host) if is_ours(host, port) => Ok(()),
            Some(_) | None => Err(refused("comes from a page of another site")),
        },
    }
}

/// Returns whether `host:port` is one of the loopback names.
fn is_ours(host: &str, port: u16) -> bool {
    ["127.0.0.1", "localhost", "[::1]"].iter().any(|name| {
        host.get(..name.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(name))
            && host[name.len()..]
                .strip_prefix(':')
                .is_some_and(|rest| rest == port.to_string())
    })
}

/// The refusal.
fn refused(what: &str) -> Error {
    Error::new(Kind::PermissionDenied, format!("the request {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exact_loopback_names_pass() {
        for host in [
            "127.0.0.1:46580",
            "localhost:46580",
            "LOCALHOST:46580",
            "[::1]:46580",
        ] {
            assert!(
                check_host(Some(host), Version::HTTP_11, 46580).is_ok(),
                "{host}"
            );
            let origin = format!("http://{host}");
            assert!(check_origin(Some(&origin), 46580).is_ok(), "{origin}");
        }
        for host in [
            "",
            "localhost",
            "127.0.0.1",
            "localhost:80",
            "localhost:046580",
            "evil.example:46580",
            "127.0.0.1:46580.evil.example",
            "localhost.evil.example:46580",
            "127.0.0.1:465800",
            "a@localhost:46580",
        ] {
            assert!(
                check_host(Some(host), Version::HTTP_11, 46580).is_err(),
                "{host}"
            );
            let origin = format!("http://{host}");
            assert!(check_origin(Some(&origin), 46580).is_err(), "{origin}");
        }
        for origin in ["null", "https://localhost:46580", "file://"] {
            assert!(check_origin(Some(origin), 46580).is_err(), "{origin}");
        }
    }

    #[test]
    fn only_http_1_0_may_leave_the_host_out() {
        assert!(check_host(None, Version::HTTP_10, 1).is_ok());
        assert!(check_host(None, Version::HTTP_11, 1).is_err());
        assert!(check_host(None, Version::HTTP_2, 1).is_err());
    }

    #[test]
    fn doubled_and_contradicting_names_are_refused() {
        let twice = Request::get("/")
            .header(HOST, "localhost:1")
            .header(HOST, "localhost:1")
            .body(())
            .expect("valid");
        assert!(check(&twice, 1).is_err());
        let split = Request::get("http://localhost:1/")
            .header(HOST, "127.0.0.1:1")
            .body(())
            .expect("valid");
        assert!(check(&split, 1).is_err());
    }
}
