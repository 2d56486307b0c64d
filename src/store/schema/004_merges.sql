-- Names that are merged into others, each into one at a time.
CREATE TABLE merges (
    id INTEGER PRIMARY KEY,
    loser TEXT NOT NULL,
    survivor TEXT NOT NULL,
    from_revision INTEGER NOT NULL,
    to_revision INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX merges_in_force ON merges (loser) WHERE to_revision = 9223372036854775807;
CREATE INDEX merges_by_loser ON merges (loser, from_revision);
CREATE INDEX merges_by_survivor ON merges (survivor, from_revision);
CREATE INDEX rulings_by_record ON rulings (record, from_revision);

-- The event of a milestone may be about another record: one that is or was merged with this one. Two names may have told
-- the same fact before they were merged; then both events stand.
CREATE TABLE milestones_of_families (
    record INTEGER NOT NULL REFERENCES records (id),
    type INTEGER NOT NULL,
    element TEXT NOT NULL,
    subject TEXT NOT NULL,
    revision INTEGER NOT NULL,
    event_index INTEGER NOT NULL,
    detail_digest BLOB NOT NULL,
    PRIMARY KEY (record, type, element, subject, revision, event_index)
) STRICT, WITHOUT ROWID;
INSERT INTO milestones_of_families
    SELECT record, type, element, '', revision, event_index, detail_digest FROM milestones;
DROP TABLE milestones;
ALTER TABLE milestones_of_families RENAME TO milestones;
CREATE INDEX milestones_by_event ON milestones (revision, event_index);
