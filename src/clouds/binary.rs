//! This program as it is put on hosts: its own file, and those for machines of other kinds that the operator put beside.

use std::collections::HashMap;
use std::fmt;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use ring::digest::{Context, SHA256};
use tokio::sync::OwnedMutexGuard;

use crate::base::{Error, Kind, Result};
use crate::sys::process::own_file;

/// How many digits of the hash stand in the name.
const DIGITS: usize = 16;

/// A kind of machine that a program runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Arch {
    /// Intel and AMD.
    X86,
    /// ARM: Graviton, Grace.
    Arm,
}

impl Arch {
    /// All of them.
    const ALL: [Self; 2] = [Self::X86, Self::Arm];

    /// Returns the kind that this program is built for.
    pub(super) const fn own() -> Self {
        if cfg!(target_arch = "aarch64") {
            Self::Arm
        } else {
            Self::X86
        }
    }

    /// Returns the name that the kernel gives it.
    const fn as_str(self) -> &'static str {
        match self {
            Self::X86 => "x86_64",
            Self::Arm => "aarch64",
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Arch {
    type Err = ();

    /// Reads the kernel's name, or that of AWS.
    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "x86_64" => Ok(Self::X86),
            "aarch64" | "arm64" => Ok(Self::Arm),
            _ => Err(()),
        }
    }
}

/// The program's files, hashed when they are needed first. Cheap to clone.
#[derive(Clone)]
pub(super) struct Binary {
    /// What is shared by all clones.
    inner: Arc<Inner>,
}

/// What is shared.
struct Inner {
    /// Tells the parts of several API servers on one host apart.
    server: String,
    /// Where the files for other kinds are.
    others: PathBuf,
    /// What is known of files, and of which state of them.
    known: Mutex<HashMap<Arch, (Stamp, Arc<File>)>>,
    /// Who copies one, by host.
    turns: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

/// The state of a file: another one after it was replaced.
type Stamp = (u64, Option<SystemTime>);

/// What is known of a file.
pub(super) struct File {
    /// Where it is here.
    path: PathBuf,
    /// SHA-256 in hex.
    pub(super) hash: String,
    /// Bytes.
    pub(super) length: u64,
    /// Where it is on a host, from the home directory.
    pub(super) remote: String,
    /// Where it is until it is complete.
    pub(super) remote_part: String,
}

impl Binary {
    /// Names the files. `state` is the directory of this API server.
    pub(super) fn new(state: &Path) -> Self {
        let id = ring::digest::digest(&SHA256, state.as_os_str().as_encoded_bytes());
        Self {
            inner: Arc::new(Inner {
                server: hex::encode(&id.as_ref()[..4]),
                others: state.join("programs"),
                known: Mutex::default(),
                turns: Mutex::default(),
            }),
        }
    }

    /// Waits for the turn to copy one to a host.
    pub(super) async fn turn(&self, host: &str) -> OwnedMutexGuard<()> {
        let turn = {
            let turns = &self.inner.turns;
            let mut turns = turns.lock().unwrap_or_else(PoisonError::into_inner);
            // Those that nobody holds have served.
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            Arc::clone(turns.entry(host.to_owned()).or_default())
        };
        turn.lock_owned().await
    }

    /// Returns where the file for a kind of machine is, or would be.
    fn path(&self, arch: Arch) -> PathBuf {
        if arch == Arch::own() {
            own_file()
        } else {
            self.inner.others.join(format!("sky-{arch}"))
        }
    }

    /// Whether there is a file for a kind of machine.
    pub(super) fn has(&self, arch: Arch) -> bool {
        self.path(arch).is_file()
    }

    /// Returns the file for a kind of machine; an error that says where it is missing.
    pub(super) async fn file(&self, arch: Arch) -> Result<Arc<File>> {
        if !self.has(arch) {
            let path = self.path(arch);
            let what = format!(
                "this API server has no program for {arch}: put `sky` of the same release, built there, at {}",
                path.display()
            );
            return Err(Error::new(Kind::NotSupported, what).hint("or leave such machines out"));
        }
        let this = self.clone();
        tokio::task::spawn_blocking(move || this.look(arch))
            .await
            .map_err(|e| Error::internal("read this program's file", &e))?
    }

