//! This program's own file, as it is put on hosts.

use std::path::Path;
use std::sync::Arc;

use ring::digest::{Context, SHA256};
use tokio::sync::OnceCell;

use crate::base::{Error, Result};
use crate::sys::process::own_file;

/// How many digits of the hash stand in the name.
const DIGITS: usize = 16;

/// The file, hashed when it is needed first. Cheap to clone.
#[derive(Clone)]
pub(super) struct Binary {
    /// What is known of it.
    file: Arc<OnceCell<File>>,
    /// Tells the parts of several API servers on one host apart.
    server: Arc<str>,
}

/// What is known of the file.
pub(super) struct File {
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
    /// Names the file. `state` is the directory of this API server.
    pub(super) fn new(state: &Path) -> Self {
        let id = ring::digest::digest(&SHA256, state.as_os_str().as_encoded_bytes());
        Self {
            file: Arc::default(),
            server: hex::encode(&id.as_ref()[..4]).into(),
        }
    }

    /// Returns what is known of it.
    pub(super) async fn file(&self) -> Result<&File> {
        let server = Arc::clone(&self.server);
        self.file
            .get_or_try_init(|| async {
                tokio::task::spawn_blocking(move || File::look(&server))
                    .await
                    .map_err(|e| Error::internal("read this program's file", &e))?
            })
            .await
    }
}

impl File {
    /// Reads the file.
    fn look(server: &str) -> Result<Self> {
        let mut hash = Context::new(&SHA256);
        let mut writer = Hashing(&mut hash);
        let length = std::fs::File::open(own_file())
            .and_then(|mut file| std::io::copy(&mut file, &mut writer))
            .map_err(|e| Error::io("read this program's file", &e))?;
        let hash = hex::encode(hash.finish());
        let short = &hash[..DIGITS];
        Ok(Self {
            length,
            remote: format!(".sky/bin/sky-{short}"),
            remote_part: format!(".sky/bin/.sky-{short}.{server}.part"),
            hash,
        })
    }

    /// Opens it.
    pub(super) async fn open(&self) -> Result<tokio::fs::File> {
        tokio::fs::File::open(own_file())
            .await
            .map_err(|e| Error::io("read this program's file", &e))
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
