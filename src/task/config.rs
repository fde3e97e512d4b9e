//! Configuration files: text to a mapping whose keys are known. Client and server read theirs with it.

use serde_json::{Map, Value};

use super::yaml;
use crate::base::ids::clip;
use crate::base::{Error, Kind, Result};

/// Keys that may stand at the top.
const KNOWN: [&str; 36] = [
    "active_workspace",
    "admin_policy",
    "allowed_clouds",
    "api_server",
    "aws",
    "azure",
    "cudo",
    "daemons",
    "dashboard",
    "data",
    "db",
    "docker",
    "fluidstack",
    "gcp",
    "hyperbolic",
    "ibm",
    "jobs",
    "kubernetes",
    "lambda",
    "local",
    "logs",
    "metrics",
    "nebius",
    "nvidia_gpus",
    "oci",
    "paperspace",
    "plugins",
    "provision",
    "rbac",
    "runpod",
    "serve",
    "slurm",
    "ssh",
    "vast",
    "workspace_config",
    "workspaces",
];

/// Keys that may stand under `api_server`.
const KNOWN_API_SERVER: [&str; 15] = [
    "cluster_debug_event_retention_hours",
    "cluster_event_retention_hours",
    "cluster_terminal_event_retention_hours",
    "cluster_refresh_seconds",
    "daemon_log_max_bytes",
    "endpoint",
    "launch_attempt_retention_hours",
    "logs_retention_hours",
    "max_long_requests",
    "max_pending_requests",
    "max_short_requests",
    "max_upload_bytes",
    "requests_retention_bytes",
    "requests_retention_hours",
    "service_account_token",
];

/// Reads a configuration file's text.
pub(crate) fn parse(text: &str, origin: &str) -> Result<Map<String, Value>> {
    let map = match yaml_value(text, origin)? {
        Value::Null => Map::new(),
        Value::Object(map) => map,
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            let what = format!("{origin}: a configuration is a mapping of keys");
            return Err(Error::new(Kind::InvalidConfig, what));
        }
    };
    check(&map, origin)?;
    Ok(map)
}

/// Reads one YAML value.
pub(crate) fn yaml_value(text: &str, origin: &str) -> Result<Value> {
    let invalid = |e: Error| Error::new(Kind::InvalidConfig, e.message().to_owned());
    let documents = yaml::documents(text, origin).map_err(invalid)?;
    match documents.as_slice() {
        [] => Ok(Value::Null),
        [one] => one.to_value().map_err(|line| {
            let what = format!("{origin}:{line}: a value that a configuration cannot hold");
            Error::new(Kind::InvalidConfig, what)
        }),
        [_, ..] => Err(Error::new(
            Kind::InvalidConfig,
            format!("{origin}: a configuration is one document"),
        )),
    }
}

/// Refuses keys that nobody reads: they are mistakes.
pub(crate) fn check(map: &Map<String, Value>, origin: &str) -> Result<()> {
    known(map, &KNOWN, "", origin)?;
    if let Some(Value::Object(inner)) = map.get("api_server") {
        known(inner, &KNOWN_API_SERVER, "api_server.", origin)?;
    }
    Ok(())
}

/// Refuses keys that are not in a list, naming the nearest that are.
fn known(map: &Map<String, Value>, keys: &[&str], prefix: &str, origin: &str) -> Result<()> {
    let Some(unknown) = map.keys().find(|key| !keys.contains(&key.as_str())) else {
        return Ok(());
    };
    let what = format!("{origin}: unknown key `{prefix}{}`", clip(unknown));
    let error = Error::new(Kind::InvalidConfig, what);
    Err(match nearest(unknown, keys) {
        Some(key) => error.hint(format!("did you mean `{prefix}{key}`?")),
        None => error.hint(format!("known keys: {}", keys.join(", "))),
    })
}

/// Returns the word that somebody may have meant.
pub(crate) fn nearest<'a>(written: &str, words: &[&'a str]) -> Option<&'a str> {
    words
        .iter()
        .map(|word| (strsim::damerau_levenshtein(word, written), *word))
        .filter(|(distance, _)| *distance <= 3)
        .min()
        .map(|(_, word)| word)
}

/// Lays `over` over `base`: mappings key by key, everything else is replaced.
pub(crate) fn merge(base: &mut Map<String, Value>, over: Map<String, Value>) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(Value::Object(base)), Value::Object(over)) => merge(base, over),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(text: &str) -> Map<String, Value> {
        parse(text, "test").expect("valid")
    }

    #[test]
    fn mappings_merge_and_everything_else_is_replaced() {
        let mut base =
            map("kubernetes: {namespace: a, allowed_contexts: [x, y]}\nactive_workspace: w\n");
        merge(&mut base, map("kubernetes: {allowed_contexts: [z]}\n"));
        assert_eq!(
            Value::Object(base),
            serde_json::json!({
                "kubernetes": {"namespace": "a", "allowed_contexts": ["z"]},
                "active_workspace": "w",
            })
        );
    }

    #[test]
    fn unknown_keys_are_mistakes_with_a_suggestion() {
        let error = parse("kubernets: {}", "c.yaml").expect_err("unknown");
        assert_eq!(error.message(), "c.yaml: unknown key `kubernets`");
        assert_eq!(error.hints(), ["did you mean `kubernetes`?"]);
        let error = parse("api_server: {endpiont: x}", "c.yaml").expect_err("unknown");
        assert_eq!(error.hints(), ["did you mean `api_server.endpoint`?"]);
    }
}
