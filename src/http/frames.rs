//! Frames of a log stream as bytes: the codec of `api::frames` and a reader over a response body.
//!
//! Kinds on the wire: 1 data, 2 heartbeat, 3 end; the payload of an end is its outcome as JSON.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http_body_util::BodyExt;

use crate::api::frames::{Frame, HEADER_LEN, MAX_PAYLOAD, Outcome};
use crate::base::{Error, Kind, Result};

/// Kind byte of a data frame.
const DATA: u8 = 1;
/// Kind byte of a heartbeat.
const HEARTBEAT: u8 = 2;
/// Kind byte of the last frame.
const END: u8 = 3;

/// Payloads up to this size travel in one buffer with their header; longer ones are not copied.
const COPY_BELOW: usize = 8 * 1024;

/// A frame as one or two buffers.
#[derive(Debug)]
pub(crate) struct Encoded {
    /// The header, with the payload when that is short.
    pub(crate) head: Bytes,
    /// The payload when it is long.
    pub(crate) payload: Option<Bytes>,
}

/// Encodes bytes of a log; `bytes` must not be longer than `MAX_PAYLOAD`.
pub(crate) fn data(offset: u64, bytes: Bytes) -> Encoded {
    debug_assert!(bytes.len() <= MAX_PAYLOAD, "the caller splits long pieces");
    if bytes.len() <= COPY_BELOW {
        Encoded {
            head: joined(DATA, offset, &bytes),
            payload: None,
        }
    } else {
        Encoded {
            head: header(DATA, offset, bytes.len()),
            payload: Some(bytes),
        }
    }
}

/// Encodes a heartbeat.
pub(crate) fn heartbeat(offset: u64) -> Bytes {
    header(HEARTBEAT, offset, 0)
}

/// Encodes the last frame.
pub(crate) fn end(offset: u64, outcome: &Outcome) -> Bytes {
    // An enum of strings and numbers always serialises; an empty payload reads as a broken stream.
    let json = serde_json::to_vec(outcome).unwrap_or_default();
    joined(END, offset, &json)
}

/// Returns a header alone.
fn header(kind: u8, offset: u64, len: usize) -> Bytes {
    let mut buffer = BytesMut::with_capacity(HEADER_LEN);
    put_header(&mut buffer, kind, offset, len);
    buffer.freeze()
}

/// Returns header and payload in one buffer.
fn joined(kind: u8, offset: u64, payload: &[u8]) -> Bytes {
    let mut buffer = BytesMut::with_capacity(HEADER_LEN + payload.len());
    put_header(&mut buffer, kind, offset, payload.len());
    buffer.put_slice(payload);
    buffer.freeze()
}

/// Writes a header.
fn put_header(buffer: &mut BytesMut, kind: u8, offset: u64, len: usize) {
    buffer.put_u8(kind);
    buffer.put_u64(offset);
    buffer.put_u32(u32::try_from(len).unwrap_or(u32::MAX));
}

/// Takes bytes as they arrive and gives frames.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    /// What has arrived and is not yet a whole frame.
    buffer: BytesMut,
}

impl Decoder {
    /// Adds bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Returns whether a frame has begun and not ended.
    #[cfg(test)]
    pub(crate) fn is_mid_frame(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Takes the next whole frame, if there is one.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>> {
        let Some(header) = self.buffer.first_chunk::<HEADER_LEN>() else {
            return Ok(None);
        };
        let mut fields = header.as_slice();
        let kind = fields.get_u8();
        let offset = fields.get_u64();
        let len = usize::try_from(fields.get_u32()).unwrap_or(usize::MAX);
        if len > MAX_PAYLOAD {
            return Err(malformed(&format!("a payload of {len} bytes")));
        }
        if self.buffer.len() < HEADER_LEN + len {
            self.buffer.reserve(HEADER_LEN + len - self.buffer.len());
            return Ok(None);
        }
        self.buffer.advance(HEADER_LEN);
        let payload = self.buffer.split_to(len).freeze();
        match kind {
            DATA => Ok(Some(Frame::Data {
                offset,
                bytes: payload,
            })),
            HEARTBEAT => Ok(Some(Frame::Heartbeat { offset })),
            END => {
                let outcome = serde_json::from_slice(&payload)
                    .map_err(|e| malformed("an outcome that does not parse").caused_by(&e))?;
                Ok(Some(Frame::End { offset, outcome }))
            }
            other => Err(malformed(&format!("a frame of kind {other}"))),
        }
    }
}

/// The error of a stream that is not what it should be.
fn malformed(what: &str) -> Error {
    Error::new(
        Kind::Unreachable,
        format!("the log stream is damaged: {what}"),
    )
}

/// Reads frames from a response body.
pub(crate) struct FrameReader<B> {
    /// Where bytes come from.
    body: B,
    /// Bytes on their way to frames.
    decoder: Decoder,
    /// The end frame was read.
    ended: bool,
}

impl<B> FrameReader<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error,
{
    /// Reads from `body`.
    pub(crate) fn new(body: B) -> Self {
        Self {
            body,
            decoder: Decoder::default(),
            ended: false,
        }
    }

