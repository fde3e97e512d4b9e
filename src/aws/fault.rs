//! What can go wrong with a call: AWS refused it, by a code; or it never got there.

use std::fmt;

use serde::Deserialize;

use crate::base::{Error, Kind};

/// Codes that may be gone when the same call is made again.
const PASSING: &[&str] = &[
    "InternalError",
    "InternalFailure",
    "InternalServerError",
    "ServiceUnavailable",
    "Unavailable",
    "RequestTimeout",
    "RequestTimeoutException",
    "ConcurrentModification",
    "IncorrectInstanceState.Retry",
];
/// Codes that ask for fewer calls.
const THROTTLING: &[&str] = &[
    "RequestLimitExceeded",
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestThrottled",
    "RequestThrottledException",
    "TooManyRequestsException",
    "EC2ThrottledException",
    "BandwidthLimitExceeded",
    "SlowDown",
    "PriorRequestNotComplete",
];
/// Codes of credentials that are missing, wrong or over.
const UNKNOWN_CALLER: &[&str] = &[
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidClientTokenId",
    "MissingAuthenticationToken",
    "RequestExpired",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
    "InvalidAccessKeyId",
];
/// Codes of callers who may not do this.
const FORBIDDEN: &[&str] = &[
    "AccessDenied",
    "AccessDeniedException",
    "Blocked",
    "NotAuthorized",
    "OptInRequired",
    "PendingVerification",
    "UnauthorizedOperation",
];

/// Why a call failed.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// AWS answered with an error.
    Refused {
        /// Its code, such as `InsufficientInstanceCapacity`; empty where there was none.
        code: String,
        /// Its words.
        message: String,
        /// HTTP status.
        status: u16,
        /// What was called.
        action: String,
        /// Whether an earlier attempt had no answer: that one may have taken effect.
        after_silence: bool,
    },
    /// There was no answer, or no credentials to call with.
    Failed(Box<Error>),
}

impl Fault {
    /// Returns the code of a refusal; empty for other failures.
    pub(crate) fn code(&self) -> &str {
        match self {
            Self::Refused { code, .. } => code,
            Self::Failed(_) => "",
        }
    }

    /// Whether AWS asks for fewer calls.
    pub(crate) fn is_throttling(&self) -> bool {
        THROTTLING.contains(&self.code())
    }

    /// Whether the same call may succeed later.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Refused { code, status, .. } => {
                self.is_throttling()
                    || PASSING.contains(&code.as_str())
                    // A 5xx with a code of its own (no capacity) says what is the matter.
                    || (code.is_empty() && *status >= 500)
            }
            Self::Failed(error) => matches!(error.kind(), Kind::Unreachable | Kind::Timeout),
        }
    }

    /// Whether the call may have taken effect all the same: it, or an earlier attempt, had no answer that says otherwise.
    pub(crate) fn leaves_open(&self) -> bool {
        match self {
            Self::Refused { after_silence, .. } => {
                *after_silence || (self.is_passing() && !self.is_throttling())
            }
            // Without credentials there was no call.
            Self::Failed(_) => !self.is_unknown_caller(),
        }
    }

    /// Returns the fault of a call of which an earlier attempt had no answer.
    pub(super) fn after_silence(mut self) -> Self {
        if let Self::Refused { after_silence, .. } = &mut self {
            *after_silence = true;
        }
        self
    }

    /// Whether the credentials are missing, wrong or over.
    pub(crate) fn is_unknown_caller(&self) -> bool {
        match self {
            Self::Refused { code, .. } => UNKNOWN_CALLER.contains(&code.as_str()),
            Self::Failed(error) => {
                matches!(error.kind(), Kind::Unauthenticated | Kind::NoCloudAccess)
            }
        }
    }

    /// Whether the caller may not do this.
    pub(crate) fn is_forbidden(&self) -> bool {
        FORBIDDEN.contains(&self.code())
    }

    /// Reads the body of an error: the XML of the query APIs, or JSON.
    pub(super) fn read(action: &str, status: u16, body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        let (code, message) = from_xml(&text)
            .or_else(|| from_json(&text))
            .unwrap_or_default();
        let message = match code.as_str() {
            // AWS quotes the call, the session's token included.
            "SignatureDoesNotMatch" => "the secret key is not that of the access key".to_owned(),
            _ if message.is_empty() => format!("status {status} without a reason"),
            _ => message,
        };
        Self::Refused {
            message,
            code,
            status,
            action: action.to_owned(),
            after_silence: false,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { code, message, .. } if code.is_empty() => f.write_str(message),
            Self::Refused { code, message, .. } => write!(f, "{message} ({code})"),
            Self::Failed(error) => f.write_str(&error.one_line()),
        }
    }
}

