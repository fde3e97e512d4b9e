//! Files of a task on their way to a server on another machine: one zip, named by its content, sent in chunks.
//!
//! A server on this machine reads absolute paths itself, so nothing is sent to it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::exit::Outcome;
use super::session::{Repeat, Session};
use crate::base::ids::BlobId;
use crate::base::units::Bytes;
use crate::base::{Error, Kind, Result};
use crate::sys::env;
use crate::sys::walk::{EntryKind, walk};
use crate::task::{Dag, MountSource, Workdir};

/// Bytes of a chunk, unless configured.
const CHUNK: u64 = 95_000_000;
/// The variable that sets the bytes of a chunk, for connections that break often.
const CHUNK_VARIABLE: &str = "SKY_UPLOAD_CHUNK_BYTES";
/// How often a chunk is sent on average before giving up.
const ROUNDS: u64 = 3;

/// Sends the files that a task names, unless the server is this machine's; returns the name of the upload.
pub(crate) async fn files(session: &Session, dag: &mut Dag) -> Outcome<Option<BlobId>> {
    if session.target.local {
        return Ok(None);
    }
    let paths = collect(dag);
    if paths.is_empty() {
        return Ok(None);
    }
    session.ui.spin("[bold cyan]Packing files[/]");
    // Reading is much cheaper than packing: most of the time the server has it all.
    let known = address(&entries(&paths)?)?;
    let user = &session.identity.id;
    let has = session
        .patiently(Repeat::Always, || {
            session.calls.blob_exists(user, &known, 0)
        })
        .await?;
    if has {
        session.ui.end_spin();
        return Ok(Some(known));
    }
    let directory = scratch(session)?;
    let packed = Packed::pack(&paths, &directory)?;
    let sent = send(session, &packed).await;
    if let Err(e) = std::fs::remove_file(&packed.path) {
        session.ui.err_markup(&format!(
            "[dim]`{}` stays behind: {e}[/]",
            packed.path.display()
        ));
    }
    session.ui.end_spin();
    sent.map(|()| Some(packed.id))
}

/// Lists the paths of this machine in the tasks, and notes them in the tasks.
fn collect(dag: &mut Dag) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for task in &mut dag.tasks {
        let mut named: Vec<String> = Vec::new();
        if let Some(Workdir::Local(path)) = &task.workdir {
            named.push(path.clone());
        }
        for source in task.file_mounts.values() {
            match source {
                MountSource::Local(path) => named.push(path.clone()),
                MountSource::Uri(_) | MountSource::Storage(_) => {}
            }
        }
        for path in named {
            task.file_mounts_mapping.insert(path.clone(), path.clone());
            paths.push(PathBuf::from(path));
        }
    }
    paths.sort();
    paths.dedup();
    paths
}

/// Returns the directory for archives that are being sent.
fn scratch(session: &Session) -> Result<PathBuf> {
    let directory = session.paths.sky().join("uploads");
    crate::sys::fs::private_dir(&directory)?;
    Ok(directory)
}

/// What stands in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Content {
    /// A directory.
    Directory,
    /// The bytes of this file.
    File,
    /// A link to this place.
    Link(String),
}

/// An archive on disk.
#[derive(Debug)]
struct Packed {
    /// Where it is.
    path: PathBuf,
    /// Its name: a hash over names and contents.
    id: BlobId,
    /// Its length.
    size: u64,
    /// The length of a chunk.
    chunk_len: u64,
}

impl Packed {
    /// Packs files and directories, each under its absolute path.
    fn pack(paths: &[PathBuf], directory: &Path) -> Result<Self> {
        let entries = entries(paths)?;
        let chunk_len = chunk_len()?;
        let path = directory.join(format!("{}.zip", uuid::Uuid::new_v4().simple()));
        let write = |entries: &BTreeMap<String, (PathBuf, Content)>| -> Result<(BlobId, u64)> {
            let file = File::create_new(&path)
                .map_err(|e| Error::io(format!("create `{}`", path.display()), &e))?;
            let mut zip = ZipWriter::new(file);
            let mut id = Sha256::new();
            for (name, (source, content)) in entries {
                let digest = add(&mut zip, name, source, content)?;
                id.update(name.as_bytes());
                id.update(digest);
            }
            let file = zip
                .finish()
                .map_err(|e| Error::internal("finish the archive", &e))?;
            let size = file
                .metadata()
                .map_err(|e| Error::io("measure the archive", &e))?
                .len();
            Ok((hex::encode(id.finalize()).parse()?, size))
        };
        match write(&entries) {
            Ok((id, size)) => Ok(Self {
                path,
                id,
                size,
                chunk_len,
            }),
            Err(error) => {
                drop(std::fs::remove_file(&path));
                Err(error)
            }
        }
    }

