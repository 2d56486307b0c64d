//! Comparing the rows of a store with those that its log makes, by names: rows have other numbers in each.

use std::path::Path;

use rusqlite::Connection;

use crate::store::{FILE, Head, OPEN, StoreError, postings};

/// The rows of each table that are named.
const NAMED: usize = 3;
/// What the store that is verified, and the one made again, are called in statements.
const STORE: &str = "main";
const MADE: &str = "again";

/// A row by the name that it has and the revision that it begins with.
const NAME_AND_REVISION: &str = "x.name || ' of revision ' || x.from_revision";
/// The version `v` in the other store that is the version `x` in this one.
const ITS_VERSION: &str = "JOIN {x}.records r ON r.id = x.record JOIN {y}.records s ON s.name = r.name
               JOIN {y}.versions v ON v.record = s.id AND v.from_revision = x.from_revision";

/// What is compared of a table, in SQL. `{x}` is the store that is walked, `{y}` that in which each row is looked up,
/// `{its version}` joins what [`ITS_VERSION`] says.
struct Rows {
    /// What they are called.
    of: &'static str,
    /// Which row it is.
    label: &'static str,
    from: &'static str,
    /// Which of them are compared.
    only: &'static str,
    /// What is null if the other store has no such row.
    found: &'static str,
    /// Columns of `x` and `y` that must be the same.
    columns: &'static [&'static str],
    /// Columns of which only some differences are a fault, and which: `x` is as the log makes it.
    differ: &'static [(&'static str, &'static str)],
    /// Whether a row that the log does not make is a fault. Else it is a hint too many, or what an older version kept.
    exact: bool,
}

/// The terms of versions, by what the lists of terms have.
const TERMS: Rows = Rows {
    of: "terms",
    label: "x.name || ' of revision ' || x.from_revision || ', ' || n.value",
    from: "{x}.listed t JOIN {x}.terms n ON n.id = t.term
           JOIN {x}.versions x ON x.id = t.version {its version}
           LEFT JOIN {y}.terms m ON m.tag = n.tag AND m.value = n.value
           LEFT JOIN {y}.listed y ON y.term = m.id AND y.version = v.id",
    only: "TRUE",
    found: "y.term",
    columns: &[],
    differ: &[],
    exact: true,
};

