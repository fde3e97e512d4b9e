//! `sky check` and its kin: which infra can be used.

use serde_json::{Map, Value, json};

use super::Ops;
use crate::api::bodies::CheckBody;
use crate::base::Result;
use crate::base::cx::Cx;
use crate::clouds::{ABSENT, CloudId};

/// Runs the verb.
pub(super) async fn run(ops: &Ops, cx: &Cx, body: CheckBody) -> Result<Value> {
    let named: Option<Vec<String>> = body.clouds.filter(|names| !names.is_empty());
    for name in named.iter().flatten() {
        // An infra of a later release is reported as disabled; a name that nobody knows is an error.
        let base = name
            .split('/')
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase();
        if !ABSENT.contains(&base.as_str()) {
            name.parse::<CloudId>()?;
        }
    }
    let wanted = |id: &str| {
        named
            .as_ref()
            .is_none_or(|names| names.iter().any(|n| n.eq_ignore_ascii_case(id)))
    };
    cx.line("Checking credentials to enable infra for SkyPilot.");
    let mut enabled = Map::new();
    let clouds = ops.clusters.clouds();
    for cloud in clouds.iter().filter(|c| wanted(c.id().as_str())) {
        let name = cloud.id().display_name();
        match clouds.check(&**cloud).await {
            Ok(()) => {
                cx.line(format!("  {name}: enabled [compute]"));
                enabled.insert(name.to_owned(), json!(["compute"]));
            }
            Err(error) => {
                cx.line(format!("  {name}: disabled"));
                cx.line(format!("    Reason [compute]: {}", error.error.one_line()));
                for hint in error.error.hints() {
                    cx.line(format!("      {hint}"));
                }
            }
        }
    }
    for name in named
        .iter()
        .flatten()
        .filter(|n| n.parse::<CloudId>().is_err())
    {
        cx.line(format!("  {name}: disabled"));
        cx.line("    Reason [compute]: this release cannot reach it");
    }
    show_enabled(cx, &enabled);
    Ok(json!({ "default": enabled }))
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
