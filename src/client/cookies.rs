//! What log-ins with a browser left here: `~/.sky/cookies.txt`, in the Netscape layout that SkyPilot's clients share.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::base::Result;
use crate::base::clock::Moment;
use crate::base::secret::Secret;
use crate::http::call::Endpoint;
use crate::sys::env;
use crate::sys::fs::{private_dir, read_optional, write_atomic};
use crate::sys::paths::Paths;

/// The variable that moves the file.
const FILE_VARIABLE: &str = "SKYPILOT_API_COOKIE_FILE";
/// The line by which its readers recognise the file.
const MAGIC: &str = "# Netscape HTTP Cookie File";
/// As long as SkyPilot's clients keep theirs, and our server its sessions.
const LIFE_SECONDS: i64 = 7 * 24 * 3600;

/// One line of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cookie<'a> {
    /// Host, with a dot before it where hosts below it count too.
    domain: &'a str,
    /// Path below which it is sent.
    path: &'a str,
    /// Whether it is only sent over TLS.
    secure: bool,
    /// Second of the epoch at which it ends; zero = never.
    expires: i64,
    /// Name.
    name: &'a str,
    /// Value.
    value: &'a str,
}

impl<'a> Cookie<'a> {
    /// Reads a line; comments and what is no cookie are nothing.
    fn parse(line: &'a str) -> Option<Self> {
        let line = line.strip_prefix("#HttpOnly_").unwrap_or(line);
        let mut fields = line.split('\t');
        let mut next = || fields.next();
        let (domain, _below, path) = (next()?, next()?, next()?);
        let (secure, expires, name, value) = (next()?, next()?, next()?, next()?);
        (!domain.starts_with('#')).then(|| Self {
            domain,
            path,
            secure: secure == "TRUE",
            expires: expires.parse().unwrap_or(0),
            name,
            value,
        })
    }

    /// Whether it is for a server.
    fn suits(&self, server: &Server<'_>, now: i64) -> bool {
        let below = self.domain.starts_with('.')
            && server.host.ends_with(&self.domain.to_ascii_lowercase());
        let path = format!("{}/", self.path.trim_end_matches('/'));
        (self.is_of(server) || below)
            && (server.secure || !self.secure)
            && (self.expires == 0 || self.expires > now)
            && format!("{}/", server.prefix).starts_with(&path)
    }

    /// Whether it was set for a server itself.
    fn is_of(&self, server: &Server<'_>) -> bool {
        self.domain
            .trim_start_matches('.')
            .eq_ignore_ascii_case(&server.host)
    }
}

/// What of an address decides over cookies.
struct Server<'a> {
    /// Name or address, in lower case.
    host: String,
    /// The path of the server.
    prefix: &'a str,
    /// Whether it is reached over TLS.
    secure: bool,
}

impl<'a> Server<'a> {
    /// Takes an endpoint apart; none for a Unix socket.
    fn of(endpoint: &'a Endpoint) -> Option<Self> {
        let remote = endpoint.remote()?;
        Some(Self {
            host: remote.host.to_ascii_lowercase(),
            prefix: &remote.prefix,
            secure: matches!(endpoint, Endpoint::Https(_)),
        })
    }
}

/// Returns the `Cookie` header for a server; none without cookies for it.
pub(crate) fn header_for(paths: &Paths, endpoint: &Endpoint) -> Result<Option<Secret>> {
    let Some(server) = Server::of(endpoint) else {
        return Ok(None);
    };
    let text = read_optional(&file(paths))?.unwrap_or_default();
    let header = pick(&text, &server, Moment::now().timestamp().as_second());
    Ok((!header.is_empty()).then(|| Secret::new(header)))
}

/// Keeps cookies for a server, readable by the user only.
pub(crate) fn keep(
    paths: &Paths,
    endpoint: &Endpoint,
    cookies: &BTreeMap<String, String>,
) -> Result<()> {
    let Some(server) = Server::of(endpoint) else {
        return Ok(());
    };
    let file = file(paths);
    private_dir(file.parent().unwrap_or(Path::new("/")))?;
    let text = read_optional(&file)?.unwrap_or_default();
    let now = Moment::now().timestamp().as_second();
    write_atomic(&file, merge(&text, &server, cookies, now).as_bytes(), 0o600)
}

