//! One connection of the server: HTTP/1 or HTTP/2 by its first bytes, with limits on what a peer may send and
//! how long it may take.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use futures_util::future::BoxFuture;
use hyper::body::Incoming;
use hyper::{Request, StatusCode, server};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::body::reply_error;
use super::exec::Spawner;
use super::listen::Peer;
use crate::base::{Error, Kind};

/// Two-way bytes.
pub(crate) trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// What a peer may send and how long it may take.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// Time for the handshake of TLS, and for the head of each request, idle time before it included.
    pub(crate) header_timeout: Duration,
    /// Bytes of a request's head.
    pub(crate) max_header_bytes: usize,
    /// Requests at a time on one HTTP/2 connection.
    pub(crate) max_streams: u32,
    /// Silence after which an HTTP/2 peer is asked for a sign of life; it has as long again to give one.
    pub(crate) ping_interval: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(30),
            max_header_bytes: 64 * 1024,
            max_streams: 4096,
            ping_interval: Duration::from_secs(30),
        }
    }
}

/// What answers the requests of a connection.
#[derive(Clone)]
pub(crate) enum Service {
    /// The routes, with the peer in each request's extensions.
    Routes(Router, Arc<Peer>),
    /// The same error for everything, then the connection is closed.
    Refuse(Arc<Error>),
}

impl hyper::service::Service<Request<Incoming>> for Service {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        match self {
            Self::Routes(router, peer) => {
                request.extensions_mut().insert(Arc::clone(peer));
                Box::pin(router.clone().oneshot(request.map(Body::new)))
            }
            Self::Refuse(error) => {
                let mut response = reply_error(error);
                if error.kind() == Kind::TooBusy {
                    // The status on which SkyPilot's clients wait and come back.
                    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                }
                Box::pin(std::future::ready(Ok(response)))
            }
        }
    }
}

/// Serves a connection to its end; after `drain` fires it finishes what is under way and closes.
pub(crate) async fn serve(
    io: Box<dyn ByteStream>,
    service: Service,
    limits: &Limits,
    spawner: Spawner,
    drain: CancellationToken,
) {
    let sniffed = tokio::select! {
        sniffed = tokio::time::timeout(limits.header_timeout, sniff(io)) => sniffed,
        () = drain.cancelled() => return,
    };
    let ended = match sniffed {
        Ok(Ok((true, io))) => serve_http2(io, service, limits, spawner, drain).await,
        Ok(Ok((false, io))) => serve_http1(io, service, limits, drain).await,
        Ok(Err(_)) | Err(_) => return,
    };
    if let Err(error) = ended {
        // Peers that vanish or talk nonsense are everyday life.
        tracing::debug!(%error, "a connection ended");
    }
}

/// Serves HTTP/1.
async fn serve_http1(
    io: Rewound,
    service: Service,
    limits: &Limits,
    drain: CancellationToken,
) -> hyper::Result<()> {
    let keep_alive = matches!(service, Service::Routes(..));
    // On the heap, or the future of each idle connection has room for it twice, and for HTTP/2's as well.
    let mut connection = Box::pin(
        server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .keep_alive(keep_alive)
            .header_read_timeout(limits.header_timeout)
            .max_header_size(limits.max_header_bytes)
            .max_buf_size(limits.max_header_bytes.max(128 * 1024))
            .serve_connection(TokioIo::new(io), service),
    );
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = drain.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}

/// Serves HTTP/2.
async fn serve_http2(
    io: Rewound,
    service: Service,
    limits: &Limits,
    spawner: Spawner,
    drain: CancellationToken,
) -> hyper::Result<()> {
    let max_headers = u32::try_from(limits.max_header_bytes).unwrap_or(u32::MAX);
    let refuses = matches!(service, Service::Refuse(_));
    let mut connection = Box::pin(
        server::conn::http2::Builder::new(spawner)
            .timer(TokioTimer::new())
            .max_header_list_size(max_headers)
            .max_concurrent_streams(limits.max_streams)
            .keep_alive_interval(limits.ping_interval)
            .keep_alive_timeout(limits.ping_interval)
            .initial_stream_window_size(1024 * 1024)
            .initial_connection_window_size(4 * 1024 * 1024)
            .max_send_buf_size(1024 * 1024)
            .serve_connection(TokioIo::new(io), service),
    );
    if !refuses {
        tokio::select! {
            ended = connection.as_mut() => return ended,
            () = drain.cancelled() => connection.as_mut().graceful_shutdown(),
        }
    }
    connection.await
}

/// How HTTP/2 begins.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Reads until it is clear whether the peer speaks HTTP/2. Ours because hyper-util's has no deadline.
async fn sniff(mut io: Box<dyn ByteStream>) -> io::Result<(bool, Rewound)> {
    let mut first = [0; PREFACE.len()];
    let mut len = 0;
    let http2 = loop {
        let read = io.read(&mut first[len..]).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        len += read;
        if first[..len] != PREFACE[..len] {
            break false;
        }
        if len == PREFACE.len() {
            break true;
        }
    };
    let rewound = Rewound {
        first,
        given: 0,
        len,
        io,
    };
    Ok((http2, rewound))
}

/// A stream that gives its first bytes again.
struct Rewound {
    /// The first bytes.
    first: [u8; PREFACE.len()],
    /// How many were given again.
    given: usize,
    /// How many there are.
    len: usize,
    /// The rest.
    io: Box<dyn ByteStream>,
}

impl AsyncRead for Rewound {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.given < self.len {
            let end = self.len.min(self.given + buf.remaining());
            buf.put_slice(&self.first[self.given..end]);
            self.given = end;
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Rewound {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

/// Lets a future that may not matter end in time or be dropped.
pub(crate) async fn at_most(limit: Duration, work: impl Future<Output = ()>) {
    if tokio::time::timeout(limit, work).await.is_err() {
        tracing::debug!("a refused connection was dropped");
    }
}
