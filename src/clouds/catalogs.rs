//! Price lists of clouds: the user's files, else those built in. Read when somebody asks, and again when a file has changed.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use crate::base::{Error, Result};
use crate::catalog::Table;
use crate::sys::fs;
use crate::sys::paths::Paths;
use crate::task::CLOUDS;

/// The state of a file: when it changed last, and its size. None = there is no file.
type Stamp = Option<(SystemTime, u64)>;

/// Lists by the names of their clouds, each with the state of the file that it was read from.
type Lists = BTreeMap<String, (Stamp, Arc<Table>)>;

/// The price lists. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Catalogs {
    /// Where the files are.
    paths: Paths,
    /// Lists that were asked for.
    read: Arc<Mutex<Lists>>,
}

impl Catalogs {
    /// Makes them; reads nothing.
    pub(crate) fn new(paths: &Paths) -> Self {
        Self {
            paths: paths.clone(),
            read: Arc::default(),
        }
    }

    /// Returns the price list of a cloud; none when there is no file and none is built in.
    pub(crate) async fn get(&self, cloud: &str) -> Result<Option<Arc<Table>>> {
        let (this, cloud) = (self.clone(), cloud.to_owned());
        tokio::task::spawn_blocking(move || this.load(&cloud))
            .await
            .map_err(|e| Error::internal("read a price list", &e))?
    }

    /// Returns all price lists there are, by the names of their clouds.
    pub(crate) async fn all(&self) -> Result<Vec<Arc<Table>>> {
        let mut tables = Vec::new();
        for cloud in CLOUDS {
            tables.extend(self.get(cloud).await?);
        }
        Ok(tables)
    }

    /// Reads a list, unless it was read before and the file is the same.
    fn load(&self, cloud: &str) -> Result<Option<Arc<Table>>> {
        let path = self.paths.catalog(cloud);
        let stamp = stamp(&path);
        let known = self.lists().get(cloud).cloned();
        if let Some((then, table)) = known
            && then == stamp
        {
            return Ok(Some(table));
        }
        let table = match fs::open_optional(&path)? {
            Some(file) => {
                let read = Table::read(cloud, BufReader::new(file));
                Some(read.map_err(|e| unusable(e, &path))?)
            }
            None => Table::built_in(cloud),
        };
        let Some(table) = table.map(Arc::new) else {
            return Ok(None);
        };
        self.lists()
            .insert(cloud.to_owned(), (stamp, Arc::clone(&table)));
        Ok(Some(table))
    }

    /// Returns what was read.
    fn lists(&self) -> std::sync::MutexGuard<'_, Lists> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the state of a file.
fn stamp(path: &Path) -> Stamp {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}

/// Says which file is meant and how to get another.
fn unusable(error: Error, path: &Path) -> Error {
    error
        .context(format!(
            "the price list `{}` cannot be used",
            path.display()
        ))
        .hint("replace it: sky catalog update; or remove it")
}
