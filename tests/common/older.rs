//! A store as the version before this one left it.

use std::path::Path;

use attache::store::search;

/// The schema that [`BEFORE`] undoes: whoever adds another undoes that there instead.
const UNDONE: usize = 14;
/// What the newest schema changed, undone, but for what the index of words is filled with.
const BEFORE: &str = "DROP TABLE search;
CREATE VIRTUAL TABLE search USING fts5 (
    names, stated, summaries,
    content = '', contentless_delete = 1, detail = column, tokenize = 'unicode61 remove_diacritics 2'
);
INSERT INTO search (search, rank) VALUES ('automerge', 0);
INSERT INTO search (search, rank) VALUES ('usermerge', 8);
INSERT INTO search (search, rank) VALUES ('crisismerge', 256)";

/// Makes a file, which nobody has open, one as the schema before the newest left it; answers which that is.
pub fn made_older(file: &Path) -> usize {
    let connection = rusqlite::Connection::open(file).unwrap();
    let newest: usize = connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(newest, UNDONE, "what is undone here is not what the newest schema changed");
    let older = newest - 1;
    let undo = format!("{BEFORE}; PRAGMA user_version = {older}; PRAGMA journal_mode = DELETE");
    connection.execute_batch(&undo).unwrap();
    search::fill(&connection).unwrap();
    older
}
