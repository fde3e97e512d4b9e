//! The directory of one process of a job: its files are the truth about it.
//!
//! | file | meaning |
//! | --- | --- |
//! | `spec.json` | what to run; written before the supervisor starts |
//! | `script`, `prologue` | the user's script as it is; what bash reads before it |
//! | `run.lock` | held by the supervisor as long as it lives |
//! | `started` | appears once, before the script starts: nobody starts it again |
//! | `pid` | the process id of the script's shell |
//! | `exit` | how it ended; the last thing the supervisor writes |

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::base::{Error, Result};
use crate::sys::fs;
use crate::sys::lock::FileLock;
use crate::sys::process::{self, Identity};

/// The variable by which processes of a job are found when their supervisor was killed.
pub(crate) const MARK: &str = "SKY_RANK_TOKEN";

/// What the supervisor must know, except the environment, which it inherits: secrets stay out of this file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spec {
    /// Value of [`MARK`] in the environment.
    pub(crate) token: String,
    /// Home directory of jobs.
    pub(crate) home: PathBuf,
    /// Where all output goes.
    pub(crate) log: PathBuf,
    /// Seconds between TERM and KILL.
    pub(crate) grace_secs: f64,
}

/// The supervisor that has claimed the directory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Started {
    /// The supervisor; none when the claim says that the script must never start.
    pub(crate) supervisor: Option<Identity>,
    /// The boot of the machine in which it runs.
    pub(crate) boot: String,
}

/// How the script ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ended {
    /// Exit code; 128 + signal when killed.
    pub(crate) code: i32,
}

/// How the process stands, by its files.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Standing {
    /// Nobody has claimed the directory.
    Unclaimed,
    /// Its supervisor lives.
    Alive(Started),
    /// It ended.
    Ended(Ended),
    /// Its supervisor is gone without a word.
    Lost(Started),
}

/// One such directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place(PathBuf);

impl Place {
    /// Names the directory.
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Returns the directory.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The user's script.
    pub(crate) fn script(&self) -> PathBuf {
        self.0.join("script")
    }

    /// What bash reads before the script.
    pub(crate) fn prologue(&self) -> PathBuf {
        self.0.join("prologue")
    }

    /// Makes the directory and its files, unless they are there: what stands is never changed.
    pub(crate) fn prepare(&self, spec: &Spec, prologue: &str, script: &str) -> Result<Spec> {
        if let Some(spec) = self.spec()? {
            return Ok(spec);
        }
        fs::private_dir(&self.0)?;
        write_plain(&self.script(), script.as_bytes())?;
        write_plain(&self.prologue(), prologue.as_bytes())?;
        // The last file: a directory with it is complete.
        self.write_new("spec.json", spec)?;
        self.spec()?.ok_or_else(|| self.broken("spec.json"))
    }

    /// Returns what to run, where that is known.
    pub(crate) fn spec(&self) -> Result<Option<Spec>> {
        self.read("spec.json")
    }

    /// Takes the supervisor's lock; `None` when somebody holds it.
    pub(crate) fn try_lock(&self) -> Result<Option<FileLock>> {
        FileLock::try_acquire(&self.0.join("run.lock"))
    }

    /// Claims the script: true for exactly one caller, ever.
    ///
    /// The claim is on disk when this returns: after a power failure the script is not started again either.
    pub(crate) fn claim(&self, supervisor: Option<Identity>) -> Result<bool> {
        let started = Started {
            supervisor,
            boot: process::boot_id(),
        };
        self.write_new("started", &started)
    }

    /// Returns the claim.
    pub(crate) fn started(&self) -> Result<Option<Started>> {
        self.read("started")
    }

    /// Records the process id of the script's shell.
    pub(crate) fn write_pid(&self, pid: u32) -> Result<()> {
        let temporary = self.0.join("pid.new");
        write_plain(&temporary, pid.to_string().as_bytes())?;
        rename(&temporary, &self.0.join("pid"))
    }

    /// Returns the process id of the script's shell.
    pub(crate) fn pid(&self) -> Result<Option<u32>> {
        Ok(fs::read_optional(&self.0.join("pid"))?.and_then(|text| text.trim().parse().ok()))
    }

    /// Takes room on the disk for the end, so that it can be written when the disk is full.
    pub(crate) fn reserve_exit(&self) -> Result<()> {
        write_plain(&self.0.join("exit.new"), &[b' '; RESERVED])
    }

    /// Records the end of what will never start. A supervisor that comes too late takes room for an end of its own meanwhile:
    /// nothing is shared with it.
    pub(crate) fn write_unstarted(&self, ended: Ended) -> Result<()> {
        self.write_new("exit", &ended).map(drop)
    }

    /// Records the end, as a whole or not at all. Only the supervisor that has the claim calls this.
    pub(crate) fn write_exit(&self, ended: Ended) -> Result<()> {
        let temporary = self.0.join("exit.new");
        let mut text = serde_json::to_vec(&ended)
            .map_err(|e| Error::internal("write the end of a process as JSON", &e))?;
        text.resize(RESERVED.max(text.len()), b' ');
        let write = || -> std::io::Result<()> {
            // Not truncated: the blocks that were reserved are written over.
            let mut file = std::fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(&temporary)?;
            file.write_all(&text)
        };
        write().map_err(|e| Error::io(format!("write `{}`", temporary.display()), &e))?;
        rename(&temporary, &self.0.join("exit"))
    }

