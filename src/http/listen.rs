//! Where the server listens, and what it knows of whoever connects.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use tokio::net::{TcpListener, UnixListener};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::base::{Error, Kind, Result};

/// A socket that accepts.
pub(crate) enum Listener {
    /// A Unix socket, see `http::unix::bind`.
    Unix(UnixListener),
    /// Plain TCP.
    Tcp(TcpListener),
    /// TLS over TCP.
    Tls(TcpListener, TlsAcceptor),
}

/// Who may connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    /// Processes of this user and of root on this machine.
    SameUser,
    /// Everybody: the routes ask for credentials.
    Open,
}

/// Who is at the other end; stands as `Arc<Peer>` in the extensions of each request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Kind of connection.
    pub(crate) kind: PeerKind,
    /// The policy that let it in.
    pub(crate) policy: Policy,
    /// It speaks TLS.
    pub(crate) tls: bool,
}

/// Kinds of connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PeerKind {
    /// A Unix socket, or a stream inside of the process.
    Unix {
        /// The user.
        uid: u32,
    },
    /// TCP.
    Tcp {
        /// Its address.
        address: SocketAddr,
        /// The address it connected to.
        local: SocketAddr,
        /// The user, where the policy made us ask.
        uid: Option<u32>,
    },
}

impl Peer {
    /// Returns the peer of a stream inside of this process.
    #[cfg(test)]
    pub(crate) fn this_process() -> Self {
        Self {
            kind: PeerKind::Unix {
                uid: rustix::process::getuid().as_raw(),
            },
            policy: Policy::SameUser,
            tls: false,
        }
    }

    /// Returns the TCP port that the peer connected to; none on a Unix socket.
    pub(crate) const fn local_port(&self) -> Option<u16> {
        match &self.kind {
            PeerKind::Unix { .. } => None,
            PeerKind::Tcp { local, .. } => Some(local.port()),
        }
    }

    /// Refuses a peer that its policy does not let in.
    pub(crate) fn admit(&self) -> Result<()> {
        let uid = match (self.policy, &self.kind) {
            (Policy::Open, _) => return Ok(()),
            (Policy::SameUser, PeerKind::Unix { uid }) => Some(*uid),
            (Policy::SameUser, PeerKind::Tcp { uid, .. }) => *uid,
        };
        let us = rustix::process::geteuid().as_raw();
        if uid.is_some_and(|uid| uid == us || uid == 0) {
            return Ok(());
        }
        Err(Error::new(
            Kind::PermissionDenied,
            "this server belongs to another user of the machine",
        )
        .hint(
            "`SKYPILOT_API_SERVER_LOCAL_PORT=<port> sky api start` starts your own on another port",
        ))
    }
}

/// Listens at a TCP address; one that is taken is a `Conflict`.
pub(crate) async fn bind_tcp(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|e| {
        if e.kind() == std::io::ErrorKind::AddrInUse {
            Error::new(
                Kind::Conflict,
                format!("{address} is taken by another process"),
            )
        } else {
            Error::io(format!("listen at {address}"), &e)
        }
    })
}

/// Reads a certificate chain and its key (PEM) and makes what accepts TLS with them.
pub(crate) fn tls_acceptor(certificate: &Path, key: &Path) -> Result<TlsAcceptor> {
    let unreadable = |path: &Path, e: &dyn std::error::Error| {
        Error::new(
            Kind::InvalidConfig,
            format!("no usable PEM in `{}`", path.display()),
        )
        .caused_by(e)
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>)
        .map_err(|e| unreadable(certificate, &e))?;
    if chain.is_empty() {
        let message = format!("no certificate in `{}`", certificate.display());
        return Err(Error::new(Kind::InvalidConfig, message));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|e| unreadable(key, &e))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::internal("set up TLS", &e))?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|e| {
            Error::new(Kind::InvalidConfig, "certificate and key do not fit").caused_by(&e)
        })?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
