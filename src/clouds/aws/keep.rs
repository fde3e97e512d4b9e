//! What this API server keeps for AWS in its own directory: who it is, its key, where it has made machines, and the keys of
//! machines that it has met.
//!
//! ```text
//! <state>/aws/  server        tells what this server made from what others made in the same account
//!               key, key.pub  opens its machines
//!               regions       where machines of its were made: written before the first one there
//!               known_hosts/  one file per set
//!               seeds/        for each set one file per rank: what the tokens of its machine follow from, and the last call
//! ```

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ring::digest;
use serde::{Deserialize, Serialize};

use crate::base::clock::Moment;
use crate::base::ids::NodeRank;
use crate::base::{Error, Kind, Result};
use crate::sys::fs;
use crate::sys::lock::FileLock;
use crate::transport::ssh;

/// How long making a key may take in another request.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a call may go on, with all its attempts, after it was noted.
const CALL: Duration = Duration::from_secs(120);

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

/// What is known of the machine of a rank.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Trace {
    /// What the tokens of the calls that make it follow from: another one only when that machine is gone.
    pub(super) seed: String,
    /// The last call that may have made it.
    pub(super) call: Option<Asked>,
}

/// A call that makes a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Asked {
    /// In which subnet.
    pub(super) subnet: String,
    /// Its token.
    pub(super) token: String,
    /// When it was made, or answered.
    at: Moment,
    /// The machine; none while there is no answer.
    pub(super) made: Option<String>,
}

impl Asked {
    /// A call that is made now, perhaps again.
    pub(super) fn now(subnet: &str, token: &str, before: Option<&Self>) -> Self {
        Self {
            subnet: subnet.to_owned(),
            token: token.to_owned(),
            at: Moment::now(),
            made: before.and_then(|before| before.made.clone()),
        }
    }

    /// The same with its answer.
    pub(super) fn made(self, id: &str) -> Self {
        Self {
            made: Some(id.to_owned()),
            at: Moment::now(),
            ..self
        }
    }

    /// Whether it made this machine.
    pub(super) fn has_made(&self, id: &str) -> bool {
        self.made.as_deref() == Some(id)
    }

    /// Whether it may have been answered so short a time ago.
    pub(super) fn is_fresh(&self, most: Duration) -> bool {
        let now = Moment::now();
        let most = match self.made {
            Some(_) => most,
            None => most + CALL,
        };
        // One of the future was noted by another clock.
        now.since(self.at) <= most && self.at.since(now) <= most
    }
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

    /// Returns the directory with what is known of the machines of a set.
    fn seeds(&self, set: &str) -> PathBuf {
        self.dir.join("seeds").join(set)
    }

    /// Returns what is known of the machine of a rank; from now on that, when nothing was.
    pub(super) fn trace(&self, set: &str, rank: NodeRank) -> Result<Trace> {
        match self.find_trace(set, rank)? {
            Some(trace) => Ok(trace),
            None => self.renew(set, rank),
        }
    }

    /// Returns what is known of the machine of a rank.
    fn find_trace(&self, set: &str, rank: NodeRank) -> Result<Option<Trace>> {
        let path = self.seeds(set).join(rank.to_string());
        let Some(text) = fs::read_optional(&path)? else {
            return Ok(None);
        };
        let read = serde_json::from_str(&text);
        read.map(Some).map_err(|e| {
            let what = format!("`{}` cannot be read", path.display());
            Error::new(Kind::Internal, what).caused_by(&e)
        })
    }

    /// Notes the last call that may have made the machine of a rank; none where AWS has said that none has.
    pub(super) fn note(
        &self,
        set: &str,
        rank: NodeRank,
        seed: &str,
        call: Option<Asked>,
    ) -> Result<Trace> {
        let trace = Trace {
            seed: seed.to_owned(),
            call,
        };
        let text = serde_json::to_vec(&trace).map_err(|e| Error::internal("write a seed", &e))?;
        let dir = self.seeds(set);
        fs::private_dir(&dir)?;
        fs::write_atomic(&dir.join(rank.to_string()), &text, 0o600)?;
        Ok(trace)
    }

