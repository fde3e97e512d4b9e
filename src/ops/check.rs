//! `sky check` and its kin: which infra can be used, and what keeps the others from it.

use serde_json::{Map, Value, json};

use super::Ops;
use crate::api::bodies::CheckBody;
use crate::base::Result;
use crate::base::cx::Cx;
use crate::catalog::display_name;
use crate::clouds::{ABSENT, Absent, CloudId, absent};

/// Runs the verb.
pub(super) async fn run(ops: &Ops, cx: &Cx, body: CheckBody) -> Result<Value> {
    let named: Vec<String> = body.clouds.unwrap_or_default();
    for name in &named {
        // An infra of a later release is reported as disabled; a name that nobody knows is an error.
        if absent(name).is_none() {
            name.parse::<CloudId>()?;
        }
    }
    let is_named = |id: &str| {
        named.iter().any(|name| {
            name.parse::<CloudId>()
                .is_ok_and(|named| named.as_str() == id)
        })
    };
    cx.line("Checking credentials to enable infra for SkyPilot.");
    let mut enabled = Map::new();
    let clouds = ops.clusters.clouds();
    for cloud in clouds.iter() {
        if !named.is_empty() && !is_named(cloud.id().as_str()) {
            continue;
        }
        let name = cloud.id().display_name();
        match clouds.check(&**cloud).await {
            Ok(account) => {
                ops.clusters.set_up(cloud.id()).await?;
                cx.line(format!("  {name}: enabled [compute]"));
                if let Some(account) = account.filter(|_| body.verbose) {
                    cx.line(format!("    Activated account: {account}"));
                }
                enabled.insert(name.to_owned(), json!(["compute"]));
            }
            Err(error) => show_disabled(cx, name, &error.error.one_line(), error.error.hints()),
        }
    }
    let mut shown = false;
    for one in ABSENT {
        let is_wanted = if named.is_empty() {
            body.verbose || one.is_planned
        } else {
            named
                .iter()
                .filter_map(|name| absent(name))
                .any(|name| name == one)
        };
        if is_wanted {
            shown = true;
            show_absent(cx, one, body.verbose || !named.is_empty());
        }
    }
    if shown && !body.verbose && named.is_empty() {
        cx.line("\nWhat to do meanwhile, and all other infra: sky check -v");
    }
    show_enabled(cx, &enabled);
    Ok(json!({ "default": enabled }))
}

/// Shows an infra of a later release.
fn show_absent(cx: &Cx, one: &Absent, with_hint: bool) {
    let hints = if with_hint {
        vec![one.hint.to_owned()]
    } else {
        Vec::new()
    };
    show_disabled(cx, &display_name(one.name), one.reason, &hints);
}

/// Shows an infra that cannot be used.
fn show_disabled(cx: &Cx, name: &str, reason: &str, hints: &[String]) {
    cx.line(format!("  {name}: disabled"));
    cx.line(format!("    Reason [compute]: {reason}"));
    for hint in hints {
        cx.line(format!("      {hint}"));
    }
}

/// Shows the summary.
fn show_enabled(cx: &Cx, enabled: &Map<String, Value>) {
    if enabled.is_empty() {
        cx.line("\nNo infra to check/enabled.");
        return;
    }
    cx.line("\n🎉 Enabled infra 🎉");
    for name in enabled.keys() {
        cx.line(format!("  {name} [compute]"));
    }
}

/// Returns the names of the infra that can be used.
pub(super) async fn enabled(ops: &Ops) -> Result<Value> {
    let mut names = Vec::new();
    let clouds = ops.clusters.clouds();
    for cloud in clouds.iter() {
        if clouds.check(&**cloud).await.is_ok() {
            names.push(cloud.id().as_str());
        }
    }
    Ok(json!(names))
}

/// Returns the one workspace there is.
pub(super) fn workspaces() -> Value {
    json!({ "default": { "writable": true, "read_only": false } })
}
