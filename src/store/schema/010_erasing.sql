-- Reports that are erased in parts, and are not at their end: what rests on one through a revision is erased, its versions
-- that were filed by then included; and where the one ended that stood then and after it, 0 if none did.
CREATE TABLE erasing (
    report TEXT PRIMARY KEY,
    through INTEGER NOT NULL,
    until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
