//! The command line of `sky __serve`.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::Parser;

use crate::api::versions::DEFAULT_PORT;
use crate::sys::env;
use crate::sys::paths::Paths;

/// Runs the API server in the foreground.
#[derive(Debug, Clone, Parser)]
#[command(name = "sky __serve", disable_version_flag = true)]
pub(crate) struct Args {
    /// Listen on this TCP address; may be repeated. Every address but loopback demands credentials
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) bind: Vec<SocketAddr>,
    /// The Unix socket for this user
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    /// Where the server keeps everything [default: `~/.sky/api_server`]
    #[arg(long, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    /// Certificate chain (PEM) for the TCP addresses that are not loopback
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Private key (PEM) of the certificate
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Report readiness on this inherited descriptor and become a background program
    #[arg(long, value_name = "N", hide = true)]
    pub(crate) ready_fd: Option<u32>,
    /// Seconds for the head of a request, and for the handshake of TLS, before a connection is closed
    #[arg(long, value_name = "SECONDS", hide = true, default_value_t = 30,
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) header_timeout: u64,
    /// Ignored: `SkyPilot`'s client finds local servers by `-m sky.server.server` among the arguments
    #[arg(short = 'm', value_name = "MODULE", hide = true)]
    pub(crate) module: Option<String>,
    /// Port of the loopback address that is bound when `--bind` is not given
    #[arg(long, value_name = "PORT", hide = true)]
    pub(crate) port: Option<u16>,
    /// Ignored: the loopback address is always the same
    #[arg(long, value_name = "HOST", hide = true)]
    pub(crate) host: Option<String>,
}

/// One TCP address to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bind {
    /// The address.
    pub(crate) addr: SocketAddr,
    /// Go on without it when it is taken.
    pub(crate) optional: bool,
}

impl Args {
    /// Parses the arguments behind `__serve`.
    pub(crate) fn parse_from_rest(rest: &[OsString]) -> Result<Self, clap::Error> {
        let name = OsString::from("sky __serve");
        Self::try_parse_from(std::iter::once(&name).chain(rest))
    }

    /// Returns the file that it logs to; none when it was started by hand.
    pub(crate) fn log_file(&self) -> Option<PathBuf> {
        self.ready_fd?;
        Some(Paths::of_user(self.state_dir.as_deref()).server_log())
    }

    /// Returns the TCP addresses: those given, else loopback on the local port.
    pub(crate) fn binds(&self) -> Vec<Bind> {
        if self.bind.is_empty() {
            let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, self.local_port()));
            return vec![Bind {
                addr,
                optional: true,
            }];
        }
        let must = |addr: &SocketAddr| Bind {
            addr: *addr,
            optional: false,
        };
        self.bind.iter().map(must).collect()
    }

    /// The port on which clients expect a local server.
    fn local_port(&self) -> u16 {
        let configured = || env::var("SKYPILOT_API_SERVER_LOCAL_PORT")?.parse().ok();
        self.port.or_else(configured).unwrap_or(DEFAULT_PORT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Args, clap::Error> {
        let rest: Vec<_> = words.iter().map(OsString::from).collect();
        Args::parse_from_rest(&rest)
    }

    #[test]
    fn words_for_the_published_client_are_accepted() {
        let args = parse(&[
            "--ready-fd",
            "1",
            "-m",
            "sky.server.server",
            "--port=4711",
            "--host=127.0.0.1",
        ]);
        let args = args.expect("they parse");
        assert_eq!(args.ready_fd, Some(1));
        assert_eq!(args.binds()[0].addr.to_string(), "127.0.0.1:4711");
        assert!(args.binds()[0].optional);
    }

    #[test]
    fn given_addresses_replace_the_default() {
        let args =
            parse(&["--bind", "0.0.0.0:30050", "--bind", "[::1]:30051"]).expect("they parse");
        let binds = args.binds();
        assert_eq!(binds.len(), 2);
        assert!(binds.iter().all(|b| !b.optional));
    }

    #[test]
    fn wrong_words_are_refused() {
        for words in [
            &["--bind", "nonsense"][..],
            &["--tls-cert", "c.pem"],
            &["--frobnicate"],
            &["extra"],
        ] {
            assert!(parse(words).is_err(), "{words:?}");
        }
    }
}
