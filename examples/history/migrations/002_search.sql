-- The words of all messages, found fast (FTS5). The texts stay in `messages`; the trigger keeps both together.
CREATE VIRTUAL TABLE words USING fts5 (text, content = 'messages', content_rowid = 'id', tokenize = 'unicode61 remove_diacritics 2');
CREATE TRIGGER messages_words AFTER INSERT ON messages BEGIN
  INSERT INTO words (rowid, text) VALUES (new.id, new.text);
END;
INSERT INTO words (words) VALUES ('rebuild');
