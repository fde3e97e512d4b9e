//! The requests in the store: rows, bodies, results, steps and the index that keeps every listing cheap.
//!
//! A row holds what lists show; bodies, results and steps stand apart, so that a list or a start never reads them.
//! All changes of state go through [`transition`]: the machine decides, the index follows in the same transaction.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::index::{self, Scope, Shelf};
use super::record::{Admission, Home, Profile, Record};
use super::state::{Effect, Event, State};
use crate::base::clock::Moment;
use crate::base::cx::Caller;
use crate::base::ids::{IdempotencyKey, RequestId, UserId};
use crate::base::{Error, Kind, Result};
use crate::store::{JsonRecord, Raw, Read, Span, Table, Walk, WriteTx};

/// What lists show, by time-ordered id.
pub(super) const ROWS: Table<Row> = Table::new("requests");
/// The JSON text of each body.
pub(super) const BODIES: Table<Raw> = Table::new("request_bodies");
/// The JSON text of each result.
pub(super) const RESULTS: Table<Raw> = Table::new("request_results");
/// Outputs of finished steps: id, then the step's name.
pub(super) const STEPS: Table<Raw> = Table::new("request_steps");
/// What came with an idempotency key: user, 0, key.
pub(super) const KEYS: Table<KeyRow> = Table::new("request_keys");
/// Ids as they are printed, with the owner: for prefixes.
pub(super) const PRINTED: Table<Raw> = Table::new("request_prefixes");
/// Finished requests by the time they finished.
pub(super) const FINISHED: Table<FinishedRow> = Table::new("requests_finished");
/// Idempotency keys whose request is deleted: id, then the key's row.
pub(super) const RETIRED: Table<Raw> = Table::new("request_keys_retired");
/// Sums and counters.
const COUNTERS: Table<Counters> = Table::new("request_counters");
/// The only row of the counters.
const COUNTERS_KEY: &[u8] = b"all";

/// A request as it is stored, without what stands apart.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Row {
    /// The verb.
    pub(super) name: String,
    /// Who asked.
    pub(super) caller: Caller,
    /// The key that it came with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<IdempotencyKey>,
    /// When it was accepted.
    pub(super) created: Moment,
    /// How it is treated.
    pub(super) profile: Profile,
    /// Who drives it.
    pub(super) home: Home,
    /// Where it stands.
    pub(super) state: State,
}

impl JsonRecord for Row {
    const WHAT: &'static str = "request";
}

/// What a key was first used for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct KeyRow {
    /// The request.
    id: RequestId,
    /// Digest of name and body.
    digest: String,
}

impl JsonRecord for KeyRow {
    const WHAT: &'static str = "idempotency key";
}

/// What retention has to know of a finished request.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct FinishedRow {
    /// Length of its log.
    pub(super) log_bytes: u64,
}

impl JsonRecord for FinishedRow {
    const WHAT: &'static str = "finished request";
}

/// Sums over all requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counters {
    /// Finished requests in the store.
    pub(super) finished: u64,
    /// Bytes of their logs.
    pub(super) log_bytes: u64,
    /// Runs of the server.
    pub(super) epoch: u64,
}

impl JsonRecord for Counters {
    const WHAT: &'static str = "counter";
}

/// An admission with everything computed that need not be computed on the writer thread.
pub(super) struct Prepared {
    /// The row, whose time is set when it is inserted.
    pub(super) row: Row,
    /// JSON text of the body.
    body: Vec<u8>,
    /// Digest of name and body.
    digest: String,
}

impl Prepared {
    /// Prepares an admission.
    pub(super) fn new(admission: Admission, home: Home) -> Result<Self> {
        let body = serde_json::to_vec(&admission.body)
            .map_err(|e| Error::internal("write the body of a request", &e))?;
        let digest = if admission.key.is_some() {
            let mut hash = Sha256::new();
            hash.update(admission.name.as_bytes());
            hash.update([0]);
            hash.update(&body);
            hex::encode(hash.finalize())
        } else {
            String::new()
        };
        let row = Row {
            name: admission.name,
            caller: admission.caller,
            key: admission.key,
            created: Moment::from_micros(0),
            profile: admission.profile,
            home,
            state: State::Pending,
        };
        Ok(Self { row, body, digest })
    }
}

