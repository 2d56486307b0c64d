//! A store as the version before this one left it.

use std::path::Path;

use attache::{
    domain::facets::{Facets, Tag},
    store::search,
};
use rusqlite::{Connection, params};

/// The schema that [`BEFORE`] undoes, and the one that it leads to: whoever adds another undoes that there instead.
const UNDONE: usize = 18;
const OLDER: usize = 14;
/// What the newest schemas changed, undone, but for what their tables are filled with.
const BEFORE: &str = "ALTER TABLE pairs DROP COLUMN earliest;
DROP TABLE postings;
DROP TABLE unposted;
DROP TABLE unindexed;
CREATE TABLE version_terms (
    term INTEGER NOT NULL REFERENCES terms (id),
    version INTEGER NOT NULL REFERENCES versions (id),
    PRIMARY KEY (term, version)
) STRICT, WITHOUT ROWID";

/// Makes a file, which nobody has open, one as the schema before the newest left it; answers which that is.
pub fn made_older(file: &Path) -> usize {
    let connection = Connection::open(file).unwrap();
    let newest: usize = connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(newest, UNDONE, "what is undone here is not what the newest schema changed");
    let undo = format!("{BEFORE}; PRAGMA user_version = {OLDER}; PRAGMA journal_mode = DELETE");
    search::complete(&connection).unwrap();
    connection.execute_batch(&undo).unwrap();
    fill_terms(&connection);
    // Its pages were larger.
    connection.execute_batch("PRAGMA page_size = 8192; VACUUM").unwrap();
    OLDER
}

fn fill_terms(connection: &Connection) {
    let mut versions = connection.prepare("SELECT id, name, facets FROM versions").unwrap();
    let mut versions = versions.query([]).unwrap();
    while let Some(row) = versions.next().unwrap() {
        let (id, name): (i64, String) = (row.get(0).unwrap(), row.get(1).unwrap());
        let facets = Facets::from_stored(&row.get::<_, Vec<u8>>(2).unwrap()).unwrap();
        for (tag, value) in facets.terms().iter().filter(|(tag, value)| *tag != Tag::Name || *value != name) {
            let sql = "INSERT INTO version_terms (term, version)
                       SELECT id, ?1 FROM terms WHERE tag = ?2 AND value = ?3";
            assert_eq!(connection.execute(sql, params![id, *tag as u8, value]).unwrap(), 1, "{name} has {value}");
        }
    }
}
