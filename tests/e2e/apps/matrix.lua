-- Every waiting call, one message each. What tests/e2e/test_waiting_matrix.py sends is { type = "call" or "own", name = NAME, id = ... };
-- the log says which call waits, which is done, and which was cut.
local tide = require "moontide"
local app, version = { on = {} }, "old"
local env = tide.env
local go = tide.store:open("go", { memory = true })
local store, db = tide.store, nil
if env.WITH == "sql" then db = tide.sql.open "matrix.db" end

local function until_go() while not go:get "go" do tide.sleep(0.01) end return true end
local function fits(got, want) if got ~= want then error(("%s instead of %s"):format(tostring(got), tostring(want)), 0) end end
local calls = {}

-- tide and task
calls["tide.sleep"] = until_go
calls["task:join"] = function() fits(tide.spawn(until_go):join(), true) end
calls["tide.timeout"] = function() fits(tide.timeout(3600, until_go), true) end

-- connections: `closed` is right where the connection has gone
local function replied(data, _, name) if name ~= "closed" then fits(data, "yes") end end
calls["conn:request"] = function(conn) replied(conn:request({ type = "please" }, { timeout = 3600 })) end
calls["tide.conn:request"] = function() replied(tide.conn(go:get "other"):request({ type = "please" }, { timeout = 3600 })) end
calls["tide.user:request"] = function() replied(tide.user "other":request({ type = "please" }, { timeout = 3600 })) end
calls["conn:drain"] = function(conn)
  for _ = 1, 120 do conn:send(("x"):rep(100000)) end
  local ok, _, name = conn:drain(3600)
  if name ~= "closed" then fits(ok, true) end
end

