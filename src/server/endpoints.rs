//! Where the server listens.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::args::{Args, Bind};
use crate::base::{Error, Kind, Result};
use crate::http::listen::{Listener, Policy, bind_tcp, tls_acceptor};
use crate::http::unix;

/// The sockets of a server, open but not yet served.
pub(crate) struct Endpoints {
    /// Each with who may connect.
    pub(crate) listeners: Vec<(Listener, Policy)>,
    /// Their addresses as clients write them.
    pub(crate) urls: Vec<String>,
    /// The Unix socket, to be removed at the end.
    pub(crate) socket: PathBuf,
    /// What the user should know.
    pub(crate) notes: Vec<String>,
}

/// Whether anybody but this user can connect to an address.
pub(crate) fn is_team(addr: SocketAddr) -> bool {
    !addr.ip().to_canonical().is_loopback()
}

/// Opens all sockets.
pub(crate) async fn open(args: &Args, socket: &Path) -> Result<Endpoints> {
    let mut endpoints = Endpoints {
        listeners: vec![(Listener::Unix(unix::bind(socket).await?), Policy::SameUser)],
        urls: vec![format!("unix://{}", socket.display())],
        socket: socket.to_path_buf(),
        notes: Vec::new(),
    };
    let binds = args.binds();
    if args.tls_cert.is_some() && !binds.iter().any(|bind| is_team(bind.addr)) {
        return Err(Error::new(
            Kind::Usage,
            "a certificate needs an address that others can connect to",
        )
        .hint("add one: --bind 0.0.0.0:30050"));
    }
    for bind in binds {
        match open_tcp(args, bind).await {
            Ok((listener, policy, url)) => {
                if policy == Policy::Open && matches!(listener, Listener::Tcp(_)) {
                    endpoints.notes.push(format!(
                        "{url} is not encrypted, so tokens can be read on the way: give a certificate (--tls-cert, \
                         --tls-key), or let only a proxy that encrypts reach it"
                    ));
                }
                endpoints.listeners.push((listener, policy));
                endpoints.urls.push(url);
            }
            Err(error) if bind.optional && error.kind() == Kind::Conflict => {
                endpoints.notes.push(format!(
                    "{} is taken by another process: only the socket `{}` is served, which browsers and \
                     SkyPilot's own client cannot use",
                    bind.addr,
                    socket.display()
                ));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(endpoints)
}

/// Opens a TCP socket.
async fn open_tcp(args: &Args, bind: Bind) -> Result<(Listener, Policy, String)> {
    let listener = bind_tcp(bind.addr).await?;
    // Port 0 has become a real one.
    let addr = listener
        .local_addr()
        .map_err(|e| Error::io("read a socket's address", &e))?;
    if !is_team(addr) {
        let url = format!("http://{addr}");
        return Ok((Listener::Tcp(listener), Policy::SameUser, url));
    }
    match (&args.tls_cert, &args.tls_key) {
        (Some(cert), Some(key)) => {
            let tls = tls_acceptor(cert, key)?;
            let url = format!("https://{addr}");
            Ok((Listener::Tls(listener, tls), Policy::Open, url))
        }
        (Some(_) | None, _) => Ok((
            Listener::Tcp(listener),
            Policy::Open,
            format!("http://{addr}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_local() {
        for local in [
            "127.0.0.1:1",
            "127.9.9.9:1",
            "[::1]:1",
            "[::ffff:127.0.0.1]:1",
        ] {
            assert!(!is_team(local.parse().expect("an address")), "{local}");
        }
        for team in ["0.0.0.0:1", "192.168.1.2:1", "[::]:1", "[fe80::1]:1"] {
            assert!(is_team(team.parse().expect("an address")), "{team}");
        }
    }
}