/// Returns the request that came first with this admission's key; refuses the key for another body.
pub(super) fn known(tx: &impl Read, new: &Prepared) -> Result<Option<RequestId>> {
    let Some(key) = &new.row.key else {
        return Ok(None);
    };
    let Some(first) = tx.get(&KEYS, &key_bytes(&new.row.caller.id, key))? else {
        return Ok(None);
    };
    if first.digest == new.digest {
        return Ok(Some(first.id));
    }
    Err(Error::new(
        Kind::Conflict,
        format!(
            "idempotency key `{key}` was used before for another request ({})",
            first.id.short()
        ),
    )
    .hint("use a new key for a new request"))
}

/// Stores a new request; its id is made here, so that ids grow in the order of commits.
pub(super) fn insert(
    tx: &mut WriteTx<'_>,
    mut new: Prepared,
    now: Moment,
) -> Result<(RequestId, Row)> {
    let id = RequestId::generate();
    new.row.created = now;
    if let Some(key) = &new.row.key {
        let row = KeyRow {
            id,
            digest: new.digest,
        };
        tx.put(&KEYS, &key_bytes(&new.row.caller.id, key), &row)?;
    }
    tx.put(&ROWS, &id.key(), &new.row)?;
    tx.put_bytes(&BODIES, &id.key(), &new.body)?;
    tx.put_bytes(
        &PRINTED,
        &id.printed_bytes(),
        new.row.caller.id.as_str().as_bytes(),
    )?;
    index::add(tx, id, &new.row)?;
    Ok((id, new.row))
}

/// Returns a row.
pub(super) fn row(tx: &impl Read, id: RequestId) -> Result<Option<Row>> {
    tx.get(&ROWS, &id.key())
}

/// Returns the row of a request that must exist.
pub(super) fn existing_row(tx: &impl Read, id: RequestId) -> Result<Row> {
    row(tx, id)?.ok_or_else(|| not_found(&id.to_string()))
}

/// The answer for an id or prefix that names nothing.
pub(super) fn not_found(what: &str) -> Error {
    Error::new(Kind::NotFound, format!("request `{what}` not found"))
        .hint("`sky api status -a` lists requests")
}

/// Lets the machine decide about an event and stores what it says; returns the new row and the effects.
///
/// `log_bytes` is the length of the request's log, noted when the request becomes final.
pub(super) fn transition(
    tx: &mut WriteTx<'_>,
    id: RequestId,
    event: Event,
    now: Moment,
    log_bytes: u64,
) -> Result<(Row, Vec<Effect>)> {
    let mut row = existing_row(tx, id)?;
    let was_final = row.state.finished_at().is_some();
    if was_final {
        return Ok((row, Vec::new()));
    }
    let (state, effects) = row
        .state
        .apply(event, now)
        .map_err(|e| Error::internal(format!("change request {}", id.short()), &e))?;
    row.state = state;
    tx.put(&ROWS, &id.key(), &row)?;
    if let Some(at) = row.state.finished_at() {
        finish(tx, id, &row, at, log_bytes)?;
    }
    Ok((row, effects))
}

/// Stores what follows from a final state.
fn finish(
    tx: &mut WriteTx<'_>,
    id: RequestId,
    row: &Row,
    at: Moment,
    log_bytes: u64,
) -> Result<()> {
    if let State::Succeeded { result, .. } = &row.state
        && !result.is_null()
    {
        let text = serde_json::to_vec(result)
            .map_err(|e| Error::internal("write the result of a request", &e))?;
        tx.put_bytes(&RESULTS, &id.key(), &text)?;
    }
    index::finish(tx, id, row)?;
    tx.put(&FINISHED, &finished_key(at, id), &FinishedRow { log_bytes })?;
    count(tx, |sums| {
        sums.finished += 1;
        sums.log_bytes += log_bytes;
    })?;
    Ok(())
}

/// Returns the sums.
pub(super) fn counters(tx: &impl Read) -> Result<Counters> {
    Ok(tx.get(&COUNTERS, COUNTERS_KEY)?.unwrap_or_default())
}

/// Changes the sums.
pub(super) fn count(tx: &mut WriteTx<'_>, change: impl FnOnce(&mut Counters)) -> Result<Counters> {
    let mut sums = counters(tx)?;
    change(&mut sums);
    tx.put(&COUNTERS, COUNTERS_KEY, &sums)?;
    Ok(sums)
}

/// Counts this run of the server and returns its number.
pub(super) fn next_epoch(tx: &mut WriteTx<'_>) -> Result<u64> {
    Ok(count(tx, |sums| sums.epoch += 1)?.epoch)
}