impl std::error::Error for Fault {}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Failed(Box::new(error))
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        let kind = if fault.is_unknown_caller() {
            Kind::Unauthenticated
        } else if fault.is_forbidden() {
            Kind::PermissionDenied
        } else if fault.is_throttling() {
            Kind::TooBusy
        } else if fault.is_passing() {
            Kind::Unreachable
        } else {
            Kind::Invalid
        };
        match fault {
            Fault::Failed(error) => *error,
            Fault::Refused { ref action, .. } => {
                let error = Error::new(kind, format!("AWS refused `{action}`"));
                let error = error.caused_by(&fault);
                match kind {
                    Kind::Unauthenticated => error
                        .hint("see whether the credentials are right: aws sts get-caller-identity"),
                    Kind::PermissionDenied => {
                        error.hint(format!("permit `{action}` to the caller (see docs/aws.md)"))
                    }
                    _ => error,
                }
            }
        }
    }
}

/// An error of the query APIs: EC2 wraps it once more than the others.
#[derive(Deserialize)]
struct Xml {
    /// EC2.
    #[serde(rename = "Errors")]
    errors: Option<Errors>,
    /// Others.
    #[serde(rename = "Error")]
    error: Option<One>,
}

/// EC2's list of errors.
#[derive(Deserialize)]
struct Errors {
    /// The error.
    #[serde(rename = "Error")]
    error: One,
}

/// One error.
#[derive(Deserialize)]
struct One {
    /// Code.
    #[serde(rename = "Code")]
    code: String,
    /// Words.
    #[serde(rename = "Message", default)]
    message: String,
}

/// Reads an error in XML.
fn from_xml(text: &str) -> Option<(String, String)> {
    let read: Xml = quick_xml::de::from_str(text).ok()?;
    let one = read.errors.map(|e| e.error).or(read.error)?;
    Some((one.code, one.message))
}

/// Reads an error in JSON: `{"__type": "com.amazonaws.ssm#ParameterNotFound", "message": …}`.
fn from_json(text: &str) -> Option<(String, String)> {
    let value: serde_json::Value = serde_json::from_str(text).ok()?;
    let kind = value["__type"].as_str()?;
    let code = kind.rsplit('#').next().unwrap_or(kind).to_owned();
    let message = value["message"].as_str().or(value["Message"].as_str());
    Some((code, message.unwrap_or_default().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_read_in_all_their_forms() {
        let ec2 = "<?xml version=\"1.0\"?>\n<Response><Errors><Error><Code>VcpuLimitExceeded</Code><Message>no &amp; no</Message></Error></Errors><RequestID>1</RequestID></Response>";
        let sts = "<ErrorResponse xmlns=\"x\"><Error><Type>Sender</Type><Code>ExpiredToken</Code><Message>over</Message></Error><RequestId>1</RequestId></ErrorResponse>";
        let ssm = r#"{"__type": "com.amazonaws.ssm#ThrottlingException", "message": "slow down"}"#;
        let read = |text: &str, status| Fault::read("Act", status, text.as_bytes());
        assert_eq!(read(ec2, 400).to_string(), "no & no (VcpuLimitExceeded)");
        assert!(!read(ec2, 500).is_passing());
        assert!(read(sts, 403).is_unknown_caller());
        assert!(read(ssm, 400).is_throttling() && read(ssm, 400).is_passing());
        assert!(read("<html>bad gateway</html>", 502).is_passing());
        assert!(!read("", 404).is_passing());
        assert!(read("", 502).leaves_open() && !read(ec2, 400).leaves_open());
        assert!(!read(ssm, 400).leaves_open() && read(ssm, 400).after_silence().leaves_open());
        let error = Error::from(read(sts, 403));
        assert_eq!(error.kind(), Kind::Unauthenticated);
        assert_eq!(error.one_line(), "AWS refused `Act`: over (ExpiredToken)");
    }
}
