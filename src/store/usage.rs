//! How much a store uses of its file, and how much it may use. Free pages are taken before the file grows, so there is no
//! room once those in use are as many as the file may have.

use std::path::Path;

use rusqlite::{Connection, Result};

use super::{Options, Store, StoreError, from_sqlite, schema, search};
use crate::domain::error::Error;

/// What is in memory to answer sooner, in bytes, by the weights that its budgets are kept by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cached {
    /// Records that are asked for often.
    pub records: u64,
    /// Sets of versions by term.
    pub term_sets: u64,
    /// Sounds of all words.
    pub sounds: u64,
}

impl Store {
    /// What is in memory to answer sooner.
    #[must_use]
    pub fn cached(&self) -> Cached {
        let search::Aids { sets, vocabulary } = &*self.aids;
        Cached { records: self.hot.bytes(), term_sets: sets.bytes(), sounds: vocabulary.bytes() }
    }

    /// The bytes of the pages that are in use, as of the newest commit. Blocks: call it off the async threads.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn used_bytes(&self) -> std::result::Result<u64, Error> {
        self.read(|connection| {
            // Both numbers of pages as of one commit.
            let told = connection.unchecked_transaction().and_then(|reading| used(&reading));
            told.map_err(|e| from_sqlite(&e))
        })
    }

    /// The bytes of the pages that may be in use; `None` if the disk alone sets a limit.
    #[must_use]
    pub fn allowed_bytes(&self) -> Option<u64> {
        self.allowed_bytes
    }
}

/// The bytes of the pages that are in use, as a connection sees them.
pub(super) fn used(connection: &Connection) -> Result<u64> {
    let pages = number(connection, "page_count")?.saturating_sub(number(connection, "freelist_count")?);
    Ok(pages * number(connection, "page_size")?)
}

/// The bytes of the pages that the file may have by a connection: as many as it was told, or as the file had then, if these
/// are more.
pub(super) fn allowed(connection: &Connection) -> Result<u64> {
    Ok(number(connection, "max_page_count")?.saturating_mul(number(connection, "page_size")?))
}

/// The bytes of a store's file before anything is filed.
///
/// # Errors
///
/// If SQLite refuses.
pub fn empty_bytes() -> Result<u64> {
    let made = schema::fresh(schema::NEWEST)?;
    Ok(number(&made, "page_count")? * number(&made, "page_size")?)
}

/// Checks that a store that is to be made finds room for its tables. (One that is there may use what it has.)
pub(super) fn check_allowance(file: &Path, options: &Options) -> std::result::Result<(), StoreError> {
    let Some(allowed) = options.max_bytes.filter(|_| !file.exists()) else { return Ok(()) };
    let empty = empty_bytes()?;
    if allowed < empty { Err(StoreError::AllowedTooLittle { allowed, empty }) } else { Ok(()) }
}

/// So many whole pages of a file have at most these bytes.
pub(super) fn pages(connection: &Connection, bytes: u64) -> Result<u64> {
    Ok(bytes / number(connection, "page_size")?.max(1))
}

/// What a pragma says that is a number.
pub(super) fn number(connection: &Connection, pragma: &str) -> Result<u64> {
    connection.pragma_query_value(None, pragma, |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{self, PAGE_BYTES, is_full};

    const ALLOWANCE: u64 = 4_000_000;

    fn options(max_bytes: u64) -> Options {
        Options { max_bytes: Some(max_bytes), ..Options::default() }
    }

    #[test]
    fn there_is_room_until_the_pages_in_use_are_as_many_as_are_allowed_and_free_ones_are_room() {
        let folder = tempfile::tempdir().unwrap();
        let (store, write) = store::open(folder.path(), &options(ALLOWANCE)).unwrap();
        let connection = &write.connection;
        let (allowed, before) = (store.allowed_bytes().unwrap(), store.used_bytes().unwrap());
        assert!((ALLOWANCE - PAGE_BYTES..=ALLOWANCE).contains(&allowed), "whole pages: {allowed}");
        connection.execute_batch("CREATE TABLE old (words BLOB); INSERT INTO old VALUES (zeroblob(2000000))").unwrap();
        assert!(store.used_bytes().unwrap() > before + 2_000_000);
        connection.execute_batch("DROP TABLE old; CREATE TABLE filed (words BLOB)").unwrap();
        assert!(store.used_bytes().unwrap() < before + 100_000, "the file has not shrunk");
        let mut filed = 0;
        let refused = loop {
            match connection.execute("INSERT INTO filed VALUES (zeroblob(100000))", []) {
                Ok(_) => filed += 100_000,
                Err(refused) => break refused,
            }
        };
        assert!(is_full(&refused), "{refused}");
        assert!(filed > 3_000_000, "{filed}: without the free pages there is no room for as much");
        let used = store.used_bytes().unwrap();
        assert!(used <= allowed && allowed - used < 200_000, "{used} of {allowed}");
    }

    #[test]
    fn a_file_that_is_larger_than_its_allowance_may_use_what_it_has() {
        let folder = tempfile::tempdir().unwrap();
        let (store, write) = store::open(folder.path(), &Options::default()).unwrap();
        assert_eq!(store.allowed_bytes(), None, "the disk alone sets a limit");
        drop((store, write));
        let (store, write) = store::open(folder.path(), &options(1)).unwrap();
        let pages = number(&write.connection, "page_count").unwrap();
        assert_eq!(store.allowed_bytes(), Some(pages * number(&write.connection, "page_size").unwrap()));
    }

    #[test]
    fn an_allowance_is_in_bytes_also_for_a_store_that_has_larger_pages() {
        let folder = tempfile::tempdir().unwrap();
        drop(store::open(folder.path(), &Options::default()).unwrap());
        let older = Connection::open(folder.path().join(store::FILE)).unwrap();
        older.execute_batch("PRAGMA journal_mode = DELETE; PRAGMA page_size = 8192; VACUUM").unwrap();
        drop(older);
        let (store, write) = store::open(folder.path(), &options(ALLOWANCE)).unwrap();
        assert_eq!(number(&write.connection, "page_size").unwrap(), 8192, "it keeps them");
        assert_eq!(store.allowed_bytes(), Some(ALLOWANCE / 8192 * 8192));
    }

    #[test]
    fn a_new_store_is_made_where_it_may_have_as_much_as_an_empty_one_takes_and_not_with_a_byte_less() {
        let folder = tempfile::tempdir().unwrap();
        let empty = empty_bytes().unwrap();
        let Err(refused) = store::open(folder.path(), &options(empty - 1)) else { panic!("it finds no room") };
        assert!(matches!(refused, StoreError::AllowedTooLittle { .. }), "{refused}");
        assert!(!folder.path().join(store::FILE).exists(), "nothing was made");
        let (store, write) = store::open(folder.path(), &options(empty)).unwrap();
        assert_eq!(number(&write.connection, "page_count").unwrap() * PAGE_BYTES, empty);
        assert_eq!(store.allowed_bytes(), Some(empty));
    }
}
