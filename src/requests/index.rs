//! The index of requests: by scope (all, user, cluster), then open or finished, then time.
//!
//! One table. A listing walks exactly the entries that it prints; unlisted requests stand on a shelf of their own.

use std::ops::ControlFlow;

use super::store::Row;
use crate::base::Result;
use crate::base::ids::{ClusterName, RequestId, UserId};
use crate::store::{Read, Span, Table, Walk, WriteTx};

/// Scope, 0, shelf, id.
const INDEX: Table<()> = Table::new("requests_index");

/// Whose requests.
#[derive(Debug, Clone, Copy)]
pub(super) enum Scope<'a> {
    /// Everybody's.
    All,
    /// A user's.
    User(&'a UserId),
    /// A cluster's.
    Cluster(&'a ClusterName),
}

/// Which part of a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shelf {
    /// Finished and listed. Finished ones that are not listed stand nowhere.
    Finished,
    /// Unfinished and listed.
    Open,
    /// Unfinished, not listed.
    OpenHidden,
}

/// Returns the bytes before the ids of a shelf.
fn shelf_key(scope: Scope<'_>, shelf: Shelf) -> Vec<u8> {
    let (tag, name) = match scope {
        Scope::All => (b'a', ""),
        Scope::User(user) => (b'u', user.as_str()),
        Scope::Cluster(cluster) => (b'c', cluster.as_str()),
    };
    let shelf = match shelf {
        Shelf::Finished => 0,
        Shelf::Open => 1,
        Shelf::OpenHidden => 2,
    };
    [&[tag], name.as_bytes(), &[0, shelf]].concat()
}

/// Returns the scopes that a request stands in.
fn scopes(row: &Row) -> impl Iterator<Item = Scope<'_>> {
    [Scope::All, Scope::User(&row.caller.id)]
        .into_iter()
        .chain(row.profile.cluster.as_ref().map(Scope::Cluster))
}

/// The shelf of an unfinished request.
const fn open_shelf(row: &Row) -> Shelf {
    if row.profile.listed {
        Shelf::Open
    } else {
        Shelf::OpenHidden
    }
}

/// Puts an unfinished request onto its shelves.
pub(super) fn add(tx: &mut WriteTx<'_>, id: RequestId, row: &Row) -> Result<()> {
    for scope in scopes(row) {
        put(tx, scope, open_shelf(row), id)?;
    }
    Ok(())
}

/// Moves a request that became final.
pub(super) fn finish(tx: &mut WriteTx<'_>, id: RequestId, row: &Row) -> Result<()> {
    for scope in scopes(row) {
        delete(tx, scope, open_shelf(row), id)?;
        if row.profile.listed {
            put(tx, scope, Shelf::Finished, id)?;
        }
    }
    Ok(())
}

/// Removes a final request.
pub(super) fn remove(tx: &mut WriteTx<'_>, id: RequestId, row: &Row) -> Result<()> {
    for scope in scopes(row) {
        delete(tx, scope, Shelf::Finished, id)?;
    }
    Ok(())
}

/// Adds one entry.
fn put(tx: &mut WriteTx<'_>, scope: Scope<'_>, shelf: Shelf, id: RequestId) -> Result<()> {
    let mut key = shelf_key(scope, shelf);
    key.extend(id.key());
    tx.put(&INDEX, &key, &())
}

/// Removes one entry.
fn delete(tx: &mut WriteTx<'_>, scope: Scope<'_>, shelf: Shelf, id: RequestId) -> Result<()> {
    let mut key = shelf_key(scope, shelf);
    key.extend(id.key());
    tx.delete(&INDEX, &key)?;
    Ok(())
}

/// Visits the ids on a shelf, newest first.
pub(super) fn walk(
    tx: &impl Read,
    scope: Scope<'_>,
    shelf: Shelf,
    mut visit: impl FnMut(RequestId) -> Result<ControlFlow<()>>,
) -> Result<()> {
    let prefix = shelf_key(scope, shelf);
    let skip = prefix.len();
    tx.walk(
        &INDEX,
        &Span::prefix(prefix),
        Walk::Down,
        |key, ()| match <[u8; 16]>::try_from(&key[skip..]) {
            Ok(bytes) => visit(RequestId::from_key(bytes)),
            Err(_) => Ok(ControlFlow::Continue(())),
        },
    )
}

/// Returns the ids on a shelf, newest first, at most `limit`.
pub(super) fn ids(
    tx: &impl Read,
    scope: Scope<'_>,
    shelf: Shelf,
    limit: usize,
) -> Result<Vec<RequestId>> {
    let mut found = Vec::new();
    if limit == 0 {
        return Ok(found);
    }
    walk(tx, scope, shelf, |id| {
        found.push(id);
        Ok(if found.len() < limit {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        })
    })?;
    Ok(found)
}

/// Returns all unfinished ids of a scope, oldest first.
pub(super) fn open_ids(tx: &impl Read, scope: Scope<'_>) -> Result<Vec<RequestId>> {
    let mut found = ids(tx, scope, Shelf::Open, usize::MAX)?;
    found.extend(ids(tx, scope, Shelf::OpenHidden, usize::MAX)?);
    found.sort_unstable();
    Ok(found)
}
