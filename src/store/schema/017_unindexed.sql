-- The words of the newest versions, which the index of words is told of some dozens at a time.
CREATE TABLE unindexed (
    version INTEGER PRIMARY KEY REFERENCES versions (id),
    names TEXT NOT NULL,
    stated TEXT NOT NULL,
    summaries TEXT NOT NULL
) STRICT;
