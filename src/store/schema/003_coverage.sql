-- Which blocks may have a coverage: few of many sources do. Those of older files are all looked at, which is only slower.
ALTER TABLE sources ADD COLUMN covers INTEGER NOT NULL DEFAULT 1;
CREATE INDEX sources_covering ON sources (name) WHERE covers = 1;
-- Beside reports_by_source, which has the active ones: whether a source had a report at a revision.
CREATE INDEX reports_ended_by_source ON reports (source, to_revision) WHERE to_revision < 9223372036854775807;
