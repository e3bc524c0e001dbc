-- tide.sql: arguments, types, transactions, failures. (Files, threads and processes: test_store_sql.c and tests/e2e/test_sql.py.)

-- What the client is sent next, once the other threads have answered.
local function hear(client)
  local said = client:receive()
  while not said do
    await()
    said = client:receive()
  end
  return said
end

-- Runs code that waits in a handler of an app with the helpers of inside(), until it has ended.
local function waits(code)
  load_app(([[
    local app = {}
    local env = setmetatable({ tide = tide }, { __index = _G })
    function env.raises(pattern, fn, ...)
      local ok, why = pcall(fn, ...)
      assert(not ok, "did not raise: " .. pattern)
      assert(tostring(why):find(pattern), "expected " .. pattern .. ", got " .. tostring(why))
    end
    function env.fails(name, pattern, value, message, got, ...)
      assert(value == nil and got == name and select("#", ...) == 0, tostring(value) .. " " .. tostring(message) .. " " .. tostring(got))
      assert(message:find(pattern), "expected " .. pattern .. ", got " .. message)
    end
    function env.same(a, b) assert(a == b and math.type(a) == math.type(b), tostring(a) .. " is not " .. tostring(b)) end
    function app.on_message(conn, text)
      env.conn = conn
      local ok, why = xpcall(assert(load(text, "=inside", "t", env)), tostring)
      conn:send(ok and "the end" or why)
    end
    return app]]))
  local client = open "/"
  client:text("local db = assert(tide.sql.open ':memory:') " .. code)
  local said = hear(client)
  assert(said == "the end", said)
  return client
end

