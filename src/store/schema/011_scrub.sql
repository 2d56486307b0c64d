-- Pages of the file that were free when something was erased, while they are written over. The row 0 says that some are to be
-- taken yet; the others have those that were, until they are given back.
CREATE TABLE scrub (
    id INTEGER PRIMARY KEY,
    zeros BLOB NOT NULL
) STRICT;
-- What was erased before there was this table may be on pages that were free then.
INSERT INTO scrub (id, zeros) SELECT 0, zeroblob(2048) FROM log_state WHERE redacted > 0;
