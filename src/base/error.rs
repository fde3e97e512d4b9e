//! The one error of the control plane: it outlives the process that raised it, so it is data.
//!
//! Callers that branch use their own enums next to the code that raises them and convert here at the border.
//! What an error means to HTTP, to a shell and to the published Python client are exhaustive matches in this file.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The result of anything that can fail in a way a user hears of.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, as far as anybody branches on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// A value that the caller gave does not make sense.
    Invalid,
    /// The command line is wrong: exit code 2.
    Usage,
    /// A name breaks the rules for names.
    InvalidName,
    /// A task (YAML, overrides) is wrong.
    InvalidTask,
    /// A configuration file or `--config` value is wrong.
    InvalidConfig,
    /// Something named does not exist (request, path, blob, job, route).
    NotFound,
    /// A prefix or pattern matches several things.
    Ambiguous,
    /// The cluster does not exist.
    ClusterNotFound,
    /// The cluster exists but is not UP.
    ClusterNotUp,
    /// The existing cluster does not offer what the task asks for.
    ResourcesMismatch,
    /// No enabled infra offers what the task asks for, or all refused.
    ResourcesUnavailable,
    /// No infra is enabled.
    NoCloudAccess,
    /// The operation does not exist here.
    NotSupported,
    /// The state of the thing forbids the operation now.
    Conflict,
    /// No valid credentials.
    Unauthenticated,
    /// Valid credentials that do not permit this.
    PermissionDenied,
    /// Too much pending work or too many connections; try again later.
    TooBusy,
    /// A body, file or value is larger than permitted.
    TooLarge,
    /// The disk (or a quota) is full.
    StorageFull,
    /// A peer (server, agent, cloud) cannot be reached.
    Unreachable,
    /// Client and server speak different versions.
    VersionMismatch,
    /// A deadline passed.
    Timeout,
    /// The request was cancelled.
    Cancelled,
    /// The request was cut off by a restart and cannot be resumed.
    Interrupted,
    /// A command on a node failed.
    CommandFailed,
    /// A bug, or a fault of the system below us.
    Internal,
}

impl Kind {
    /// Returns the HTTP status of a direct (not asynchronous) answer.
    pub(crate) const fn http_status(self) -> u16 {
        match self {
            Self::Invalid
            | Self::Usage
            | Self::InvalidName
            | Self::InvalidTask
            | Self::InvalidConfig
            | Self::Ambiguous
            | Self::NotSupported
            | Self::ResourcesMismatch
            | Self::ResourcesUnavailable
            | Self::NoCloudAccess
            | Self::VersionMismatch => 400,
            Self::Unauthenticated => 401,
            Self::PermissionDenied => 403,
            Self::NotFound | Self::ClusterNotFound => 404,
            Self::Conflict | Self::ClusterNotUp | Self::Cancelled => 409,
            Self::TooLarge => 413,
            Self::TooBusy => 429,
            Self::Internal | Self::Interrupted | Self::CommandFailed => 500,
            Self::Unreachable => 502,
            Self::Timeout => 504,
            Self::StorageFull => 507,
        }
    }

    /// Returns the exit code of a command that ends with this error.
    pub(crate) const fn exit_code(self) -> u8 {
        match self {
            Self::Usage => 2,
            Self::Invalid
            | Self::InvalidName
            | Self::InvalidTask
            | Self::InvalidConfig
            | Self::NotFound
            | Self::Ambiguous
            | Self::ClusterNotFound
            | Self::ClusterNotUp
            | Self::ResourcesMismatch
            | Self::ResourcesUnavailable
            | Self::NoCloudAccess
            | Self::NotSupported
            | Self::Conflict
            | Self::Unauthenticated
            | Self::PermissionDenied
            | Self::TooBusy
            | Self::TooLarge
            | Self::StorageFull
            | Self::Unreachable
            | Self::VersionMismatch
            | Self::Timeout
            | Self::Cancelled
            | Self::Interrupted
            | Self::CommandFailed
            | Self::Internal => 1,
        }
    }

    /// Returns whether the same call may succeed later without anything being changed.
    pub(crate) const fn is_retryable(self) -> bool {
        match self {
            Self::TooBusy | Self::Unreachable | Self::Timeout | Self::StorageFull => true,
            Self::Invalid
            | Self::Usage
            | Self::InvalidName
            | Self::InvalidTask
            | Self::InvalidConfig
            | Self::NotFound
            | Self::Ambiguous
            | Self::ClusterNotFound
            | Self::ClusterNotUp
            | Self::ResourcesMismatch
            | Self::ResourcesUnavailable
            | Self::NoCloudAccess
            | Self::NotSupported
            | Self::Conflict
            | Self::Unauthenticated
            | Self::PermissionDenied
            | Self::TooLarge
            | Self::VersionMismatch
            | Self::Cancelled
            | Self::Interrupted
            | Self::CommandFailed
            | Self::Internal => false,
        }
    }

