//! A cursor over YAML nodes that knows where it is, so that every error names origin, line and field.

use serde_json::{Map, Value};

use super::yaml::{Data, Key, Node};
use crate::base::ids::clip;
use crate::base::{Error, Kind, Result};

/// A value and the place where it stands.
#[derive(Debug, Clone)]
pub(super) struct Place<'a> {
    /// What the text is called.
    origin: &'a str,
    /// Field path from the top of the document; empty at the top.
    path: String,
    /// Line of the key, or of the value where there is no key.
    line: usize,
    /// The value.
    node: &'a Node,
}

impl<'a> Place<'a> {
    /// Stands at the top of a document.
    pub(super) fn top(origin: &'a str, node: &'a Node) -> Self {
        Self {
            origin,
            path: String::new(),
            line: node.line,
            node,
        }
    }

    /// Makes an error about this place.
    pub(super) fn error(&self, what: impl std::fmt::Display) -> Error {
        let separator = if self.path.is_empty() { "" } else { ": " };
        Error::new(
            Kind::InvalidTask,
            format!(
                "{}:{}: {}{separator}{what}",
                self.origin, self.line, self.path
            ),
        )
    }

    /// Returns whether there is no value.
    pub(super) fn is_null(&self) -> bool {
        self.node.is_null()
    }

    /// Returns whether the value is a mapping.
    pub(super) fn is_map(&self) -> bool {
        matches!(self.node.data, Data::Map(_))
    }

    /// Returns whether the value is a list.
    pub(super) fn is_list(&self) -> bool {
        matches!(self.node.data, Data::List(_))
    }

    /// Says that something else was expected.
    fn expected(&self, wanted: &str) -> Error {
        self.error(format!("expected {wanted}, found {}", self.node.kind()))
    }

    /// Returns the text of a single value, as written.
    pub(super) fn text(&self) -> Result<String> {
        match &self.node.data {
            Data::Scalar { text, .. } if !self.is_null() => Ok(text.clone()),
            Data::Scalar { .. } | Data::List(_) | Data::Map(_) => Err(self.expected("text")),
        }
    }

    /// Returns the text of a single value that must not be empty.
    pub(super) fn filled_text(&self) -> Result<String> {
        let text = self.text()?;
        if text.trim().is_empty() {
            return Err(self.error("it is empty"));
        }
        Ok(text)
    }

    /// Returns the text of an environment variable: as written, but truth values as `SkyPilot` exports them.
    pub(super) fn env_text(&self) -> Result<String> {
        match &self.node.data {
            Data::Scalar { text, plain: true } => Ok(match super::yaml::truth_word(text) {
                Some(true) => "True".to_owned(),
                Some(false) => "False".to_owned(),
                None => text.clone(),
            }),
            Data::Scalar { text, plain: false } => Ok(text.clone()),
            Data::List(_) | Data::Map(_) => Err(self.expected("a single value")),
        }
    }

    /// Returns what a reader of text makes of the value.
    pub(super) fn parsed<T>(&self, read: impl FnOnce(&str) -> Result<T, String>) -> Result<T> {
        read(&self.text()?).map_err(|what| self.error(what))
    }

    /// Returns a truth value; the words of YAML 1.1 are understood.
    pub(super) fn truth(&self) -> Result<bool> {
        self.truth_if_any().ok_or_else(|| match &self.node.data {
            Data::Scalar { text, .. } if !self.is_null() => {
                self.error(format!("`{}` is neither true nor false", clip(text)))
            }
            Data::Scalar { .. } | Data::List(_) | Data::Map(_) => self.expected("true or false"),
        })
    }

