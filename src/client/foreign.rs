//! What only `SkyPilot`'s server says: its exception classes, and the pickles in its results.
//!
//! Nothing is ever unpickled. What only a pickle carries is absent here.

use base64::Engine as _;
use serde_json::Value;

use crate::base::Kind;

/// The kind of an exception class, as far as this side branches on it.
pub(super) fn kind_of_class(class: &str) -> Kind {
    match class {
        "ClusterDoesNotExist" => Kind::ClusterNotFound,
        "ClusterNotUpError" => Kind::ClusterNotUp,
        "InvalidClusterNameError" => Kind::InvalidName,
        "InvalidSkyPilotConfigError" => Kind::InvalidConfig,
        "NoCloudAccessError" => Kind::NoCloudAccess,
        "NotSupportedError" => Kind::NotSupported,
        "PermissionDeniedError" => Kind::PermissionDenied,
        "RequestCancelled" => Kind::Cancelled,
        "RequestInterruptedError" => Kind::Interrupted,
        "ResourcesMismatchError" => Kind::ResourcesMismatch,
        "ResourcesUnavailableError" => Kind::ResourcesUnavailable,
        "ValueError" => Kind::Invalid,
        _ => Kind::CommandFailed,
    }
}

/// Replaces the pickles in a result by null.
pub(super) fn without_pickles(mut value: Value) -> Value {
    drop_pickles(&mut value);
    value
}

/// Replaces the pickles below a value by null.
fn drop_pickles(value: &mut Value) {
    match value {
        Value::String(text) if is_pickle(text) => *value = Value::Null,
        Value::Array(items) => items.iter_mut().for_each(drop_pickles),
        Value::Object(map) => map.values_mut().for_each(drop_pickles),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Returns whether a text is base64 of a pickle: a version from 2 on, and a full stop as the last opcode.
fn is_pickle(text: &str) -> bool {
    if !text.starts_with("gA") {
        return false;
    }
    let Ok(bytes) = base64::engine::general_purpose::STANDARD.decode(text) else {
        return false;
    };
    matches!(bytes.as_slice(), [0x80, 2..=5, .., b'.'])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::requests::PICKLED_NONE;

    #[test]
    fn pickles_are_absent() {
        let result = json!({
            "job_id": 1,
            "handle": PICKLED_NONE,
            "list": ["gAJOLg==", "gA", "gAAAAA==", "text"],
        });
        assert_eq!(
            without_pickles(result),
            json!({"job_id": 1, "handle": null, "list": [null, "gA", "gAAAAA==", "text"]})
        );
    }
}
