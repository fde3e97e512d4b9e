//! Writes the few pickles that SkyPilot's clients need: protocol 2, fifteen opcodes, no memo.
//!
//! Nothing here reads a pickle, and nothing in this program ever does. One byte string suits the client releases
//! 0.11 to 0.14: objects are made without a constructor call and get their state as a dict.

use base64::Engine as _;
use serde_json::Value;

/// A Python class or function, by the place it is imported from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Name {
    /// Module.
    pub(crate) module: &'static str,
    /// Name in the module.
    pub(crate) name: &'static str,
}

/// Returns the name of something in a module.
pub(crate) const fn name(module: &'static str, name: &'static str) -> Name {
    Name { module, name }
}

/// A Python value, as far as it is needed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Pickle {
    /// `None`.
    None,
    /// `True`, `False`.
    Bool(bool),
    /// `int`.
    Int(i64),
    /// `float`.
    Float(f64),
    /// `str`.
    Text(String),
    /// `list`.
    List(Vec<Self>),
    /// `tuple`.
    Tuple(Vec<Self>),
    /// `dict`, in this order.
    Dict(Vec<(Self, Self)>),
    /// An instance that gets this state without a call of its constructor.
    Object(Name, Vec<(&'static str, Self)>),
    /// What a class or function returns for these arguments: members of enums, bound arguments, exceptions.
    Call(Name, Vec<Self>),
    /// The class or function itself.
    Reference(Name),
}

impl Pickle {
    /// Returns the pickle as it travels: base64 text.
    pub(crate) fn to_base64(&self) -> String {
        base64::engine::general_purpose::STANDARD.encode(self.to_bytes())
    }

    /// Returns the pickle.
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![0x80, 2];
        self.write(&mut out);
        out.push(b'.');
        out
    }

    /// Appends the opcodes of this value.
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::None => out.push(b'N'),
            Self::Bool(true) => out.push(0x88),
            Self::Bool(false) => out.push(0x89),
            Self::Int(number) => write_int(*number, out),
            Self::Float(number) => {
                out.push(b'G');
                out.extend_from_slice(&number.to_be_bytes());
            }
            Self::Text(text) => write_text(text, out),
            Self::List(items) => {
                out.extend_from_slice(b"](");
                write_all(items, out);
                out.push(b'e');
            }
            Self::Tuple(items) => write_tuple(items, out),
            Self::Dict(entries) => {
                out.extend_from_slice(b"}(");
                for (key, value) in entries {
                    key.write(out);
                    value.write(out);
                }
                out.push(b'u');
            }
            Self::Object(class, state) => {
                write_name(*class, out);
                out.extend_from_slice(b")\x81}(");
                for (key, value) in state {
                    write_text(key, out);
                    value.write(out);
                }
                out.extend_from_slice(b"ub");
            }
            Self::Call(callee, arguments) => {
                write_name(*callee, out);
                write_tuple(arguments, out);
                out.push(b'R');
            }
            Self::Reference(name) => write_name(*name, out),
        }
    }
}

/// Appends a number: four bytes where they are enough.
fn write_int(number: i64, out: &mut Vec<u8>) {
    if let Ok(small) = i32::try_from(number) {
        out.push(b'J');
        out.extend_from_slice(&small.to_le_bytes());
    } else {
        out.extend_from_slice(&[0x8a, 8]);
        out.extend_from_slice(&number.to_le_bytes());
    }
}

/// Appends a text. Nothing that travels as a pickle is 4 GiB long; what would be is cut.
fn write_text(text: &str, out: &mut Vec<u8>) {
    let end = text.floor_char_boundary(u32::MAX as usize);
    let text = &text[..end];
    out.push(b'X');
    out.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// Appends a tuple.
fn write_tuple(items: &[Pickle], out: &mut Vec<u8>) {
    out.push(b'(');
    write_all(items, out);
    out.push(b't');
}

/// Appends values one after the other.
fn write_all(items: &[Pickle], out: &mut Vec<u8>) {
    for item in items {
        item.write(out);
    }
}

/// Appends a reference.
fn write_name(name: Name, out: &mut Vec<u8>) {
    out.push(b'c');
    out.extend_from_slice(name.module.as_bytes());
    out.push(b'\n');
    out.extend_from_slice(name.name.as_bytes());
    out.push(b'\n');
}

impl From<&Value> for Pickle {
    fn from(value: &Value) -> Self {
        match value {
            Value::Null => Self::None,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(number) => number.as_i64().map_or_else(
                || Self::Float(number.as_f64().unwrap_or(f64::NAN)),
                Self::Int,
            ),
            Value::String(text) => text.as_str().into(),
            Value::Array(items) => Self::List(items.iter().map(Self::from).collect()),
            Value::Object(entries) => Self::Dict(
                entries
                    .iter()
                    .map(|(key, value)| (key.as_str().into(), value.into()))
                    .collect(),
            ),
        }
    }
}

impl From<&str> for Pickle {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<&String> for Pickle {
    fn from(text: &String) -> Self {
        Self::Text(text.clone())
    }
}

impl From<bool> for Pickle {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<u32> for Pickle {
    fn from(number: u32) -> Self {
        Self::Int(number.into())
    }
}

impl<T: Into<Self>> From<Option<T>> for Pickle {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::None, Into::into)
    }
}

/// Returns a dict with text keys.
pub(crate) fn dict<const N: usize>(entries: [(&str, Pickle); N]) -> Pickle {
    let entries = entries.into_iter();
    Pickle::Dict(entries.map(|(key, value)| (key.into(), value)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_documented() {
        let cases: [(Pickle, &[u8]); 8] = [
            (Pickle::None, b"N"),
            (Pickle::Bool(true), b"\x88"),
            (Pickle::Int(-2), b"J\xfe\xff\xff\xff"),
            (
                Pickle::Int(1 << 40),
                b"\x8a\x08\x00\x00\x00\x00\x00\x01\x00\x00",
            ),
            (Pickle::Float(1.0), b"G\x3f\xf0\x00\x00\x00\x00\x00\x00"),
            ("é".into(), b"X\x02\x00\x00\x00\xc3\xa9"),
            (
                Pickle::from(&serde_json::json!({"a": [null, 0.5]})),
                b"}(X\x01\x00\x00\x00a](NG\x3f\xe0\x00\x00\x00\x00\x00\x00eu",
            ),
            (
                Pickle::Call(name("m", "E"), vec!["UP".into()]),
                b"cm\nE\n(X\x02\x00\x00\x00UPtR",
            ),
        ];
        for (value, opcodes) in cases {
            let expected = [b"\x80\x02", opcodes, b"."].concat();
            assert_eq!(value.to_bytes(), expected, "{value:?}");
        }
        assert_eq!(Pickle::None.to_base64(), "gAJOLg==");
    }
}
