//! Where a server is: a Unix socket, or an HTTP address with a path prefix and perhaps credentials.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use percent_encoding::percent_decode_str;

use crate::base::secret::Secret;
use crate::base::{Error, Kind, Result};

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// A Unix socket: `unix:///home/a/.sky/api_server/api.sock`.
    Unix(PathBuf),
    /// `http://…`
    Http(Remote),
    /// `https://…`
    Https(Remote),
}

/// An address in the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remote {
    /// Name or address; IPv6 without brackets.
    pub(crate) host: String,
    /// TCP port.
    pub(crate) port: u16,
    /// Path that stands before every path, without slash at the end; often empty.
    pub(crate) prefix: String,
    /// `user:password` of basic authentication.
    pub(crate) credentials: Option<Secret>,
}

impl Endpoint {
    /// Returns what stands before the path of a call.
    pub(crate) fn prefix(&self) -> &str {
        match self {
            Self::Unix(_) => "",
            Self::Http(remote) | Self::Https(remote) => &remote.prefix,
        }
    }

    /// Returns the value of the `Host` header.
    pub(crate) fn host_header(&self) -> String {
        match self {
            Self::Unix(_) => "localhost".to_owned(),
            Self::Http(remote) => remote.authority(80),
            Self::Https(remote) => remote.authority(443),
        }
    }

    /// Returns the network address; none for a Unix socket.
    pub(crate) const fn remote(&self) -> Option<&Remote> {
        match self {
            Self::Unix(_) => None,
            Self::Http(remote) | Self::Https(remote) => Some(remote),
        }
    }
}

impl Remote {
    /// Returns `host[:port]`, without the port that the scheme implies.
    fn authority(&self, implied: u16) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        if self.port == implied {
            host
        } else {
            format!("{host}:{}", self.port)
        }
    }

    /// Reads what follows the scheme.
    fn parse(rest: &str, implied: u16) -> Option<Self> {
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        if authority.contains(['?', '#']) || path.contains(['?', '#', ' ']) {
            return None;
        }
        let (credentials, address) = match authority.rsplit_once('@') {
            None => (None, authority),
            Some((credentials, address)) => {
                let text = percent_decode_str(credentials).decode_utf8().ok()?;
                (Some(Secret::new(text)), address)
            }
        };
        let (host, port) = match address.strip_prefix('[') {
            Some(v6) => {
                let (host, rest) = v6.split_once(']')?;
                (
                    host,
                    rest.strip_prefix(':').or(rest.is_empty().then_some(""))?,
                )
            }
            None => address.split_once(':').unwrap_or((address, "")),
        };
        if host.is_empty() || host.contains(char::is_whitespace) {
            return None;
        }
        let port = if port.is_empty() {
            implied
        } else {
            port.parse().ok()?
        };
        Some(Self {
            host: host.to_owned(),
            port,
            prefix: path.trim_end_matches('/').to_owned(),
            credentials,
        })
    }
}

impl FromStr for Endpoint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim();
        let parsed = match text.split_once("://") {
            Some(("unix", path)) if path.starts_with('/') => Some(Self::Unix(path.into())),
            Some(("http", rest)) => Remote::parse(rest, 80).map(Self::Http),
            Some(("https", rest)) => Remote::parse(rest, 443).map(Self::Https),
            Some(_) | None => None,
        };
        // The text may hold a password: it is not repeated.
        parsed.ok_or_else(|| {
            Error::new(Kind::Invalid, "the API server endpoint is not a valid address")
                .hint("write `http://host:port`, `https://[user:password@]host[:port][/prefix]` or `unix:///path`")
        })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Http(remote) => write!(f, "http://{}{}", remote.authority(80), remote.prefix),
            Self::Https(remote) => write!(f, "https://{}{}", remote.authority(443), remote.prefix),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_parse_and_print_without_password() {
        for (text, printed) in [
            ("http://127.0.0.1:46580/", "http://127.0.0.1:46580"),
            (
                "https://user:p%40ss@sky.example/prefix/",
                "https://sky.example/prefix",
            ),
            ("http://[::1]:46580", "http://[::1]:46580"),
            ("http://[::1]", "http://[::1]"),
            ("http://host:80/a/b", "http://host/a/b"),
            ("unix:///run/x.sock", "unix:///run/x.sock"),
        ] {
            let endpoint: Endpoint = text.parse().expect(text);
            assert_eq!(endpoint.to_string(), printed);
        }
        let with_password: Endpoint = "https://user:p%40ss@sky.example".parse().expect("valid");
        let credentials = with_password.remote().and_then(|r| r.credentials.clone());
        assert_eq!(credentials.as_ref().map(Secret::reveal), Some("user:p@ss"));
        assert!(!format!("{with_password:?}").contains("p@ss"));
    }

    #[test]
    fn nonsense_is_refused_without_being_repeated() {
        for text in [
            "",
            "host",
            "ftp://x",
            "http://",
            "http://a:b:c",
            "http://h:99999",
            "http://[::1",
            "http://h?x",
            "unix://x",
        ] {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
        let error = "http://user:secret@h:port"
            .parse::<Endpoint>()
            .expect_err("no port");
        assert!(!format!("{error:?}").contains("secret"));
    }
}
