-- One row: whose log this is the beginning of, in words, so that no two are written under one epoch; none until it is
-- opened the first time.
CREATE TABLE home (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    name TEXT NOT NULL
) STRICT;
