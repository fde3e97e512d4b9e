//! Errors as SkyPilot's clients raise them again: class, arguments and attributes of an exception.
//!
//! The same facts travel twice: as a pickled dict in the error of a request, as plain JSON in the refusal of `/validate`.

use serde_json::{Value, json};

use super::pickle::{Pickle, dict, name};
use crate::base::{Error, Kind};

/// Returns what happened and what to do next, for clients that know only text.
pub(crate) fn message(error: &Error) -> String {
    let mut text = error.one_line();
    for hint in error.hints() {
        text.push('\n');
        text.push_str(hint);
    }
    text
}

/// Returns the exception as plain JSON.
pub(crate) fn plain(error: &Error) -> Value {
    let message = message(error);
    let attributes = match attributes(error) {
        Attributes::None => json!({}),
        Attributes::ClusterStatus(status) => json!({ "cluster_status": status, "handle": null }),
        Attributes::Failover { none, history } => {
            json!({ "no_failover": none, "failover_history": history })
        }
    };
    json!({
        "type": error.kind().exception_class(),
        "message": message,
        "args": [message],
        "attributes": attributes,
        "stacktrace": null,
    })
}

/// Returns the exception as a pickled dict.
pub(crate) fn pickled(error: &Error) -> Pickle {
    let message = message(error);
    let attributes = match attributes(error) {
        Attributes::None => dict([]),
        Attributes::ClusterStatus(status) => {
            let class = name("sky.utils.status_lib", "ClusterStatus");
            let status = status.map(|status| Pickle::Call(class, vec![status.into()]));
            dict([("cluster_status", status.into()), ("handle", Pickle::None)])
        }
        Attributes::Failover { none, history } => {
            let cause =
                |text: &str| Pickle::Call(name("builtins", "RuntimeError"), vec![text.into()]);
            let history = history.into_iter().map(cause).collect();
            dict([
                ("no_failover", none.into()),
                ("failover_history", Pickle::List(history)),
            ])
        }
    };
    dict([
        ("type", error.kind().exception_class().into()),
        ("message", message.as_str().into()),
        ("args", Pickle::Tuple(vec![message.as_str().into()])),
        ("attributes", attributes),
        ("stacktrace", Pickle::None),
    ])
}

/// What an exception carries beyond its message.
enum Attributes<'a> {
    /// Nothing.
    None,
    /// The state of a cluster that is not UP.
    ClusterStatus(Option<&'a str>),
    /// How often a launch was refused.
    Failover {
        /// Whether other places were not even tried.
        none: bool,
        /// Why each place refused.
        history: Vec<&'a str>,
    },
}

/// Returns what the exception class of an error takes.
fn attributes(error: &Error) -> Attributes<'_> {
    let given = error.attributes();
    match error.kind() {
        Kind::ClusterNotUp => {
            Attributes::ClusterStatus(given.get("cluster_status").and_then(Value::as_str))
        }
        Kind::ResourcesUnavailable => {
            let history = given.get("failover_history").and_then(Value::as_array);
            Attributes::Failover {
                none: given.get("no_failover").and_then(Value::as_bool) == Some(true),
                history: history
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                    .collect(),
            }
        }
        Kind::Invalid
        | Kind::Usage
        | Kind::InvalidName
        | Kind::InvalidTask
        | Kind::InvalidConfig
        | Kind::NotFound
        | Kind::Ambiguous
        | Kind::ClusterNotFound
        | Kind::ResourcesMismatch
        | Kind::NoCloudAccess
        | Kind::NotSupported
        | Kind::Conflict
        | Kind::Unauthenticated
        | Kind::PermissionDenied
        | Kind::TooBusy
        | Kind::TooLarge
        | Kind::StorageFull
        | Kind::Unreachable
        | Kind::VersionMismatch
        | Kind::Timeout
        | Kind::Cancelled
        | Kind::Interrupted
        | Kind::CommandFailed
        | Kind::Internal => Attributes::None,
    }
}

#[cfg(test)]
mod tests;
