-- One row: where this store stands in the log.
CREATE TABLE log_state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    epoch BLOB NOT NULL,
    position INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    hash BLOB NOT NULL,
    recorded_at_us INTEGER NOT NULL
) STRICT;

-- The log itself: what was appended, as it was encoded once.
CREATE TABLE entries (
    revision INTEGER PRIMARY KEY,
    recorded_at_us INTEGER NOT NULL,
    events INTEGER NOT NULL,
    events_so_far INTEGER NOT NULL,
    bytes_so_far INTEGER NOT NULL,
    hash BLOB NOT NULL,
    header BLOB NOT NULL,
    payload BLOB NOT NULL
) STRICT;
CREATE INDEX entries_by_time ON entries (recorded_at_us, revision);

CREATE TABLE records (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    created_at_us INTEGER NOT NULL
) STRICT;

-- What a record was from one revision to another; no body: it was retracted.
CREATE TABLE versions (
    id INTEGER PRIMARY KEY,
    record INTEGER NOT NULL REFERENCES records (id),
    from_revision INTEGER NOT NULL,
    to_revision INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    name TEXT NOT NULL,
    newest_first INTEGER NOT NULL,
    oldest_first INTEGER NOT NULL,
    updated_at_us INTEGER NOT NULL,
    facets BLOB NOT NULL,
    body BLOB
) STRICT;
CREATE UNIQUE INDEX versions_by_record ON versions (record, from_revision);
CREATE INDEX versions_by_end ON versions (to_revision) WHERE to_revision < 9223372036854775807;
CREATE INDEX versions_newest ON versions (kind, newest_first, name);
CREATE INDEX versions_oldest ON versions (kind, oldest_first, name);
CREATE INDEX versions_name ON versions (kind, name);
CREATE INDEX versions_all_names ON versions (name);
CREATE INDEX versions_updated ON versions (kind, -updated_at_us, name);

-- What filters name, and which versions have it.
CREATE TABLE terms (
    id INTEGER PRIMARY KEY,
    tag INTEGER NOT NULL,
    value TEXT NOT NULL,
    UNIQUE (tag, value)
) STRICT;
CREATE TABLE version_terms (
    term INTEGER NOT NULL REFERENCES terms (id),
    version INTEGER NOT NULL REFERENCES versions (id),
    PRIMARY KEY (term, version)
) STRICT, WITHOUT ROWID;

-- What each source states about a record.
CREATE TABLE reports (
    id INTEGER PRIMARY KEY,
    record INTEGER NOT NULL REFERENCES records (id),
    name TEXT NOT NULL,
    source TEXT NOT NULL,
    publisher TEXT NOT NULL,
    from_revision INTEGER NOT NULL,
    to_revision INTEGER NOT NULL,
    created_at_us INTEGER NOT NULL,
    recorded_at_us INTEGER NOT NULL,
    etag TEXT NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX reports_active ON reports (name) WHERE to_revision = 9223372036854775807;
CREATE INDEX reports_by_record ON reports (record, from_revision);
CREATE INDEX reports_by_name ON reports (name, from_revision);
CREATE INDEX reports_by_source ON reports (source, name) WHERE to_revision = 9223372036854775807;
CREATE INDEX reports_by_publisher ON reports (publisher, name) WHERE to_revision = 9223372036854775807;

-- The blocks that describe sources, the latest standing.
CREATE TABLE sources (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    kind INTEGER NOT NULL,
    publisher TEXT NOT NULL,
    from_revision INTEGER NOT NULL,
    to_revision INTEGER NOT NULL,
    recorded_at_us INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX sources_by_name ON sources (name, from_revision);

-- Rulings that retract a record.
CREATE TABLE rulings (
    id INTEGER PRIMARY KEY,
    record INTEGER NOT NULL REFERENCES records (id),
    source TEXT NOT NULL,
    from_revision INTEGER NOT NULL,
    to_revision INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX rulings_in_force ON rulings (record, source) WHERE to_revision = 9223372036854775807;

-- Cooperation events whose fact stands.
CREATE TABLE milestones (
    record INTEGER NOT NULL REFERENCES records (id),
    type INTEGER NOT NULL,
    element TEXT NOT NULL,
    revision INTEGER NOT NULL,
    event_index INTEGER NOT NULL,
    detail_digest BLOB NOT NULL,
    PRIMARY KEY (record, type, element)
) STRICT, WITHOUT ROWID;

-- Which revisions are about a record.
CREATE TABLE history (
    record INTEGER NOT NULL REFERENCES records (id),
    revision INTEGER NOT NULL,
    PRIMARY KEY (record, revision)
) STRICT, WITHOUT ROWID;

-- Request ids, remembered for a while in log time.
CREATE TABLE requests (
    principal TEXT NOT NULL,
    request_id TEXT NOT NULL,
    digest BLOB NOT NULL,
    revision INTEGER NOT NULL,
    recorded_at_us INTEGER NOT NULL,
    PRIMARY KEY (principal, request_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX requests_by_time ON requests (recorded_at_us);

-- Positions kept for consumers; not part of the log.
CREATE TABLE cursors (
    principal TEXT NOT NULL,
    name TEXT NOT NULL,
    position TEXT NOT NULL,
    revision INTEGER NOT NULL,
    event_index INTEGER NOT NULL,
    snapshot_after TEXT NOT NULL,
    etag TEXT NOT NULL,
    updated_at_us INTEGER NOT NULL,
    PRIMARY KEY (principal, name)
) STRICT, WITHOUT ROWID;
