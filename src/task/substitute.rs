//! `$NAME` and `${NAME}` in the fields that no shell expands.

use serde_json::{Map, Value};

use super::model::{MountSource, Task, Workdir};

impl Task {
    /// Replaces variables of `envs` and `secrets` in workdir, file mounts, volumes and service.
    ///
    /// Names that are not declared stay as they are. To be called once, after overrides.
    pub(crate) fn substitute(&mut self) {
        let envs = self.envs.clone();
        let secrets = self.secrets.clone();
        let value = |name: &str| {
            envs.get(name).map(String::as_str).or_else(|| {
                secrets
                    .get(name)
                    .map(super::super::base::secret::Secret::reveal)
            })
        };
        let expand = |text: &str| expand(text, &value);
        match &mut self.workdir {
            Some(Workdir::Local(path)) => *path = expand(path),
            Some(Workdir::Git { url, git_ref }) => {
                *url = expand(url);
                if let Some(git_ref) = git_ref {
                    *git_ref = expand(git_ref);
                }
            }
            None => {}
        }
        self.file_mounts = std::mem::take(&mut self.file_mounts)
            .into_iter()
            .map(|(path, source)| {
                let source = match source {
                    // What a variable held may be a URI.
                    MountSource::Local(text) | MountSource::Uri(text) => {
                        MountSource::from_text(expand(&text))
                    }
                    MountSource::Storage(map) => MountSource::Storage(expand_map(map, &expand)),
                };
                (expand(&path), source)
            })
            .collect();
        self.volumes = expand_map(std::mem::take(&mut self.volumes), &expand);
        self.service = self
            .service
            .take()
            .map(|value| expand_value(value, &expand));
        self.pool = self.pool.take().map(|value| expand_value(value, &expand));
    }
}

/// Replaces variables in one text.
fn expand<'v>(text: &str, value: &dyn Fn(&str) -> Option<&'v str>) -> String {
    let is_word = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        result.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let braced = after.starts_with('{');
        let word = &after[usize::from(braced)..];
        let length = word.bytes().take_while(is_word).count();
        let closed = !braced || word[length..].starts_with('}');
        let used = 1 + length + if braced { 2 } else { 0 };
        match value(&word[..length]) {
            Some(replacement) if closed => {
                result.push_str(replacement);
                rest = &rest[at + used..];
            }
            Some(_) | None => {
                result.push('$');
                rest = after;
            }
        }
    }
    result.push_str(rest);
    result
}

/// Replaces variables in keys and values.
fn expand_map(map: Map<String, Value>, expand: &dyn Fn(&str) -> String) -> Map<String, Value> {
    map.into_iter()
        .map(|(key, value)| (expand(&key), expand_value(value, expand)))
        .collect()
}

/// Replaces variables in every text of a value. A text that was one variable and became a number stays text.
fn expand_value(value: Value, expand: &dyn Fn(&str) -> String) -> Value {
    match value {
        Value::String(text) => Value::String(expand(&text)),
        Value::Array(items) => Value::Array(
            items
                .into_iter()
                .map(|item| expand_value(item, expand))
                .collect(),
        ),
        Value::Object(map) => Value::Object(expand_map(map, expand)),
        plain @ (Value::Null | Value::Bool(_) | Value::Number(_)) => plain,
    }
}
