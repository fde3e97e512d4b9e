//! The tree that a YAML document becomes: every node knows its line, scalars keep the text as written.

use serde_json::{Map, Number, Value};

/// A node and the line on which it begins (from 1).
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// Line in the text, from 1.
    pub(crate) line: usize,
    /// What it holds.
    pub(crate) data: Data,
}

/// What a node holds.
#[derive(Debug, Clone)]
pub(crate) enum Data {
    /// Text as written; `plain` when it stood there without quotes and may mean a number, a truth value or nothing.
    Scalar { text: String, plain: bool },
    /// A sequence.
    List(Vec<Node>),
    /// A mapping in the order of the text; keys are unique.
    Map(Vec<(Key, Node)>),
}

/// The key of an entry of a mapping.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    /// Line in the text, from 1.
    pub(crate) line: usize,
    /// The key.
    pub(crate) text: String,
    /// Without quotes.
    pub(crate) plain: bool,
}

impl Node {
    /// Returns whether the node stands for "no value".
    pub(crate) fn is_null(&self) -> bool {
        match &self.data {
            Data::Scalar { text, plain } => *plain && is_null_word(text),
            Data::List(_) | Data::Map(_) => false,
        }
    }

    /// Returns what the node is, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.data {
            Data::Scalar { .. } if self.is_null() => "nothing",
            Data::Scalar { .. } => "a single value",
            Data::List(_) => "a list",
            Data::Map(_) => "a mapping",
        }
    }

    /// Returns the plain JSON value, or the line of what JSON cannot hold (infinities, not-a-number).
    pub(crate) fn to_value(&self) -> Result<Value, usize> {
        match &self.data {
            Data::Scalar { text, plain: false } => Ok(Value::String(text.clone())),
            Data::Scalar { text, plain: true } => resolve(text).ok_or(self.line),
            Data::List(items) => items.iter().map(Self::to_value).collect(),
            Data::Map(entries) => entries
                .iter()
                .map(|(key, node)| Ok((key.text.clone(), node.to_value()?)))
                .collect::<Result<Map<_, _>, _>>()
                .map(Value::Object),
        }
    }
}

/// Returns whether an unquoted word means "no value".
pub(super) fn is_null_word(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

/// Returns the truth value that an unquoted `true` or `false` means in both YAML versions.
pub(crate) fn truth_word(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

/// Returns the value that unquoted text means; none for numbers that JSON cannot hold.
fn resolve(text: &str) -> Option<Value> {
    if is_null_word(text) {
        return Some(Value::Null);
    }
    if let Some(truth) = truth_word(text) {
        return Some(Value::Bool(truth));
    }
    if let Some(number) = integer(text) {
        return Some(Value::Number(number));
    }
    match float(text) {
        Some(number) => Number::from_f64(number).map(Value::Number),
        None => Some(Value::String(text.to_owned())),
    }
}

/// Reads an integer: decimal, `0x…`, `0o…`.
pub(crate) fn integer(text: &str) -> Option<Number> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    if let Some(hex) = text.strip_prefix("0x") {
        return u64::from_str_radix(hex, 16).ok().map(Number::from);
    }
    if let Some(octal) = text.strip_prefix("0o") {
        return u64::from_str_radix(octal, 8).ok().map(Number::from);
    }
    let text = text.strip_prefix('+').unwrap_or(text);
    text.parse::<i64>()
        .map(Number::from)
        .or_else(|_| text.parse::<u64>().map(Number::from))
        .ok()
}

/// Reads a float, including `.inf` and `.nan`.
pub(crate) fn float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    match unsigned {
        ".inf" | ".Inf" | ".INF" => {
            return Some(if text.starts_with('-') {
                f64::NEG_INFINITY
            } else {
                f64::INFINITY
            });
        }
        ".nan" | ".NaN" | ".NAN" => return Some(f64::NAN),
        _ => {}
    }
    let numeric = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && unsigned.bytes().any(|b| b.is_ascii_digit());
    if numeric { text.parse().ok() } else { None }
}
