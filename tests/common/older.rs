//! A store as the version before this one left it.

use std::path::Path;

/// The schema that [`BEFORE`] undoes: whoever adds another undoes that there instead.
const UNDONE: usize = 13;
/// What the newest schema changed, undone.
const BEFORE: &str = "CREATE TABLE search_trigrams (
    trigram TEXT NOT NULL,
    length INTEGER NOT NULL,
    word INTEGER NOT NULL REFERENCES search_words (id),
    PRIMARY KEY (trigram, length, word)
) STRICT, WITHOUT ROWID;
INSERT INTO search_trigrams SELECT substr(sound, 1, 3), length(sound), id FROM search_words";

/// Makes a file, which nobody has open, one as the schema before the newest left it; answers which that is.
pub fn made_older(file: &Path) -> usize {
    let connection = rusqlite::Connection::open(file).unwrap();
    let newest: usize = connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(newest, UNDONE, "what is undone here is not what the newest schema changed");
    let older = newest - 1;
    let undo = format!("{BEFORE}; PRAGMA user_version = {older}; PRAGMA journal_mode = DELETE");
    connection.execute_batch(&undo).unwrap();
    older
}
