//! The version of the file's layout, and the way from an older one to today's.

use serde::{Deserialize, Serialize};

use super::codec::JsonRecord;
use super::tables::Table;
use super::tx::{Read, WriteTx};
use crate::base::{Error, Kind, Result};

/// One step from a layout to the next. Steps run alone at start, all in one transaction, after a copy was made.
pub(crate) type Migration = fn(&mut WriteTx<'_>) -> Result<()>;

/// Facts about the file itself.
const META: Table<Schema> = Table::new("meta");
/// Where the version stands.
const KEY: &[u8] = b"schema";

/// The version of the layout.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Schema {
    /// Counts from 1.
    version: usize,
}

impl JsonRecord for Schema {
    const WHAT: &'static str = "schema version";
}

/// What has to happen before the store can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing.
    Nothing,
    /// The file is new.
    Stamp,
    /// The file is older: run the migrations from this index on.
    Migrate(usize),
}

/// Compares the file's version with the one that `migrations` lead to; refuses a newer file.
pub(super) fn need(tx: &impl Read, migrations: &[Migration]) -> Result<Need> {
    let today = migrations.len() + 1;
    let Some(Schema { version }) = tx.get(&META, KEY)? else {
        return Ok(Need::Stamp);
    };
    match version.cmp(&today) {
        std::cmp::Ordering::Equal => Ok(Need::Nothing),
        std::cmp::Ordering::Less => Ok(Need::Migrate(version.saturating_sub(1))),
        std::cmp::Ordering::Greater => Err(Error::new(
            Kind::VersionMismatch,
            format!(
                "the store was written by a newer sky (layout {version}, this one knows {today})"
            ),
        )
        .hint("start the newer sky again, or use another state directory: `SKY_STATE_DIR`")),
    }
}

/// Brings the file to today's layout.
pub(super) fn bring_up(tx: &mut WriteTx<'_>, need: Need, migrations: &[Migration]) -> Result<()> {
    let steps = match need {
        Need::Nothing => return Ok(()),
        Need::Stamp => &[],
        Need::Migrate(from) => migrations.get(from..).unwrap_or_default(),
    };
    for step in steps {
        step(tx)?;
    }
    let version = migrations.len() + 1;
    tx.put(&META, KEY, &Schema { version })
}
