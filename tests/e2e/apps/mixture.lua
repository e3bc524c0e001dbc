-- Every waiting call, one message each: what tests/e2e/test_mixture.py sends is { type = NAME, n = NUMBER, id = ... }.
local tide = require "moontide"
local app = { on = {}, accepts = {}, version = 0 }
local backend = assert(tide.env.BACKEND, "set BACKEND")
local db = tide.sql.open("mixture.db")
local memory = tide.store:open("mixture", { memory = true })
local durable = tide.store:open("mixture")
local line = tide.queue(function(n, done) tide.sleep(n % 5 / 1000) done.n = n end, { workers = 4, limit = 64 })
-- of "secret1", at a hundredth of what a hash of tide.password.hash costs
local cheap = "$scrypt$ln=8,r=8,p=1$c2FsdHNhbHRzYWx0c2FsdA$VuMBNjorXWYaQSMAnCJ/mVoxZdAmbslL0sbl+vTaltE"

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

function ops.person(_, m)                              -- where nobody is, too; and several connections of one person
  local got, _, name = tide.user("u" .. m.n % 12):request({ type = "please", n = m.n }, { timeout = 0.05 })
  return got or name
end

function ops.drain(conn, m)
  for _ = 1, 8 do conn:send { type = "noise", text = ("x"):rep(4096) } end
  local ok, _, name = conn:drain(0.1)
  return ok or name or m.n
end

function ops.memory(_, m) return memory:incr("k" .. m.n % 7) end

-- The server of the store may be away: then its failures are answers too.
local function known(value, why, name)
  if value == nil and name and not tide.env.STORE_FAILS then return nil, why, name end
  return value == nil and (name or "nil") or value
end

function ops.store(_, m)
  local key = "k" .. m.n % 50
  if m.n % 6 == 0 then return known(durable:incr("n" .. m.n % 3)) end
  if m.n % 6 == 1 then return known(durable:update(key, function(old) return (tonumber(old) or 0) + 1 end)) end
  if m.n % 6 == 2 then return known(durable:delete(key)) end
  if m.n % 6 == 3 then
    local count = 0
    local ok, why = pcall(function() for _ in durable:scan("k", { limit = 20 }) do count = count + 1 end end)
    if not ok and not tide.env.STORE_FAILS then error(why, 0) end
    return count
  end
  if m.n % 6 == 4 then return known(durable:get(key)) end
  return known(durable:set(key, m.n, { ttl = m.n % 2 == 0 and 0.05 or nil }))
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

function ops.verify(_, m)
  local same, why, name = tide.password.verify("secret" .. m.n % 2, cheap)
  if same == nil and name ~= "busy" then return nil, why, name end
  return same or name or "no"
end

function ops.hash(_, m)                                -- they are dear: one in some
  if m.n % 16 ~= 0 then return m.n end
  local hash, why, name = tide.password.hash "secret"
  if not hash and name ~= "busy" then return nil, why, name end
  return hash or name
end

-- Any other one, cut in the middle.
local others = {}

local function other(n) return ops[others[n % #others + 1]] end

function ops.cancel(conn, m)
  local task = (m.n % 2 == 0 and tide.spawn or function(...) return conn:spawn(...) end)(other(m.n), conn, m)
  if not task then return "closed" end
  tide.sleep(m.n % 7 / 1000)
  task:cancel()
  local _, _, name = task:join()
  return name or m.n
end

function ops.cut(conn, m)
  local _, _, name = tide.timeout(m.n % 7 / 1000, other(m.n // 7), conn, m)
  return name or m.n
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

function app.on_connect(req)
  local n = tonumber(req.query.n or 0)
  if n % 3 == 1 then tide.sleep(n % 10 / 1000) elseif n % 3 == 2 then durable:get("k" .. n % 50) end
  if n % 20 == 19 then return nil, "not you" end
  return { user = n > 0 and "u" .. n % 10 or nil }
end

function app.on_http(req)
  local n = tonumber(req.query.n or 0)
  if req.path == "/wait" then
    tide.sleep(n % 10 / 1000)
    return 200, { value = durable:get("k" .. n % 50) }
  end
  local pieces = 0
  return 200, function()
    pieces = pieces + 1
    tide.sleep(n % 3 / 1000)
    return pieces <= n % 20 and ("p"):rep(n % 4 == 0 and 200000 or 100) or nil
  end
end

for name in pairs(ops) do
  if not ({ cancel = 1, cut = 1, leave = 1, collect = 1 })[name] then others[#others + 1] = name end
end
table.sort(others)
for name in pairs(ops) do app.accepts[name] = { n = "integer?" } end
return app
