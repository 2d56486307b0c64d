//! The tables, and how a file of an older version becomes one of this version.
//!
//! Temporal rows carry `[from_revision, to_revision)`; what stands has `to_revision` [`OPEN`].

use std::{io::ErrorKind, path::Path};

use rusqlite::{Connection, Transaction};
use rusqlite_migration::{Error as MigrationError, HookResult, M, Migrations};

use super::{PAGE_BYTES, StoreError, failing, is_full, pairs, postings, search};

/// The end of what still stands.
pub const OPEN: i64 = i64::MAX;

/// [`OPEN`] in the text of a statement: there SQLite sees that an index of what stands will do, and not in a parameter.
macro_rules! open {
    () => {
        "9223372036854775807"
    };
}
pub(super) use open;

/// One migration a version, each in a transaction of its own; never change one that was released.
const MIGRATIONS: &[Step] = &[
    Step::sql(include_str!("schema/001_first.sql")),
    Step::sql(include_str!("schema/002_clock.sql")),
    Step::sql(include_str!("schema/003_coverage.sql")),
    Step::sql(include_str!("schema/004_merges.sql")),
    Step::filled(include_str!("schema/005_search.sql"), fill_search),
    Step::filled(include_str!("schema/006_walks.sql"), fill_pairs),
    Step::sql(include_str!("schema/007_home.sql")),
    Step::sql(include_str!("schema/008_trim.sql")),
    Step::sql(include_str!("schema/009_redact.sql")),
    Step::sql(include_str!("schema/010_erasing.sql")),
    Step::sql(include_str!("schema/011_scrub.sql")),
    Step::sql(include_str!("schema/012_merge.sql")),
    Step::sql(include_str!("schema/013_sounds.sql")),
    Step::filled(include_str!("schema/014_ascii.sql"), fill_search),
    Step::filled(include_str!("schema/015_postings.sql"), fill_postings),
    Step::sql(include_str!("schema/016_posted.sql")),
    Step::sql(include_str!("schema/017_unindexed.sql")),
    Step::sql(include_str!("schema/018_pair_days.sql")),
];

/// The version of files that this program makes.
pub const NEWEST: usize = MIGRATIONS.len();

/// What makes a file of one version one of the next.
#[derive(Debug, Clone, Copy)]
struct Step {
    sql: &'static str,
    /// What the statements cannot compute, in the same transaction, after them.
    fill: Option<fn(&Transaction<'_>) -> HookResult>,
}

impl Step {
    const fn sql(sql: &'static str) -> Self {
        Self { sql, fill: None }
    }

    const fn filled(sql: &'static str, fill: fn(&Transaction<'_>) -> HookResult) -> Self {
        Self { sql, fill: Some(fill) }
    }

    fn migration(self) -> M<'static> {
        M::up_with_hook(self.sql, move |transaction: &Transaction<'_>| -> HookResult {
            if let Some(fill) = self.fill {
                fill(transaction)?;
            }
            Ok(failing("store.schema")?)
        })
    }
}

fn fill_search(transaction: &Transaction<'_>) -> HookResult {
    Ok(search::fill(transaction)?)
}

fn fill_postings(transaction: &Transaction<'_>) -> HookResult {
    Ok(postings::fill(transaction)?)
}

fn fill_pairs(transaction: &Transaction<'_>) -> HookResult {
    Ok(pairs::fill(transaction)?)
}

/// Brings the file to this version. Before it changes an older one it keeps a copy beside it.
///
/// # Errors
///
/// If the file is of a newer version, or cannot be changed: [`StoreError::NoRoomToMigrate`] where that wants more room than
/// there is.
pub fn migrate(connection: &mut Connection, file: &Path) -> Result<(), StoreError> {
    migrate_by(MIGRATIONS, connection, file)
}

/// The version of a file; 0 if it has no tables yet.
///
/// # Errors
///
/// If it is newer than this program's, or cannot be read.
pub fn version(connection: &Connection) -> Result<usize, StoreError> {
    version_by(MIGRATIONS, connection)
}

/// A file of a version in which nothing was kept yet, in memory.
///
/// # Errors
///
/// If SQLite refuses.
pub fn fresh(version: usize) -> rusqlite::Result<Connection> {
    let mut connection = Connection::open_in_memory()?;
    connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    let transaction = connection.transaction()?;
    // (What else a step fills in, it makes of what was kept.)
    for step in MIGRATIONS.iter().take(version) {
        transaction.execute_batch(step.sql)?;
    }
    transaction.commit()?;
    Ok(connection)
}

