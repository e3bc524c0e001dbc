CREATE TABLE messages (
  id     INTEGER PRIMARY KEY,           -- rises with every message: the order of the chat, and what a page goes by
  room   TEXT NOT NULL,
  author TEXT NOT NULL,
  text   TEXT NOT NULL,
  at     REAL NOT NULL                  -- unix seconds
);
CREATE INDEX messages_by_room ON messages (room, id);
