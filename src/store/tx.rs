//! Transactions: what a repository may do with the tables.

use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;
use std::rc::Rc;

use redb::ReadableTable;

use super::codec::Stored;
use super::fault::fault;
use super::tables::{Span, Table};
use crate::base::{Error, Result};

/// All tables have the same shape for the engine.
fn definition(name: &str) -> redb::TableDefinition<'_, &'static [u8], &'static [u8]> {
    redb::TableDefinition::new(name)
}

/// Which way to walk over keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Walk {
    /// Smallest key first.
    Up,
    /// Greatest key first.
    Down,
}

/// Takes one entry of a walk: key and value.
type Visit<'v> = &'v mut dyn FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>>;

/// What both kinds of transaction can do, so that a repository's look-ups are written once.
pub(crate) trait Read {
    /// Returns the stored bytes at `key`.
    fn get_bytes(&self, table: &'static str, key: &[u8]) -> Result<Option<Vec<u8>>>;
    /// Visits the entries in `span` until `visit` breaks.
    fn walk_bytes(
        &self,
        table: &'static str,
        span: &Span,
        way: Walk,
        visit: Visit<'_>,
    ) -> Result<()>;

    /// Returns the value at `key`.
    fn get<T: Stored>(&self, table: &Table<T>, key: &[u8]) -> Result<Option<T>> {
        self.get_bytes(table.name, key)?
            .map(|bytes| T::decode(&bytes))
            .transpose()
    }

    /// Visits the entries in `span` until `visit` breaks.
    fn walk<T: Stored>(
        &self,
        table: &Table<T>,
        span: &Span,
        way: Walk,
        mut visit: impl FnMut(&[u8], T) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        self.walk_bytes(table.name, span, way, &mut |key, value| {
            visit(key, T::decode(value)?)
        })
    }

    /// Returns the entries in `span`.
    fn range<T: Stored>(&self, table: &Table<T>, span: &Span) -> Result<Vec<(Vec<u8>, T)>> {
        let mut found = Vec::new();
        self.walk(table, span, Walk::Up, |key, value| {
            found.push((key.to_vec(), value));
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }
}

/// Visits the entries of one engine table.
fn walk_table(
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    span: &Span,
    way: Walk,
    visit: Visit<'_>,
) -> Result<()> {
    let doing = "read a range of the store";
    let mut entries = table
        .range::<&[u8]>(span.bounds())
        .map_err(|e| fault(doing, e))?;
    loop {
        let entry = match way {
            Walk::Up => entries.next(),
            Walk::Down => entries.next_back(),
        };
        let Some(entry) = entry else { return Ok(()) };
        let (key, value) = entry.map_err(|e| fault(doing, e))?;
        if visit(key.value(), value.value())?.is_break() {
            return Ok(());
        }
    }
}

/// A table that is open for reading.
type ReadTable = Rc<redb::ReadOnlyTable<&'static [u8], &'static [u8]>>;

/// A consistent view of what is committed.
pub(crate) struct ReadTx {
    /// The engine's transaction.
    tx: redb::ReadTransaction,
    /// Tables that are open already: opening costs more than a look-up, and a list looks up each of its rows.
    tables: RefCell<Vec<(&'static str, ReadTable)>>,
}

impl ReadTx {
    /// Wraps a transaction of the engine.
    pub(super) const fn new(tx: redb::ReadTransaction) -> Self {
        Self {
            tx,
            tables: RefCell::new(Vec::new()),
        }
    }

    /// Opens a table, or returns it when it is open; `None` when nothing was ever stored in it.
    fn open(&self, name: &'static str) -> Result<Option<ReadTable>> {
        if let Some((_, open)) = self.tables.borrow().iter().find(|(n, _)| *n == name) {
            return Ok(Some(Rc::clone(open)));
        }
        match self.tx.open_table(definition(name)) {
            Ok(table) => {
                let table = Rc::new(table);
                self.tables.borrow_mut().push((name, Rc::clone(&table)));
                Ok(Some(table))
            }
            Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
            Err(e) => Err(fault("open a table of the store", e)),
        }
    }
}

impl Read for ReadTx {
    fn get_bytes(&self, table: &'static str, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let Some(table) = self.open(table)? else {
            return Ok(None);
        };
        let value = table
            .get(key)
            .map_err(|e| fault("read from the store", e))?;
        Ok(value.map(|v| v.value().to_vec()))
    }

    fn walk_bytes(
        &self,
        table: &'static str,
        span: &Span,
        way: Walk,
        visit: Visit<'_>,
    ) -> Result<()> {
        match self.open(table)? {
            Some(table) => walk_table(&*table, span, way, visit),
            None => Ok(()),
        }
    }
}

/// A table that is open for writing.
type OpenTable<'txn> = Rc<RefCell<redb::Table<'txn, &'static [u8], &'static [u8]>>>;

/// How to take back one change.
struct Undo {
    /// Where it was made.
    table: &'static str,
    /// At which key.
    key: Vec<u8>,
    /// What stood there before.
    before: Option<Vec<u8>>,
}

/// What to do after the commit.
pub(super) type Hook = Box<dyn FnOnce() + Send>;

/// A transaction that changes tables; many closures share one, each can fail without harm to the others.
///
/// Every change notes what stood there before. When a closure fails, its notes are played back, so the group's
/// commit contains all of a closure's changes or none.
pub(crate) struct WriteTx<'txn> {
    /// The engine's transaction.
    txn: &'txn redb::WriteTransaction,
    /// Tables that are open already: opening costs a look-up.
    tables: RefCell<Vec<(&'static str, OpenTable<'txn>)>>,
    /// Changes of the closure that runs, oldest first.
    undo: Vec<Undo>,
    /// Hooks of the closure that runs.
    hooks: Vec<Hook>,
    /// Hooks of the closures that ended well.
    kept_hooks: Vec<Hook>,
    /// Whether any closure changed something.
    changed: bool,
    /// Set when the engine failed: nothing of this transaction can be committed.
    broken: Cell<Option<Error>>,
}

impl<'txn> WriteTx<'txn> {
    /// Wraps a transaction of the engine.
    pub(super) fn new(txn: &'txn redb::WriteTransaction) -> Self {
        Self {
            txn,
            tables: RefCell::default(),
            undo: Vec::new(),
            hooks: Vec::new(),
            kept_hooks: Vec::new(),
            changed: false,
            broken: Cell::new(None),
        }
    }

    /// Stores `value` at `key`.
    pub(crate) fn put<T: Stored>(&mut self, table: &Table<T>, key: &[u8], value: &T) -> Result<()> {
        self.put_bytes(table, key, &value.encode()?)
    }

    /// Stores bytes that are encoded already: work that need not happen on the writer thread.
    pub(crate) fn put_bytes<T>(
        &mut self,
        table: &Table<T>,
        key: &[u8],
        value: &[u8],
    ) -> Result<()> {
        let open = self.open(table.name)?;
        let before = {
            let mut open = open.borrow_mut();
            let before = open.insert(key, value).map_err(|e| self.break_by(e))?;
            before.map(|guard| guard.value().to_vec())
        };
        self.note(table.name, key, before);
        Ok(())
    }

    /// Removes what is at `key`; returns whether there was something.
    pub(crate) fn delete<T>(&mut self, table: &Table<T>, key: &[u8]) -> Result<bool> {
        let open = self.open(table.name)?;
        let before = {
            let mut open = open.borrow_mut();
            let before = open.remove(key).map_err(|e| self.break_by(e))?;
            before.map(|guard| guard.value().to_vec())
        };
        let was_there = before.is_some();
        if was_there {
            self.note(table.name, key, before);
        }
        Ok(was_there)
    }

    /// Does `hook` on the writer thread after the commit and before anybody is answered, in commit order.
    ///
    /// It must be short. It does not run when this closure fails or the commit does.
    pub(crate) fn on_commit(&mut self, hook: impl FnOnce() + Send + 'static) {
        self.hooks.push(Box::new(hook));
    }

    /// Notes a change.
    fn note(&mut self, table: &'static str, key: &[u8], before: Option<Vec<u8>>) {
        self.changed = true;
        self.undo.push(Undo {
            table,
            key: key.to_vec(),
            before,
        });
    }

    /// Ends a closure that went well.
    pub(super) fn keep(&mut self) {
        self.undo.clear();
        self.kept_hooks.append(&mut self.hooks);
    }

    /// Takes back everything the closure that runs has changed.
    pub(super) fn roll_back(&mut self) {
        self.hooks.clear();
        for undo in std::mem::take(&mut self.undo).into_iter().rev() {
            let Ok(open) = self.open(undo.table) else {
                return;
            };
            let mut open = open.borrow_mut();
            let done = match &undo.before {
                Some(value) => open.insert(undo.key.as_slice(), value.as_slice()).map(drop),
                None => open.remove(undo.key.as_slice()).map(drop),
            };
            if let Err(e) = done {
                // The transaction is broken now, so nothing of it is committed: taken back all the same.
                drop(self.break_by(e));
                return;
            }
        }
    }

    /// Ends the transaction's work: whether there is something to commit, and the hooks.
    pub(super) fn finish(self) -> Result<(bool, Vec<Hook>)> {
        match self.broken.take() {
            Some(error) => Err(error),
            None => Ok((self.changed, self.kept_hooks)),
        }
    }

    /// Returns whether the engine failed.
    pub(super) fn is_broken(&self) -> bool {
        let broken = self.broken.take();
        let is = broken.is_some();
        self.broken.set(broken);
        is
    }

    /// Opens a table, or returns it when it is open.
    fn open(&self, name: &'static str) -> Result<OpenTable<'txn>> {
        if let Some((_, open)) = self.tables.borrow().iter().find(|(n, _)| *n == name) {
            return Ok(Rc::clone(open));
        }
        let table = self
            .txn
            .open_table(definition(name))
            .map_err(|e| self.break_by(e))?;
        let table = Rc::new(RefCell::new(table));
        self.tables.borrow_mut().push((name, Rc::clone(&table)));
        Ok(table)
    }

    /// Marks the transaction as broken.
    fn break_by(&self, source: impl Into<redb::Error>) -> Error {
        let error = fault("write to the store", source);
        self.broken.set(Some(error.clone()));
        error
    }
}

impl Read for WriteTx<'_> {
    fn get_bytes(&self, table: &'static str, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let open = self.open(table)?;
        let open = open.borrow();
        let value = open.get(key).map_err(|e| self.break_by(e))?;
        Ok(value.map(|v| v.value().to_vec()))
    }

    fn walk_bytes(
        &self,
        table: &'static str,
        span: &Span,
        way: Walk,
        visit: Visit<'_>,
    ) -> Result<()> {
        let open = self.open(table)?;
        walk_table(&*open.borrow(), span, way, visit)
    }
}
