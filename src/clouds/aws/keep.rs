//! What this API server keeps for AWS in its own directory: who it is, its key, where it has made machines, and the keys of
//! machines that it has met.
//!
//! ```text
//! <state>/aws/  server        tells what this server made from what others made in the same account
//!               key, key.pub  opens its machines
//!               regions       where machines of its were made: written before the first one there
//!               known_hosts/  one file per set
//!               tokens/       one file per set: what the tokens of its machines follow from, as long as they exist
//! ```

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ring::digest;

use crate::base::{Error, Kind, Result};
use crate::sys::fs;
use crate::sys::lock::FileLock;
use crate::transport::ssh;

/// How long making a key may take in another request.
const PATIENCE: Duration = Duration::from_secs(30);

/// The directory. Cheap to clone.
#[derive(Clone)]
pub(super) struct Keep {
    /// Where it is.
    dir: PathBuf,
    /// One at a time changes a file.
    changing: Arc<Mutex<()>>,
}

/// A key as AWS must know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    /// Its name, which changes with it.
    pub(super) name: String,
    /// Its public part, as a line of `authorized_keys`.
    pub(super) public: String,
    /// The file with its private part.
    pub(super) file: PathBuf,
}

impl Keep {
    /// Names the directory.
    pub(super) fn new(state: &Path) -> Self {
        Self {
            dir: state.join("aws"),
            changing: Arc::default(),
        }
    }

    /// Returns who this server is.
    pub(super) fn server(&self) -> Result<String> {
        let path = self.dir.join("server");
        if let Some(id) = fs::read_optional(&path)? {
            return Ok(id.trim().to_owned());
        }
        let _lock = self.lock()?;
        if let Some(id) = fs::read_optional(&path)? {
            return Ok(id.trim().to_owned());
        }
        let id = uuid::Uuid::new_v4().simple().to_string()[..12].to_owned();
        fs::write_atomic(&path, id.as_bytes(), 0o600)?;
        Ok(id)
    }

    /// Waits until no other request makes something here.
    fn lock(&self) -> Result<FileLock> {
        fs::private_dir(&self.dir)?;
        FileLock::acquire_within(&self.dir.join(".lock"), PATIENCE)
    }

    /// Returns the private key's file.
    pub(super) fn key_file(&self) -> PathBuf {
        self.dir.join("key")
    }

    /// Returns the key; makes it when there is none.
    pub(super) async fn key(&self) -> Result<Key> {
        let file = self.key_file();
        let public_file = file.with_extension("pub");
        let mut public = fs::read_optional(&public_file)?;
        if public.is_none() {
            let this = self.clone();
            let lock = tokio::task::spawn_blocking(move || this.lock())
                .await
                .map_err(|e| Error::internal("make a key", &e))??;
            public = fs::read_optional(&public_file)?;
            if public.is_none() {
                ssh::make_key(&file).await?;
                public = fs::read_optional(&public_file)?;
            }
            drop(lock);
        }
        let public = public.ok_or_else(|| {
            Error::new(
                Kind::Internal,
                format!("there is no `{}`", public_file.display()),
            )
        })?;
        let hash = digest::digest(&digest::SHA256, public.as_bytes());
        Ok(Key {
            name: format!("sky-{}", hex::encode(&hash.as_ref()[..6])),
            public: public.trim().to_owned(),
            file,
        })
    }

    /// Returns where machines were made.
    pub(super) fn regions(&self) -> Result<BTreeSet<String>> {
        let text = fs::read_optional(&self.dir.join("regions"))?.unwrap_or_default();
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// Notes that machines are going to be made in a region.
    pub(super) fn note_region(&self, region: &str) -> Result<()> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut regions = self.regions()?;
        if !regions.insert(region.to_owned()) {
            return Ok(());
        }
        fs::private_dir(&self.dir)?;
        let lines: Vec<String> = regions.into_iter().collect();
        let text = format!("{}\n", lines.join("\n"));
        fs::write_atomic(&self.dir.join("regions"), text.as_bytes(), 0o600)
    }

    /// Returns what the tokens of a set's machines follow from; another one than `used`, whose machines are gone.
    pub(super) fn seed(&self, set: &str, used: Option<&str>) -> Result<String> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = self.dir.join("tokens");
        let path = dir.join(set);
        if let Some(seed) = fs::read_optional(&path)?
            && used != Some(seed.as_str())
        {
            return Ok(seed);
        }
        let seed = uuid::Uuid::new_v4().simple().to_string();
        fs::private_dir(&dir)?;
        fs::write_atomic(&path, seed.as_bytes(), 0o600)?;
        Ok(seed)
    }

    /// Returns the file with the keys of a set's machines; its directory exists then.
    pub(super) fn known_hosts(&self, set: &str) -> Result<PathBuf> {
        let dir = self.dir.join("known_hosts");
        fs::private_dir(&dir)?;
        Ok(dir.join(set))
    }

    /// Forgets keys and tokens of a set's machines, which are gone.
    pub(super) fn forget(&self, set: &str) {
        for what in ["known_hosts", "tokens"] {
            // What stays behind names machines that will never come back: it does no harm.
            drop(std::fs::remove_file(self.dir.join(what).join(set)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_kept_stays_the_same() {
        let dir = tempfile::tempdir().expect("a directory");
        let keep = Keep::new(dir.path());
        let (id, key) = (keep.server().expect("an id"), keep.key().await);
        let key = key.expect("a key");
        assert_eq!(keep.server().expect("an id"), id);
        assert_eq!(keep.key().await.expect("a key"), key);
        assert!(key.public.starts_with("ssh-ed25519 "), "{}", key.public);
        let seed = keep.seed("set", None).expect("a seed");
        assert_eq!(keep.seed("set", None).expect("a seed"), seed);
        assert_ne!(keep.seed("set", Some(&seed)).expect("a seed"), seed);
        keep.note_region("us-east-1").expect("noted");
        keep.note_region("eu-west-1").expect("noted");
        keep.note_region("us-east-1").expect("noted");
        let regions: Vec<_> = keep.regions().expect("read").into_iter().collect();
        assert_eq!(regions, ["eu-west-1", "us-east-1"]);
    }
}
