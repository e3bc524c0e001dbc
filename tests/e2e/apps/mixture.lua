-- Every waiting call, one message each: what tests/e2e/test_mixture.py sends is { type = NAME, n = NUMBER, id = ... }.
local tide = require "moontide"
local app = { on = {}, accepts = {}, version = 0 }
local backend = assert(tide.env.BACKEND, "set BACKEND")
local db = tide.sql.open("mixture.db")
local memory = tide.store:open("mixture", { memory = true })
local durable = tide.store:open("mixture")
local line = tide.queue(function(n, done) tide.sleep(n % 5 / 1000) done.n = n end, { workers = 4, limit = 64 })

local function rows()
  return assert(db:query("SELECT count(*) AS n FROM sqlite_master WHERE name = 't'"))[1].n
end

function app.on_start(reason)
  if reason == "start" and rows() == 0 then
    assert(db:query("CREATE TABLE IF NOT EXISTS t (n INTEGER PRIMARY KEY, v TEXT)"))
  end
end

local ops = app.on

function ops.sleep(_, m) tide.sleep(m.n % 20 / 1000) return m.n end

function ops.spawn(_, m)
  local task = tide.spawn(function(n) tide.sleep(n % 10 / 1000) return n end, m.n)
  if m.n % 3 == 0 then task:cancel() end
  local got, _, name = task:join()
  return got or name
end

function ops.own(conn, m)                              -- ends with the connection
  conn:spawn(function() tide.sleep(m.n % 50 / 10) end)
  return m.n
end

function ops.timeout(_, m)
  local got, _, name = tide.timeout(0.005, function() tide.sleep(m.n % 10 / 1000) return m.n end)
  return got or name
end

function ops.queue(_, m)
  local done = {}
  local ok, _, name = line:put(m.n, done)
  return ok or name
end

function ops.ask(conn, m)
  local got, _, name = conn:request({ type = "please", n = m.n }, { timeout = 0.05 })
  return got or name
end

function ops.drain(conn, m)
  for _ = 1, 8 do conn:send { type = "noise", text = ("x"):rep(4096) } end
  local ok, _, name = conn:drain(0.1)
  return ok or name or m.n
end

function ops.memory(_, m) return memory:incr("k" .. m.n % 7) end

function ops.store(_, m)
  local key = "k" .. m.n % 50
  if m.n % 5 == 0 then return (durable:incr("n" .. m.n % 3)) end
  if m.n % 5 == 1 then return (durable:update(key, function(old) return (tonumber(old) or 0) + 1 end)) end
  if m.n % 5 == 2 then return (durable:delete(key)) end
  if m.n % 5 == 3 then
    local count = 0
    for _ in durable:scan("k", { limit = 20 }) do count = count + 1 end
    return count
  end
  assert(durable:set(key, m.n, { ttl = m.n % 2 == 0 and 0.05 or nil }))
  return durable:get(key)
end

function ops.sql(_, m)
  local ok, why, name = db:query("INSERT OR REPLACE INTO t VALUES (?, ?)", m.n % 500, ("v"):rep(m.n % 300))
  if not ok then return nil, why, name end
  return #assert(db:query("SELECT n FROM t WHERE n > ? LIMIT 20", m.n % 500))
end

function ops.transaction(_, m)
  local ok, why = pcall(db.transaction, db, function(tx)
    assert(tx:query("UPDATE t SET v = ? WHERE n = ?", "t", m.n % 500))
    if m.n % 3 == 0 then tide.sleep(0.001) end
    if m.n % 4 == 0 then error "undo" end
  end)
  return ok or why
end

function ops.endless(_, m)                             -- is cancelled in the middle of a statement
  local _, _, name = tide.timeout(0.01, function()
    return db:query("WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c")
  end)
  return name or m.n
end

function ops.http(_, m)
  local res, _, name = tide.http.get(backend .. "/plain?" .. m.n, { timeout = 2 })
  return res and #res.body or name
end

function ops.stream(_, m)
  local res <close>, _, name = tide.http.get(backend .. "/stream?" .. m.n, { stream = true, timeout = 2 })
  if not res then return name end
  local count = 0
  for _ in res:lines() do
    count = count + 1
    if count == m.n % 10 then break end                -- the rest is not wanted
  end
  return count
end

function ops.refused(_, m)
  local res, _, name = tide.http.get("http://127.0.0.1:1/" .. m.n, { timeout = 1 })
  return res and res.status or name
end

function ops.file(_, m)
  local name = "f" .. m.n % 20
  local file <close>, why, code = tide.files.open(name, "w")
  if not file then return nil, why, code end
  assert(file:write(0, ("f"):rep(m.n % 5000)))
  local n = #assert(file:read(0, 8192))
  if m.n % 10 == 0 then file:close() tide.files.delete(name) end
  return n
end

function ops.leave(conn) tide.sleep(0.002) conn:close(4000, "as asked") end

function ops.collect()                                 -- KiB that are left when all is over: the collector is made to come by
  local least = math.huge
  for n = 1, 400 do
    local _ = ("g"):rep(100000 + n)
    least = math.min(least, collectgarbage "count")
  end
  return least
end

for name in pairs(ops) do app.accepts[name] = { n = "integer?" } end
return app
