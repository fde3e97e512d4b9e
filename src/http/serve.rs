//! The accept loop: Unix, TCP and TLS listeners over one router, a limit on connections, a graceful end.
//!
//! ```text
//! listener ─ accept ─┬─ slot free ── TLS, owner of the peer ── http::conn ── router
//!                    └─ none free ── the same, but every answer is 503 (a bounded number at a time)
//! ```

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::conn::{self, ByteStream, Limits, Service};
use super::exec::{Spawner, Tasks};
pub(crate) use super::listen::{Listener, Peer, PeerKind, Policy};
use super::owner;
use crate::base::{Error, Kind, Result};

/// How the server behaves.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Connections at a time, over all listeners.
    pub(crate) max_connections: usize,
    /// Limits of each connection.
    pub(crate) limits: Limits,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_connections: 16 * 1024,
            limits: Limits::default(),
        }
    }
}

/// Connections beyond the limit that are told so at a time; more are closed without a word.
const REFUSALS: usize = 64;
/// The time a refused peer has to hear it.
const REFUSAL_TIME: Duration = Duration::from_secs(2);

/// A server: listeners and their connections. Cheap to clone; when the last clone is dropped, all ends at once.
#[derive(Clone)]
pub(crate) struct Server {
    /// What connections need.
    shared: Arc<Shared>,
    /// The accept loops and the connections.
    tasks: Arc<Tasks>,
}

/// What connections need.
struct Shared {
    /// The routes.
    router: Router,
    /// Limits.
    options: Options,
    /// Room for connections.
    slots: Arc<Semaphore>,
    /// Room for refusals.
    refusals: Arc<Semaphore>,
    /// Starts connections.
    spawner: Spawner,
    /// Fires when the server should finish.
    drain: CancellationToken,
}

/// How a drain went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Drained {
    /// Tasks of connections that were cut off at the deadline.
    pub(crate) cut: usize,
}

impl Server {
    /// Makes a server without listeners.
    pub(crate) fn new(router: Router, options: Options) -> Self {
        let tasks = Arc::new(Tasks::default());
        let shared = Arc::new(Shared {
            router,
            slots: Arc::new(Semaphore::new(options.max_connections)),
            refusals: Arc::new(Semaphore::new(REFUSALS)),
            options,
            spawner: tasks.spawner(),
            drain: CancellationToken::new(),
        });
        Self { shared, tasks }
    }

    /// Accepts from a listener from now on.
    pub(crate) fn listen(&self, listener: Listener, policy: Policy) {
        let shared = Arc::clone(&self.shared);
        self.shared.spawner.spawn(async move {
            let drain = shared.drain.clone();
            drain
                .run_until_cancelled(shared.accept_all(&listener, policy))
                .await;
        });
    }

    /// Serves a stream that was opened in another way; it counts as a connection.
    #[cfg(test)]
    pub(crate) fn serve_stream(&self, stream: Box<dyn ByteStream>, peer: Peer) {
        self.shared.take(Incoming::Stream(stream, peer));
    }

    /// Returns the number of open connections.
    #[cfg(test)]
    pub(crate) fn connections(&self) -> usize {
        self.shared.options.max_connections - self.shared.slots.available_permits()
    }

    /// Stops accepting, lets requests that run finish until the deadline, then cuts off what is left.
    pub(crate) async fn drain(&self, deadline: Duration) -> Drained {
        self.shared.drain.cancel();
        if tokio::time::timeout(deadline, self.tasks.wait())
            .await
            .is_ok()
        {
            return Drained { cut: 0 };
        }
        let cut = self.tasks.len();
        self.tasks.abort().await;
        Drained { cut }
    }
}

/// What came in.
enum Incoming {
    /// A Unix socket.
    Unix(UnixStream, Policy),
    /// TCP.
    Tcp(TcpStream, SocketAddr, Policy),
    /// TCP that has yet to shake hands.
    Tls(TcpStream, SocketAddr, Policy, TlsAcceptor),
    /// A stream that needs nothing more.
    #[cfg(test)]
    Stream(Box<dyn ByteStream>, Peer),
}

