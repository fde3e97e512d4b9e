//! Opening the file: made whole or not at all, locked, checked, brought to today's layout.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::fault::{fault, guarded};
use super::held::Held;
use super::holder;
use super::migrate::{self, Migration, Need};
use super::tx::{ReadTx, WriteTx};
use crate::base::{Error, Kind, Result};
use crate::sys::lock::within;

use redb::backends::FileBackend;
use redb::{ReadableDatabase, StorageBackend};

/// Makes a backend.
type MakeBackend = dyn Fn() -> Box<dyn StorageBackend> + Send + Sync;

/// Where the bytes are: a file, or what a test puts in its place.
#[derive(Clone)]
pub(super) enum Place {
    /// A file.
    File(PathBuf),
    /// A backend of a test, made anew for each opening.
    #[cfg_attr(not(test), expect(dead_code, reason = "only tests bring a backend"))]
    Backend(Arc<MakeBackend>),
}

impl Place {
    /// Opens the store, waiting for nobody. One that is refused keeps every byte.
    pub(super) fn open(
        &self,
        cache_bytes: usize,
        migrations: &[Migration],
    ) -> Result<redb::Database> {
        let mut builder = redb::Builder::new();
        builder.set_cache_size(cache_bytes);
        let (db, held) = match self {
            Self::File(path) => {
                if !path.exists() {
                    create(path, &builder, migrations)?;
                }
                open_file(path, &builder)?
            }
            Self::Backend(make) => {
                open_held(make(), &builder).map_err(|e| fault("open the store", e))?
            }
        };
        let need = guarded("read the store's layout", || {
            let tx = db.begin_read().map_err(|e| fault("read the store", e))?;
            migrate::need(&ReadTx::new(tx), migrations)
        })
        .map_err(|error| match self.path() {
            Some(path) if error.kind() == Kind::Internal => damaged(path, &error),
            Some(path) => error.context(format!("cannot use the store `{}`", path.display())),
            None => error,
        })?;
        if let (Need::Migrate(from), Self::File(path)) = (need, self) {
            copy_aside(path, from + 1)?;
        }
        held.accept().map_err(|e| fault("open the store", e))?;
        bring_up(&db, need, migrations)?;
        Ok(db)
    }

    /// Returns the file, where there is one.
    pub(super) fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Backend(_) => None,
        }
    }
}

/// Brings the layout to today's in one durable transaction.
fn bring_up(db: &redb::Database, need: Need, migrations: &[Migration]) -> Result<()> {
    if need == Need::Nothing {
        return Ok(());
    }
    guarded("bring the store to today's layout", || {
        let txn = db
            .begin_write()
            .map_err(|e| fault("write to the store", e))?;
        let mut tx = WriteTx::new(&txn);
        migrate::bring_up(&mut tx, need, migrations)?;
        tx.finish()?;
        txn.commit().map_err(|e| fault("write to the store", e))
    })
}

/// Makes a new store under another name and moves it into place when it is whole.
///
/// So a file that exists under the store's name was whole once, and one that is empty now is damaged:
/// it is never mistaken for a new one.
fn create(path: &Path, builder: &redb::Builder, migrations: &[Migration]) -> Result<()> {
    let doing = || format!("create the store `{}`", path.display());
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".new.{}", uuid::Uuid::new_v4().simple()));
    let new = PathBuf::from(name);
    let make = || -> Result<()> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)
            .map_err(|e| Error::io(doing(), &e))?;
        let db = builder
            .create_with_backend(FileBackend::new(file).map_err(|e| fault(&doing(), e))?)
            .map_err(|e| fault(&doing(), e))?;
        bring_up(&db, Need::Stamp, migrations)?;
        drop(db);
        // Not a plain rename: two servers that start at once must not replace each other's file.
        match std::fs::hard_link(&new, path) {
            Ok(()) => Ok(()),
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
            // File systems without links are left with the small window.
            Err(_) => std::fs::rename(&new, path).map_err(|e| Error::io(doing(), &e)),
        }
    };
    let outcome = make();
    drop(std::fs::remove_file(&new));
    outcome?;
    let parent = path.parent().unwrap_or_else(|| Path::new("/"));
    std::fs::File::open(parent)
        .and_then(|dir| dir.sync_all())
        .map_err(|e| Error::io(doing(), &e))
}

/// How long whoever held the store before may take to be gone.
const LAST_BREATH: Duration = Duration::from_millis(500);

/// Opens the engine on a backend whose changes wait until they are accepted.
fn open_held(
    backend: Box<dyn StorageBackend>,
    builder: &redb::Builder,
) -> Result<(redb::Database, Held), redb::DatabaseError> {
    let held = Held::new(backend).map_err(redb::StorageError::from)?;
    let db = builder.create_with_backend(held.clone())?;
    Ok((db, held))
}

/// Opens a file that exists.
fn open_file(path: &Path, builder: &redb::Builder) -> Result<(redb::Database, Held)> {
    let doing = format!("open the store `{}`", path.display());
    let length = std::fs::metadata(path)
        .map_err(|e| Error::io(&doing, &e))?
        .len();
    if length == 0 {
        return Err(damaged(
            path,
            &Error::new(Kind::Internal, "the file is empty"),
        ));
    }
    // A holder that was killed a moment ago lets go within milliseconds: the kernel closes its descriptors one by one.
    let opened = || {
        let file = OpenOptions::new().read(true).write(true).open(path);
        let file = file.map_err(|e| Error::io(&doing, &e))?;
        match FileBackend::new(file).and_then(|file| open_held(Box::new(file), builder)) {
            Ok(opened) => Ok(Some(opened)),
            Err(redb::DatabaseError::DatabaseAlreadyOpen) => Ok(None),
            Err(e) => Err(fault(&doing, e)),
        }
    };
    guarded(&doing, || {
        within(LAST_BREATH, opened)?.ok_or_else(|| holder::held_by_another(path))
    })
    .map_err(|error| match error.kind() {
        Kind::Internal => damaged(path, &error),
        _ => error,
    })
}

/// Returns the refusal for a store that cannot be read.
fn damaged(path: &Path, cause: &Error) -> Error {
    let shown = path.display();
    Error::new(
        Kind::Internal,
        format!("the store `{shown}` is damaged and is left as it is"),
    )
    .caused_by(&Error::new(Kind::Internal, cause.one_line()))
    .hint(format!(
        "put a copy of it back, or begin with an empty one: `sky api stop`, `mv {shown} {shown}.damaged`, then any sky command"
    ))
    .hint("clusters and their jobs go on meanwhile; an empty store does not know them")
}

/// Copies a store aside before its layout changes.
fn copy_aside(path: &Path, version: usize) -> Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".layout{version}"));
    let doing = || format!("copy the store to `{}`", name.to_string_lossy());
    std::fs::copy(path, &name).map_err(|e| Error::io(doing(), &e))?;
    std::fs::File::open(&name)
        .and_then(|copy| copy.sync_all())
        .map_err(|e| Error::io(doing(), &e))
}
