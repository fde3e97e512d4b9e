//! The repository of clusters: those that exist by name, those that are no more by time.

use std::ops::ControlFlow;

use super::record::{Buried, Cluster};
use crate::base::clock::Moment;
use crate::base::ids::ClusterName;
use crate::base::{Error, Kind, Result};
use crate::catalog::Block;
use crate::store::{JsonRecord, Read, ReadTx, Span, Table, Walk, WriteTx};

/// Clusters that exist, by name.
const CLUSTERS: Table<Cluster> = Table::new("clusters");
/// Clusters that are no more, by the time of removal and the cluster's hash.
const BURIED: Table<Buried> = Table::new("clusters_buried");
/// What was refused a short time ago, by what it is about.
const BLOCKS: Table<Block> = Table::new("blocks");
/// The most of those that are kept.
const MAX_BURIED: usize = 10_000;

impl JsonRecord for Cluster {
    const WHAT: &'static str = "cluster";
}

impl JsonRecord for Block {
    const WHAT: &'static str = "refusal of a cloud";
}

impl JsonRecord for Buried {
    const WHAT: &'static str = "removed cluster";
}

/// Returns a cluster, if it exists.
pub(super) fn get(tx: &impl Read, name: &ClusterName) -> Result<Option<Cluster>> {
    tx.get(&CLUSTERS, name.as_str().as_bytes())
}

/// Returns the cluster of this name if it is still the same one.
pub(super) fn get_same(tx: &impl Read, name: &ClusterName, hash: &str) -> Result<Cluster> {
    match get(tx, name)? {
        Some(cluster) if cluster.hash == hash => Ok(cluster),
        Some(_) => Err(Error::new(
            Kind::Conflict,
            format!("cluster `{name}` was removed and made again in the meantime"),
        )),
        None => Err(Error::new(
            Kind::ClusterNotFound,
            format!("cluster `{name}` does not exist any more"),
        )),
    }
}

/// Returns all clusters, by name.
pub(super) fn list(tx: &ReadTx) -> Result<Vec<Cluster>> {
    Ok(tx
        .range(&CLUSTERS, &Span::all())?
        .into_iter()
        .map(|(_, cluster)| cluster)
        .collect())
}

/// Stores a cluster.
pub(super) fn put(tx: &mut WriteTx<'_>, cluster: &Cluster) -> Result<()> {
    tx.put(&CLUSTERS, cluster.name.as_str().as_bytes(), cluster)
}

/// Removes a cluster and stores what it was.
pub(super) fn retire(
    tx: &mut WriteTx<'_>,
    mut cluster: Cluster,
    now: Moment,
    reason: Option<String>,
) -> Result<()> {
    cluster.close_usage(now);
    tx.delete(&CLUSTERS, cluster.name.as_str().as_bytes())?;
    let mut key = now.micros().to_be_bytes().to_vec();
    key.extend_from_slice(cluster.hash.as_bytes());
    let buried = Buried {
        cluster,
        removed_at: now,
        reason,
    };
    tx.put(&BURIED, &key, &buried)
}

/// Returns what was the last cluster of a name.
pub(super) fn last_buried(tx: &ReadTx, name: &ClusterName) -> Result<Option<Buried>> {
    let mut found = None;
    tx.walk(&BURIED, &Span::all(), Walk::Down, |_, buried| {
        Ok(if buried.cluster.name == *name {
            found = Some(buried);
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        })
    })?;
    Ok(found)
}

/// Returns what clusters were, newest first.
pub(super) fn buried(tx: &ReadTx) -> Result<Vec<Buried>> {
    let mut found = Vec::new();
    tx.walk(&BURIED, &Span::all(), Walk::Down, |_, buried| {
        found.push(buried);
        Ok(if found.len() < MAX_BURIED {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        })
    })?;
    Ok(found)
}

/// Stores a refusal; one of the same before it is replaced, and those that have expired go.
pub(super) fn put_block(tx: &mut WriteTx<'_>, block: &Block, now: Moment) -> Result<()> {
    for (key, old) in tx.range(&BLOCKS, &Span::all())? {
        if old.until <= now {
            tx.delete(&BLOCKS, &key)?;
        }
    }
    tx.put(&BLOCKS, block.key().as_bytes(), block)
}

/// Returns the refusals that hold.
pub(super) fn blocks(tx: &impl Read, now: Moment) -> Result<Vec<Block>> {
    let all = tx.range(&BLOCKS, &Span::all())?.into_iter();
    Ok(all
        .map(|(_, block)| block)
        .filter(|block| block.until > now)
        .collect())
}

/// Removes a refusal.
pub(super) fn remove_block(tx: &mut WriteTx<'_>, block: &Block) -> Result<()> {
    tx.delete(&BLOCKS, block.key().as_bytes()).map(drop)
}
