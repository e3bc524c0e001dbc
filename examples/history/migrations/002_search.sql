-- The words of all messages, to be found fast (FTS5). The texts stay in `messages`; app.lua adds the words of what comes.
CREATE VIRTUAL TABLE words USING fts5 (text, content = 'messages', content_rowid = 'id', tokenize = 'unicode61 remove_diacritics 2');
INSERT INTO words (words) VALUES ('rebuild');   -- of what is there already