    /// Returns how it ended.
    pub(crate) fn ended(&self) -> Result<Option<Ended>> {
        self.read("exit")
    }

    /// Looks how the process stands.
    pub(crate) fn standing(&self) -> Result<Standing> {
        if let Some(ended) = self.ended()? {
            return Ok(Standing::Ended(ended));
        }
        let Some(started) = self.started()? else {
            return Ok(Standing::Unclaimed);
        };
        if self.try_lock()?.is_none() {
            return Ok(Standing::Alive(started));
        }
        // The end is written before the lock falls, so it must be looked for again after the lock was found free.
        Ok(match self.ended()? {
            Some(ended) => Standing::Ended(ended),
            None => Standing::Lost(started),
        })
    }

    /// Writes a file that does not exist yet, whole and durable; false when it exists.
    fn write_new(&self, name: &str, value: &impl Serialize) -> Result<bool> {
        let path = self.0.join(name);
        let temporary = self
            .0
            .join(format!(".{name}.{}", uuid::Uuid::new_v4().simple()));
        let json = serde_json::to_vec(value)
            .map_err(|e| Error::internal(format!("write `{name}` as JSON"), &e))?;
        let write = || -> std::io::Result<bool> {
            let mut file = std::fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&temporary)?;
            file.write_all(&json)?;
            file.sync_all()?;
            let linked = match std::fs::hard_link(&temporary, &path) {
                Ok(()) => true,
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => false,
                Err(e) => return Err(e),
            };
            std::fs::File::open(&self.0)?.sync_all()?;
            Ok(linked)
        };
        let result = write();
        drop(std::fs::remove_file(&temporary));
        result.map_err(|e| Error::io(format!("write `{}`", path.display()), &e))
    }

    /// Reads a file as JSON; `None` when it does not exist.
    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let path = self.0.join(name);
        fs::read_optional(&path)?
            .map(|text| {
                serde_json::from_str(&text)
                    .map_err(|e| Error::internal(format!("read `{}`", path.display()), &e))
            })
            .transpose()
    }

    /// The error for a file that vanished.
    fn broken(&self, name: &str) -> Error {
        Error::new(
            crate::base::Kind::Internal,
            format!("`{}` has vanished", self.0.join(name).display()),
        )
    }
}

/// Bytes that are reserved for `exit`.
const RESERVED: usize = 64;

/// Writes a file that only its owner may read.
fn write_plain(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || {
        std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)?
            .write_all(bytes)
    };
    write().map_err(|e: std::io::Error| Error::io(format!("write `{}`", path.display()), &e))
}

/// Renames a file.
fn rename(from: &Path, to: &Path) -> Result<()> {
    std::fs::rename(from, to).map_err(|e| Error::io(format!("write `{}`", to.display()), &e))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    fn place() -> (tempfile::TempDir, Place) {
        let dir = tempfile::tempdir().expect("a directory");
        let place = Place::new(dir.path().join("run-0"));
        let spec = Spec {
            token: "t".into(),
            home: dir.path().into(),
            log: dir.path().join("log"),
            grace_secs: 1.0,
        };
        place.prepare(&spec, "", "true").expect("it is prepared");
        (dir, place)
    }

    #[test]
    fn one_claim_wins() {
        let (_dir, place) = place();
        assert_eq!(place.standing().expect("it reads"), Standing::Unclaimed);
        assert!(place.claim(None).expect("it can be claimed"));
        assert!(!place.claim(None).expect("it can be asked"));
    }

    #[test]
    fn standing_follows_lock_and_exit() {
        let (_dir, place) = place();
        let lock = place.try_lock().expect("it opens").expect("it is free");
        assert!(place.claim(None).expect("it can be claimed"));
        place.reserve_exit().expect("room");
        assert!(matches!(place.standing(), Ok(Standing::Alive(_))));
        drop(lock);
        assert!(matches!(place.standing(), Ok(Standing::Lost(_))));
        place.write_exit(Ended { code: 7 }).expect("it is written");
        assert_eq!(
            place.standing().expect("it reads"),
            Standing::Ended(Ended { code: 7 })
        );
    }

    #[test]
    fn a_supervisor_that_comes_too_late_spoils_nothing() {
        for _ in 0..50 {
            let (_dir, place) = place();
            let done = AtomicBool::new(false);
            std::thread::scope(|scope| {
                // It may be anywhere in what it does before it sees that the claim is taken.
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        place.reserve_exit().expect("room");
                    }
                });
                assert!(place.claim(None).expect("it can be claimed"));
                let written = place.write_unstarted(Ended { code: 143 });
                done.store(true, Ordering::Relaxed);
                written.expect("it is written");
            });
            assert_eq!(place.ended().expect("it reads"), Some(Ended { code: 143 }));
        }
    }

    #[test]
    fn preparing_twice_keeps_the_first_token() {
        let (_dir, place) = place();
        let other = Spec {
            token: "other".into(),
            ..place.spec().expect("it reads").expect("it is there")
        };
        let kept = place.prepare(&other, "", "false").expect("it is prepared");
        assert_eq!(kept.token, "t");
    }
}
