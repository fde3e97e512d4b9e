//! Looking requests up: by id, by prefix, in lists; and waiting for the end of one.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::engine::Core;
use super::index::{self, Scope, Shelf};
use super::record::{ListQuery, Record};
use super::store;
use crate::base::ids::{RequestId, UserId, clip};
use crate::base::{Error, Kind, Result};
use crate::store::Read;

/// An ambiguous prefix names so many of its matches.
const SHOWN_MATCHES: usize = 5;

/// Returns a request with everything.
pub(super) async fn get(core: &Core, id: RequestId) -> Result<Arc<Record>> {
    let mut record = core.db.read(move |tx| store::full(tx, id)).await?;
    core.board().decorate(&mut record);
    Ok(Arc::new(record))
}

/// Waits until a request is final; the caller brings the deadline, by dropping this.
pub(super) async fn wait(core: &Core, id: RequestId) -> Result<Arc<Record>> {
    loop {
        let ended = core.board().watch(id);
        let ended = ended.notified();
        tokio::pin!(ended);
        // Registered before looking: an end between the look and the wait is not missed.
        ended.as_mut().enable();
        let looked = get(core, id).await;
        match &looked {
            Ok(record) if !record.status().is_final() => ended.await,
            Ok(_) | Err(_) => {
                core.board().unwatch(id);
                return looked;
            }
        }
    }
}

/// Returns the one request whose printed id begins with `prefix`.
pub(super) async fn resolve(
    core: &Core,
    prefix: &str,
    owner: Option<&UserId>,
) -> Result<RequestId> {
    let nibbles = nibbles(prefix)?;
    let (shown, owner) = (clip(prefix), owner.cloned());
    let found = core
        .db
        .read(move |tx| store::by_prefix(tx, &nibbles, owner.as_ref(), SHOWN_MATCHES + 1))
        .await?;
    match found.as_slice() {
        [] => Err(store::not_found(&shown)),
        [id] => Ok(*id),
        several => {
            let mut names: Vec<_> = several
                .iter()
                .take(SHOWN_MATCHES)
                .map(ToString::to_string)
                .collect();
            if several.len() > SHOWN_MATCHES {
                names.push("…".to_owned());
            }
            Err(Error::new(
                Kind::Ambiguous,
                format!("Multiple requests found for request ID prefix: {shown}"),
            )
            .hint(format!("it may be: {}", names.join(", "))))
        }
    }
}

/// Returns the hexadecimal digits of a prefix of a printed id; dashes count only where they belong.
fn nibbles(prefix: &str) -> Result<Vec<u8>> {
    let wrong = || store::not_found(&clip(prefix));
    // Nothing names every request at once; to mean one of them it is always a slip, such as an unset variable.
    if prefix.is_empty() || prefix.len() > 36 {
        return Err(wrong());
    }
    let mut digits = Vec::with_capacity(32);
    for (at, c) in prefix.chars().enumerate() {
        match (c, at) {
            ('-', 8 | 13 | 18 | 23) => {}
            (_, 8 | 13 | 18 | 23) if prefix.contains('-') => return Err(wrong()),
            (c, _) => {
                let digit = c.to_digit(16).and_then(|d| u8::try_from(d).ok());
                digits.push(digit.ok_or_else(wrong)?);
            }
        }
    }
    if digits.len() > 32 {
        return Err(wrong());
    }
    Ok(digits)
}

/// Returns requests, newest first. Reads what it returns, however many there are.
pub(super) async fn list(core: &Core, query: ListQuery) -> Result<Vec<Arc<Record>>> {
    let mut records = core
        .db
        .read(move |tx| {
            let full = query.full;
            pick(tx, &query)?
                .into_iter()
                .map(|(id, row)| store::record(tx, id, row, full))
                .collect::<Result<Vec<_>>>()
        })
        .await?;
    let board = core.board();
    for record in &mut records {
        board.decorate(record);
    }
    Ok(records.into_iter().map(Arc::new).collect())
}

/// Picks the rows of a list.
fn pick(tx: &impl Read, query: &ListQuery) -> Result<Vec<(RequestId, store::Row)>> {
    let limit = query.limit.unwrap_or(usize::MAX);
    if !query.prefixes.is_empty() {
        return named(tx, query, limit);
    }
    let scope = match (&query.cluster, &query.user) {
        (Some(cluster), _) => Scope::Cluster(cluster),
        (None, Some(user)) => Scope::User(user),
        (None, None) => Scope::All,
    };
    // Only a cluster's list has to be filtered by user: requests of one cluster are few.
    let filter = query.user.as_ref().filter(|_| query.cluster.is_some());
    let mut rows = shelf(tx, scope, Shelf::Open, filter, limit)?;
    if query.all_status {
        rows.extend(shelf(tx, scope, Shelf::Finished, filter, limit)?);
        rows.sort_unstable_by_key(|(id, _)| std::cmp::Reverse(*id));
        rows.truncate(limit);
    }
    Ok(rows)
}

/// Returns the rows on one shelf, newest first.
fn shelf(
    tx: &impl Read,
    scope: Scope<'_>,
    shelf: Shelf,
    user: Option<&UserId>,
    limit: usize,
) -> Result<Vec<(RequestId, store::Row)>> {
    let mut rows = Vec::new();
    if limit == 0 {
        return Ok(rows);
    }
    index::walk(tx, scope, shelf, |id| {
        let row = store::existing_row(tx, id)?;
        if user.is_none_or(|user| row.caller.id == *user) {
            rows.push((id, row));
        }
        Ok(if rows.len() < limit {
            std::ops::ControlFlow::Continue(())
        } else {
            std::ops::ControlFlow::Break(())
        })
    })?;
    Ok(rows)
}

/// Returns the rows that prefixes name, newest first.
fn named(tx: &impl Read, query: &ListQuery, limit: usize) -> Result<Vec<(RequestId, store::Row)>> {
    let mut ids = BTreeSet::new();
    for prefix in &query.prefixes {
        // A prefix that can name nothing adds nothing.
        if let Ok(nibbles) = nibbles(prefix) {
            ids.extend(store::by_prefix(tx, &nibbles, query.user.as_ref(), limit)?);
        }
    }
    ids.into_iter()
        .rev()
        .take(limit)
        .map(|id| Ok((id, store::existing_row(tx, id)?)))
        .collect()
}