    /// Returns the truth value that stands here, if one does.
    pub(super) fn truth_if_any(&self) -> Option<bool> {
        match &self.node.data {
            Data::Scalar { text, plain: true } => match text.to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" => Some(true),
                "false" | "no" | "off" => Some(false),
                _ => None,
            },
            Data::Scalar { .. } | Data::List(_) | Data::Map(_) => None,
        }
    }

    /// Returns a whole number within bounds.
    pub(super) fn integer(&self, least: i64, most: i64) -> Result<i64> {
        let text = self.text()?;
        text.trim()
            .parse()
            .ok()
            .filter(|number| (least..=most).contains(number))
            .ok_or_else(|| {
                self.error(format!(
                    "`{}` is not a whole number from {least} to {most}",
                    clip(&text)
                ))
            })
    }

    /// Returns a number.
    pub(super) fn number(&self) -> Result<f64> {
        let text = self.text()?;
        let number = text
            .trim()
            .parse()
            .ok()
            .filter(|number: &f64| number.is_finite());
        number.ok_or_else(|| self.error(format!("`{}` is not a number", clip(&text))))
    }

    /// Returns one of the words, in lower case.
    pub(super) fn word(&self, words: &[&str]) -> Result<String> {
        let text = self.text()?;
        let lower = text.to_ascii_lowercase();
        if words.contains(&lower.as_str()) {
            return Ok(lower);
        }
        Err(self.error(format!(
            "`{}` is not one of {}",
            clip(&text),
            words.join(", ")
        )))
    }

    /// Returns the items of a list; a single value counts as a list of one.
    pub(super) fn items(&self) -> Vec<Self> {
        match &self.node.data {
            Data::List(items) => items
                .iter()
                .enumerate()
                .map(|(index, node)| Place {
                    origin: self.origin,
                    path: format!("{}[{index}]", self.path),
                    line: node.line,
                    node,
                })
                .collect(),
            Data::Scalar { .. } | Data::Map(_) => vec![self.clone()],
        }
    }

    /// Returns the items of what must be a list.
    pub(super) fn list(&self) -> Result<Vec<Self>> {
        if self.is_list() {
            Ok(self.items())
        } else {
            Err(self.expected("a list"))
        }
    }

    /// Returns the entries of what must be a mapping.
    pub(super) fn entries(&self) -> Result<Vec<(&'a Key, Self)>> {
        let Data::Map(entries) = &self.node.data else {
            return Err(self.expected("a mapping"));
        };
        let dot = if self.path.is_empty() { "" } else { "." };
        let place = |key: &'a Key, node| Place {
            origin: self.origin,
            path: format!("{}{dot}{}", self.path, clip(&key.text)),
            line: key.line,
            node,
        };
        Ok(entries
            .iter()
            .map(|(key, node)| (key, place(key, node)))
            .collect())
    }

    /// Returns the plain value.
    pub(super) fn value(&self) -> Result<Value> {
        self.node.to_value().map_err(|line| {
            Place {
                line,
                ..self.clone()
            }
            .error("a number that is not finite")
        })
    }

    /// Returns the plain values of a mapping.
    pub(super) fn map(&self) -> Result<Map<String, Value>> {
        match self.value()? {
            Value::Object(map) => Ok(map),
            Value::Null => Ok(Map::new()),
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                Err(self.expected("a mapping"))
            }
        }
    }

    /// Returns the fields of a mapping; an unknown one is an error, one without value is left out.
    ///
    /// Fields that begin with `_` are always accepted: `SkyPilot`'s programs leave notes for each other there.
    pub(super) fn fields(&self, known: &[&str]) -> Result<Fields<'a>> {
        let mut fields = Vec::new();
        for (key, place) in self.entries()? {
            if !known.contains(&key.text.as_str()) && !key.text.starts_with('_') {
                let near = nearest(&key.text, known.iter().copied());
                let hint =
                    near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
                return Err(place.error(format!("unknown field{hint}")));
            }
            if !place.is_null() {
                fields.push((key.text.as_str(), place));
            }
        }
        Ok(Fields {
            place: self.clone(),
            fields,
        })
    }
}

/// The fields of a mapping that have a value.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    /// The mapping itself.
    pub(super) place: Place<'a>,
    /// Name and value in the order of the text.
    fields: Vec<(&'a str, Place<'a>)>,
}

impl<'a> Fields<'a> {
    /// Returns a field.
    pub(super) fn get(&self, name: &str) -> Option<&Place<'a>> {
        self.fields
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, place)| place)
    }

    /// Reads a field that may be absent.
    pub(super) fn read<T>(
        &self,
        name: &str,
        read: impl FnOnce(&Place<'a>) -> Result<T>,
    ) -> Result<Option<T>> {
        self.get(name).map(read).transpose()
    }

    /// Refuses fields that exclude each other.
    pub(super) fn exclude(&self, one: &str, other: &str) -> Result<()> {
        match (self.get(one), self.get(other)) {
            (Some(_), Some(place)) => Err(place.error(format!("cannot stand beside `{one}`"))),
            (Some(_) | None, None) | (None, Some(_)) => Ok(()),
        }
    }

    /// Returns the notes: fields that begin with `_`.
    pub(super) fn internal(&self) -> Result<Map<String, Value>> {
        self.fields
            .iter()
            .filter(|(name, _)| name.starts_with('_'))
            .map(|(name, place)| Ok(((*name).to_owned(), place.value()?)))
            .collect()
    }
}

/// Returns the candidate that a misspelt word most likely means.
pub(super) fn nearest<'k>(
    word: &str,
    candidates: impl Iterator<Item = &'k str>,
) -> Option<&'k str> {
    let wanted: String = word
        .to_lowercase()
        .replace('-', "_")
        .chars()
        .take(80)
        .collect();
    let is_part = |candidate: &str| wanted.len() >= 4 && candidate.contains(&wanted);
    candidates
        .map(|candidate| {
            let part = if is_part(candidate) { 0.9 } else { 0.0 };
            (
                strsim::jaro_winkler(&wanted, candidate).max(part),
                candidate,
            )
        })
        .filter(|(score, _)| *score >= 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}
