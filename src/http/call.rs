//! The client side: calls to one server over HTTP/1, with connections kept for the next call.
//!
//! Needs one thread; sets up TLS only for `https`. Redirects are errors. Nothing is retried, except a call that
//! provably never left over a connection that the server had closed meanwhile, or that only reads.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use axum::body::Body;
use base64::Engine;
use bytes::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

pub(crate) use super::answer::Answer;
use super::answer::within;
use super::body::JSON_LIMIT;
use super::conn::ByteStream;
pub(crate) use super::endpoint::{Endpoint, Remote};
use super::exec::Tasks;
use super::{tls, unix};
use crate::base::{Error, Kind, Result};

/// The time to connect, the handshake of TLS included.
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// One call.
pub(crate) struct Call {
    /// Method.
    method: Method,
    /// Path with query, beginning with a slash.
    path: String,
    /// Headers besides the client's own.
    headers: HeaderMap,
    /// Body.
    payload: Payload,
    /// Time for the whole call; for a stream until its head has come.
    timeout: Option<Duration>,
    /// What the caller did wrong while building.
    broken: Option<Error>,
}

/// The body of a call.
enum Payload {
    /// Can be sent again.
    Bytes(Bytes),
    /// Can be sent once.
    Stream(Option<Body>),
}

impl Call {
    /// Makes a call without body and without deadline.
    pub(crate) fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            headers: HeaderMap::new(),
            payload: Payload::Bytes(Bytes::new()),
            timeout: None,
            broken: None,
        }
    }

    /// `GET`
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    /// `POST`
    pub(crate) fn post(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path)
    }

    /// `PUT`
    pub(crate) fn put(path: impl Into<String>) -> Self {
        Self::new(Method::PUT, path)
    }

    /// Adds a query to the path.
    #[must_use]
    pub(crate) fn query(mut self, query: &impl Serialize) -> Self {
        match serde_html_form::to_string(query) {
            Ok(text) if text.is_empty() => {}
            Ok(text) => {
                self.path
                    .push(if self.path.contains('?') { '&' } else { '?' });
                self.path.push_str(&text);
            }
            Err(e) => self.broken = Some(Error::internal("write the query of a call", &e)),
        }
        self
    }

    /// Sets a header.
    #[must_use]
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        match header(name, value) {
            Ok((name, value)) => {
                self.headers.insert(name, value);
            }
            Err(error) => self.broken = Some(error),
        }
        self
    }

    /// Sends a value as JSON.
    #[must_use]
    pub(crate) fn json(mut self, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(bytes) => self.payload = Payload::Bytes(bytes.into()),
            Err(e) => self.broken = Some(Error::internal("write the body of a call", &e)),
        }
        self.header(CONTENT_TYPE.as_str(), "application/json")
    }

    /// Sends bytes as they are.
    #[must_use]
    pub(crate) fn bytes(mut self, bytes: impl Into<Bytes>) -> Self {
        self.payload = Payload::Bytes(bytes.into());
        self
    }

    /// Sends a body as it is produced.
    #[must_use]
    pub(crate) fn stream(mut self, body: Body) -> Self {
        self.payload = Payload::Stream(Some(body));
        self
    }

    /// Limits the time of the whole call; for a stream, until its head has come.
    #[must_use]
    pub(crate) const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Returns when the call must be over.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.timeout.map(|timeout| Instant::now() + timeout)
    }

    /// Returns whether the call only reads, so that it may be sent twice.
    pub(crate) fn only_reads(&self) -> bool {
        self.method == Method::GET || self.method == Method::HEAD
    }

    /// Returns whether the body can be sent again.
    pub(crate) const fn is_repeatable(&self) -> bool {
        matches!(self.payload, Payload::Bytes(_))
    }

    /// Takes back the body of a request that was not sent.
    pub(crate) fn put_back(&mut self, unsent: Body) {
        match &mut self.payload {
            Payload::Bytes(_) => {}
            Payload::Stream(body) => *body = Some(unsent),
        }
    }

    /// Makes the request: `base` stands before the path, `headers` apply where the call has none of its own.
    pub(crate) fn request(&mut self, base: &str, headers: &HeaderMap) -> Result<Request<Body>> {
        if let Some(error) = self.broken.take() {
            return Err(error);
        }
        let body = match &mut self.payload {
            Payload::Bytes(bytes) => Body::from(bytes.clone()),
            Payload::Stream(body) => body.take().unwrap_or_default(),
        };
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(format!("{base}{}", self.path))
            .body(body)
            .map_err(|e| Error::internal(format!("call `{}`", self.path), &e))?;
        request.headers_mut().clone_from(headers);
        for (name, value) in &self.headers {
            request.headers_mut().insert(name.clone(), value.clone());
        }
        Ok(request)
    }
}

