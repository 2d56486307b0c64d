-- Sounds are letters and digits of ASCII, lower case: to look for the letters of all scripts in them was most of the work of
-- adding them. The index is made again.
DROP TABLE search;
CREATE VIRTUAL TABLE search USING fts5 (
    names, stated, summaries,
    content = '', contentless_delete = 1, detail = column, tokenize = 'ascii'
);
INSERT INTO search (search, rank) VALUES ('automerge', 0);
INSERT INTO search (search, rank) VALUES ('usermerge', 8);
INSERT INTO search (search, rank) VALUES ('crisismerge', 256);
-- What was erased may be on the pages that it had.
INSERT OR IGNORE INTO scrub (id, zeros) SELECT 0, zeroblob(2048) FROM log_state WHERE redacted > 0;