    /// Returns the class by which SkyPilot's Python client raises this error.
    pub(crate) const fn exception_class(self) -> &'static str {
        match self {
            Self::Invalid
            | Self::Usage
            | Self::InvalidTask
            | Self::NotFound
            | Self::Ambiguous
            | Self::TooLarge => "ValueError",
            Self::InvalidName => "InvalidClusterNameError",
            Self::InvalidConfig => "InvalidSkyPilotConfigError",
            Self::ClusterNotFound => "ClusterDoesNotExist",
            Self::ClusterNotUp => "ClusterNotUpError",
            Self::ResourcesMismatch => "ResourcesMismatchError",
            Self::ResourcesUnavailable => "ResourcesUnavailableError",
            Self::NoCloudAccess => "NoCloudAccessError",
            Self::NotSupported => "NotSupportedError",
            Self::Unauthenticated | Self::PermissionDenied => "PermissionDeniedError",
            Self::Cancelled => "RequestCancelled",
            Self::Interrupted => "RequestInterruptedError",
            Self::Timeout => "TimeoutError",
            Self::CommandFailed => "ClusterSetUpError",
            Self::Conflict
            | Self::TooBusy
            | Self::StorageFull
            | Self::Unreachable
            | Self::VersionMismatch
            | Self::Internal => "RuntimeError",
        }
    }
}

/// An error as a value: stored with a request, sent over the wire, shown to a person.
///
/// `message` is a lower-case fragment that names the object; it never contains the text of its causes,
/// which stand in `chain`, nearest first. `hints` are sentences that name the next thing to type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Error {
    /// What went wrong, for code.
    kind: Kind,
    /// What went wrong, for people.
    message: String,
    /// The causes, nearest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    chain: Vec<String>,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    hints: Vec<String>,
    /// When to try again, where the refuser knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry_after: Option<Duration>,
    /// Data that belongs to the kind (cluster status, failover history), as the HTTP API carries it.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    attributes: serde_json::Map<String, serde_json::Value>,
}

impl Error {
    /// Makes an error without cause.
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            chain: Vec::new(),
            hints: Vec::new(),
            retry_after: None,
            attributes: serde_json::Map::new(),
        }
    }

    /// Makes an internal error from a cause: "failed to `doing`".
    pub(crate) fn internal(doing: impl fmt::Display, source: &dyn std::error::Error) -> Self {
        Self::new(Kind::Internal, format!("failed to {doing}")).caused_by(source)
    }

    /// Makes an error from a failed system call; a full disk keeps its own kind.
    pub(crate) fn io(doing: impl fmt::Display, source: &std::io::Error) -> Self {
        let kind = match source.kind() {
            std::io::ErrorKind::StorageFull
            | std::io::ErrorKind::QuotaExceeded
            | std::io::ErrorKind::FileTooLarge => Kind::StorageFull,
            _ => Kind::Internal,
        };
        Self::new(kind, format!("failed to {doing}")).caused_by(source)
    }

    /// Adds a cause with everything that caused it.
    #[must_use]
    pub(crate) fn caused_by(mut self, source: &dyn std::error::Error) -> Self {
        let mut next = Some(source);
        while let Some(cause) = next {
            let text = cause.to_string();
            // Errors that print their source as their own text would say everything twice.
            if self.chain.last() != Some(&text) {
                self.chain.push(text);
            }
            next = cause.source();
        }
        self
    }

    /// Puts this error under a new message: the old message becomes the first cause.
    #[must_use]
    pub(crate) fn context(mut self, message: impl Into<String>) -> Self {
        let cause = std::mem::replace(&mut self.message, message.into());
        self.chain.insert(0, cause);
        self
    }

    /// Adds a sentence that says what to do next.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Says when to try again.
    #[must_use]
    pub(crate) const fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    /// Adds data that belongs to the kind.
    #[must_use]
    pub(crate) fn attribute(mut self, key: &str, value: impl Into<serde_json::Value>) -> Self {
        self.attributes.insert(key.to_owned(), value.into());
        self
    }

    /// Returns what went wrong, for code.
    pub(crate) const fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns what went wrong, for people, without causes.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Returns the causes, nearest first.
    pub(crate) fn chain(&self) -> &[String] {
        &self.chain
    }

    /// Returns what to do next.
    pub(crate) fn hints(&self) -> &[String] {
        &self.hints
    }

    /// Returns when to try again, where known.
    pub(crate) const fn delay(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Returns the data that belongs to the kind.
    pub(crate) const fn attributes(&self) -> &serde_json::Map<String, serde_json::Value> {
        &self.attributes
    }

    /// Returns message and causes on one line: "message: cause: cause".
    pub(crate) fn one_line(&self) -> String {
        let mut line = self.message.clone();
        for cause in &self.chain {
            line.push_str(": ");
            line.push_str(cause);
        }
        line
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn context_keeps_the_cause_and_one_line_prints_both() {
        let cause = std::io::Error::other("disk on fire");
        let error = Error::io("read the log", &cause).context("cluster `a` has no log");
        assert_eq!(error.to_string(), "cluster `a` has no log");
        assert_eq!(
            error.one_line(),
            "cluster `a` has no log: failed to read the log: disk on fire"
        );
    }

    #[test]
    fn survives_storage() {
        let error = Error::new(Kind::ClusterNotUp, "cluster `a` is stopped")
            .hint("sky start a")
            .attribute("cluster_status", "STOPPED")
            .retry_after(Duration::from_secs(2));
        let text = serde_json::to_string(&error).expect("it serialises");
        assert_eq!(
            serde_json::from_str::<Error>(&text).expect("it parses"),
            error
        );
    }
}
