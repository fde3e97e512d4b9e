//! The client's configuration: user file, project file and `--config`, merged.
//!
//! The `config:` block of a task belongs to `task/`; the server lays all of it over its own for one request.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::base::ids::clip;
use crate::base::{Error, Kind, Result};
use crate::sys::env;
use crate::sys::paths::Paths;
use crate::task::yaml;

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
const KNOWN_API_SERVER: [&str; 9] = [
    "cluster_debug_event_retention_hours",
    "cluster_event_retention_hours",
    "cluster_terminal_event_retention_hours",
    "daemon_log_max_bytes",
    "endpoint",
    "launch_attempt_retention_hours",
    "logs_retention_hours",
    "requests_retention_hours",
    "service_account_token",
];

/// Keys that the server never takes from a client.
const NOT_SENT: [&str; 7] = [
    "api_server",
    "admin_policy",
    "allowed_clouds",
    "workspaces",
    "db",
    "daemons",
    "metrics",
];

/// The merged configuration.
#[derive(Debug, Clone, Default)]
pub(crate) struct Config {
    /// What the files and options say together.
    merged: Map<String, Value>,
    /// The file that named the endpoint, if one did.
    endpoint_file: Option<PathBuf>,
}

impl Config {
    /// Reads the files and lays `options` (the values of `--config`) over them.
    pub(crate) fn load(paths: &Paths, options: &[String]) -> Result<Self> {
        let mut config = Self::default();
        if let Some(only) = env::var("SKYPILOT_CONFIG") {
            config.add_file(Path::new(&only), Missing::IsError)?;
            return Ok(config);
        }
        match env::var("SKYPILOT_GLOBAL_CONFIG") {
            Some(path) => config.add_file(&expand(paths, &path), Missing::IsError)?,
            None => config.add_file(&paths.config(), Missing::IsFine)?,
        }
        match env::var("SKYPILOT_PROJECT_CONFIG") {
            Some(path) => config.add_file(&expand(paths, &path), Missing::IsError)?,
            None => config.add_file(Path::new(".sky.yaml"), Missing::IsFine)?,
        }
        config.add_options(options)?;
        Ok(config)
    }

    /// Returns a text by its dotted path.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        let mut value = None;
        let mut map = &self.merged;
        for key in path.split('.') {
            value = map.get(key);
            if let Some(Value::Object(inner)) = value {
                map = inner;
            }
        }
        value.and_then(Value::as_str)
    }

    /// Returns the file that names the endpoint, where one does.
    pub(crate) fn endpoint_file(&self) -> Option<&Path> {
        self.endpoint_file.as_deref()
    }

    /// Returns what travels with a request.
    pub(crate) fn for_requests(&self) -> Map<String, Value> {
        let mut sent = self.merged.clone();
        sent.retain(|key, _| !NOT_SENT.contains(&key.as_str()));
        sent
    }

    /// Lays a file over what is there.
    fn add_file(&mut self, path: &Path, missing: Missing) -> Result<()> {
        let origin = path.display().to_string();
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && missing == Missing::IsFine => {
                return Ok(());
            }
            Err(e) => {
                let what = format!("cannot read the configuration file `{origin}`");
                return Err(Error::new(Kind::InvalidConfig, what).caused_by(&e));
            }
        };
        let map = parse(&text, &origin)?;
        if map
            .get("api_server")
            .is_some_and(|a| a.get("endpoint").is_some())
        {
            self.endpoint_file = Some(path.to_path_buf());
        }
        merge(&mut self.merged, map);
        Ok(())
    }

    /// Lays the values of `--config` over what is there: one file, or any number of `a.b=value`.
    fn add_options(&mut self, options: &[String]) -> Result<()> {
        for option in options {
            let pair = option.split_once('=').filter(|(key, _)| is_dotted_key(key));
            let Some((key, value)) = pair else {
                if options.len() > 1 {
                    let what = format!(
                        "`--config {}`: a file must be the only --config",
                        clip(option)
                    );
                    return Err(Error::new(Kind::Usage, what));
                }
                return self.add_file(Path::new(option), Missing::IsError);
            };
            let origin = format!("--config {key}");
            let value = yaml_value(value, &origin)?;
            let map = key.rsplit('.').fold(value, |inner, part| {
                Value::Object(Map::from_iter([(part.to_owned(), inner)]))
            });
            let Value::Object(map) = map else { continue };
            check(&map, &origin)?;
            merge(&mut self.merged, map);
        }
        Ok(())
    }
}

/// What a file that does not exist means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    /// Nobody asked for it.
    IsFine,
    /// It was named.
    IsError,
}

/// Replaces a leading `~`.
fn expand(paths: &Paths, path: &str) -> PathBuf {
    path.strip_prefix("~/")
        .map_or_else(|| PathBuf::from(path), |rest| paths.home().join(rest))
}

/// Returns whether a text can stand before `=` in `--config`.
fn is_dotted_key(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// Reads a configuration file's text.
fn parse(text: &str, origin: &str) -> Result<Map<String, Value>> {
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
fn yaml_value(text: &str, origin: &str) -> Result<Value> {
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
fn check(map: &Map<String, Value>, origin: &str) -> Result<()> {
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
    let near = keys
        .iter()
        .map(|key| (strsim::damerau_levenshtein(key, unknown), key))
        .filter(|(distance, _)| *distance <= 3)
        .min();
    Err(match near {
        Some((_, key)) => error.hint(format!("did you mean `{prefix}{key}`?")),
        None => error.hint(format!("known keys: {}", keys.join(", "))),
    })
}

/// Lays `over` over `base`: mappings key by key, everything else is replaced.
fn merge(base: &mut Map<String, Value>, over: Map<String, Value>) {
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

    #[test]
    fn options_are_dotted_pairs() {
        let mut config = Config::default();
        let options = [
            "kubernetes.namespace=ml".to_owned(),
            "active_workspace=w".to_owned(),
        ];
        config.add_options(&options).expect("valid");
        assert_eq!(config.text("kubernetes.namespace"), Some("ml"));
        assert_eq!(config.text("active_workspace"), Some("w"));
        assert_eq!(config.text("kubernetes.pod.x"), None);
        let two = ["a.yaml".to_owned(), "active_workspace=w".to_owned()];
        let error = config.add_options(&two).expect_err("a file and a pair");
        assert_eq!(error.kind(), Kind::Usage);
    }

    #[test]
    fn what_belongs_to_the_server_is_not_sent() {
        let config = Config {
            merged: map(
                "api_server: {endpoint: 'http://x'}\nallowed_clouds: [local]\naws: {profile: p}\n",
            ),
            endpoint_file: None,
        };
        assert_eq!(
            Value::Object(config.for_requests()),
            serde_json::json!({"aws": {"profile": "p"}})
        );
    }
}
