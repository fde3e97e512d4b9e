//! Deleting finished requests from the store: what is oldest, and everything that points to it.

use std::ops::ControlFlow;

use super::index;
use super::store::{
    BODIES, FINISHED, KEYS, PRINTED, RESULTS, RETIRED, ROWS, STEPS, count, finished_key, key_bytes,
    row,
};
use crate::base::Result;
use crate::base::clock::Moment;
use crate::base::ids::RequestId;
use crate::store::{Raw, Read, Span, Walk, WriteTx};

/// A finished request that retention may delete.
#[derive(Debug, Clone, Copy)]
pub(super) struct Oldest {
    /// The request.
    pub(super) id: RequestId,
    /// When it finished.
    pub(super) at: Moment,
    /// Length of its log.
    pub(super) log_bytes: u64,
}

/// Returns the requests that finished first, at most `limit`.
pub(super) fn oldest_finished(tx: &impl Read, limit: usize) -> Result<Vec<Oldest>> {
    let mut found = Vec::new();
    tx.walk(&FINISHED, &Span::all(), Walk::Up, |key, row| {
        if let Some(oldest) = read_finished_key(key, row.log_bytes) {
            found.push(oldest);
        }
        Ok(if found.len() < limit {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        })
    })?;
    Ok(found)
}

/// Deletes a finished request with everything that points to it. Its idempotency key is kept a while longer.
pub(super) fn delete(tx: &mut WriteTx<'_>, oldest: Oldest) -> Result<()> {
    let id = oldest.id;
    tx.delete(&FINISHED, &finished_key(oldest.at, id))?;
    let Some(row) = row(tx, id)? else {
        return Ok(());
    };
    index::remove(tx, id, &row)?;
    if let Some(key) = &row.key {
        tx.put_bytes(&RETIRED, &id.key(), &key_bytes(&row.caller.id, key))?;
    }
    for (key, _) in tx.range(&STEPS, &Span::prefix(id.key()))? {
        tx.delete(&STEPS, &key)?;
    }
    tx.delete(&ROWS, &id.key())?;
    tx.delete(&BODIES, &id.key())?;
    tx.delete(&RESULTS, &id.key())?;
    tx.delete(&PRINTED, &id.printed_bytes())?;
    count(tx, |sums| {
        sums.finished = sums.finished.saturating_sub(1);
        sums.log_bytes = sums.log_bytes.saturating_sub(oldest.log_bytes);
    })?;
    Ok(())
}

/// Forgets keys of deleted requests that were made before `before`, at most `limit`; returns how many.
pub(super) fn forget_keys(tx: &mut WriteTx<'_>, before: Moment, limit: usize) -> Result<usize> {
    let mut old = Vec::new();
    tx.walk(&RETIRED, &Span::all(), Walk::Up, |key, Raw(row)| {
        if created_in_key(key).is_none_or(|at| at >= before) || old.len() >= limit {
            return Ok(ControlFlow::Break(()));
        }
        old.push((key.to_vec(), row));
        Ok(ControlFlow::Continue(()))
    })?;
    for (key, row) in &old {
        tx.delete(&RETIRED, key)?;
        tx.delete(&KEYS, row)?;
    }
    Ok(old.len())
}

/// The time in the first six bytes of an id's key (version 7: milliseconds).
fn created_in_key(key: &[u8]) -> Option<Moment> {
    let mut bytes = [0_u8; 8];
    bytes[2..].copy_from_slice(key.get(..6)?);
    let millis = i64::try_from(u64::from_be_bytes(bytes)).ok()?;
    Some(Moment::from_micros(millis.saturating_mul(1000)))
}

/// Reads [`finished_key`].
fn read_finished_key(key: &[u8], log_bytes: u64) -> Option<Oldest> {
    let (micros, id) = key.split_at_checked(8)?;
    let micros = u64::from_be_bytes(micros.try_into().ok()?);
    Some(Oldest {
        id: RequestId::from_key(id.try_into().ok()?),
        at: Moment::from_micros(i64::try_from(micros).ok()?),
        log_bytes,
    })
}