-- the store, in a file or in Redis
calls["store:get"] = function() fits(store:get "seed", "value") end
calls["store:set"] = function() fits(store:set("set", 1, { ttl = 60 }), true) end
calls["store:delete"] = function() fits(type(store:delete "gone"), "boolean") end
calls["store:incr"] = function() fits(math.type(store:incr "count"), "integer") end
calls["store:update"] = function() fits(store:update("text", function(old) return (old or "") .. "x" end):match "^x+$" ~= nil, true) end
calls["store:scan"] = function()
  local found = {}
  for k, v in store:scan "seed" do found[#found + 1] = k .. "=" .. v end
  fits(table.concat(found), "seed=value")
end

-- SQL
calls["db:query"] = function() fits(assert(db:query "INSERT INTO t VALUES ('new')").changes, 1) end
calls["db:row"] = function() fits(assert(db:row "SELECT v FROM t").v, "seed") end
calls["db:transaction"] = function()
  fits(assert(db:transaction(function(tx)
    assert(tx:query "INSERT INTO t VALUES ('more')")
    return assert(tx:row "SELECT v FROM t").v
  end)), "seed")
end

-- files
local function opened(name, mode)
  for _, f in ipairs(tide.state.files or {}) do if f.name == name and f.mode == mode then return f.file end end
end
calls["file:read"] = function() fits(opened("seed", "r"):read(0, 100), "text") end
calls["file:write"] = function() fits(opened("out", "w"):write(0, "text"), true) end
calls["file:size"] = function()                        -- waits for the write before it
  local file = opened("sized", "w")
  tide.spawn(function() file:write(0, "text") end)
  tide.sleep(0)
  fits(file:size(), 4)
end
-- what needs no open file waits for a thread: all of them are made to write
local function jam() for n = 1, 8 do tide.spawn(function() opened("jam" .. n, "w"):write(0, "x") end) end tide.sleep(0) end
calls["files.open"] = function() jam() local _ <close> = assert(tide.files.open("new", "w")) end
calls["files.rename"] = function()
  jam()
  local ok, _, name = tide.files.rename("from", "to")
  fits(ok or name == "not_found", true)                -- a call that was cut may have done it
end
calls["files.delete"] = function() jam() fits(type(tide.files.delete "dead"), "boolean") end
calls["files.list"] = function() jam() fits(#tide.files.list "seed", 1) end

-- HTTP
local url = env.BACKEND
calls["http.get"] = function() fits(assert(tide.http.get(url .. "/whole")).body, "whole") end
calls["http.post"] = function() fits(assert(tide.http.post(url .. "/whole", { body = "x" })).body, "whole") end
calls["http.request"] = function() fits(assert(tide.http.request("PUT", url .. "/whole")).body, "whole") end
local function streamed(way, want)
  local res <close> = assert(tide.http.get(url .. "/stream", { stream = true, timeout = 60 }))
  local all = {}
  for piece in res[way](res) do all[#all + 1] = piece end
  fits(res.error, nil)
  fits(table.concat(all), want)
end
calls["res:lines"] = function() streamed("lines", "onetwo") end
calls["res:chunks"] = function() streamed("chunks", "one\ntwo\n") end

-- tokens: the keys come from there too
local SIGNS = { kty = "OKP", crv = "Ed25519", x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
  d = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A" }
calls["jwt.verify"] = function()
  local token = tide.jwt.sign({ sub = "ann" }, { key = SIGNS })
  fits(assert(tide.jwt.verify(token, { jwks = url .. "/keys" })).sub, "ann")
end

-- passwords
calls["password.hash"] = function() fits(type(tide.password.hash "secret"), "string") end
calls["password.verify"] = function() fits(tide.password.verify("secret", go:get "hash"), true) end

-- ---- how they are called ----

local function told(name, conn)
  local done = false
  local _ <close> = setmetatable({}, { __close = function() if not done then print("cut " .. name .. ";") end end })
  print("waits " .. name .. ";")
  calls[name](conn)
  done = true
  print("done " .. name .. ";")
  return version
end

function app.on_connect(req)
  if req.path == "/on_connect" then
    calls.on_connect = until_go
    return { headers = { ["X-Version"] = told "on_connect" } }
  end
  return { user = req.query.user }
end

function app.on_http(req)
  local name = "on_http" .. (req.path == "/on_http" and "" or " " .. req.path:sub(2))
  if req.path == "/on_http" then
    calls[name] = until_go
    return 200, told(name)
  elseif req.path == "/stream" then                    -- waits between its pieces
    calls[name] = until_go
    local n = 0
    return 200, function() n = n + 1 return n == 1 and "one;" or n == 2 and told(name) or nil end
  end
  local n = 0                                          -- waits until its reader takes more
  return 200, function()
    n = n + 1
    if n == 1 then print("waits " .. name .. ";") elseif n == 120 then print("done " .. name .. ";") end
    return n < 120 and ("x"):rep(100000) or n == 120 and version or nil
  end
end

function app.on.call(conn, msg) return told(msg.name, conn) end
function app.on.own(conn, msg) conn:spawn(told, msg.name, conn) return true end
function app.on.start(conn, msg) conn.data.task = tide.spawn(told, msg.name, conn) return true end
function app.on.cancel(conn) conn.data.task:cancel() return (select(3, conn.data.task:join())) end
function app.on.limited(conn, msg) return (select(3, tide.timeout(0.1, told, msg.name, conn))) end
function app.on.go() go:set("go", true) end
function app.on.other(conn) go:set("other", conn.id) end

-- ---- what is there before ----

local function hold(name, mode)
  local file = assert(tide.files.open(name, mode))
  tide.state.files = tide.state.files or {}
  table.insert(tide.state.files, { name = name, mode = mode, file = file })
  return file
end

local prepare = {}
function prepare.store()
  assert(store:set("seed", "value"))
  assert(store:set("gone", tide.worker))
end
function prepare.sql()
  assert(db:query "CREATE TABLE IF NOT EXISTS t (v)")
  assert(db:query "INSERT INTO t VALUES ('seed')")
end
function prepare.files()
  for _, name in ipairs { "seed", "from", "dead" } do
    local file <close> = assert(tide.files.open(name, "w"))
    assert(file:write(0, "text"))
  end
  hold("seed", "r") hold("out", "w") hold("sized", "w")
  for n = 1, 8 do hold("jam" .. n, "w") end
end
function prepare.password() go:set("hash", assert(tide.password.hash "secret")) end

function app.on_start(reason)
  if reason == "start" and prepare[env.WITH] then prepare[env.WITH]() end
  if reason == "start" then print "prepared;" end
end
return app