/// Forgets what is kept for a server.
pub(crate) fn forget(paths: &Paths, endpoint: &Endpoint) -> Result<()> {
    let Some(server) = Server::of(endpoint) else {
        return Ok(());
    };
    let file = file(paths);
    let Some(text) = read_optional(&file)? else {
        return Ok(());
    };
    let is_of = |line: &&str| Cookie::parse(line).is_some_and(|cookie| cookie.is_of(&server));
    let (own, others): (Vec<&str>, Vec<&str>) = text.lines().partition(is_of);
    if own.is_empty() {
        return Ok(());
    }
    write_atomic(&file, (others.join("\n") + "\n").as_bytes(), 0o600)
}

/// Returns where the file is.
fn file(paths: &Paths) -> PathBuf {
    match env::var(FILE_VARIABLE) {
        Some(named) => match named.strip_prefix("~/") {
            Some(below) => paths.home().join(below),
            None => named.into(),
        },
        None => paths.sky().join("cookies.txt"),
    }
}

/// Returns the header's value: what of a file is for a server.
fn pick(text: &str, server: &Server<'_>, now: i64) -> String {
    let suits = text.lines().filter_map(Cookie::parse);
    let pairs: Vec<String> = suits
        .filter(|cookie| cookie.suits(server, now))
        .map(|cookie| format!("{}={}", cookie.name, cookie.value))
        .collect();
    pairs.join("; ")
}

/// Returns the text with a server's cookies in it; those of the same names are replaced, the rest stays.
fn merge(text: &str, server: &Server<'_>, cookies: &BTreeMap<String, String>, now: i64) -> String {
    let mut merged = format!("{MAGIC}\n");
    for line in text.lines().filter(|line| !line.starts_with("# ")) {
        let replaced = Cookie::parse(line)
            .is_some_and(|cookie| cookie.is_of(server) && cookies.contains_key(cookie.name));
        if !replaced {
            merged.push_str(line);
            merged.push('\n');
        }
    }
    let secure = if server.secure { "TRUE" } else { "FALSE" };
    for (name, value) in cookies {
        let (host, end) = (&server.host, now + LIFE_SECONDS);
        // Writing to a string cannot fail.
        writeln!(merged, ".{host}\tTRUE\t\t{secure}\t{end}\t{name}\t{value}").unwrap_or_default();
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(host: &str, secure: bool) -> Server<'static> {
        Server {
            host: host.to_owned(),
            prefix: "",
            secure,
        }
    }

    #[test]
    fn cookies_go_to_their_own_server_until_they_end() {
        let cookies = [("_oauth2_proxy".to_owned(), "abc=".to_owned())].into();
        let text = merge("", &server("sky.example", true), &cookies, 1000);
        assert_eq!(
            text,
            "# Netscape HTTP Cookie File\n.sky.example\tTRUE\t\tTRUE\t605800\t_oauth2_proxy\tabc=\n"
        );
        let picked = |host, secure, now| pick(&text, &server(host, secure), now);
        assert_eq!(picked("sky.example", true, 1000), "_oauth2_proxy=abc=");
        assert_eq!(picked("a.sky.example", true, 1000), "_oauth2_proxy=abc=");
        assert_eq!(picked("sky.example", false, 1000), "");
        assert_eq!(picked("notsky.example", true, 1000), "");
        assert_eq!(picked("sky.example", true, 605_800), "");
    }

    #[test]
    fn the_file_of_the_other_client_is_understood_and_kept() {
        let theirs = "# Netscape HTTP Cookie File\n# http://curl.haxx.se/rfc/cookie_spec.html\n\
                      # This is a generated file!  Do not edit.\n\n\
                      .h\tTRUE\t\tFALSE\t1800000000\told\t1\n\
                      #HttpOnly_.h\tTRUE\t/\tFALSE\t0\tsession\t2\n";
        assert_eq!(pick(theirs, &server("h", false), 1), "old=1; session=2");
        let cookies = [("old".to_owned(), "3".to_owned())].into();
        let merged = merge(theirs, &server("h", false), &cookies, 1);
        assert_eq!(pick(&merged, &server("h", false), 2), "session=2; old=3");
        assert!(merged.starts_with(MAGIC), "{merged}");
        // Without a dot it is for one host; a path is one of whole names.
        let strict = "h\tFALSE\t/a\tFALSE\t0\tone\t1\n";
        assert_eq!(pick(strict, &server("a.h", false), 1), "");
        for (prefix, picked) in [("/a", "one=1"), ("/a/b", "one=1"), ("/ab", ""), ("", "")] {
            let server = Server {
                prefix,
                ..server("H", false)
            };
            let server = Server {
                host: server.host.to_ascii_lowercase(),
                ..server
            };
            assert_eq!(pick(strict, &server, 1), picked, "{prefix}");
        }
    }
}