    /// Returns the next frame, `None` after the end frame.
    ///
    /// A body that stops before its end frame is an error of kind `Unreachable`: connect again and go on at the
    /// end of the last data frame. Cancel safe: nothing is lost when the future is dropped.
    pub(crate) async fn next(&mut self) -> Result<Option<Frame>> {
        if self.ended {
            return Ok(None);
        }
        loop {
            if let Some(frame) = self.decoder.next()? {
                self.ended = matches!(frame, Frame::End { .. });
                return Ok(Some(frame));
            }
            match self.body.frame().await {
                Some(Ok(piece)) => {
                    if let Ok(bytes) = piece.into_data() {
                        self.decoder.push(&bytes);
                    }
                }
                Some(Err(e)) => return Err(broken_off().caused_by(&e)),
                None => return Err(broken_off()),
            }
        }
    }
}

/// The error of a stream without its end.
fn broken_off() -> Error {
    Error::new(Kind::Unreachable, "the log stream broke off")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::api::status::RequestStatus;

    /// All buffers of an encoded frame in a row.
    fn flat(encoded: Encoded) -> Vec<u8> {
        let mut bytes = encoded.head.to_vec();
        bytes.extend_from_slice(&encoded.payload.unwrap_or_default());
        bytes
    }

    /// Encodes any frame.
    fn encode(frame: &Frame) -> Vec<u8> {
        match frame {
            Frame::Data { offset, bytes } => flat(data(*offset, bytes.clone())),
            Frame::Heartbeat { offset } => heartbeat(*offset).to_vec(),
            Frame::End { offset, outcome } => end(*offset, outcome).to_vec(),
        }
    }

    fn any_frame() -> impl Strategy<Value = Frame> {
        let bytes = prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200),
            proptest::collection::vec(any::<u8>(), COPY_BELOW - 2..COPY_BELOW + 3),
        ];
        prop_oneof![
            (any::<u64>(), bytes).prop_map(|(offset, bytes)| Frame::Data {
                offset,
                bytes: bytes.into()
            }),
            any::<u64>().prop_map(|offset| Frame::Heartbeat { offset }),
            (any::<u64>(), ".*").prop_map(|(offset, reason)| Frame::End {
                offset,
                outcome: Outcome::Interrupted { reason }
            }),
            any::<u64>().prop_map(|offset| Frame::End {
                offset,
                outcome: Outcome::Request {
                    status: RequestStatus::Succeeded
                }
            }),
        ]
    }

    proptest! {
        #[test]
        fn frames_survive_any_cutting(
            frames in proptest::collection::vec(any_frame(), 0..8),
            step in 1_usize..700,
        ) {
            let wire: Vec<u8> = frames.iter().flat_map(encode).collect();
            let mut decoder = Decoder::default();
            let mut read = Vec::new();
            for chunk in wire.chunks(step) {
                decoder.push(chunk);
                while let Some(frame) = decoder.next().expect("what we wrote is valid") {
                    read.push(frame);
                }
            }
            prop_assert!(!decoder.is_mid_frame());
            prop_assert_eq!(read, frames);
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut decoder = Decoder::default();
            decoder.push(&bytes);
            while let Ok(Some(_)) = decoder.next() {}
        }
    }

    #[tokio::test]
    async fn a_body_without_its_end_is_an_error() {
        let wire = [&heartbeat(7)[..], &data(7, Bytes::from_static(b"ab")).head].concat();
        let mut reader = FrameReader::new(http_body_util::Full::new(Bytes::from(wire)));
        assert!(matches!(
            reader.next().await,
            Ok(Some(Frame::Heartbeat { offset: 7 }))
        ));
        assert!(matches!(reader.next().await, Ok(Some(Frame::Data { .. }))));
        let error = reader.next().await.expect_err("no end frame came");
        assert_eq!(error.kind(), Kind::Unreachable);
    }
}
