//! Results in the form that SkyPilot's clients read: where ours get plain JSON, theirs need a pickled object.

use serde::Deserialize as _;
use serde_json::{Value, json};

use crate::api::handles::{Handle, NodeResources};
use crate::api::requests::PICKLED_NONE;

/// Rewrites the result of a verb. What cannot be read (nothing that this program writes) becomes a pickled `None`.
pub(super) fn result(name: &str, mut value: Value) -> Value {
    match name {
        "launch" | "exec" => {
            if value.is_null() {
                return json!({ "job_id": null, "handle": PICKLED_NONE });
            }
            rewrite(&mut value, "handle", handle);
        }
        "start" => return handle(&value),
        "status" => rewrite_all(&mut value, "handle", handle),
        "cost_report" => rewrite_all(&mut value, "resources", resources),
        _ => {}
    }
    value
}

/// Rewrites a field of every record of a list.
fn rewrite_all(list: &mut Value, field: &str, how: fn(&Value) -> Value) {
    for record in list.as_array_mut().into_iter().flatten() {
        rewrite(record, field, how);
    }
}

/// Rewrites a field, where it is.
fn rewrite(record: &mut Value, field: &str, how: fn(&Value) -> Value) {
    if let Some(value) = record.get_mut(field) {
        *value = how(value);
    }
}

/// A handle.
fn handle(value: &Value) -> Value {
    let pickle = Handle::deserialize(value).map(|handle| handle.pickled().to_base64());
    pickle.unwrap_or_else(|_| PICKLED_NONE.to_owned()).into()
}

/// What a node is.
fn resources(value: &Value) -> Value {
    let pickle = NodeResources::deserialize(value).map(|node| node.pickled().to_base64());
    pickle.unwrap_or_else(|_| PICKLED_NONE.to_owned()).into()
}