const ALL: &[Rows] = &[
    Rows {
        of: "entries",
        label: "'revision ' || x.revision",
        from: "{x}.entries x LEFT JOIN {y}.entries y ON y.revision = x.revision",
        only: "TRUE",
        found: "y.revision",
        columns: &["events_so_far", "bytes_so_far", "day"],
        differ: &[],
        exact: true,
    },
    Rows {
        of: "records",
        label: "x.name",
        from: "{x}.records x LEFT JOIN {y}.records y ON y.name = x.name",
        only: "TRUE",
        found: "y.id",
        columns: &["created_at_us"],
        differ: &[],
        exact: false,
    },
    Rows {
        of: "versions",
        label: NAME_AND_REVISION,
        from: "{x}.versions x JOIN {x}.records r ON r.id = x.record
               LEFT JOIN {y}.records s ON s.name = r.name
               LEFT JOIN {y}.versions y ON y.record = s.id AND y.from_revision = x.from_revision",
        only: "TRUE",
        found: "y.id",
        columns: &["to_revision", "kind", "name", "newest_first", "oldest_first", "facets", "body"],
        differ: &[
            ("erased_by", "(x.erased_by > 0) IS NOT (y.erased_by > 0)"),
            // One that was erased keeps its time, which its entry does not say any more.
            ("updated_at_us", "x.erased_by = 0 AND x.updated_at_us IS NOT y.updated_at_us"),
        ],
        exact: true,
    },
    Rows { only: "n.tag <> 2", exact: true, ..TERMS },
    // Older versions of this program kept a record's own name too.
    Rows { only: "n.tag = 2", exact: false, ..TERMS },
    Rows {
        of: "words",
        label: NAME_AND_REVISION,
        from: "{x}.search_docsize d JOIN {x}.versions x ON x.id = d.id {its version}
               LEFT JOIN {y}.search_docsize y ON y.id = v.id",
        only: "TRUE",
        found: "y.id",
        columns: &[],
        differ: &[("number of words", "d.sz IS NOT y.sz")],
        exact: true,
    },
    Rows {
        of: "index of words",
        label: "x.term || ' in ' || x.col",
        from: "temp.words_in_{x} x LEFT JOIN temp.words_in_{y} y ON y.term = x.term AND y.col = x.col",
        only: "TRUE",
        found: "y.term",
        columns: &[],
        differ: &[("number of versions", "x.doc IS NOT y.doc")],
        exact: true,
    },
    Rows {
        of: "sounds",
        label: "x.sound",
        from: "{x}.search_words x LEFT JOIN {y}.search_words y ON y.sound = x.sound",
        only: "TRUE",
        found: "y.id",
        columns: &[],
        // One that was said first by what was erased is older than the log says.
        differ: &[("from_revision", "y.from_revision > x.from_revision")],
        exact: false,
    },
    Rows {
        of: "pairs",
        label: "x.name || ' of revision ' || x.from_revision || ', ' || p.host || ' and ' || p.guest",
        from: "{x}.pairs p JOIN {x}.versions x ON x.id = p.version {its version}
               LEFT JOIN {y}.pairs y ON y.host = p.host AND y.guest = p.guest AND y.latest = p.latest
                                        AND y.version = v.id",
        // Versions that had ended before there were pairs have none.
        only: "x.to_revision = {open}",
        found: "y.version",
        columns: &[],
        // Those of older files have none.
        differ: &[("earliest", "p.earliest IS NOT y.earliest AND y.earliest IS NOT NULL")],
        exact: false,
    },
    Rows {
        of: "reports",
        label: NAME_AND_REVISION,
        from: "{x}.reports x JOIN {x}.records r ON r.id = x.record
               LEFT JOIN {y}.records s ON s.name = r.name
               LEFT JOIN {y}.reports y ON y.record = s.id AND y.from_revision = x.from_revision AND y.name = x.name
                                          AND y.to_revision > y.from_revision",
        // What was filed again in the same revision never stood.
        only: "x.to_revision > x.from_revision",
        found: "y.id",
        columns: &["source", "publisher", "to_revision", "created_at_us", "recorded_at_us", "etag", "body"],
        differ: &[],
        exact: true,
    },
    Rows {
        of: "sources",
        label: NAME_AND_REVISION,
        from: "{x}.sources x LEFT JOIN {y}.sources y ON y.name = x.name AND y.from_revision = x.from_revision",
        only: "TRUE",
        found: "y.id",
        columns: &["kind", "publisher", "to_revision", "recorded_at_us", "body"],
        // Those of older files are all looked at.
        differ: &[("covers", "x.covers > y.covers")],
        exact: true,
    },
    Rows {
        of: "rulings",
        label: "r.name || ' by ' || x.source || ' of revision ' || x.from_revision",
        from: "{x}.rulings x JOIN {x}.records r ON r.id = x.record
               LEFT JOIN {y}.records s ON s.name = r.name
               LEFT JOIN {y}.rulings y ON y.record = s.id AND y.from_revision = x.from_revision
                                          AND y.source = x.source AND y.to_revision > y.from_revision",
        only: "x.to_revision > x.from_revision",
        found: "y.id",
        columns: &["to_revision", "body"],
        differ: &[],
        exact: true,
    },
    Rows {
        of: "merges",
        label: "x.loser || ' of revision ' || x.from_revision",
        from: "{x}.merges x LEFT JOIN {y}.merges y ON y.loser = x.loser AND y.from_revision = x.from_revision
                                                      AND y.to_revision > y.from_revision",
        only: "x.to_revision > x.from_revision",
        found: "y.id",
        columns: &["survivor", "to_revision", "body"],
        differ: &[],
        exact: true,
    },
    Rows {
        of: "milestones",
        label: "r.name || ', of type ' || x.type || ' told in revision ' || x.revision",
        from: "{x}.milestones x JOIN {x}.records r ON r.id = x.record
               LEFT JOIN {y}.records s ON s.name = r.name
               LEFT JOIN {y}.milestones y ON y.record = s.id AND y.type = x.type AND y.element = x.element
                   AND y.subject = x.subject AND y.revision = x.revision AND y.event_index = x.event_index",
        only: "TRUE",
        found: "y.revision",
        columns: &["detail_digest"],
        differ: &[],
        exact: true,
    },
    Rows {
        of: "deadlines",
        label: "x.name",
        from: "{x}.deadlines x LEFT JOIN {y}.records s ON s.name = x.name LEFT JOIN {y}.deadlines y ON y.record = s.id",
        // So early is what was recorded before there was a clock, until the day next moves.
        only: "x.due <> -1000000",
        found: "y.record",
        columns: &["name"],
        differ: &[("due", "x.due IS NOT y.due AND y.due <> -1000000")],
        exact: true,
    },
    Rows {
        of: "requests",
        label: "x.principal || ', ' || x.request_id",
        from: "{x}.requests x LEFT JOIN {y}.requests y ON y.principal = x.principal AND y.request_id = x.request_id",
        only: "TRUE",
        found: "y.revision",
        columns: &["digest", "revision", "recorded_at_us"],
        differ: &[],
        exact: true,
    },
    Rows {
        of: "erasing",
        label: "x.report",
        from: "{x}.erasing x LEFT JOIN {y}.erasing y ON y.report = x.report",
        only: "TRUE",
        found: "y.through",
        columns: &["through", "until"],
        differ: &[],
        exact: true,
    },
];

