//! A transport that fails as planned, around any other.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{ByteStream, Transport};
use crate::base::{Error, Kind, Result};

/// What happens to one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// It is refused.
    Refuse,
    /// It takes so long to be made.
    Delay(Duration),
    /// It is reset after so many bytes were read from it.
    CutReading(usize),
    /// It is reset after so many bytes were written to it.
    CutWriting(usize),
}

/// Fails connections by a list; when that is used up, none.
pub(crate) struct Faulty<T> {
    /// What works.
    inner: T,
    /// What is to happen to the next connections.
    plan: Mutex<VecDeque<Fault>>,
}

impl<T> Faulty<T> {
    /// Fails the connections of `inner` as planned.
    pub(crate) fn new(inner: T, plan: impl IntoIterator<Item = Fault>) -> Self {
        Self {
            inner,
            plan: Mutex::new(plan.into_iter().collect()),
        }
    }
}

impl<T: Transport> Transport for Faulty<T> {
    fn connect(&self) -> BoxFuture<'_, Result<Box<dyn ByteStream>>> {
        let next = self
            .plan
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front();
        Box::pin(async move {
            let (read, written) = match next.unwrap_or(Fault::None) {
                Fault::None => (usize::MAX, usize::MAX),
                Fault::Refuse => {
                    let message = format!("cannot reach {}", self.describe());
                    return Err(Error::new(Kind::Unreachable, message));
                }
                Fault::Delay(delay) => {
                    tokio::time::sleep(delay).await;
                    (usize::MAX, usize::MAX)
                }
                Fault::CutReading(bytes) => (bytes, usize::MAX),
                Fault::CutWriting(bytes) => (usize::MAX, bytes),
            };
            let stream: Box<dyn ByteStream> = Box::new(Cut {
                inner: self.inner.connect().await?,
                read,
                written,
            });
            Ok(stream)
        })
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }
}

/// A stream that is reset after so many bytes.
struct Cut {
    /// What works.
    inner: Box<dyn ByteStream>,
    /// Bytes that may still be read.
    read: usize,
    /// Bytes that may still be written.
    written: usize,
}

/// The reset.
fn reset() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

impl AsyncRead for Cut {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read == 0 {
            return Poll::Ready(Err(reset()));
        }
        let limit = self.read;
        let mut part = buf.take(limit);
        let polled = Pin::new(&mut self.inner).poll_read(cx, &mut part);
        let len = part.filled().len();
        if len > 0 {
            // `part` borrows the unfilled rest of `buf` and has initialised what it filled.
            let bytes = part.filled().to_vec();
            buf.put_slice(&bytes);
        }
        self.read = limit.saturating_sub(len);
        polled
    }
}

impl AsyncWrite for Cut {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.written == 0 {
            return Poll::Ready(Err(reset()));
        }
        let len = buf.len().min(self.written);
        let polled = Pin::new(&mut self.inner).poll_write(cx, &buf[..len]);
        if let Poll::Ready(Ok(len)) = polled {
            self.written -= len;
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
