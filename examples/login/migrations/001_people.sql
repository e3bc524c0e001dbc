CREATE TABLE people (
  name    TEXT PRIMARY KEY COLLATE NOCASE,   -- "Ann" and "ann" are one person
  hash    TEXT NOT NULL,                     -- of the password: tide.password
  created REAL NOT NULL                      -- unix seconds
) STRICT, WITHOUT ROWID;
