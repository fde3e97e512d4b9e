//! How an error looks: what failed, what to type next, and last, where it cannot be missed, the cause.

use std::fmt::Write as _;

use super::markup::strip_escapes;
use super::style::{Tone, paint};
use crate::base::Error;

/// Renders an error for the terminal, each line ending in a line feed.
pub(crate) fn render(error: &Error, colors: bool) -> String {
    let clean = |text: &str| {
        if colors {
            text.to_owned()
        } else {
            strip_escapes(text)
        }
    };
    let mut out = paint("Error:", Tone::Red, colors);
    // Writing to a string cannot fail, here and below.
    writeln!(out, " {}", clean(error.message())).unwrap_or_default();
    let mut facts: Vec<String> = error
        .hints()
        .iter()
        .map(|hint| format!("{} {}", paint("Hint:", Tone::Dim, colors), clean(hint)))
        .collect();
    let causes: Vec<String> = error.chain().iter().map(|cause| clean(cause)).collect();
    if !causes.is_empty() {
        facts.push(format!(
            "{} {}",
            paint("Cause:", Tone::Dim, colors),
            causes.join(": ")
        ));
    }
    out.push_str(&tree(&facts, colors));
    out
}

/// Renders facts below a line: `├──` and, for the last, `└──`.
pub(crate) fn tree(facts: &[String], colors: bool) -> String {
    let mut out = String::new();
    for (i, fact) in facts.iter().enumerate() {
        let branch = if i + 1 == facts.len() {
            "└──"
        } else {
            "├──"
        };
        writeln!(out, "{} {fact}", paint(branch, Tone::Dim, colors)).unwrap_or_default();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Kind;

    #[test]
    fn the_cause_is_the_last_line() {
        let disk = std::io::Error::other("no space left on device");
        let error = Error::io("write `a`", &disk)
            .context("cluster `demo` was not launched")
            .hint("free some space, then `sky launch -c demo` again");
        insta::assert_snapshot!(render(&error, false), @r"
        Error: cluster `demo` was not launched
        ├── Hint: free some space, then `sky launch -c demo` again
        └── Cause: failed to write `a`: no space left on device
        ");
    }

    #[test]
    fn an_error_without_cause_is_one_line() {
        let error = Error::new(Kind::ClusterNotFound, "cluster `nope` does not exist");
        assert_eq!(
            render(&error, false),
            "Error: cluster `nope` does not exist\n"
        );
    }
}