/// Checks a header.
fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue)> {
    let bad = |e: &dyn std::error::Error| {
        Error::new(Kind::Invalid, format!("header `{name}` cannot be sent")).caused_by(e)
    };
    let value = HeaderValue::from_str(value).map_err(|e| bad(&e))?;
    Ok((HeaderName::try_from(name).map_err(|e| bad(&e))?, value))
}

/// A client of one server. Share it by reference or `Arc`: its connections are reused.
pub(crate) struct Client {
    /// Where the server is.
    endpoint: Endpoint,
    /// Headers of every call.
    headers: HeaderMap,
    /// Connections that are open; those whose answer is still being read are among them.
    connections: Mutex<Vec<SendRequest<Body>>>,
    /// Drive the connections.
    tasks: Arc<Tasks>,
    /// Made for the first `https` call.
    tls: OnceLock<TlsConnector>,
}

/// More open connections are not kept.
const MAX_KEPT: usize = 16;

impl Client {
    /// Makes a client; nothing is connected yet.
    pub(crate) fn new(endpoint: Endpoint) -> Result<Self> {
        let mut headers = HeaderMap::new();
        let (name, value) = header(HOST.as_str(), &endpoint.host_header())?;
        headers.insert(name, value);
        if let Some(credentials) = endpoint.remote().and_then(|r| r.credentials.as_ref()) {
            let coded = base64::engine::general_purpose::STANDARD.encode(credentials.reveal());
            let (name, mut value) = header(AUTHORIZATION.as_str(), &format!("Basic {coded}"))?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Ok(Self {
            endpoint,
            headers,
            connections: Mutex::default(),
            tasks: Arc::default(),
            tls: OnceLock::new(),
        })
    }

    /// Returns the `Host` header that calls carry.
    pub(crate) fn host_header(&self) -> String {
        self.endpoint.host_header()
    }

    /// Adds a header to every call.
    pub(crate) fn with_header(mut self, name: &'static str, text: &str) -> Result<Self> {
        let (name, mut value) = header(name, text)?;
        value.set_sensitive(name == AUTHORIZATION);
        self.headers.insert(name, value);
        Ok(self)
    }

    /// Uses another set of roots for `https`.
    #[cfg(test)]
    pub(crate) fn with_tls(self, connector: TlsConnector) -> Self {
        Self {
            tls: OnceLock::from(connector),
            ..self
        }
    }

    /// Calls and returns the answer whatever its status.
    ///
    /// Fails with `Unreachable` when there is no server or it broke off, with `Timeout` when the time is over.
    pub(crate) async fn send(&self, call: Call) -> Result<Answer> {
        let deadline = call.deadline();
        within(deadline, self.exchange(call, deadline)).await
    }

    /// Calls and returns the answer when it is a success, else the server's error.
    pub(crate) async fn fetch(&self, call: Call) -> Result<Answer> {
        self.send(call).await?.success().await
    }

    /// Calls and reads the answer as JSON.
    pub(crate) async fn fetch_json<T: DeserializeOwned>(&self, call: Call) -> Result<T> {
        self.fetch(call).await?.json(JSON_LIMIT).await
    }

    /// Sends over an open connection, or else over a new one.
    async fn exchange(&self, mut call: Call, deadline: Option<Instant>) -> Result<Answer> {
        let prefix = self.endpoint.prefix();
        while let Some(mut connection) = self.take_open() {
            let request = call.request(prefix, &self.headers)?;
            match connection.try_send_request(request).await {
                Ok(response) => return Ok(self.keep(connection, response, deadline)),
                Err(mut failed) => match failed.take_message() {
                    Some(unsent) => call.put_back(unsent.into_body()),
                    None if call.only_reads() && call.is_repeatable() => {}
                    None => return Err(self.broke_off(&failed.into_error())),
                },
            }
        }
        let mut connection = self.connect().await?;
        let request = call.request(prefix, &self.headers)?;
        match connection.send_request(request).await {
            Ok(response) => Ok(self.keep(connection, response, deadline)),
            Err(e) => Err(self.broke_off(&e)),
        }
    }

    /// Takes a connection that can be used at once; forgets those that are closed.
    fn take_open(&self) -> Option<SendRequest<Body>> {
        let mut open = self
            .connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        open.retain(|connection| !connection.is_closed());
        let at = open.iter().position(SendRequest::is_ready)?;
        Some(open.swap_remove(at))
    }

    /// Keeps the connection for later: it becomes ready when the answer has been read.
    fn keep(
        &self,
        connection: SendRequest<Body>,
        response: hyper::Response<hyper::body::Incoming>,
        deadline: Option<Instant>,
    ) -> Answer {
        let mut open = self
            .connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if open.len() < MAX_KEPT {
            open.push(connection);
        }
        Answer::new(response, Arc::clone(&self.tasks), deadline)
    }

    /// Opens a connection.
    async fn connect(&self) -> Result<SendRequest<Body>> {
        let stream = tokio::time::timeout(CONNECT_TIME, self.open())
            .await
            .unwrap_or_else(|_| Err(self.unreachable().caused_by(&Silent)))?;
        let (sender, connection) = hyper::client::conn::http1::Builder::new()
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|e| self.broke_off(&e))?;
        self.tasks.spawner().spawn(async move {
            if let Err(error) = connection.await {
                // Whoever waits for an answer hears of it too.
                tracing::debug!(%error, "a connection to the server ended");
            }
        });
        Ok(sender)
    }

