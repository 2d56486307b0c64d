-- The registry's day, as the log's entries leave it: NULL while the log is empty.
ALTER TABLE log_state ADD COLUMN day INTEGER;
-- The day that is being moved to, and the last part of it that was applied.
ALTER TABLE log_state ADD COLUMN pending_day INTEGER;
ALTER TABLE log_state ADD COLUMN pending_part INTEGER;
-- Whether every entry so far has a supplied time.
ALTER TABLE log_state ADD COLUMN replaying INTEGER NOT NULL DEFAULT 0;
UPDATE log_state SET day = (SELECT recorded_at_us / 86400000000 FROM entries ORDER BY revision LIMIT 1);
UPDATE log_state SET replaying = 1 WHERE revision = 0;
-- And as each entry left it.
ALTER TABLE entries ADD COLUMN day INTEGER;
UPDATE entries SET day = (SELECT day FROM log_state);

-- When the status or milestones of a record may next change by date alone.
CREATE TABLE deadlines (
    record INTEGER PRIMARY KEY REFERENCES records (id),
    due INTEGER NOT NULL,
    name TEXT NOT NULL
) STRICT;
CREATE INDEX deadlines_by_day ON deadlines (due, name);
-- What was recorded before there was a clock is looked at when the day next moves.
INSERT INTO deadlines (record, due, name)
    SELECT r.id, -1000000, r.name FROM records r JOIN versions v ON v.record = r.id
    WHERE v.to_revision = 9223372036854775807 AND v.body IS NOT NULL;
