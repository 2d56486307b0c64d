-- How the words of each version of a record sound, by what the texts are to it; rowid is versions.id. It keeps no text,
-- and no places of words: what is found is read again, and ranked by its texts.
CREATE VIRTUAL TABLE search USING fts5 (
    names, stated, summaries,
    content = '', contentless_delete = 1, detail = column, tokenize = 'unicode61 remove_diacritics 2'
);

-- Every sound that any version has or had, and the revision at which it came.
CREATE TABLE search_words (
    id INTEGER PRIMARY KEY,
    sound TEXT NOT NULL UNIQUE,
    from_revision INTEGER NOT NULL
) STRICT;
CREATE INDEX search_words_by_revision ON search_words (from_revision);

-- Its groups of three letters, for words with typing errors.
CREATE TABLE search_trigrams (
    trigram TEXT NOT NULL,
    length INTEGER NOT NULL,
    word INTEGER NOT NULL REFERENCES search_words (id),
    PRIMARY KEY (trigram, length, word)
) STRICT, WITHOUT ROWID;