fn version_by(migrations: &[Step], connection: &Connection) -> Result<usize, StoreError> {
    let found: usize = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > migrations.len() {
        return Err(StoreError::Newer { found, known: migrations.len() });
    }
    Ok(found)
}

fn migrate_by(migrations: &[Step], connection: &mut Connection, file: &Path) -> Result<(), StoreError> {
    let found = version_by(migrations, connection)?;
    if found > 0 && found < migrations.len() {
        keep_copy(connection, &file.with_extension(format!("schema-{found}.bak")))?;
    }
    let migrations = Migrations::new(migrations.iter().map(|step| step.migration()).collect());
    migrations.to_latest(connection).map_err(|error| match error {
        MigrationError::RusqliteError { err, .. } if is_full(&err) => StoreError::NoRoomToMigrate,
        other => StoreError::Migration(other.to_string()),
    })
}

fn keep_copy(connection: &Connection, copy: &Path) -> Result<(), StoreError> {
    // One of an attempt that failed is older than the file, and SQLite writes over nothing.
    match std::fs::remove_file(copy) {
        Err(source) if source.kind() != ErrorKind::NotFound => {
            return Err(StoreError::Io { path: copy.to_owned(), source });
        }
        _ => {}
    }
    if let Err(error) = connection.execute("VACUUM INTO ?1", [copy.to_string_lossy()]) {
        // Half of a copy is of no use, and may be what fills the disk; the next attempt would remove it.
        let _ = std::fs::remove_file(copy);
        return Err(if is_full(&error) { StoreError::NoRoomToMigrate } else { error.into() });
    }
    tracing::info!(copy = %copy.display(), "kept a copy of the store before migrating it");
    Ok(())
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::{
        domain::error::{Error, Reason},
        pb::v1,
        store::{coverage, scrub},
    };

    const FIRST: Step =
        Step::sql("CREATE TABLE things (name TEXT NOT NULL) STRICT; INSERT INTO things VALUES ('kept')");
    const SECOND: Step = Step::sql("DROP TABLE things");

    fn open(folder: &tempfile::TempDir) -> (Connection, std::path::PathBuf) {
        let file = folder.path().join("attache.db");
        (Connection::open(&file).unwrap(), file)
    }

    fn things(connection: &Connection) -> rusqlite::Result<String> {
        connection.query_row("SELECT name FROM things", [], |row| row.get(0))
    }

    #[test]
    fn what_stands_is_written_as_it_is_compared() {
        assert_eq!(open!(), OPEN.to_string());
    }

    #[test]
    fn a_migration_keeps_a_copy_of_the_file_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let (mut connection, file) = open(&folder);
        migrate_by(&[FIRST], &mut connection, &file).unwrap();
        let copy = folder.path().join("attache.schema-1.bak");
        assert!(!copy.exists(), "a new file has nothing to keep");
        migrate_by(&[FIRST, SECOND], &mut connection, &file).unwrap();
        assert!(things(&connection).is_err());
        assert_eq!(things(&Connection::open(copy).unwrap()).unwrap(), "kept");
    }

    #[test]
    fn a_migration_that_fails_leaves_the_file_as_it_was_and_can_be_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let (mut connection, file) = open(&folder);
        migrate_by(&[FIRST], &mut connection, &file).unwrap();
        let halfway = Step::sql("DELETE FROM things; SELECT no_such_function()");
        let error = migrate_by(&[FIRST, halfway], &mut connection, &file).unwrap_err();
        assert!(matches!(error, StoreError::Migration(_)), "{error}");
        assert_eq!(things(&connection).unwrap(), "kept");
        migrate_by(&[FIRST, SECOND], &mut connection, &file).unwrap();
    }

    #[test]
    fn a_migration_that_has_no_room_says_both_and_leaves_the_file_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let (mut connection, file) = open(&folder);
        migrate_by(&[FIRST], &mut connection, &file).unwrap();
        connection.pragma_update(None, "max_page_count", 8).unwrap();
        let large = Step::sql("DROP TABLE things; CREATE TABLE large AS SELECT zeroblob(1000000)");
        let filled = Step::filled("DROP TABLE things; CREATE TABLE large (x BLOB)", |transaction| {
            transaction.execute("INSERT INTO large VALUES (zeroblob(1000000))", [])?;
            Ok(())
        });
        for step in [large, filled] {
            let error = Error::from(migrate_by(&[FIRST, step], &mut connection, &file).unwrap_err());
            assert_eq!(error.reason, Reason::StorageFull, "{error}");
            assert!(error.message.contains("migration") && error.message.contains("is full"), "{error}");
            assert_eq!(things(&connection).unwrap(), "kept");
        }
    }

    #[test]
    fn the_claims_of_a_file_that_is_older_than_their_mark_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let (mut connection, file) = open(&folder);
        migrate_by(&MIGRATIONS[..1], &mut connection, &file).unwrap();
        for (name, coverage) in [("sources/a", None), ("sources/b", Some(v1::Coverage::default()))] {
            let body = v1::Source { name: name.into(), coverage, ..Default::default() }.encode_to_vec();
            let source = "INSERT INTO sources (name, kind, publisher, from_revision, to_revision, recorded_at_us, body)
                          VALUES (?1, 1, '', 1, ?2, 0, ?3)";
            connection.execute(source, (name, OPEN, body)).unwrap();
            let report = "INSERT INTO reports (record, name, source, publisher, from_revision, to_revision,
                          created_at_us, recorded_at_us, etag, body) VALUES (1, ?1, ?1, '', 1, ?2, 0, 0, '', x'')";
            connection.execute("INSERT OR IGNORE INTO records VALUES (1, 'visits/x', 0)", []).unwrap();
            connection.execute(report, (name, OPEN)).unwrap();
        }
        migrate(&mut connection, &file).unwrap();
        let found = coverage::covering(&connection, 1, 10).unwrap();
        assert_eq!(found.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["sources/b"]);
    }

    #[test]
    fn milestones_that_stood_before_there_were_merges_stand_after() {
        let folder = tempfile::tempdir().unwrap();
        let (mut connection, file) = open(&folder);
        let merges = MIGRATIONS.iter().position(|step| step.sql.contains("CREATE TABLE merges")).unwrap();
        migrate_by(&MIGRATIONS[..merges], &mut connection, &file).unwrap();
        let before = "INSERT INTO records VALUES (1, 'visits/v', 0);
                      INSERT INTO milestones VALUES (1, 20, 'e', 3, 4, x'05')";
        connection.execute_batch(before).unwrap();
        migrate_by(MIGRATIONS, &mut connection, &file).unwrap();
        let name = "visits/v".parse().unwrap();
        let kept = crate::store::read::milestones(&connection, &name).unwrap();
        let [m] = kept.as_slice() else { panic!("{kept:?}") };
        assert_eq!((m.r#type, m.element.as_str(), m.revision, m.index, m.subject.as_str()), (20, "e", 3, 4, ""));
        assert_eq!(m.detail_digest, [5]);
    }

    #[test]
    fn free_pages_of_a_file_that_erased_something_before_they_were_written_over_are_written_over() {
        // Before there was the table of them, and before the index of words was made again, which lets go of pages.
        let before = |sql| MIGRATIONS.iter().position(|step| step.sql.contains(sql)).unwrap();
        let (scrubs, indexes_anew) = (before("CREATE TABLE scrub"), before("tokenize = 'ascii'"));
        for (before, redacted, is_due) in
            [(scrubs, 0, false), (scrubs, 7, true), (indexes_anew, 0, false), (indexes_anew, 7, true)]
        {
            let folder = tempfile::tempdir().unwrap();
            let (mut connection, file) = open(&folder);
            migrate_by(&MIGRATIONS[..before], &mut connection, &file).unwrap();
            let sql = "INSERT INTO log_state (id, epoch, position, revision, hash, recorded_at_us, redacted)
                       VALUES (1, x'', 7, 7, x'', 0, ?1)";
            connection.execute(sql, [redacted]).unwrap();
            let old = "CREATE TABLE old (words BLOB); INSERT INTO old VALUES (zeroblob(100000)); DROP TABLE old";
            connection.execute_batch(old).unwrap();
            migrate(&mut connection, &file).unwrap();
            assert_eq!(scrub::left(&connection).unwrap() > 0, is_due);
        }
    }

    #[test]
    fn a_file_of_a_newer_version_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (mut connection, file) = open(&folder);
        migrate_by(&[FIRST, SECOND], &mut connection, &file).unwrap();
        let error = migrate_by(&[FIRST], &mut connection, &file).unwrap_err();
        assert!(matches!(error, StoreError::Newer { found: 2, known: 1 }), "{error}");
    }
}