waits [[
  assert(db:query "CREATE TABLE t (id INTEGER PRIMARY KEY, v, n TEXT UNIQUE)")
  for _, v in ipairs { 0, 1, -1, math.maxinteger, math.mininteger, 1.5, -0.1, 1e300, 5.0, 1/0, "", "text", "\0in\0side\0", "grün 🙂", ("x"):rep(100000) } do
    local rows = assert(db:query("INSERT INTO t (v) VALUES (?)", v))
    same(#rows, 0) same(rows.changes, 1) assert(rows.last_id > 0)
    same(db:row("SELECT v FROM t WHERE id = ?", rows.last_id).v, v)
  end
  same(db:row("SELECT typeof(?) AS t", tide.sql.blob "\0\xff").t, "blob") same(db:row("SELECT ? AS b", tide.sql.blob "\0\xff").b, "\0\xff")
  same(db:row("SELECT ? AS b", tide.sql.blob "").b, "") same(db:row("SELECT typeof(?) AS t", tide.sql.blob "").t, "blob")
  same(db:row("SELECT typeof(?) AS t", "5").t, "text") same(db:row("SELECT typeof(?) AS t", 5).t, "integer") same(db:row("SELECT typeof(?) AS t", 5.0).t, "real")
  local row = db:row("SELECT ? AS a, ? AS b, ? AS c, ? AS d, NULL AS e", true, false, nil, tide.null)
  same(row.a, 1) same(row.b, 0) same(row.c, nil) same(row.d, nil) same(row.e, nil) same(next(db:row "SELECT NULL AS x"), nil)
  same(db:row("SELECT typeof(?) AS t", nil).t, "null") same(db:row("SELECT typeof(?) AS t", tide.null).t, "null")
  same(db:row("SELECT ?2 AS b, ?1 AS a", 1, 2).b, 2) same(db:row "SELECT 1 WHERE 0", nil) same(select("#", db:row "SELECT 1 WHERE 0"), 1)
]]

waits [[
  db:query "CREATE TABLE t (id INTEGER PRIMARY KEY, v)"
  local rows = db:query "INSERT INTO t (v) VALUES (1), (2), (3)"
  same(rows.changes, 3) same(rows.last_id, 3) same(#rows, 0) same(tide.json.encode(rows), "[]")
  rows = db:query "SELECT id, v FROM t ORDER BY id"
  same(#rows, 3) same(rows[2].v, 2) same(rows.changes, 0) same(rows.last_id, nil) same(tide.json.encode(db:query "SELECT v FROM t ORDER BY id"), '[{"v":1},{"v":2},{"v":3}]')
  for k in pairs(rows) do same(math.type(k), "integer") end
  same(tide.json.encode(db:query "SELECT 1 WHERE 0"), "[]") same(tide.json.encode { list = db:query "SELECT 1 WHERE 0" }, '{"list":[]}')
  rows = db:query "UPDATE t SET v = 0 WHERE id > 1" same(rows.changes, 2) same(rows.last_id, nil)
  rows = db:query "DELETE FROM t WHERE id = 99" same(rows.changes, 0)
  rows = db:query "INSERT INTO t (v) VALUES (7), (8) RETURNING id" same(#rows, 2) same(rows[2].id, 5) same(rows.changes, 2)
  same(db:row("INSERT INTO t (v) VALUES (9), (10) RETURNING id").id, 6) same(db:row "SELECT count(*) AS n FROM t".n, 7)
  same(db:query "CREATE TABLE u (x)".changes, 0)
  same(#db:query "SELECT * FROM t", 7) same(db:row "SELECT 1, 2 AS b".b, 2) same(db:row "SELECT 1"["1"], 1)
  same(getmetatable(rows), false) rows[3] = { id = 1 } same(#rows, 3)
]]

-- a statement that is kept sees the columns of tables that have changed since
waits [[
  db:query "CREATE TABLE t (a, b, c)" db:query "INSERT INTO t VALUES ('a', 'b', 'c')"
  local function has(row, a, b, c, d) same(row.a, a) same(row.b, b) same(row.c, c) same(row.d, d) end
  has(db:row "SELECT * FROM t", "a", "b", "c")
  db:query "ALTER TABLE t DROP COLUMN a" has(db:row "SELECT * FROM t", nil, "b", "c") has(db:query "SELECT * FROM t"[1], nil, "b", "c")
  db:query "ALTER TABLE t ADD COLUMN d DEFAULT 'd'" has(db:row "SELECT * FROM t", nil, "b", "c", "d") has(db:query "SELECT * FROM t"[1], nil, "b", "c", "d")
  db:query "ALTER TABLE t RENAME COLUMN b TO a" has(db:row "SELECT * FROM t", "b", nil, "c", "d")
]]

-- an index of full-text search that triggers keep, as SQLite's documentation has it
waits [[
  for _, sql in ipairs {
    "CREATE TABLE docs (id INTEGER PRIMARY KEY, body TEXT)", "CREATE VIRTUAL TABLE found USING fts5 (body, content='docs', content_rowid='id')",
    "CREATE TRIGGER docs_ai AFTER INSERT ON docs BEGIN INSERT INTO found (rowid, body) VALUES (new.id, new.body); END",
    "CREATE TRIGGER docs_ad AFTER DELETE ON docs BEGIN INSERT INTO found (found, rowid, body) VALUES ('delete', old.id, old.body); END",
  } do assert(db:query(sql)) end
  local function find(word) local row = assert(db:query("SELECT rowid FROM found WHERE found MATCH ?", word))[1] return row and row.rowid end
  local rows = assert(db:query("INSERT INTO docs (body) VALUES (?), (?)", "the tide is high", "the moon is full"))
  same(rows.changes, 2) same(rows.last_id, 2) same(find "moon", 2) same(find "tide", 1) same(find "sun", nil)
  assert(db:query "DELETE FROM docs WHERE id = 2") same(find "moon", nil)
]]

-- failures have names
waits [[
  db:query "CREATE TABLE t (id INTEGER PRIMARY KEY, n TEXT UNIQUE NOT NULL CHECK (n <> 'x'))"
  assert(db:query("INSERT INTO t (n) VALUES (?)", "a"))
  fails("constraint", "UNIQUE constraint failed: t.n", db:query("INSERT INTO t (n) VALUES (?)", "a"))
  fails("constraint", "NOT NULL", db:query("INSERT INTO t (n) VALUES (?)", nil)) fails("constraint", "CHECK", db:row("INSERT INTO t (n) VALUES (?) RETURNING id", "x"))
  fails("invalid", "syntax error", db:query "SELEC 1") fails("invalid", "no such table: nowhere", db:row "SELECT * FROM nowhere")
  fails("invalid", "one statement at a time", db:query "SELECT 1; SELECT 2") fails("invalid", "no statement", db:query "  -- nothing\n")
  assert(db:query "SELECT 1; -- the end")
  fails("invalid", "has 2 parameters, given is 1", db:query("SELECT ?, ?", 1)) fails("invalid", "has 0 parameters, given are 2", db:query("SELECT 1", 1, nil))
  fails("invalid", "has 1 parameter, given are 0", db:query "SELECT ?")
  for _, text in ipairs { "BEGIN", "begin immediate", "COMMIT", "END", "ROLLBACK", "SAVEPOINT a", "RELEASE a" } do fails("denied", "db:transaction", db:query(text)) end
  for _, text in ipairs { "ATTACH 'x.db' AS x", "DETACH main", "VACUUM INTO 'copy.db'", "VACUUM" } do fails("denied", "its own database only", db:query(text)) end
  fails("denied", "its own database only", db:query("ATTACH ? AS x", "y.db"))
  for _, text in ipairs { "PRAGMA journal_mode = DELETE", "PRAGMA writable_schema = 1", "PRAGMA synchronous = OFF", "PRAGMA temp_store_directory = '/'", "PRAGMA foreign_keys = 0", "PRAGMA trusted_schema = 1" } do
    fails("denied", "PRAGMA", db:query(text))
  end
  fails("denied", "function", db:query "SELECT load_extension('x')")
  same(db:query "PRAGMA table_info(t)"[2].name, "n") same(db:row "PRAGMA foreign_keys".foreign_keys, 1) assert(db:query "PRAGMA user_version = 7") same(db:row "PRAGMA user_version".user_version, 7)
  same(db:row "SELECT count(*) AS n FROM pragma_table_info('t')".n, 2)
  for _, text in ipairs { "SELECT '" .. ("ä"):rep(300), "SELECT 'a" .. ("ä"):rep(300), "SELECT \xff", "SELECT \"\xc3\" FROM nowhere" } do -- cut, or not UTF-8
    local _, message, name = db:query(text) same(name, "invalid") assert(utf8.len(message), "not UTF-8")
  end
  fails("too_large", "16 MiB", db:query("SELECT ?", ("x"):rep((16 << 20) + 1))) fails("too_large", "16 MiB", db:query "SELECT zeroblob(17000000)")
  fails("too_large", "LIMIT", db:query "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n FROM c")
  fails("too_large", "LIMIT", db:query "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c LIMIT 20) SELECT zeroblob(1000000) FROM c")
  same(db:row("SELECT 'x' LIKE ? AS n", ("%"):rep(1000)).n, 1) fails("invalid", "pattern too complex", db:row("SELECT 'x' LIKE ?", ("%"):rep(1001)))
  db:query "CREATE TABLE big (b)"
  fails("too_large", "LIMIT", db:query "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c LIMIT 20) INSERT INTO big SELECT zeroblob(1000000) FROM c RETURNING b")
  same(db:row "SELECT count(*) AS n FROM big".n, 0)
  same(db:row "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n FROM c".n, 1)
]]

-- the author's mistakes raise
waits [[
  raises("string expected", db.query, db) raises("string expected, got number", db.query, db, 5) raises("moontide.db expected", db.query, {}, "SELECT 1") raises("moontide.db", db.row)
  raises("a value of SQL expected, got table", db.query, db, "SELECT ?", {}) raises("a value of SQL expected, got function", db.row, db, "SELECT ?", print)
  raises("got userdata", db.row, db, "SELECT ?", conn) raises("nan", db.query, db, "SELECT ?", 0/0)
  raises("function expected", db.transaction, db) raises("function expected", db.transaction, db, "SELECT 1")
  raises("cannot wait here", function() local ok, why = coroutine.resume(coroutine.create(function() return db:query "SELECT 1" end)) error(why) end)
  raises("string expected", tide.sql.blob) raises("string expected, got number", tide.sql.blob, 5)
  local open = tide.sql.open
  raises("a string expected", open) raises("a string expected", open, 5) raises("1 to 1024 bytes", open, "") raises("1 to 1024 bytes", open, ("x"):rep(1025)) raises("none of them zero", open, "a\0b")
  raises("not a URI", open, "file:a.db?mode=ro") raises("SQLite files only: there is nothing for postgres://", open, "postgres://u:p@host/db") raises("SQLite files only", open, "mysql://x")
  for _, name in ipairs { "../a.db", "a/../../b.db", "a/..", "..", ".", "./", "/" } do raises("out of", open, (name:gsub("^/$", "."))) end
  raises("not inside of", open, "/etc/passwd") raises("unknown option 'migration'; did you mean migrations", open, "a.db", { migration = "m" })
  raises("table expected", open, "a.db", "m") raises("a string expected", open, "a.db", { migrations = true }) raises("leads out", open, "a.db", { migrations = "../m" })
  assert(open "a.db" == open "./a.db" and open "a.db" == open ".//a.db" and open "a.db" ~= open "b.db" and open ":memory:" == db)
  assert(tostring(open "a.db"):find "^database: .*/a.db$" and getmetatable(db) == false and getmetatable(tide.sql.blob "x") == false)
]]

-- transactions
waits [[
  db:query "CREATE TABLE t (v)"
  local function count() return db:row "SELECT count(*) AS n FROM t".n end
  local function add(tx, v) return assert(tx:query("INSERT INTO t VALUES (?)", v)) end
  local a, b, c = db:transaction(function(tx) add(tx, 1) add(tx, 2) return "a", nil, 3 end)
  same(a, "a") same(b, nil) same(c, 3) same(count(), 2)
  same(db:transaction(function(tx) add(tx, 3) end), true) same(count(), 3)
  same(select("#", db:transaction(function(tx) add(tx, 4) return nil end)), 1) same(count(), 3)
  same(db:transaction(function(tx) add(tx, 4) return false end), false) same(count(), 3)
  local v, message, name = db:transaction(function(tx) add(tx, 4) return nil, "not today", "mine" end)
  same(v, nil) same(message, "not today") same(name, "mine") same(count(), 3)
  raises("boom", db.transaction, db, function(tx) add(tx, 4) error "boom" end) same(count(), 3)
  raises("inside of a transaction", db.transaction, db, function(tx) add(tx, 4) db:query "SELECT 1" end)
  raises("inside of a transaction", db.transaction, db, function(tx) db:row "SELECT 1" end)
  raises("inside of a transaction", db.transaction, db, function(tx) db:transaction(function() end) end) same(count(), 3)
  local kept
  db:transaction(function(tx) kept = tx add(tx, 4) same(tx:row "SELECT count(*) AS n FROM t".n, 4) end) same(count(), 4)
  raises("this transaction has ended", kept.query, kept, "SELECT 1") raises("this transaction has ended", kept.row, kept, "SELECT 1") raises("moontide.tx", kept.query, db, "SELECT 1")
  same(db:transaction(function(tx)
    fails("invalid", "no such table", tx:query "INSERT INTO nowhere VALUES (1)")
    add(tx, 5)
    return "went on"
  end), "went on") same(count(), 5)
  db:query "CREATE TABLE parent (id INTEGER PRIMARY KEY)" db:query "CREATE TABLE child (p REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)"
  fails("constraint", "FOREIGN KEY", db:transaction(function(tx) assert(tx:query "INSERT INTO child VALUES (1)") return "fine" end)) same(db:row "SELECT count(*) AS n FROM child".n, 0)
  same(db:transaction(function(tx) add(tx, 6) return count ~= nil end), true) same(count(), 6)
  same(pcall(db.transaction, db, function(tx) for i = 1, 100 do add(tx, i) end return table.unpack({}, 1, 200) end), true) same(count(), 6)
  same(select("#", db:transaction(function(tx) return true, table.unpack({}, 1, 200) end)), 201)
  fails("denied", "db:transaction", db:transaction(function(tx) return tx:query "COMMIT" end)) same(count(), 6)
]]

-- another task waits for the end of a transaction, and a cancelled one leaves nothing
waits [[
  db:query "CREATE TABLE t (v)"
  local order = {}
  local other
  db:transaction(function(tx)
    other = tide.spawn(function() order[#order + 1] = "asked" order[#order + 1] = db:row "SELECT count(*) AS n FROM t".n end)
    tx:query "INSERT INTO t VALUES (1)" tx:query "INSERT INTO t VALUES (2)"
    same(#order, 1)
  end)
  other:join() same(order[2], 2)
  local unwound, task
  task = tide.spawn(function()
    db:transaction(function(tx)
      local guard <close> = setmetatable({}, { __close = function() unwound = true end })
      tx:query "INSERT INTO t VALUES (3)"
      tide.spawn(function() task:cancel() end)
      tide.sleep(1000)
    end)
  end)
  db:query "SELECT 1" -- meanwhile it asks for its transaction, so what comes now waits for the end of that
  same(db:row "SELECT count(*) AS n FROM t".n, 2) same(unwound, true)
]]

-- one object for each database, over reloads too, and what holds it keeps working
local KEPT = [[
  local tide = require "moontide"
  local db = tide.sql.open "kept.db"
  local app = {}
  function app.on_start(reason)
    if reason == "start" then tide.state.db = db assert(db:query "CREATE TABLE t (v)") end
  end
  function app.on_message(conn)
    local held = tide.state.db
    conn:send(tostring(held == db) .. " " .. held:row "SELECT count(*) AS n FROM t".n .. " %s")
  end
  return app
]]
load_app(KEPT:format "old")
local client = open "/"
client:text "?"
assert(hear(client) == "true 0 old")
assert(reload(KEPT:format "new") == nil)
client:text "?"
assert(hear(client) == "true 0 new")

-- while a script loads nothing is opened, and nothing may be asked for
load_app [[
  local db = tide.sql.open("loaded.db", { migrations = "none" })
  local app = {}
  app.why = select(2, pcall(db.query, db, "SELECT 1")) app.why2 = select(2, pcall(db.transaction, db, print))
  assert(app.why:find "db:query: not while loading: use on_start", app.why) assert(app.why2:find "not while loading", app.why2)
  return { on_message = function(conn) local _, message, name = db:query "SELECT 1" conn:send(name .. " " .. message) end }
]]
client = open "/"
client:text "?"
assert(hear(client):find "^not_found migrations: .*/none: No such file")
expect_error "tide.sql: migrations: .*/none: No such file"
assert(app [[tide.sql.open "mysql://x" return {}]]:find "app.lua:1: .*SQLite files only: there is nothing for mysql://")
assert(app [[tide.sql.open("a.db", { migrations = "a" }) tide.sql.open("a.db", { migrations = "b" }) return {}]]:find "other migrations")
logged()
