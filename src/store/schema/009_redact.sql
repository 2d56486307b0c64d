-- The revision that erased what a record was then; 0 of all others. One that was erased has no body.
ALTER TABLE versions ADD COLUMN erased_by INTEGER NOT NULL DEFAULT 0;
-- The newest revision that erased something; 0 if none did. What the journal had before it must not stay there.
ALTER TABLE log_state ADD COLUMN redacted INTEGER NOT NULL DEFAULT 0;
