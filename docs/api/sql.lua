---@meta _
-- tide.sql: SQLite files: statements, rows, transactions, migrations.

---A database is a file, opened by name. All workers share it: it has one connection and a thread of its own, so no statement stops
---a worker, and one is carried out after the other. While a handler waits for its rows, everything else goes on.
---
---```lua
---local db = tide.sql.open("chat.db", { migrations = "migrations" })
---
---function app.on.say(conn, msg)
---  local rows = assert(db:query("INSERT INTO messages (user, text) VALUES (?, ?)", conn.user, msg.text))
---  return { id = rows.last_id }
---end
---function app.on.last() return assert(db:query "SELECT user, text FROM messages ORDER BY id DESC LIMIT 20") end
---```
---
---A failure that the handler does nothing about belongs in the log, as here: `assert` raises, and the client hears "internal error"
---and not which tables and files there are.
---
---[Keeping data](../data.md#sql) tells what is promised, what is not allowed, and how migrations work.
---@class moontide.sql
local sql = {}

---Open a database. Never waits: the file is opened, and made where it is not there, when the version that asks for it goes live.
---What is wrong with it is told by the first statement, and logged. The same name gives the same object, also after a reload.
---
---`":memory:"` is a database in memory, one for all workers, empty after a restart.
---
---Raises: for a name that leads out of the folder, a URI, or a database that is none of SQLite's.
---
---Fails: `limited` (256 databases are open), `nomem`.
---@param name string # of the file, in the folder `sql.folder`, by default that of the script
---@param options? { migrations: string } # the folder with the migrations, beside the script: files 001_name.sql
---@return moontide.db? db
---@return string? message
---@return string? name
function sql.open(name, options) end

---A parameter that is stored as a BLOB; strings alone are stored as TEXT.
---@param bytes string # any bytes
---@return userdata blob # for query and row
function sql.blob(bytes) end

---A parameter is a string (TEXT), an integer, a float (REAL), true (1), false (0), nil or `tide.null` (NULL), or a `tide.sql.blob`.
---What comes back keeps its type: integers are exact to 64 bits, TEXT and BLOB are strings, NULL is no field of its row.
---@class moontide.db
local db = {}

---Carry out one statement and wait for all its rows. The parameters are bound, never pasted into the text, so they stay data.
---
---A row is a table by the names of its columns (of two with the same name the last one counts). The list has two fields more, which
---are not among its items: `changes` (rows inserted, changed or deleted) and `last_id` (rowid of the row that it inserted last, nil
---for none). It goes out as a JSON list, also while it is empty.
---
---Raises: for a parameter of another type, and inside of a transaction of the same database: `tx` is for that.
---
---Fails: `constraint`, `invalid` (not SQL, no such table, wrong number of parameters, more than one statement), `busy` (another program
---holds the file for more than 5 s, or too many statements wait), `timeout` (longer than `sql.timeout`, with the wait for its turn),
---`too_large` (rows of more than 16 MiB, each row counted with 64 bytes and each value with 16 more), `denied` (not for scripts, or the
---file may only be read), `full` (the disk), `malformed` (the file is damaged), `io`, `nomem`; and all that migrations fail with.
---@param statement string # one statement, with ? for each parameter
---@param ... any # the parameters
---@return table[]? rows
---@return string? message
---@return string? name
function db:query(statement, ...) end

---The first row alone: nil and nothing else where there is none. A statement that writes is carried out to its end all the same.
---
---Fails: as query does.
---@param statement string # one statement, with ? for each parameter
---@param ... any # the parameters
---@return table? row
---@return string? message
---@return string? name
function db:row(statement, ...) end

---Call a function whose statements take effect together or not at all. Others wait for its end, so it should be short; after
---`sql.transaction` (10 s) it is rolled back.
---
---It is committed when the function returns. It is rolled back when the first result is nil or false (as in `return nil, message,
---name`), when it raises, when it calls `tide.reject`, and when the task is cancelled. What the function returns comes out, true where
---it returns nothing; a raise goes on.
---
---```lua
---local ok, why, name = db:transaction(function(tx)
---  local account = tx:row("SELECT coins FROM accounts WHERE user = ?", conn.user)
---  if not account or account.coins < price then return nil, "not enough coins", "refused" end
---  assert(tx:query("UPDATE accounts SET coins = coins - ? WHERE user = ?", price, conn.user))
---  assert(tx:query("INSERT INTO purchases (user, item) VALUES (?, ?)", conn.user, item))
---  return true
---end)
---```
---
---Raises: inside of another transaction of the same database.
---
---Fails: as query does, also where the commit does: then nothing has happened.
---@param fn fun(tx: moontide.tx): ... # may wait
---@return any results # what fn returned
---@return string? message
---@return string? name
function db:transaction(fn) end

---What the function of a transaction gets. After its end it raises.
---@class moontide.tx
local tx = {}

---As `db:query`. One that fails leaves the transaction open, and the function decides; but after `full`, `io`, `nomem`, and a `timeout`
---in the middle of a write, all is rolled back, and every statement that follows fails with that name.
---@param statement string # one statement, with ? for each parameter
---@param ... any # the parameters
---@return table[]? rows
---@return string? message
---@return string? name
function tx:query(statement, ...) end

---As `db:row`.
---@param statement string # one statement, with ? for each parameter
---@param ... any # the parameters
---@return table? row
---@return string? message
---@return string? name
function tx:row(statement, ...) end
