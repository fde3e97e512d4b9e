//! The framed form of a log stream, for clients that ask for it with `Accept: application/x-sky-frames`.
//!
//! A stream is a sequence of frames: one byte kind, eight bytes offset, four bytes length (big-endian), payload.
//! A cursor is (log, byte offset): a client that lost its connection asks again with `offset=` set to
//! the end of the last data frame it has dealt with, and nothing is repeated or left out.

use serde::{Deserialize, Serialize};

/// Bytes before the payload.
pub(crate) const HEADER_LEN: usize = 13;
/// The longest payload that is sent or accepted.
pub(crate) const MAX_PAYLOAD: usize = 256 * 1024;

/// One piece of a framed stream.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Frame {
    /// Bytes of the log that begin at `offset`.
    Data {
        /// Position of the first byte in the log.
        offset: u64,
        /// The bytes; control lines are part of the log.
        bytes: bytes::Bytes,
    },
    /// Nothing new for a while; the connection lives.
    Heartbeat {
        /// Length of the log now.
        offset: u64,
    },
    /// The log is complete up to here and the stream is over.
    End {
        /// Length of the log.
        offset: u64,
        /// How what was followed stands.
        outcome: Outcome,
    },
}

/// How the thing that was followed stands when its stream ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// A request's log: the request's status (not final when the stream did not follow).
    Request {
        /// The status.
        status: super::status::RequestStatus,
    },
    /// A job's log: the job's status (not final when the stream did not follow).
    Job {
        /// The status; none when there is no such job.
        status: Option<super::status::JobStatus>,
        /// The job that was shown (the latest, when none was named).
        job_id: Option<crate::base::ids::JobId>,
    },
    /// A plain file: it was sent as it was.
    File,
    /// The server stops or lost its source: connect again and go on at the offset.
    Interrupted {
        /// Why.
        reason: String,
    },
}

/// The in-band control lines of the plain form (and of stored request logs).
///
/// One line each: `<sky-payload>JSON</sky-payload>`, JSON being a string `<code>text</code>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Control {
    /// Create the spinner with this text.
    Init(String),
    /// Show it.
    Start(String),
    /// Change its text.
    Update(String),
    /// Hide it.
    Stop,
    /// Remove it.
    Exit,
    /// Nothing: keeps the connection alive.
    Heartbeat,
    /// Connect again at once.
    Retry,
}

/// Opens a control line.
const OPEN: &str = "<sky-payload>";
/// Ends a control line.
const CLOSE: &str = "</sky-payload>";

impl Control {
    /// Returns the line, with its line feed.
    pub(crate) fn line(&self) -> String {
        let (code, text) = match self {
            Self::Init(text) => ("rich_init", text.as_str()),
            Self::Start(text) => ("rich_start", text.as_str()),
            Self::Update(text) => ("rich_update", text.as_str()),
            Self::Stop => ("rich_stop", ""),
            Self::Exit => ("rich_exit", ""),
            Self::Heartbeat => ("heartbeat", ""),
            Self::Retry => ("retry", ""),
        };
        let json = serde_json::Value::String(format!("<{code}>{text}</{code}>"));
        format!("{OPEN}{json}{CLOSE}\n")
    }

    /// Reads a line (with or without its line feed); `None` when it is not a control line.
    ///
    /// A control line with an unknown code reads as a heartbeat: it is never shown.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let line = line.trim_end_matches(['\n', '\r']);
        let rest = line.strip_prefix("<sky-payload")?;
        let (_tag, rest) = rest.split_once('>')?;
        let json = rest.strip_suffix(CLOSE)?;
        let value: serde_json::Value = serde_json::from_str(json).ok()?;
        let Some((code, rest)) = value
            .as_str()
            .and_then(|text| text.strip_prefix('<'))
            .and_then(|text| text.split_once('>'))
        else {
            return Some(Self::Heartbeat);
        };
        let text = rest
            .strip_suffix(&format!("</{code}>"))
            .unwrap_or(rest)
            .to_owned();
        Some(match code {
            "rich_init" => Self::Init(text),
            "rich_start" => Self::Start(text),
            "rich_update" => Self::Update(text),
            "rich_stop" => Self::Stop,
            "rich_exit" => Self::Exit,
            "retry" => Self::Retry,
            _ => Self::Heartbeat,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_lines_round_trip() {
        for control in [
            Control::Init("[bold cyan]Launching[/]".into()),
            Control::Update("a \"b\" <c> \u{1b}[1m".into()),
            Control::Stop,
            Control::Exit,
            Control::Heartbeat,
            Control::Retry,
        ] {
            assert_eq!(Control::parse(&control.line()).as_ref(), Some(&control));
        }
        assert_eq!(Control::parse("<sky-payload>not json</sky-payload>"), None);
        assert_eq!(Control::parse("plain"), None);
        assert_eq!(
            Control::parse("<sky-payload-x>{\"a\":1}</sky-payload>"),
            Some(Control::Heartbeat)
        );
    }
}
