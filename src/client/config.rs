//! The client's configuration: user file, project file and `--config`, merged.
//!
//! The `config:` block of a task belongs to `task/`; the server lays all of it over its own for one request.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::base::ids::clip;
use crate::base::{Error, Kind, Result};
use crate::sys::env;
use crate::sys::paths::Paths;
use crate::task::config::{check, merge, parse, yaml_value};

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

#[cfg(test)]
mod tests {
    use super::*;

    fn map(text: &str) -> Map<String, Value> {
        parse(text, "test").expect("valid")
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