    /// Opens the byte stream.
    async fn open(&self) -> Result<Box<dyn ByteStream>> {
        match &self.endpoint {
            Endpoint::Unix(path) => {
                let stream = unix::connect(path).await;
                Ok(Box::new(
                    stream.map_err(|e| self.unreachable().caused_by(&e))?,
                ))
            }
            Endpoint::Http(remote) => Ok(Box::new(self.open_tcp(remote).await?)),
            Endpoint::Https(remote) => {
                let connector = self.tls()?;
                let name = ServerName::try_from(remote.host.clone())
                    .map_err(|e| self.unreachable().caused_by(&e))?;
                let stream = self.open_tcp(remote).await?;
                let stream = connector.connect(name, stream).await;
                Ok(Box::new(stream.map_err(|e| self.no_tls(&e))?))
            }
        }
    }

    /// Opens TCP.
    async fn open_tcp(&self, remote: &Remote) -> Result<TcpStream> {
        let connected = async {
            let stream = TcpStream::connect((remote.host.as_str(), remote.port)).await?;
            stream.set_nodelay(true)?;
            Ok(stream)
        };
        connected
            .await
            .map_err(|e: std::io::Error| self.unreachable().caused_by(&e))
    }

    /// Returns what connects by TLS, made once.
    fn tls(&self) -> Result<TlsConnector> {
        if let Some(connector) = self.tls.get() {
            return Ok(connector.clone());
        }
        let made = tls::connector()?;
        Ok(self.tls.get_or_init(|| made).clone())
    }

    /// The error of a server that cannot be reached.
    fn unreachable(&self) -> Error {
        Error::new(
            Kind::Unreachable,
            format!("cannot reach the server at {}", self.endpoint),
        )
    }

    /// The error of a connection on which the two sides do not agree about TLS.
    fn no_tls(&self, error: &std::io::Error) -> Error {
        let unreachable = self.unreachable().caused_by(error);
        if tls::is_distrust(error) {
            return unreachable.hint(
                "if this is the certificate of your team, trust it: SSL_CERT_FILE=<certificate.pem>",
            );
        }
        if tls::is_plain(error) {
            return unreachable
                .hint("what answers there does not speak TLS: try http:// as address");
        }
        unreachable
    }

    /// The error of a connection that ended before its answer.
    fn broke_off(&self, source: &dyn std::error::Error) -> Error {
        let message = format!("the server at {} broke off", self.endpoint);
        Error::new(Kind::Unreachable, message).caused_by(source)
    }
}

/// Nobody answered.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {} s", CONNECT_TIME.as_secs())]
struct Silent;
