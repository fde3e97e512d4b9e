//! How a value becomes bytes: JSON in an envelope with the version of the record's shape.
//!
//! `{"v": 1, "d": {…}}`. A record of an older shape is upgraded when it is read, one of a newer shape is refused:
//! an old writer would drop the fields that it does not know.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::base::{Error, Kind, Result};

/// A value that a table holds.
pub(crate) trait Stored: Sized {
    /// Returns the bytes to store.
    fn encode(&self) -> Result<Vec<u8>>;
    /// Reads stored bytes.
    fn decode(bytes: &[u8]) -> Result<Self>;
}

/// A record that is stored as JSON with a version.
pub(crate) trait JsonRecord: Serialize + DeserializeOwned {
    /// What it is, for messages.
    const WHAT: &'static str;
    /// The version of the shape that this program writes.
    const VERSION: u32 = 1;

    /// Makes a record of today from one of version `from`, which is less than [`Self::VERSION`].
    fn upgrade(from: u32, _old: Value) -> Result<Self> {
        Err(Error::new(
            Kind::Internal,
            format!(
                "a stored {} has version {from}, which this program cannot read",
                Self::WHAT
            ),
        ))
    }
}

/// What is written.
#[derive(Serialize)]
struct Written<'a, T> {
    /// Version of the shape.
    v: u32,
    /// The record.
    d: &'a T,
}

/// What is read when the version is today's.
#[derive(Deserialize)]
struct Today<T> {
    /// The record.
    d: T,
}

/// What is read first: the version alone.
#[derive(Deserialize)]
struct Version {
    /// Version of the shape.
    v: u32,
}

/// What is read when the version is an older one.
#[derive(Deserialize)]
struct Older {
    /// The record as it was.
    d: Value,
}

impl<T: JsonRecord> Stored for T {
    fn encode(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(&Written {
            v: T::VERSION,
            d: self,
        })
        .map_err(|e| Error::internal(format!("write a {} as JSON", T::WHAT), &e))
    }

    fn decode(bytes: &[u8]) -> Result<Self> {
        let unreadable = |e| Error::internal(format!("read a stored {}", T::WHAT), &e);
        let Version { v } = serde_json::from_slice(bytes).map_err(unreadable)?;
        match v.cmp(&T::VERSION) {
            std::cmp::Ordering::Equal => {
                let Today { d } = serde_json::from_slice(bytes).map_err(unreadable)?;
                Ok(d)
            }
            std::cmp::Ordering::Less => {
                let Older { d } = serde_json::from_slice(bytes).map_err(unreadable)?;
                T::upgrade(v, d)
            }
            std::cmp::Ordering::Greater => Err(Error::new(
                Kind::VersionMismatch,
                format!(
                    "a stored {} has version {v}, this program knows versions up to {}",
                    T::WHAT,
                    T::VERSION
                ),
            )
            .hint("start the newer version of sky that wrote it")),
        }
    }
}

/// The value of an index entry: there is none, the key says all.
impl Stored for () {
    fn encode(&self) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }

    fn decode(_bytes: &[u8]) -> Result<Self> {
        Ok(())
    }
}

/// Bytes that are stored as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Raw(pub(crate) Vec<u8>);

impl Stored for Raw {
    fn encode(&self) -> Result<Vec<u8>> {
        Ok(self.0.clone())
    }

    fn decode(bytes: &[u8]) -> Result<Self> {
        Ok(Self(bytes.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Pet {
        name: String,
        legs: u32,
    }

    impl JsonRecord for Pet {
        const WHAT: &'static str = "pet";
        const VERSION: u32 = 2;

        fn upgrade(from: u32, old: Value) -> Result<Self> {
            assert_eq!(from, 1);
            Ok(Self {
                name: old["name"].as_str().unwrap_or_default().to_owned(),
                legs: 4,
            })
        }
    }

    #[test]
    fn reads_todays_and_older_records_and_refuses_newer_ones() {
        let pet = Pet {
            name: "a".into(),
            legs: 3,
        };
        let bytes = pet.encode().expect("it encodes");
        assert_eq!(Pet::decode(&bytes).expect("it decodes"), pet);
        let old = Pet::decode(br#"{"v":1,"d":{"name":"b"}}"#).expect("it upgrades");
        assert_eq!(old.legs, 4);
        let newer = Pet::decode(br#"{"v":3,"d":{"soul":true}}"#).expect_err("it is newer");
        assert_eq!(newer.kind(), Kind::VersionMismatch);
    }
}
