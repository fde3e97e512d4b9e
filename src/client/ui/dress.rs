//! Colours for the lasting lines of a log, which servers send without any.

use super::style::{Tone, paint};

/// Returns a line in its looks. A line that brings its own keeps them.
pub(crate) fn line(text: &str) -> String {
    if text.contains('\u{1b}') {
        return text.to_owned();
    }
    let body = text.trim_start();
    let indent = &text[..text.len() - body.len()];
    let symbols = [
        ("✓", Tone::Green),
        ("⨯", Tone::Red),
        ("↺", Tone::Yellow),
        ("├──", Tone::Dim),
        ("└──", Tone::Dim),
        ("ERROR:", Tone::Red),
    ];
    for (symbol, tone) in symbols {
        if let Some(rest) = body.strip_prefix(symbol) {
            return format!("{indent}{}{rest}", paint(symbol, tone, true));
        }
    }
    if let Some((before, after)) = text.split_once('✔') {
        return format!("{before}{}{after}", paint("✔", Tone::Green, true));
    }
    prefix(text)
}

/// Returns a line of a job's log: the prefix of what the job says, the signs of what is said about the job.
pub(crate) fn job_line(text: &str) -> String {
    let signs = [
        ("├──", Tone::Dim),
        ("└──", Tone::Dim),
        ("ERROR:", Tone::Red),
    ];
    for (sign, tone) in signs {
        if let Some(rest) = text.strip_prefix(sign) {
            return format!("{}{rest}", paint(sign, tone, true));
        }
    }
    prefix(text)
}

/// Returns a line with the prefix of the process that wrote it, `(name, pid=N) `, in cyan.
fn prefix(text: &str) -> String {
    match split_prefix(text) {
        Some((prefix, rest)) => format!("{}{rest}", paint(prefix, Tone::Cyan, true)),
        None => text.to_owned(),
    }
}

/// Splits the prefix off.
fn split_prefix(text: &str) -> Option<(&str, &str)> {
    if !text.starts_with('(') {
        return None;
    }
    let end = text.find(") ")? + 1;
    let inside = &text[1..end - 1];
    let has_pid = inside.split([',', ' ']).any(|part| {
        part.strip_prefix("pid=")
            .is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()))
    });
    has_pid.then(|| text.split_at(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_job_says_keeps_its_bytes() {
        for (text, dressed) in [
            ("├── Waiting", "\u{1b}[2m├──\u{1b}[0m Waiting"),
            (
                "ERROR: Job 1 failed",
                "\u{1b}[31mERROR:\u{1b}[0m Job 1 failed",
            ),
            (
                "(a, pid=1) ✓ ERROR: x",
                "\u{1b}[36m(a, pid=1)\u{1b}[0m ✓ ERROR: x",
            ),
            ("50 % ✔", "50 % ✔"),
        ] {
            assert_eq!(job_line(text), dressed);
        }
    }

    #[test]
    fn symbols_and_prefixes_get_their_looks() {
        for (text, dressed) in [
            ("plain", "plain"),
            ("✓ Done.", "\u{1b}[32m✓\u{1b}[0m Done."),
            ("  ├── a", "  \u{1b}[2m├──\u{1b}[0m a"),
            ("(demo, pid=12) hi", "\u{1b}[36m(demo, pid=12)\u{1b}[0m hi"),
            ("(setup pid=12) hi", "\u{1b}[36m(setup pid=12)\u{1b}[0m hi"),
            ("(not a prefix) hi", "(not a prefix) hi"),
            ("\u{1b}[1m✓", "\u{1b}[1m✓"),
        ] {
            assert_eq!(line(text), dressed);
        }
    }
}