    /// Looks at a file; hashes it unless that was done before.
    fn look(&self, arch: Arch) -> Result<Arc<File>> {
        let path = self.path(arch);
        let meta = path
            .metadata()
            .map_err(|e| Error::io(format!("read `{}`", path.display()), &e))?;
        let stamp = (meta.len(), meta.modified().ok());
        // Held while it is hashed: whoever else wants the file waits for the same.
        let known = &self.inner.known;
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((then, file)) = known.get(&arch)
            && *then == stamp
        {
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(File::read(path, &self.inner.server)?);
        known.insert(arch, (stamp, Arc::clone(&file)));
        Ok(file)
    }

    /// Returns the line of a shell script that sets `f` to where the program is on the host that runs it.
    pub(super) async fn locate(&self) -> Result<String> {
        let own = self.file(Arch::own()).await?;
        let at = |file: &File| format!(r#"f="$HOME/{}""#, file.remote);
        let mut cases = String::new();
        for arch in Arch::ALL {
            if arch != Arch::own() && self.has(arch) {
                let other = at(&*self.file(arch).await?);
                write!(cases, "{arch}) {other};; ")
                    .map_err(|e| Error::internal("name this program's files", &e))?;
            }
        }
        if cases.is_empty() {
            return Ok(format!("{}; ", at(&own)));
        }
        Ok(format!(
            r#"case "$(uname -m)" in {cases}*) {};; esac; "#,
            at(&own)
        ))
    }
}

impl File {
    /// Reads a file.
    fn read(path: PathBuf, server: &str) -> Result<Self> {
        let mut hash = Context::new(&SHA256);
        let mut writer = Hashing(&mut hash);
        let length = std::fs::File::open(&path)
            .and_then(|mut file| std::io::copy(&mut file, &mut writer))
            .map_err(|e| Error::io(format!("read `{}`", path.display()), &e))?;
        let hash = hex::encode(hash.finish());
        let short = &hash[..DIGITS];
        Ok(Self {
            path,
            length,
            remote: format!(".sky/bin/sky-{short}"),
            remote_part: format!(".sky/bin/.sky-{short}.{server}.part"),
            hash,
        })
    }

    /// Opens it.
    pub(super) async fn open(&self) -> Result<tokio::fs::File> {
        tokio::fs::File::open(&self.path)
            .await
            .map_err(|e| Error::io(format!("read `{}`", self.path.display()), &e))
    }
}

/// A hash as something that is written to.
struct Hashing<'a>(&'a mut Context);

impl std::io::Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn hosts_of_another_kind_get_the_file_that_was_put_there_for_them() {
        let state = tempfile::tempdir().expect("a directory");
        let binary = Binary::new(state.path());
        let other = Arch::ALL.into_iter().find(|arch| *arch != Arch::own());
        let other = other.expect("two kinds");
        let missing = binary.file(other).await.map(drop).expect_err("none");
        let wanted = state.path().join(format!("programs/sky-{other}"));
        assert!(missing.message().contains(&*wanted.to_string_lossy()));
        assert!(!binary.locate().await.expect("a line").contains("case"));
        std::fs::create_dir(state.path().join("programs")).expect("made");
        std::fs::write(&wanted, "one").expect("written");
        let one = binary.file(other).await.expect("there").hash.clone();
        std::fs::write(&wanted, "another").expect("written");
        let file = binary.file(other).await.expect("there");
        assert_ne!(file.hash, one, "it was replaced");
        let line = binary.locate().await.expect("a line");
        assert!(
            line.contains(&format!("{other}) f=\"$HOME/{}\"", file.remote)),
            "{line}"
        );
    }
}