    /// Returns the number of chunks.
    fn chunks(&self) -> u64 {
        self.size.div_ceil(self.chunk_len).max(1)
    }

    /// Reads a chunk.
    fn chunk(&self, index: u64) -> Result<Vec<u8>> {
        let read = || -> std::io::Result<Vec<u8>> {
            let mut file = File::open(&self.path)?;
            file.seek(SeekFrom::Start(index * self.chunk_len))?;
            let mut bytes = Vec::new();
            file.take(self.chunk_len).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        read().map_err(|e| Error::io("read the archive", &e))
    }
}

/// Returns the bytes of a chunk.
fn chunk_len() -> Result<u64> {
    let Some(text) = env::var(CHUNK_VARIABLE) else {
        return Ok(CHUNK);
    };
    let number = text.parse().ok().filter(|n| (1..=CHUNK).contains(n));
    number.ok_or_else(|| {
        let message = format!("`{CHUNK_VARIABLE}` is not a number of bytes from 1 to {CHUNK}");
        Error::new(Kind::InvalidConfig, message)
    })
}

/// Lists what goes into the archive, by name: the absolute path without its first slash; directories end in a slash.
fn entries(paths: &[PathBuf]) -> Result<BTreeMap<String, (PathBuf, Content)>> {
    let mut found = BTreeMap::new();
    for path in paths {
        let meta = std::fs::metadata(path).map_err(|e| {
            Error::new(
                Kind::InvalidTask,
                format!("`{}` cannot be read", path.display()),
            )
            .caused_by(&e)
        })?;
        // What the user named goes along, whatever ignore rules say; a link that was named is followed.
        if !meta.is_dir() {
            found.insert(name_of(path, false), (path.clone(), Content::File));
            continue;
        }
        found.insert(name_of(path, true), (path.clone(), Content::Directory));
        for entry in walk(path) {
            let entry = entry?;
            let content = match entry.kind {
                EntryKind::File => Content::File,
                EntryKind::Directory => Content::Directory,
                EntryKind::Link => Content::Link(relative_target(&entry.path)?),
            };
            let slash = content == Content::Directory
                || (matches!(content, Content::Link(_)) && entry.path.is_dir());
            found.insert(name_of(&entry.path, slash), (entry.path, content));
        }
    }
    Ok(found)
}

/// Returns the name of an entry.
fn name_of(path: &Path, slash: bool) -> String {
    let mut name = path.to_string_lossy().trim_matches('/').to_owned();
    if slash {
        name.push('/');
    }
    name
}

/// Returns where a link leads, seen from its directory.
fn relative_target(link: &Path) -> Result<String> {
    let target = std::fs::read_link(link)
        .map_err(|e| Error::io(format!("read the link `{}`", link.display()), &e))?;
    if target.is_relative() {
        return Ok(target.to_string_lossy().into_owned());
    }
    let from: Vec<_> = link.parent().unwrap_or(link).components().collect();
    let to: Vec<_> = target.components().collect();
    let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let mut path = PathBuf::new();
    for _ in common..from.len() {
        path.push("..");
    }
    path.extend(&to[common..]);
    Ok(path.to_string_lossy().into_owned())
}

/// Returns the name of what is to be packed, without packing it.
fn address(entries: &BTreeMap<String, (PathBuf, Content)>) -> Result<BlobId> {
    let mut id = Sha256::new();
    for (name, (source, content)) in entries {
        let digest: [u8; 32] = match content {
            Content::Directory => Sha256::digest(b"").into(),
            Content::Link(target) => Sha256::digest(target.as_bytes()).into(),
            Content::File => {
                let (_, hash) = crate::sys::fs::hash_file(source, u64::MAX)
                    .map_err(|e| Error::io(format!("read `{}`", source.display()), &e))?;
                hash
            }
        };
        id.update(name.as_bytes());
        id.update(digest);
    }
    hex::encode(id.finalize()).parse()
}

/// Adds an entry; returns the hash of its content.
fn add(
    zip: &mut ZipWriter<File>,
    name: &str,
    source: &Path,
    content: &Content,
) -> Result<[u8; 32]> {
    let broken =
        |e: &dyn std::error::Error| Error::internal(format!("pack `{}`", source.display()), e);
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .large_file(true);
    let mut hash = Sha256::new();
    match content {
        Content::Directory => {
            zip.add_directory(name, options).map_err(|e| broken(&e))?;
        }
        Content::Link(target) => {
            zip.add_symlink(name, target, options)
                .map_err(|e| broken(&e))?;
            hash.update(target.as_bytes());
        }
        Content::File => {
            let mut file = File::open(source)
                .map_err(|e| Error::io(format!("read `{}`", source.display()), &e))?;
            let mode = file.metadata().map_or(0o644, |meta| {
                std::os::unix::fs::PermissionsExt::mode(&meta.permissions())
            });
            zip.start_file(name, options.unix_permissions(mode & 0o777))
                .map_err(|e| broken(&e))?;
            let mut buffer = vec![0; 256 * 1024];
            loop {
                let n = file
                    .read(&mut buffer)
                    .map_err(|e| Error::io(format!("read `{}`", source.display()), &e))?;
                if n == 0 {
                    break;
                }
                hash.update(&buffer[..n]);
                zip.write_all(&buffer[..n])
                    .map_err(|e| Error::io("write the archive", &e))?;
            }
        }
    }
    Ok(hash.finalize().into())
}

/// Sends an archive, unless the server has it.
async fn send(session: &Session, packed: &Packed) -> Outcome<()> {
    let user = &session.identity.id;
    let has = session
        .patiently(Repeat::Always, || {
            session.calls.blob_exists(user, &packed.id, packed.size)
        })
        .await?;
    if has {
        return Ok(());
    }
    session.ui.end_spin();
    let label = format!("Uploading {}", Bytes(packed.size));
    let total = packed.chunks();
    // Every answer says what is missing: what an earlier try has brought over is not sent again.
    let mut missing: BTreeSet<u64> = (0..total).collect();
    for _ in 0..total.saturating_mul(ROUNDS) {
        let Some(index) = missing.pop_first() else {
            break;
        };
        let sent = total - missing.len() as u64 - 1;
        session
            .ui
            .spin_bytes(&label, sent * packed.chunk_len, packed.size);
        let bytes = packed.chunk(index)?;
        let state = session
            .patiently(Repeat::Always, || {
                session
                    .calls
                    .upload(user, &packed.id, (index, total), bytes.clone())
            })
            .await?;
        if state.status == "completed" {
            return Ok(());
        }
        if let Some(told) = state.missing() {
            missing = told.into_iter().filter(|index| *index < total).collect();
        }
    }
    Err(Error::new(Kind::Unreachable, "the server did not take in the upload").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_depends_on_content_only() {
        let scratch = tempfile::tempdir().expect("a directory");
        let dir = scratch.path().join("work");
        std::fs::create_dir_all(dir.join("empty")).expect("made");
        std::fs::write(dir.join("a.txt"), "hello").expect("written");
        std::os::unix::fs::symlink(dir.join("a.txt"), dir.join("link")).expect("linked");
        let pack = || Packed::pack(std::slice::from_ref(&dir), scratch.path()).expect("packed");
        let (first, second) = (pack(), pack());
        assert_eq!(first.id, second.id);
        assert_eq!(first.chunks(), 1);
        let listed = entries(std::slice::from_ref(&dir)).expect("listed");
        assert_eq!(address(&listed).expect("an address"), first.id);
        std::fs::write(dir.join("a.txt"), "other").expect("written");
        assert_ne!(pack().id, first.id);
        let names: Vec<String> = entries(std::slice::from_ref(&dir))
            .expect("listed")
            .into_keys()
            .collect();
        let root = name_of(&dir, true);
        let expected: Vec<String> = ["", "a.txt", "empty/", "link"]
            .iter()
            .map(|n| format!("{root}{n}"))
            .collect();
        assert_eq!(names, expected);
        assert_eq!(relative_target(&dir.join("link")).expect("a link"), "a.txt");
    }

    #[test]
    fn absolute_links_become_relative() {
        let dir = tempfile::tempdir().expect("a directory");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("/etc/hosts", &link).expect("linked");
        let depth = dir.path().components().count() - 1;
        assert_eq!(
            relative_target(&link).expect("a link"),
            "../".repeat(depth) + "etc/hosts"
        );
    }
}
