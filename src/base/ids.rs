//! Typed names and ids. Parsed once at the edge, trusted inside.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::clock::Moment;
use super::error::{Error, Kind};

/// Identifies a request.
///
/// Inside it is a version 7 UUID, so that byte order is time order. Printed, its first and last six
/// bytes change places and it reads as a version 4 UUID: the first eight digits, which people type,
/// are then random instead of shared by everything submitted in the same minute.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RequestId(Uuid);

impl RequestId {
    /// Makes a new id, greater than all that this process made before.
    pub(crate) fn generate() -> Self {
        Self(Uuid::now_v7())
    }

    /// Returns the sixteen bytes in time order: the key under which a request is stored.
    pub(crate) fn key(self) -> [u8; 16] {
        self.0.into_bytes()
    }

    /// Returns the id with these key bytes.
    pub(crate) fn from_key(key: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(key))
    }

    /// Returns the sixteen bytes in printed order: the key by which prefixes are found.
    pub(crate) fn printed_bytes(self) -> [u8; 16] {
        swap_ends(self.0.into_bytes(), 4)
    }

    /// Returns the id that prints as these bytes.
    pub(crate) fn from_printed_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(swap_ends(bytes, 7)))
    }

    /// Returns when the id was made, to the millisecond.
    pub(crate) fn created(self) -> Moment {
        let bytes = self.0.as_bytes();
        let millis = bytes[..6]
            .iter()
            .fold(0_i64, |sum, byte| (sum << 8) | i64::from(*byte));
        Moment::from_micros(millis * 1000)
    }

    /// Returns the first eight digits, as hints show them.
    pub(crate) fn short(self) -> String {
        self.to_string()[..8].to_owned()
    }
}

/// Exchanges the first six bytes with the last six in reverse, and sets the version digit.
fn swap_ends(mut bytes: [u8; 16], version: u8) -> [u8; 16] {
    for i in 0..6 {
        bytes.swap(i, 15 - i);
    }
    bytes[6] = (bytes[6] & 0x0f) | (version << 4);
    bytes
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Uuid::from_bytes(self.printed_bytes()).hyphenated())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for RequestId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let uuid = Uuid::try_parse(text).map_err(|_| {
            Error::new(
                Kind::Invalid,
                format!("`{}` is not a request id", clip(text)),
            )
        })?;
        Ok(Self::from_printed_bytes(uuid.into_bytes()))
    }
}

impl Serialize for RequestId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RequestId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Cuts text that came from outside to a length that is fit for a message.
pub(crate) fn clip(text: &str) -> String {
    const MOST: usize = 80;
    let clean: String = text
        .chars()
        .take(MOST)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    if text.chars().count() > MOST {
        format!("{clean}…")
    } else {
        clean
    }
}

/// Declares a name: text that is checked when it is parsed.
macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $what:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub(crate) struct $name(String);

        impl $name {
            /// Returns the text.
            pub(crate) fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                let check: fn(&str) -> Result<(), &'static str> = $check;
                match check(text) {
                    Ok(()) => Ok(Self(text.to_owned())),
                    Err(why) => Err(Error::new(
                        Kind::InvalidName,
                        format!(concat!($what, " `{}` is not valid: {}"), clip(text), why),
                    )),
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;

            fn try_from(text: String) -> Result<Self, Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_type!(
    /// Names a cluster: begins with a letter, then letters, digits, `-_.`, ends alphanumeric.
    ClusterName,
    "cluster name",
    |text| {
        let bytes = text.as_bytes();
        if bytes.is_empty() {
            return Err("it is empty");
        }
        if bytes.len() > 120 {
            return Err("it is longer than 120 characters");
        }
        if !bytes[0].is_ascii_alphabetic() {
            return Err("it must begin with a letter");
        }
        if !bytes[bytes.len() - 1].is_ascii_alphanumeric() {
            return Err("it must end with a letter or a digit");
        }
        if !bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b)) {
            return Err("it may hold only letters, digits, `-`, `_` and `.`");
        }
        Ok(())
    }
);

name_type!(
    /// Identifies a user: letters, digits and `-`, beginning with a letter or digit.
    UserId,
    "user id",
    |text| {
        let bytes = text.as_bytes();
        if bytes.is_empty() || bytes.len() > 64 {
            return Err("it must have 1 to 64 characters");
        }
        if !bytes[0].is_ascii_alphanumeric() || !bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-') {
            return Err("it may hold only letters, digits and `-`");
        }
        Ok(())
    }
);

name_type!(
    /// The client's key that makes a submission repeatable: printable ASCII, at most 255 characters.
    IdempotencyKey,
    "idempotency key",
    |text| {
        if text.is_empty() || text.len() > 255 {
            return Err("it must have 1 to 255 characters");
        }
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err("it may hold only printable ASCII characters without spaces");
        }
        Ok(())
    }
);

name_type!(
    /// The SHA-256 of an upload's content, in hexadecimal.
    BlobId,
    "blob id",
    |text| {
        if text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            Ok(())
        } else {
            Err("it must be 64 lower-case hexadecimal digits")
        }
    }
);

/// Numbers a job on its cluster, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct JobId(pub(crate) u64);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Numbers a node in its cluster (0 is the head) or a process of a job among its nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct NodeRank(pub(crate) u32);

impl NodeRank {
    /// The head node.
    pub(crate) const HEAD: Self = Self(0);

    /// Returns `head` or `worker<n>`, as logs and SSH aliases name a node.
    pub(crate) fn label(self) -> String {
        if self == Self::HEAD {
            "head".to_owned()
        } else {
            format!("worker{}", self.0)
        }
    }
}

impl fmt::Display for NodeRank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_id_prints_as_version_4_and_parses_back() {
        let id = RequestId::generate();
        let text = id.to_string();
        assert_eq!(text.as_bytes()[14], b'4', "{text}");
        assert_eq!(text.parse::<RequestId>().expect("it parses"), id);
        assert_eq!(RequestId::from_key(id.key()), id);
    }

    #[test]
    fn request_ids_grow_while_their_prefixes_are_random() {
        let ids: Vec<_> = (0..1000).map(|_| RequestId::generate()).collect();
        assert!(ids.is_sorted());
        let prefixes: std::collections::HashSet<_> = ids.iter().map(|id| id.short()).collect();
        assert!(prefixes.len() > 990, "{} distinct prefixes", prefixes.len());
    }

    #[test]
    fn cluster_names_are_checked() {
        for good in ["a", "demo", "my-cluster_1.x2"] {
            assert!(good.parse::<ClusterName>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "1a",
            "a-",
            "-a",
            "a b",
            "a/b",
            "..",
            "é",
            &"a".repeat(121),
        ] {
            assert!(bad.parse::<ClusterName>().is_err(), "{bad}");
        }
    }
}