    /// Gives a rank a new seed: its machine is gone, and another one may be made.
    pub(super) fn renew(&self, set: &str, rank: NodeRank) -> Result<Trace> {
        let seed = uuid::Uuid::new_v4().simple().to_string();
        self.note(set, rank, &seed, None)
    }

    /// Returns the last calls that may have made machines of a set, by rank.
    pub(super) fn calls(&self, set: &str) -> Result<Vec<(NodeRank, Asked)>> {
        let dir = self.seeds(set);
        let names = match std::fs::read_dir(&dir) {
            Ok(entries) => entries.flatten().map(|entry| entry.file_name()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => {
                let what = format!("`{}` cannot be read", dir.display());
                return Err(Error::new(Kind::Internal, what).caused_by(&e));
            }
        };
        let mut calls = Vec::new();
        // What is not a number is being written.
        for rank in names.filter_map(|name| name.to_str()?.parse().ok().map(NodeRank)) {
            let trace = self.find_trace(set, rank)?;
            calls.extend(trace.and_then(|trace| trace.call).map(|call| (rank, call)));
        }
        calls.sort_by_key(|(rank, _)| *rank);
        Ok(calls)
    }

    /// Returns those of them that are not older than this.
    pub(super) fn fresh(&self, set: &str, most: Duration) -> Result<Vec<(NodeRank, Asked)>> {
        let mut calls = self.calls(set)?;
        calls.retain(|(_, call)| call.is_fresh(most));
        Ok(calls)
    }

    /// Returns the file with the keys of a set's machines; its directory exists then.
    pub(super) fn known_hosts(&self, set: &str) -> Result<PathBuf> {
        let dir = self.dir.join("known_hosts");
        fs::private_dir(&dir)?;
        Ok(dir.join(set))
    }

    /// Forgets keys and seeds of a set's machines, which are gone.
    pub(super) fn forget(&self, set: &str) {
        // What stays behind names machines that will never come back: it does no harm.
        drop(std::fs::remove_file(self.dir.join("known_hosts").join(set)));
        drop(std::fs::remove_dir_all(self.seeds(set)));
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
        keep.note_region("us-east-1").expect("noted");
        keep.note_region("eu-west-1").expect("noted");
        keep.note_region("us-east-1").expect("noted");
        let regions: Vec<_> = keep.regions().expect("read").into_iter().collect();
        assert_eq!(regions, ["eu-west-1", "us-east-1"]);
    }

    #[test]
    fn a_rank_keeps_its_seed_until_its_machine_is_gone() {
        let dir = tempfile::tempdir().expect("a directory");
        let keep = Keep::new(dir.path());
        let (one, two) = (NodeRank(1), NodeRank(2));
        let first = keep.trace("set", one).expect("a seed");
        assert_eq!(keep.trace("set", one).expect("a seed"), first);
        assert_ne!(keep.trace("set", two).expect("a seed").seed, first.seed);
        let call = Asked::now("subnet-1", "token", None).made("i-1");
        let noted = keep.note("set", one, &first.seed, Some(call.clone()));
        assert_eq!(noted.expect("noted").seed, first.seed);
        assert_eq!(keep.calls("set").expect("read"), [(one, call.clone())]);
        let fresh = |most| keep.fresh("set", most).expect("read").len();
        assert_eq!((fresh(PATIENCE), fresh(Duration::ZERO)), (1, 0));
        let other = keep.renew("set", one).expect("a seed");
        assert_ne!(other.seed, first.seed);
        assert!(keep.calls("set").expect("read").is_empty());
        keep.forget("set");
        assert_ne!(keep.trace("set", one).expect("a seed").seed, other.seed);
    }
}