/// Compares every table of a store with that made again in a folder.
///
/// # Errors
///
/// [`StoreError::Damaged`] names the first rows of each table that differ.
pub(super) fn check(store: &Connection, again: &Path, head: &Head) -> Result<(), StoreError> {
    let (mut faults, mut pairs) = (Vec::new(), Vec::new());
    store.execute("ATTACH DATABASE ?1 AS again", [again.join(FILE).to_string_lossy()])?;
    for name in [STORE, MADE] {
        // The words of the index, each with how many versions have it, as a table that is not kept.
        let sql = format!("CREATE VIRTUAL TABLE temp.words_in_{name} USING fts5vocab({name}, search, col)");
        store.execute(&sql, [])?;
        // Each term of each version, as a table of a file that goes with the copy.
        let listed = postings::list(store, name, "listed")?;
        pairs.push(listed.pairs);
        if name == STORE {
            faults.extend(listed.faults.iter().map(|fault| format!("lists of terms: {fault}")));
        }
    }
    // As many on both sides and none missing: then none is too many, which is not to be looked for twenty times a version.
    let as_many_terms = pairs[0] == pairs[1];
    for rows in ALL {
        faults.extend(rows.missing_or_other(store, head)?);
        if rows.exact && !(rows.of == TERMS.of && as_many_terms) {
            faults.extend(rows.too_many(store)?);
        }
    }
    if faults.is_empty() {
        return Ok(());
    }
    Err(StoreError::Damaged(format!("it is not what its log makes of it\n{}", faults.join("\n"))))
}

/// Whether the log still says what a column has.
fn is_said(column: &str, head: &Head) -> bool {
    match column {
        // By what was first, which was erased, or dropped.
        "created_at_us" => head.redacted == 0 && head.floor == 0,
        // By entries as they were before something of them was erased.
        "bytes_so_far" => head.redacted == 0,
        _ => true,
    }
}

impl Rows {
    /// What the log makes and the store has not, or has otherwise.
    fn missing_or_other(&self, store: &Connection, head: &Head) -> rusqlite::Result<Vec<String>> {
        let same = self.columns.iter().filter(|column| is_said(column, head));
        let mut differences: Vec<(&str, String)> =
            same.map(|column| (*column, format!("x.{column} IS NOT y.{column}"))).collect();
        differences.extend(self.differ.iter().map(|(column, differ)| (*column, (*differ).to_owned())));
        let say = |label: &str, column: &str| match column {
            "" => format!("{}: {label} is missing", self.of),
            column => format!("{}: {label} has another {column}", self.of),
        };
        self.find(store, (MADE, STORE), &differences, say)
    }

    /// What the store has and the log does not make.
    fn too_many(&self, store: &Connection) -> rusqlite::Result<Vec<String>> {
        self.find(store, (STORE, MADE), &[], |label, _| format!("{}: {label} is not of the log", self.of))
    }

    fn find(
        &self,
        store: &Connection,
        (x, y): (&str, &str),
        differences: &[(&str, String)],
        say: impl Fn(&str, &str) -> String,
    ) -> rusqlite::Result<Vec<String>> {
        let mut statement = store.prepare(&self.sql(differences).replace("{x}", x).replace("{y}", y))?;
        let found = statement.query_map([], |row| {
            let (label, column): (String, String) = (row.get(0)?, row.get(1)?);
            Ok(say(&label, &column))
        })?;
        let mut found = found.collect::<rusqlite::Result<Vec<String>>>()?;
        if found.len() > NAMED {
            found.truncate(NAMED);
            found.push(format!("{}: and more", self.of));
        }
        Ok(found)
    }

    /// Rows with the column that differs first, which is empty if the other store has no such row.
    fn sql(&self, differences: &[(&str, String)]) -> String {
        let Self { label, from, only, found, .. } = self;
        let (mut which, mut any) = (String::new(), String::new());
        for (column, differ) in differences {
            which.push_str(&format!(" WHEN {differ} THEN '{column}'"));
            any.push_str(&format!(" OR ({differ})"));
        }
        let sql = format!(
            "SELECT {label}, CASE WHEN {found} IS NULL THEN ''{which} END FROM {from}
             WHERE ({only}) AND ({found} IS NULL{any}) LIMIT {}",
            NAMED + 1
        );
        sql.replace("{its version}", ITS_VERSION).replace("{open}", &OPEN.to_string())
    }
}
