//! Uploads of clients before API 41: they name the upload at random, and do not say later which one a task refers to.
//!
//! Each is kept like any other, under the hash of its name; a task refers to the latest one of its user. Nothing is
//! stored: after a restart such a client uploads again.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};

use crate::base::ids::{BlobId, UserId};
use crate::base::{Error, Kind, Result};

/// The longest name of an upload.
const LONGEST: usize = 128;
/// Users whose latest upload is remembered.
const MOST_USERS: usize = 10_000;

/// The latest upload of each user.
#[derive(Default)]
pub(crate) struct Early {
    /// By user.
    latest: Mutex<BTreeMap<UserId, BlobId>>,
}

impl Early {
    /// Returns the blob of an upload.
    pub(crate) fn blob(upload: &str) -> Result<BlobId> {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if upload.is_empty() || upload.len() > LONGEST || !upload.bytes().all(is_word) {
            return Err(Error::new(Kind::Invalid, "the upload has no valid name"));
        }
        hex::encode(Sha256::digest(upload.as_bytes())).parse()
    }

    /// Remembers an upload that is complete.
    pub(crate) fn note(&self, user: UserId, blob: BlobId) {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if latest.len() < MOST_USERS || latest.contains_key(&user) {
            latest.insert(user, blob);
        }
    }

    /// Returns the latest upload of a user.
    pub(crate) fn latest(&self, user: &UserId) -> Option<BlobId> {
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        latest.get(user).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_refers_to_the_latest_upload_of_its_user() {
        let early = Early::default();
        let user: UserId = "0123abcd".parse().expect("a valid id");
        let blob = Early::blob("sky-2026-01-02-03-04-05-000001-0a1b2c3d").expect("a valid name");
        assert!(Early::blob("../x").is_err());
        early.note(user.clone(), blob.clone());
        assert_eq!(early.latest(&user), Some(blob));
        assert_eq!(early.latest(&"other1".parse().expect("valid")), None);
    }
}
