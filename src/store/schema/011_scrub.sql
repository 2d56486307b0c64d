-- Pages of the file that were free when something was erased, while they are written over. The row 0 says that some are to be
-- taken yet; the others have those that were, until they are given back.
CREATE TABLE scrub (
    id INTEGER PRIMARY KEY,
    zeros BLOB NOT NULL
) STRICT;
