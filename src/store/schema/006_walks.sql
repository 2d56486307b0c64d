-- Visits by a host and a guest, and their last possible day, as each version has them: whether another visit of the same
-- states is known. Every filing of a visit asks.
CREATE TABLE pairs (
    host TEXT NOT NULL,
    guest TEXT NOT NULL,
    latest INTEGER NOT NULL,
    version INTEGER NOT NULL REFERENCES versions (id),
    PRIMARY KEY (host, guest, latest, version)
) STRICT, WITHOUT ROWID;

-- What every filing writes must be little. A record has a version for each revision about it; a version is found by its
-- record, and that by its name, of which there is one index; so is a report, among those of its record; and what a source
-- has filed is read in the order of filing, at whose end is room.
DROP TABLE history;
DROP INDEX versions_name;
DROP INDEX versions_all_names;
DROP INDEX reports_active;
DROP INDEX reports_by_name;
DROP INDEX reports_by_source;
DROP INDEX reports_by_publisher;
CREATE INDEX reports_by_source ON reports (source) WHERE to_revision = 9223372036854775807;
CREATE INDEX reports_by_publisher ON reports (publisher) WHERE to_revision = 9223372036854775807;

-- Both ends of what a record spans, so that a walk along one of them reads no record outside a period; and those that
-- span more than a year by themselves, because the walk may then begin a year outside of it.
DROP INDEX versions_newest;
DROP INDEX versions_oldest;
CREATE INDEX versions_newest ON versions (kind, newest_first, name, oldest_first);
CREATE INDEX versions_oldest ON versions (kind, oldest_first, name, newest_first);
CREATE INDEX versions_long_newest ON versions (kind, newest_first, name, oldest_first)
    WHERE -(newest_first + oldest_first) > 366;
CREATE INDEX versions_long_oldest ON versions (kind, oldest_first, name, newest_first)
    WHERE -(newest_first + oldest_first) > 366;
