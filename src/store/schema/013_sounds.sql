-- What a word may be misspelt as is looked for among the sounds themselves, in memory (store/search/vocabulary.rs). Their
-- groups of three letters served only those that do not fit there, and were most of what a filing with new words wrote.
DROP TABLE search_trigrams;
