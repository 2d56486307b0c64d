-- Which versions have a term, some at a time; and the terms of the newest versions, of which no part has been made yet. A row for
-- each term of a version was written to as many pages of the file.
CREATE TABLE postings (
    term INTEGER NOT NULL REFERENCES terms (id),
    last INTEGER NOT NULL,
    versions BLOB NOT NULL,
    PRIMARY KEY (term, last)
) STRICT, WITHOUT ROWID;
CREATE TABLE unposted (
    version INTEGER PRIMARY KEY REFERENCES versions (id),
    terms BLOB NOT NULL
) STRICT;