impl Shared {
    /// Accepts for ever.
    async fn accept_all(self: &Arc<Self>, listener: &Listener, policy: Policy) {
        loop {
            match accept(listener, policy).await {
                Ok(incoming) => self.take(incoming),
                Err(error) => {
                    // Out of descriptors or memory: the connection stays in the backlog, so an immediate retry
                    // would spin until another one closes.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    /// Starts the task of a connection, or of its refusal.
    fn take(self: &Arc<Self>, incoming: Incoming) {
        if let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() {
            self.start(incoming, slot, None);
        } else if let Ok(slot) = Arc::clone(&self.refusals).try_acquire_owned() {
            let error = Error::new(Kind::TooBusy, "the server has too many connections")
                .retry_after(Duration::from_secs(1));
            self.start(incoming, slot, Some(error));
        }
    }

    /// Starts the task of a connection that is served, or refused with an error.
    fn start(
        self: &Arc<Self>,
        incoming: Incoming,
        slot: OwnedSemaphorePermit,
        busy: Option<Error>,
    ) {
        let shared = Arc::clone(self);
        self.spawner.spawn(async move {
            let _slot = slot;
            // Boxed, so that its room is free again while the connection lives.
            let set_up = Box::pin(incoming.set_up());
            let limit = shared.options.limits.header_timeout;
            let Ok(Ok((stream, peer))) = tokio::time::timeout(limit, set_up).await else {
                return;
            };
            match busy.map_or_else(|| peer.admit(), Err) {
                Ok(()) => {
                    let service = Service::Routes(shared.router.clone(), Arc::new(peer));
                    shared.serve(stream, service).await;
                }
                Err(error) => {
                    let service = Service::Refuse(Arc::new(error));
                    conn::at_most(REFUSAL_TIME, shared.serve(stream, service)).await;
                }
            }
        });
    }

    /// Serves a stream.
    fn serve(&self, io: Box<dyn ByteStream>, service: Service) -> impl Future<Output = ()> {
        let (spawner, drain) = (self.spawner.clone(), self.drain.clone());
        conn::serve(io, service, &self.options.limits, spawner, drain)
    }
}

/// Accepts one connection.
async fn accept(listener: &Listener, policy: Policy) -> io::Result<Incoming> {
    match listener {
        Listener::Unix(listener) => {
            let (stream, _) = listener.accept().await?;
            Ok(Incoming::Unix(stream, policy))
        }
        Listener::Tcp(listener) => {
            let (stream, address) = listener.accept().await?;
            Ok(Incoming::Tcp(stream, address, policy))
        }
        Listener::Tls(listener, acceptor) => {
            let (stream, address) = listener.accept().await?;
            Ok(Incoming::Tls(stream, address, policy, acceptor.clone()))
        }
    }
}

impl Incoming {
    /// Finds out who it is and shakes hands.
    async fn set_up(self) -> Result<(Box<dyn ByteStream>, Peer), io::Error> {
        match self {
            #[cfg(test)]
            Self::Stream(stream, peer) => Ok((stream, peer)),
            Self::Unix(stream, policy) => {
                let uid = stream.peer_cred()?.uid();
                let kind = PeerKind::Unix { uid };
                Ok((
                    Box::new(stream),
                    Peer {
                        kind,
                        policy,
                        tls: false,
                    },
                ))
            }
            Self::Tcp(stream, address, policy) => {
                let kind = tcp_peer(&stream, address, policy).await?;
                Ok((
                    Box::new(stream),
                    Peer {
                        kind,
                        policy,
                        tls: false,
                    },
                ))
            }
            Self::Tls(stream, address, policy, acceptor) => {
                let kind = tcp_peer(&stream, address, policy).await?;
                let stream = acceptor.accept(stream).await?;
                Ok((
                    Box::new(stream),
                    Peer {
                        kind,
                        policy,
                        tls: true,
                    },
                ))
            }
        }
    }
}

/// Finds out who is at the other end of a TCP connection, as far as the policy needs it.
async fn tcp_peer(stream: &TcpStream, address: SocketAddr, policy: Policy) -> io::Result<PeerKind> {
    stream.set_nodelay(true)?;
    let local = stream.local_addr()?;
    let uid = match policy {
        Policy::Open => None,
        Policy::SameUser if !address.ip().to_canonical().is_loopback() => None,
        Policy::SameUser => tokio::task::spawn_blocking(move || owner::of(address, local))
            .await
            .unwrap_or(None),
    };
    Ok(PeerKind::Tcp {
        address,
        local,
        uid,
    })
}

#[cfg(test)]
mod tests;
