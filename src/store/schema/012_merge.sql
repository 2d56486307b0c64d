-- The index of words is merged a little with everything that is added to it (store/search/index.rs), instead of much at once
-- now and then, for which filers waited.
INSERT INTO search (search, rank) VALUES ('automerge', 0);
INSERT INTO search (search, rank) VALUES ('usermerge', 8);
INSERT INTO search (search, rank) VALUES ('crisismerge', 256);