/// Makes the record of a row; `full` with body, result and steps.
pub(super) fn record(tx: &impl Read, id: RequestId, row: Row, full: bool) -> Result<Record> {
    let mut record = Record {
        id,
        name: row.name,
        body: Value::Null,
        caller: row.caller,
        created: row.created,
        profile: row.profile,
        home: row.home,
        state: row.state,
        steps: Vec::new(),
        status_msg: None,
    };
    if full {
        record.body = json(tx, &BODIES, id)?;
        record.steps = steps(tx, id)?.into_iter().map(|(name, _)| name).collect();
        if let State::Succeeded { result, .. } = &mut record.state {
            *result = json(tx, &RESULTS, id)?;
        }
    }
    Ok(record)
}

/// Returns a whole request.
pub(super) fn full(tx: &impl Read, id: RequestId) -> Result<Record> {
    let row = existing_row(tx, id)?;
    record(tx, id, row, true)
}

/// Reads a JSON text that stands apart; null when there is none.
fn json(tx: &impl Read, table: &Table<Raw>, id: RequestId) -> Result<Value> {
    match tx.get(table, &id.key())? {
        Some(Raw(text)) => serde_json::from_slice(&text)
            .map_err(|e| Error::internal(format!("read request {}", id.short()), &e)),
        None => Ok(Value::Null),
    }
}

/// Returns the steps that a request has recorded.
pub(super) fn steps(tx: &impl Read, id: RequestId) -> Result<Vec<(String, Value)>> {
    tx.range(&STEPS, &Span::prefix(id.key()))?
        .into_iter()
        .map(|(key, Raw(text))| {
            let name = String::from_utf8_lossy(&key[16..]).into_owned();
            let output = serde_json::from_slice(&text)
                .map_err(|e| Error::internal(format!("read the record of step `{name}`"), &e))?;
            Ok((name, output))
        })
        .collect()
}

/// Records a finished step.
pub(super) fn record_step(
    tx: &mut WriteTx<'_>,
    id: RequestId,
    name: &str,
    output: &[u8],
) -> Result<()> {
    let key = [&id.key(), name.as_bytes()].concat();
    tx.put_bytes(&STEPS, &key, output)
}

/// Returns what the last run of the server left unfinished, in order of arrival.
pub(super) fn unfinished(tx: &impl Read) -> Result<Vec<(RequestId, Row)>> {
    let mut found = Vec::new();
    for shelf in [Shelf::OpenHidden, Shelf::Open] {
        for id in index::ids(tx, Scope::All, shelf, usize::MAX)? {
            found.push((id, existing_row(tx, id)?));
        }
    }
    found.sort_unstable_by_key(|(id, _)| *id);
    Ok(found)
}

/// Returns ids whose printed form begins with `nibbles` (hexadecimal digits), at most `limit`, of one user or all.
pub(super) fn by_prefix(
    tx: &impl Read,
    nibbles: &[u8],
    owner: Option<&UserId>,
    limit: usize,
) -> Result<Vec<RequestId>> {
    let mut low = [0_u8; 16];
    let mut high = [0xff_u8; 16];
    for (i, nibble) in nibbles.iter().take(32).enumerate() {
        let shift = if i % 2 == 0 { 4 } else { 0 };
        low[i / 2] |= nibble << shift;
        high[i / 2] = high[i / 2] & !(0x0f << shift) | (nibble << shift);
    }
    let mut found = Vec::new();
    tx.walk(
        &PRINTED,
        &Span::between(low, high),
        Walk::Up,
        |key, Raw(user)| {
            if let Ok(bytes) = <[u8; 16]>::try_from(key)
                && owner.is_none_or(|owner| owner.as_str().as_bytes() == user)
            {
                found.push(RequestId::from_printed_bytes(bytes));
            }
            Ok(if found.len() < limit {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            })
        },
    )?;
    Ok(found)
}

/// The key of an idempotency key's row.
pub(super) fn key_bytes(user: &UserId, key: &IdempotencyKey) -> Vec<u8> {
    [user.as_str().as_bytes(), &[0], key.as_str().as_bytes()].concat()
}

/// The key of a finished request's row: time, then id.
pub(super) fn finished_key(at: Moment, id: RequestId) -> Vec<u8> {
    let micros = u64::try_from(at.micros()).unwrap_or(0);
    [micros.to_be_bytes().as_slice(), &id.key()].concat()
}
