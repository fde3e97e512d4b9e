//! YAML or command? One rule for `launch` and `exec`.

use std::path::Path;

use crate::task;

/// What was typed, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Nothing.
    Empty,
    /// A file with a task.
    Yaml {
        /// Its path as typed.
        path: String,
        /// Its content.
        text: String,
    },
    /// A command line.
    Command(String),
}

/// What to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Go on with it.
    Entry(Entry),
    /// It looks like a YAML file and is none: ask whether it is a command.
    Ask {
        /// The command it would be.
        command: String,
        /// Why it is no YAML file.
        reason: String,
    },
}

/// Decides. A single word that is a readable file counts as YAML when it holds a mapping; a word that ends like
/// a YAML file and is none is asked about; everything else is a command.
pub(crate) fn decide(words: &[String]) -> Decision {
    let only = match words {
        [] => return Decision::Entry(Entry::Empty),
        [only] => only,
        [..] => return Decision::Entry(Entry::Command(words.join(" "))),
    };
    let command = || Entry::Command(only.clone());
    let looks_like_yaml = looks_like_yaml(only);
    let not_yaml = |reason: String| {
        if looks_like_yaml {
            Decision::Ask {
                command: only.clone(),
                reason,
            }
        } else {
            Decision::Entry(command())
        }
    };
    let path = Path::new(only);
    if !path.exists() {
        return not_yaml("there is no such file".to_owned());
    }
    if path.is_dir() {
        return not_yaml("it is a directory".to_owned());
    }
    let bytes = match crate::sys::fs::read_at_most(path, task::MAX_BYTES + 1) {
        Ok(bytes) => bytes,
        Err(e) => return not_yaml(format!("it cannot be read ({e})")),
    };
    match task::text_of_bytes(&bytes, only) {
        Err(error) => not_yaml(format!("it is not valid ({})", error.one_line())),
        Ok(text) => match task::classify(text) {
            task::Entry::Task => Decision::Entry(Entry::Yaml {
                path: only.clone(),
                text: text.to_owned(),
            }),
            task::Entry::Command(_) => Decision::Entry(command()),
            task::Entry::Invalid(error) => {
                not_yaml(format!("it is not valid ({})", error.one_line()))
            }
        },
    }
}

/// Returns whether a word ends like the name of a YAML file.
pub(super) fn looks_like_yaml(word: &str) -> bool {
    let extension = Path::new(word).extension().and_then(|e| e.to_str());
    !word.contains(char::is_whitespace)
        && extension
            .is_some_and(|e| e.eq_ignore_ascii_case("yaml") || e.eq_ignore_ascii_case("yml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide_one(word: &str) -> Decision {
        decide(&[word.to_owned()])
    }

    #[test]
    fn words_are_joined_and_nothing_is_empty() {
        assert_eq!(decide(&[]), Decision::Entry(Entry::Empty));
        let words = ["python".to_owned(), "a.py".to_owned()];
        assert_eq!(
            decide(&words),
            Decision::Entry(Entry::Command("python a.py".into()))
        );
        assert_eq!(
            decide_one("echo a b"),
            Decision::Entry(Entry::Command("echo a b".into()))
        );
    }

    #[test]
    fn files_count_by_their_content() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).expect("written");
            path.to_string_lossy().into_owned()
        };
        let task = file("task.yaml", "run: echo hi\n");
        assert!(matches!(
            decide_one(&task),
            Decision::Entry(Entry::Yaml { .. })
        ));
        let other = file("task.txt", "run: echo hi\n");
        assert!(matches!(
            decide_one(&other),
            Decision::Entry(Entry::Yaml { .. })
        ));
        let script = file("script.sh", "#!/bin/sh\necho hi\n");
        assert_eq!(
            decide_one(&script),
            Decision::Entry(Entry::Command(script.clone()))
        );
        let broken = file("broken.yaml", "run: [\n");
        assert!(matches!(decide_one(&broken), Decision::Ask { .. }));
    }

    #[test]
    fn what_only_looks_like_yaml_is_asked_about() {
        assert!(matches!(decide_one("no-such.yaml"), Decision::Ask { .. }));
        assert_eq!(
            decide_one("cat a.yaml"),
            Decision::Entry(Entry::Command("cat a.yaml".into()))
        );
    }
}
