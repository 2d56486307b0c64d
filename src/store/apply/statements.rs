//! The statements of a transaction, each looked up once: an entry runs some twenty, and most run in each of them.

use std::{cell::RefCell, ptr};

use rusqlite::{CachedStatement, Connection, OptionalExtension as _, Params, Row};

use super::Result;

/// See the module.
pub(super) struct Statements<'c> {
    connection: &'c Connection,
    taken: RefCell<Vec<(&'static str, CachedStatement<'c>)>>,
}

impl<'c> Statements<'c> {
    pub fn of(connection: &'c Connection) -> Self {
        Self { connection, taken: RefCell::default() }
    }

    /// Runs one that answers nothing.
    ///
    /// # Errors
    ///
    /// If SQLite refuses.
    pub fn run(&self, sql: &'static str, params: impl Params) -> Result<()> {
        self.with(sql, |statement| statement.execute(params).map(drop))
    }

    /// Runs one that adds a row; answers its id.
    ///
    /// # Errors
    ///
    /// If SQLite refuses.
    pub fn insert(&self, sql: &'static str, params: impl Params) -> Result<i64> {
        self.run(sql, params).map(|()| self.connection.last_insert_rowid())
    }

    /// Runs one that adds a row unless there is one like it; answers its id if it did.
    ///
    /// # Errors
    ///
    /// If SQLite refuses.
    pub fn insert_new(&self, sql: &'static str, params: impl Params) -> Result<Option<i64>> {
        let added = self.with(sql, |statement| statement.execute(params))?;
        Ok((added > 0).then(|| self.connection.last_insert_rowid()))
    }

    /// The first row that one answers, if there is any.
    ///
    /// # Errors
    ///
    /// If SQLite refuses.
    pub fn row<T>(
        &self,
        sql: &'static str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        self.with(sql, |statement| statement.query_row(params, read).optional())
    }

    fn with<T>(&self, sql: &'static str, run: impl FnOnce(&mut CachedStatement<'c>) -> Result<T>) -> Result<T> {
        let mut taken = self.taken.borrow_mut();
        // The text is compared by where it lies: each is written once in the program, or else taken twice.
        let at = match taken.iter().position(|(known, _)| ptr::eq(*known, sql)) {
            Some(at) => at,
            None => {
                taken.push((sql, self.connection.prepare_cached(sql)?));
                taken.len() - 1
            }
        };
        run(&mut taken[at].1)
    }
}
