//! From a checked verb to a stored request.

use serde_json::Value;

use super::app::App;
use super::redact::TASK_FIELDS;
use super::reply;
use super::seal::{self, Sealer};
use super::visitor::Visitor;
use crate::api::bodies::{ExecBody, LaunchBody};
use crate::base::cx::Caller;
use crate::base::ids::RequestId;
use crate::base::{Error, Kind, Result};
use crate::ops::{Facts, Op, Order};
use crate::requests::{Admission, Lane, Profile};

use axum::response::Response;

/// Stores a verb as a request and answers with its id.
///
/// `SkyPilot`'s clients end with a trace when a verb is refused, but raise what its result says.
pub(crate) async fn submit(app: &App, visitor: Visitor, mut op: Op) -> Result<Response> {
    adopt_upload(app, &visitor.caller, &mut op);
    let name = op.name().to_owned();
    let facts = match facts(app, &visitor.caller, &op) {
        Err(error) if visitor.published => {
            let id = finished(app, visitor.caller, &name, Err(error)).await?;
            return Ok(reply::accepted(id));
        }
        facts => facts?,
    };
    let order = Order {
        op,
        origin: visitor.standing.origin(),
    };
    let admission = Admission {
        name,
        body: sealed(&app.sealer, order.to_value()?)?,
        caller: visitor.caller,
        key: visitor.key,
        profile: profile(facts),
    };
    let admitted = app.requests.submit(admission).await?;
    app.metrics.accepted();
    Ok(reply::accepted(admitted.id))
}

/// What the queue must know of a verb; refuses one whose upload is gone.
fn facts(app: &App, caller: &Caller, op: &Op) -> Result<Facts> {
    let facts = op.facts()?;
    if let Some(blob) = &facts.blob
        && !app.blobs.touch(&caller.id, blob)
    {
        return Err(Error::new(
            Kind::NotFound,
            "the upload that the task refers to does not exist any more",
        )
        .hint("submit it again: the files are uploaded anew"));
    }
    Ok(facts)
}

/// Names the upload of a client that does not do so itself.
fn adopt_upload(app: &App, caller: &Caller, op: &mut Op) {
    if let Op::Launch(LaunchBody { common, .. }) | Op::Exec(ExecBody { common, .. }) = op
        && common.using_remote_api_server
        && common.file_mounts_blob_id.is_none()
    {
        common.file_mounts_blob_id = app.early.latest(&caller.id);
    }
}

/// Stores a request that is over: what `SkyPilot`'s clients want to hear of as a request, but is answered at once.
pub(crate) async fn finished(
    app: &App,
    caller: Caller,
    name: &str,
    result: Result<Value>,
) -> Result<RequestId> {
    let attached = app.requests.attach(short(name, caller)).await?;
    let id = attached.id;
    attached.finish(result).await?;
    Ok(id)
}

/// The admission of a look-up without a body that anybody needs.
pub(crate) fn short(name: &str, caller: Caller) -> Admission {
    Admission {
        name: name.to_owned(),
        body: Value::Null,
        caller,
        key: None,
        profile: Profile {
            lane: Lane::Short,
            cluster: None,
            exclusive: false,
            preempts: false,
            blob: None,
            listed: true,
        },
    }
}

/// How the queue treats a verb.
pub(crate) fn profile(facts: Facts) -> Profile {
    Profile {
        lane: if facts.long { Lane::Long } else { Lane::Short },
        cluster: facts.cluster,
        exclusive: facts.exclusive,
        preempts: facts.preempts,
        blob: facts.blob,
        listed: true,
    }
}

/// Seals the task text of a body when it may hold secrets.
fn sealed(sealer: &Sealer, mut order: Value) -> Result<Value> {
    for text in task_texts(&mut order) {
        if may_hold_secrets(text) {
            *text = sealer.seal(text)?;
        }
    }
    Ok(order)
}

/// Opens what [`sealed`] has sealed.
pub(crate) fn opened(sealer: &Sealer, mut order: Value) -> Result<Value> {
    for text in task_texts(&mut order) {
        *text = sealer.open(text)?;
    }
    Ok(order)
}

/// The task texts in an order.
fn task_texts(order: &mut Value) -> impl Iterator<Item = &mut String> {
    let body = order.get_mut("body").and_then(Value::as_object_mut);
    body.into_iter()
        .flatten()
        .filter(|(name, _)| TASK_FIELDS.contains(&name.as_str()))
        .filter_map(|(_, value)| match value {
            Value::String(text) => Some(text),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_) => None,
        })
}

/// Errs on the side of sealing. A text that only looks sealed is sealed too: it must not be opened as if it were.
fn may_hold_secrets(text: &str) -> bool {
    text.contains("secret") || text.contains("PASSWORD") || text.starts_with(seal::PREFIX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sealer() -> Sealer {
        let dir = tempfile::tempdir().expect("a directory");
        Sealer::open_or_create(&dir.path().join("key")).expect("a key")
    }

    #[test]
    fn tasks_with_secrets_are_sealed_and_open_again() {
        let sealer = sealer();
        for text in ["secrets: {A: hunter2}", "sealed:v1:forged", "run: echo"] {
            let order = json!({ "op": "launch", "body": { "task": text, "cluster_name": "a" } });
            let stored = sealed(&sealer, order.clone()).expect("it seals");
            assert!(!stored.to_string().contains("hunter2"), "{stored}");
            assert_eq!(opened(&sealer, stored).expect("it opens"), order);
        }
    }

    #[test]
    fn a_task_without_secrets_stays_readable() {
        let order = json!({ "op": "launch", "body": { "task": "run: echo" } });
        assert_eq!(sealed(&sealer(), order.clone()).expect("it passes"), order);
    }
}
