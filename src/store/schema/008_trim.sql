-- The oldest revision that can be read, and the chain's hash after it; what ended before is dropped, in the background.
ALTER TABLE log_state ADD COLUMN floor INTEGER NOT NULL DEFAULT 0;
ALTER TABLE log_state ADD COLUMN floor_hash BLOB NOT NULL
    DEFAULT x'0000000000000000000000000000000000000000000000000000000000000000';

-- What has ended, by its end.
CREATE INDEX reports_by_end ON reports (to_revision) WHERE to_revision < 9223372036854775807;
CREATE INDEX sources_by_end ON sources (to_revision) WHERE to_revision < 9223372036854775807;
CREATE INDEX rulings_by_end ON rulings (to_revision) WHERE to_revision < 9223372036854775807;
CREATE INDEX merges_by_end ON merges (to_revision) WHERE to_revision < 9223372036854775807;
