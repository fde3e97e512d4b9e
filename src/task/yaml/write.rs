//! Values to text: block style, every string so that it reads back as the same string.
//!
//! The readers are this program (YAML 1.2) and Python's (YAML 1.1), so a string stands without quotes only if
//! it is plain text to both. Scripts stand as literal blocks where a block can hold them exactly.

use std::fmt::Write as _;

use serde_json::{Map, Number, Value};

/// A value to write; mappings keep their order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Out {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Out>),
    Map(Vec<(String, Out)>),
}

impl Out {
    /// Wraps a text.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// Wraps the entries of a JSON mapping.
    pub(crate) fn map(map: &Map<String, Value>) -> Self {
        Self::Map(
            map.iter()
                .map(|(key, value)| (key.clone(), value.into()))
                .collect(),
        )
    }
}

impl From<&Value> for Out {
    fn from(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(truth) => Self::Bool(*truth),
            Value::Number(number) => Self::Number(number.clone()),
            Value::String(text) => Self::Text(text.clone()),
            Value::Array(items) => Self::List(items.iter().map(Self::from).collect()),
            Value::Object(map) => Self::map(map),
        }
    }
}

/// Writes a document whose top is a mapping: its entries with a blank line between them.
pub(crate) fn document(entries: &[(String, Out)]) -> String {
    if entries.is_empty() {
        return "{}\n".to_owned();
    }
    let mut text = String::new();
    for (index, (key, value)) in entries.iter().enumerate() {
        if index > 0 {
            text.push('\n');
        }
        entry(&mut text, key, value, 0);
    }
    text
}

/// Writes spaces.
fn indent(text: &mut String, depth: usize) {
    text.extend(std::iter::repeat_n("  ", depth));
}

/// Writes one entry of a mapping, with the line's end.
fn entry(text: &mut String, key: &str, value: &Out, depth: usize) {
    /// YAML readers look for the `:` of a simple key at most 1024 characters ahead.
    const LONGEST_SIMPLE_KEY: usize = 500;
    indent(text, depth);
    let key = quoted_if_needed(key);
    if key.chars().count() > LONGEST_SIMPLE_KEY {
        text.push_str("? ");
        text.push_str(&key);
        text.push('\n');
        indent(text, depth);
    } else {
        text.push_str(&key);
    }
    text.push(':');
    match value {
        Out::Map(entries) if !entries.is_empty() => {
            text.push('\n');
            for (key, value) in entries {
                entry(text, key, value, depth + 1);
            }
        }
        Out::List(items) if !items.is_empty() => {
            text.push('\n');
            list(text, items, depth);
        }
        leaf => {
            text.push(' ');
            scalar(text, leaf, depth + 1);
        }
    }
}

/// Writes the items of a list, each with its line's end.
fn list(text: &mut String, items: &[Out], depth: usize) {
    for item in items {
        match item {
            Out::Map(entries) if !entries.is_empty() => {
                // The first entry stands on the line of the dash: its indent becomes `- `.
                let start = text.len();
                for (key, value) in entries {
                    entry(text, key, value, depth + 1);
                }
                let dash = start + 2 * depth;
                text.replace_range(dash..=dash, "-");
            }
            Out::List(inner) if !inner.is_empty() => {
                let start = text.len();
                list(text, inner, depth + 1);
                let dash = start + 2 * depth;
                text.replace_range(dash..=dash, "-");
            }
            leaf => {
                indent(text, depth);
                text.push_str("- ");
                scalar(text, leaf, depth + 1);
            }
        }
    }
}

/// Writes a value that is not a collection with content, with the line's end.
fn scalar(text: &mut String, value: &Out, depth: usize) {
    match value {
        Out::Null => text.push_str("null"),
        Out::Bool(true) => text.push_str("true"),
        Out::Bool(false) => text.push_str("false"),
        Out::Number(number) => text.push_str(&number_text(number)),
        Out::List(_) => text.push_str("[]"),
        Out::Map(_) => text.push_str("{}"),
        Out::Text(string) if fits_block(string) => return block(text, string, depth),
        Out::Text(string) => text.push_str(&quoted_if_needed(string)),
    }
    text.push('\n');
}

/// Writes a number so that YAML 1.1 sees a number as well: floats need a point and a signed exponent.
fn number_text(number: &Number) -> String {
    let text = number.to_string();
    let Some((mantissa, exponent)) = text.split_once('e') else {
        return text;
    };
    let point = if mantissa.contains('.') { "" } else { ".0" };
    let sign = if exponent.starts_with(['-', '+']) {
        ""
    } else {
        "+"
    };
    format!("{mantissa}{point}e{sign}{exponent}")
}

/// Returns whether a literal block holds the text exactly.
fn fits_block(string: &str) -> bool {
    let body = string.strip_suffix('\n').unwrap_or(string);
    let odd_line = |line: &str| line.starts_with([' ', '\t']);
    body.contains('\n')
        && !body.starts_with('\n')
        && !body.ends_with('\n')
        && !body.chars().any(|c| c != '\n' && c != '\t' && must_escape(c))
        // The first line fixes the indent; a line of blanks only is where readers differ.
        && !body.lines().next().is_some_and(odd_line)
        && !body.split('\n').any(|line| !line.is_empty() && line.trim_matches([' ', '\t']).is_empty())
}

/// Writes a literal block.
fn block(text: &mut String, string: &str, depth: usize) {
    let (body, chomp) = match string.strip_suffix('\n') {
        Some(body) => (body, ""),
        None => (string, "-"),
    };
    text.push('|');
    text.push_str(chomp);
    text.push('\n');
    for line in body.split('\n') {
        if !line.is_empty() {
            indent(text, depth);
            text.push_str(line);
        }
        text.push('\n');
    }
}

/// Returns whether a character stands in quotes only as an escape.
fn must_escape(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' | '\u{a0}'
        )
        || ('\u{200b}'..='\u{200f}').contains(&c)
}

/// Returns the text as it stands in a line of YAML.
fn quoted_if_needed(string: &str) -> String {
    if is_plain(string) {
        return string.to_owned();
    }
    let mut text = String::with_capacity(string.len() + 2);
    if !string.contains(must_escape) && !string.contains(['\\', '\'']) {
        text.push('\'');
        text.push_str(string);
        text.push('\'');
        return text;
    }
    text.push('"');
    for c in string.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            '\r' => text.push_str("\\r"),
            c if must_escape(c) => {
                // Writing to a string cannot fail.
                let _ok = if u32::from(c) < 0x100 {
                    write!(text, "\\x{:02X}", u32::from(c))
                } else {
                    write!(text, "\\u{:04X}", u32::from(c))
                };
            }
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

/// Returns whether the text needs no quotes: only what both YAML versions read as this very text.
fn is_plain(string: &str) -> bool {
    const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    let starts_well = string.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c == '_')
        || string.starts_with("~/");
    let inside = |c: char| c.is_ascii_alphanumeric() || "_./@+~-=:; ".contains(c);
    starts_well
        && string.len() <= 200
        && string.chars().all(inside)
        && !string.ends_with([' ', ':'])
        && !string.contains(": ")
        && !WORDS.contains(&string.to_ascii_lowercase().as_str())
}
