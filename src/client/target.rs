//! Which server is meant, and whether it is this machine's own.

use std::path::PathBuf;

use super::config::Config;
use super::cookies;
use crate::api::versions::DEFAULT_PORT;
use crate::base::secret::Secret;
use crate::base::{Error, Kind, Result};
use crate::http::call::Endpoint;
use crate::sys::env;
use crate::sys::paths::Paths;

/// The variable that names the server.
pub(crate) const ENDPOINT_VARIABLE: &str = "SKYPILOT_API_SERVER_ENDPOINT";
/// The variable that holds the token.
const TOKEN_VARIABLE: &str = "SKYPILOT_SERVICE_ACCOUNT_TOKEN";
/// The variable that moves the local server to another port.
const PORT_VARIABLE: &str = "SKYPILOT_API_SERVER_LOCAL_PORT";

/// Who named the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// Nobody: the local server.
    Default,
    /// The environment.
    Environment,
    /// A configuration file, or `--config`.
    Config(Option<PathBuf>),
}

/// The server that is meant.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// Where to connect.
    pub(crate) endpoint: Endpoint,
    /// The address for people and browsers; never with a password.
    pub(crate) url: String,
    /// Whether it is this machine's own: then it may be started, and files are not uploaded.
    pub(crate) local: bool,
    /// Who named it.
    pub(crate) source: Source,
    /// What to show at the door.
    pub(crate) token: Option<Secret>,
    /// What a log-in with a browser left, where there is nothing else to show.
    pub(crate) cookies: Option<Secret>,
}

impl Target {
    /// Finds out which server is meant.
    pub(crate) fn resolve(paths: &Paths, config: &Config) -> Result<Self> {
        let (named, source) = match env::var(ENDPOINT_VARIABLE) {
            Some(url) => (Some(url), Source::Environment),
            None => match config.text("api_server.endpoint") {
                Some(url) => {
                    let file = config.endpoint_file().map(PathBuf::from);
                    (Some(url.to_owned()), Source::Config(file))
                }
                None => (None, Source::Default),
            },
        };
        let token = env::var(TOKEN_VARIABLE).or_else(|| {
            config
                .text("api_server.service_account_token")
                .map(str::to_owned)
        });
        let mut target = match named {
            Some(url) => Self::named(&url)?,
            None => Self::local(paths)?,
        };
        target.source = source;
        target.token = token.filter(|_| !target.local).map(Secret::new);
        if !target.local && !target.has_credentials() {
            target.cookies = cookies::header_for(paths, &target.endpoint)?;
        }
        Ok(target)
    }

    /// The local server.
    pub(crate) fn local(paths: &Paths) -> Result<Self> {
        Ok(Self {
            endpoint: Endpoint::Unix(paths.socket()),
            url: format!("http://127.0.0.1:{}", local_port()?),
            local: true,
            source: Source::Default,
            token: None,
            cookies: None,
        })
    }

    /// Returns whether there is something to show at the door.
    pub(crate) fn has_credentials(&self) -> bool {
        let in_url = self
            .endpoint
            .remote()
            .is_some_and(|r| r.credentials.is_some());
        self.token.is_some() || self.cookies.is_some() || in_url
    }

    /// The server at an address.
    pub(crate) fn named(url: &str) -> Result<Self> {
        let endpoint: Endpoint = url.trim_end_matches('/').parse()?;
        Ok(Self {
            local: is_local(url, local_port()?),
            url: endpoint.to_string(),
            endpoint,
            source: Source::Environment,
            token: None,
            cookies: None,
        })
    }
}

/// Returns the port of the local server.
pub(crate) fn local_port() -> Result<u16> {
    match env::var(PORT_VARIABLE) {
        None => Ok(DEFAULT_PORT),
        Some(text) => text.parse().map_err(|_| {
            Error::new(
                Kind::InvalidConfig,
                format!("`{PORT_VARIABLE}` is not a port number"),
            )
        }),
    }
}

/// Returns whether an address is literally the local server's, as `SkyPilot`'s clients decide it.
fn is_local(url: &str, port: u16) -> bool {
    const HOSTS: [&str; 5] = ["0.0.0.0", "localhost", "127.0.0.1", "[::]", "[::1]"];
    let url = url.trim().trim_end_matches('/');
    HOSTS
        .iter()
        .any(|host| url == format!("http://{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_literal_local_addresses_are_local() {
        for (url, local) in [
            ("http://127.0.0.1:46580", true),
            ("http://localhost:46580/", true),
            ("http://[::1]:46580", true),
            ("https://127.0.0.1:46580", false),
            ("http://127.0.0.1:46581", false),
            ("http://127.0.0.1:46580/prefix", false),
            ("http://sky.example:46580", false),
        ] {
            assert_eq!(is_local(url, 46580), local, "{url}");
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        let target = Target::named("https://me:pw@sky.example/").expect("valid");
        assert_eq!(target.url, "https://sky.example");
        assert!(!target.local);
    }
}
