//! What is left out before anything is stored or shown.

use serde_json::Value;

use super::seal::{PREFIX, REDACTED};

/// Fields of a body that hold the text of a task.
pub(crate) const TASK_FIELDS: [&str; 2] = ["task", "dag"];

/// Returns a command line with the values of `--secret` left out.
pub(crate) fn command_line(typed: &str) -> String {
    if !typed.contains("--secret") {
        return typed.to_owned();
    }
    let Ok(words) = shell_words::split(typed) else {
        // Where the words end is unclear, so it is unclear where the secret does.
        return REDACTED.to_owned();
    };
    let mut value_follows = false;
    let words = words.into_iter().map(|word| {
        let value = std::mem::replace(&mut value_follows, word == "--secret");
        if value {
            return without_value(&word);
        }
        match word.strip_prefix("--secret=") {
            Some(pair) => format!("--secret={}", without_value(pair)),
            None => word,
        }
    });
    shell_words::join(words)
}

/// Returns `NAME=<redacted>`; a bare name is no secret.
fn without_value(pair: &str) -> String {
    match pair.split_once('=') {
        Some((name, _)) => format!("{name}={REDACTED}"),
        None => pair.to_owned(),
    }
}

/// Returns a stored body as it is shown: sealed texts are left out.
pub(crate) fn body(stored: &Value) -> Value {
    let mut shown = stored.get("body").unwrap_or(stored).clone();
    for field in TASK_FIELDS {
        if let Some(text) = shown.get_mut(field)
            && text.as_str().is_some_and(|text| text.starts_with(PREFIX))
        {
            *text = Value::String(REDACTED.to_owned());
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_on_the_command_line_are_left_out() {
        assert_eq!(
            command_line("sky launch --secret A=hunter2 --secret=B='x y' --secret C -- 'echo a'"),
            "sky launch --secret 'A=<redacted>' '--secret=B=<redacted>' --secret C -- 'echo a'"
        );
        assert_eq!(command_line("sky status"), "sky status");
        assert_eq!(command_line("sky launch --secret 'A=x"), REDACTED);
    }

    #[test]
    fn sealed_texts_are_not_shown() {
        let stored =
            json!({ "op": "launch", "body": { "task": "sealed:v1:abc", "cluster_name": "a" } });
        assert_eq!(
            body(&stored),
            json!({ "task": REDACTED, "cluster_name": "a" })
        );
    }
}
