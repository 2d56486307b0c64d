-- What the parts have now.
DROP TABLE version_terms;
-- What was erased may be on the pages that it had.
INSERT OR IGNORE INTO scrub (id, zeros) SELECT 0, zeroblob(2048) FROM log_state WHERE redacted > 0;
