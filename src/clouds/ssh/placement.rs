//! Which hosts hold the nodes of a set: written before a node is made, removed when all are gone.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::base::ids::NodeRank;
use crate::base::{Error, Kind, Result};
use crate::sys::fs;

/// The hosts of a set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Placement {
    /// The pool.
    pub(super) pool: String,
    /// The host of each rank; a rank that was never placed has none.
    pub(super) hosts: Vec<(NodeRank, String)>,
}

impl Placement {
    /// Returns the host of a rank.
    pub(super) fn host(&self, rank: NodeRank) -> Option<&str> {
        let found = self.hosts.iter().find(|(of, _)| *of == rank);
        found.map(|(_, host)| host.as_str())
    }

    /// Returns whether a host holds one of the ranks.
    pub(super) fn uses(&self, host: &str) -> bool {
        self.hosts.iter().any(|(_, of)| of == host)
    }

    /// Puts a rank on a host.
    pub(super) fn put(&mut self, rank: NodeRank, host: &str) {
        self.hosts.retain(|(of, _)| *of != rank);
        self.hosts.push((rank, host.to_owned()));
        self.hosts.sort_unstable();
    }
}

/// The placements of this API server.
#[derive(Debug, Clone)]
pub(super) struct Placements {
    /// One file per set.
    dir: PathBuf,
}

impl Placements {
    /// Names the directory.
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// The file of a set.
    fn path(&self, set: &str) -> PathBuf {
        self.dir.join(format!("{set}.json"))
    }

    /// Reads where a set is.
    pub(super) fn read(&self, set: &str) -> Result<Option<Placement>> {
        let path = self.path(set);
        let Some(text) = fs::read_optional(&path)? else {
            return Ok(None);
        };
        serde_json::from_str(&text).map(Some).map_err(|e| {
            let what = format!("`{}` is not readable", path.display());
            Error::new(Kind::Internal, what).caused_by(&e)
        })
    }

    /// Writes where a set is going to be.
    pub(super) fn write(&self, set: &str, placement: &Placement) -> Result<()> {
        fs::private_dir(&self.dir)?;
        let text =
            serde_json::to_vec(placement).map_err(|e| Error::internal("write a placement", &e))?;
        fs::write_atomic(&self.path(set), &text, 0o600)
    }

    /// Forgets a set that is gone.
    pub(super) fn remove(&self, set: &str) -> Result<()> {
        match std::fs::remove_file(self.path(set)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io(format!("forget where `{set}` was"), &e))
            }
            _ => Ok(()),
        }
    }

    /// Lists the sets.
    pub(super) fn sets(&self) -> Result<Vec<String>> {
        let entries = match std::fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(Error::io(format!("list `{}`", self.dir.display()), &e)),
        };
        let stem = |path: &Path| Some(path.file_stem()?.to_str()?.to_owned());
        Ok(entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|e| e == "json"))
            .filter_map(|path| stem(&path))
            .collect())
    }
}
