-- The first possible day of a visit beside its last, so that those of other days are not read; NULL if it is not known, and of versions of
-- older files, which are read.
ALTER TABLE pairs ADD COLUMN earliest INTEGER;
