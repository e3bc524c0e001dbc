-- Every function that scripts can call, with what no script should give it: wrong types, sizes, numbers that are none, tables in
-- themselves, callbacks that call back, objects that are closed, of another kind, or of the version before a reload. And with each
-- allocation failing once. The list of functions comes from the VM: what is new is covered by itself. Nothing may crash, leak, hang or
-- break what comes after it; under the sanitizers this is where they have most to see.

-- Objects that need another server: tests/e2e has them.
local elsewhere = { res = true }

local APP = [[
local app = { on = {}, rooms = { ["*"] = { history = 3, allow = function() return true end } } }
local objects, closed, values, calls = {}, {}, {}, 0
local queue = tide.queue(function() end)
local db = tide.sql.open(":memory:")

local function try(fn, ...) return select(2, pcall(fn, ...)) end

-- Closed handles and finished work; what cannot be made when memory is short is simply missing.
local function make_objects(conn)
  objects = { conn = conn, queue = queue, db = db, room = tide.room "r", user = tide.user "ann", remote = tide.conn(conn.id), store = tide.store, hasher = tide.crypto.hasher "sha256",
    timer = tide.after(1e6, function() end), task = tide.spawn(tide.sleep, 1e6) }
  closed = { timer = tide.after(1e6, function() end), task = tide.spawn(function() end), hasher = tide.crypto.hasher "sha256", room = tide.room "none" }
  closed.timer:cancel()
  closed.hasher:digest()
end

local function make_values(conn)
  local loop, deep, proxy = {}, {}, setmetatable({}, { __index = function(_, k) return k end, __len = function() return math.maxinteger end,
    __tostring = function() return 5 end, __name = "moontide.conn", __pairs = function() return function() end end, __eq = function() error "eq" end })
  loop[1], loop.x = loop, loop
  for i = 1, 300 do deep = { deep } end
  local function recurse(...) try(conn.send, conn, ...) try(tide.room, ...) try(tide.after, 0, "x", ...) error { ... } end
  values = { false, true, 0, 1, -1, 0.5, -0.0, 0/0, 1/0, -1/0, math.mininteger, math.maxinteger, 2^53, 1e308, "", "a", "r", "ann", "\0", "a\0b", "\xff\xfe",
    "\u{D7FF}", "../x", "/", "sha256", "hex", "%s%s%n", "a\r\nb: c", ("x"):rep(300), ("x"):rep(70000), ("\0"):rep(1 << 20), {}, { 1, 2, 3 }, { a = 1 }, { "a", "b" }, loop, deep,
    proxy, setmetatable({}, { __index = error, __newindex = error, __call = error, __tostring = error, __len = error, __lt = error, __close = error }),
    print, type, function() end, function() error "hostile" end, function() error() end, recurse, coroutine.wrap(function() end), coroutine.create(print),
    tide.null, tide, _G, string, { except = conn }, { key = ("k"):rep(300) }, { timeout = -1 }, { timeout = 0/0 }, { string = 1 }, { min = 5, max = 1, "string" } }
  for _, list in ipairs { objects, closed } do for _, object in pairs(list) do values[#values + 1] = object end end
  for _, object in pairs(conn.data.old or {}) do values[#values + 1] = object end
end

local function find(name)
  local left, field = name:match "^(.-)[.:]([^.:]+)$"
  local object = tide
  if objects[left] then return try(function() return objects[left][field] end), objects[left] end
  for part in name:gmatch "[^.:]+" do if part ~= "tide" then object = type(object) == "table" and object[part] or nil end end
  return object, name:find ":" and tide.store or nil
end

-- Random numbers that are the same in every run.
local seed = 1
local function random(n) seed = (seed * 1103515245 + 12345) % (1 << 31) return (seed >> 8) % n + 1 end

local function call(name, times)
  local fn, self = find(name)
  if type(fn) ~= "function" then return false end
  for i = 1, times do
    local n, args = random(6) - 1, {}
    for k = 1, n do args[k] = values[random(#values + 1)] end
    if self ~= nil and i % 4 ~= 0 then args[1] = self end
    calls = calls + 1
    local ok, task = pcall(tide.spawn, function() pcall(fn, table.unpack(args, 1, n)) end)
    if ok and i % 3 ~= 0 then pcall(task.cancel, task) end
    if i % 7 == 0 then pcall(coroutine.wrap(fn), table.unpack(args, 1, n)) end
  end
  return true
end

function app.on_open(conn)
  conn.user = "ann"
  conn:join "r"
  conn.data.old = conn.data.old or {}
  make_objects(conn)
  make_values(conn)
end

function app.on.call(conn, m)
  local f = assert(tide.files.open("hostile.txt", "w"))
  local g = assert(tide.files.open("hostile.txt", "w"))
  g:close()
  objects.file, closed.file = f, g
  make_values(conn)
  conn.data.called = call(m.name, m.times)
  if m.name:find "^tx" then
    db:transaction(function(tx) objects.tx = tx make_values(conn) conn.data.called = call(m.name, m.times) end)
    call(m.name, m.times)
    objects.tx = nil
  end
  f:close()
end
function app.on_http(req)
  objects.req = req
  local ok = call(req.query.name, 100)
  return 200, ok and "called" or "no"
end
function app.on.keep(conn)
  for _, list in ipairs { objects, closed } do for k, v in pairs(list) do conn.data.old[#conn.data.old + 1] = v end end
end
function app.on.drain(conn)
  tide.files.list ""
  conn:send(conn.data.called and "drained" or "drained, not called")
  conn.data.called = nil
end

-- Calls as they are meant, by name: one allocation of each fails after the other.
local good = {}
GOOD
function app.on_message(conn, text)
  local name = text:match "^run (.*)"
  local ok, why = pcall(good[name], conn)
  if ok then conn:send "fine" else conn:send("failed: " .. tostring(why)) end
end
return app
]]

local GOOD = {
  ["conn:send"] = "conn:send { a = { 1, 2, { b = 'c' } } } conn:send('x', { key = 'k' }) conn:send('y', { volatile = true, except = { conn } })",
  ["conn:join"] = "conn:leave 'r2' conn:join('r2', { n = 1 }) assert(#conn:rooms() > 0)",
  ["conn.fields"] = "local _ = { conn.id, conn.ip, conn.path, conn.query.a, conn.params, conn.data, conn.user } conn.user = 'bob' conn.user = 'ann' conn.expires = tide.now() + 9 conn.expires = nil",
  ["conn:spawn"] = "conn:spawn(function(a) return a end, 1)", ["conn:request"] = "tide.spawn(function() conn:request({ type = 'q' }, { timeout = 0.01 }) end)",
  ["room"] = "conn:join 'r' local r = tide.room 'r' r:send { a = 1 } r:send_binary 'x' assert(r:count() >= 1 and r:has(conn)) r:members() pcall(r.history, r, 3) r:empty()",
  ["rooms"] = "conn:join 'r' assert(#tide.rooms 'r' > 0) for c in tide.conns() do assert(c) end assert(tide.conn(conn.id))",
  ["user"] = "local u = tide.user 'ann' u:send { a = 1 } u:join 'r3' u:leave 'r3' assert(u:count() == 1)",
  ["broadcast"] = "tide.broadcast({ a = 1 }, { except = { conn, 'bob' } })", ["signal"] = "pcall(tide.signal, 'nobody', { a = 1 })",
  ["timers"] = "local t = tide.after(5, function() end, 1, 2) t:cancel() local e = tide.every(5, function() end) e:cancel() tide.after(0, 'none')",
  ["task"] = "local t = tide.spawn(function(...) local c <close> = setmetatable({}, { __close = function() end }) tide.sleep(5) return ... end, 1, 2) t:cancel()",
  ["timeout"] = "tide.spawn(tide.timeout, 5, tide.sleep, 1)",
  ["queue"] = "queue:put { 1 } assert(queue:count() >= 0)",
  ["json"] = "assert(tide.json.decode(tide.json.encode { a = { 1, 2.5, 'x', tide.null }, b = tide.json.array {} }).a[2] == 2.5)",
  ["check"] = "tide.check({ name = 'ann', list = { 1, 2 }, x = { y = true } }, { name = 'string 1..20', list = { 'integer' }, x = { y = 'boolean' }, ['z?'] = 'number' })",
  ["crypto"] = "local h = tide.crypto.hasher 'sha256' h:update 'x' h:digest() tide.crypto.digest('sha256', 'x') tide.crypto.hmac('sha256', 'k', 'x') tide.crypto.encode('x', 'base64') tide.crypto.decode('ff', 'hex') tide.crypto.uuid() tide.crypto.random(9)",
  ["store"] = "tide.spawn(function() local s = tide.store s:set('k', { a = 1 }) s:get 'k' s:update('n', function(v) return (v or 0) + 1 end) s:incr 'i' for k, v in s:scan '' do assert(k) end s:delete 'k' end)",
  ["files"] = "tide.spawn(function() local f <close> = tide.files.open('g.txt', 'w') f:write(0, 'x') f:read(0, 1) f:size() tide.files.list '' end)",
  ["sql"] = "tide.spawn(function() db:query 'create table if not exists t (a)' db:query('select ? as a', 1) db:row 'select 1 as a' db:transaction(function(tx) tx:query('insert into t values (?)', tide.sql.blob 'x') end) end)",
  ["http"] = "tide.spawn(tide.http.post, 'http://h:port/', { json = { a = 1 }, headers = { X = { 'a', 'b' } }, timeout = 0.01 })",
  ["password"] = "tide.spawn(tide.password.verify, 'x', 'no hash')",
  ["log"] = "tide.log.info('a', { b = { 1, 2 }, password = 'x' }) print('a', 1, {})",
  ["state"] = "tide.state.n = { (tide.state.n and 1 or 0) + 1 }",
  ["env"] = "local _ = { tide.env, tide.version, tide.worker, tide.now() }",
  ["load"] = "assert(load('return 1 + ...', '=x'))(1) assert(load(function() end))",
  ["strings"] = "assert(('a=1, b=2'):gsub('(%w+)=(%w+)', '%2=%1') == '1=a, 2=b') for k in ('a b c'):gmatch '%a' do assert(k) end local _ = ('x'):rep(99) _ = string.format('%5s', 'x') assert(('x'):find('x', 1, true))",
  ["tables"] = "local t = { 3, 1, 2 } table.sort(t) table.insert(t, 1, 0) table.remove(t, 1) table.move(t, 1, 3, 2) assert(table.concat(t, ',')) table.unpack(t) table.sort(t, function(a, b) return a < b end)",
  ["protect"] = "pcall(error, {}) xpcall(error, function(e) return e end, 'x') local co = coroutine.wrap(function(...) coroutine.yield(...) end) co(1) co(2) local c = coroutine.create(print) coroutine.close(c)",
  ["require"] = "assert(require 'moontide' == tide) pcall(require, 'nothing.there')",
}

local text = {}
for name, code in pairs(GOOD) do text[#text + 1] = ("good[%q] = function(conn) %s end"):format(name, code) end
local APP_TEXT = APP:gsub("GOOD", function() return table.concat(text, "\n") end)

load_app(APP_TEXT)
local client = open "/?a=1"

local function clear() while client:receive() do end forget() end

-- Until all that the other threads were asked is answered. Opens a new client when that was closed.
local function drain()

  advance(0.05)
  if client:closed() then client = open "/" end
  clear()
  client:text '{"type":"drain"}'
  local line = client:receive()
  while not line do
    if client:closed() then return drain() end
    await()
    line = client:receive()
  end
  clear()
  return line
end

local function hostile(name, times)

  drain()
  client:text(encode { type = "call", name = name, times = times })
  return drain()
end

-- ---- wrong arguments, in two versions: the second has the objects of the first among its values ----

local functions, seen = {}, 0
for _, name in ipairs(registered()) do functions[#functions + 1] = name end
table.sort(functions)

local function all()
  for _, name in ipairs(functions) do
    local left = name:match "^(.-)[.:][^.:]+$"
    if left == "req" then
      http("GET", "/?name=" .. name, "Cookie: a=b")
    elseif not elsewhere[left] then
      hostile(name, name:find "password" and 12 or 120)
      seen = seen + 1
    end
    forget()
  end
end

all()
drain()
client:text '{"type":"keep"}'
assert(reload(APP_TEXT) == nil)
all()
assert(seen > 150, seen)

-- ---- each allocation fails once ----

load_app(APP_TEXT)
client = open "/?a=1"
local names, failed = {}, 0
for name in pairs(GOOD) do names[#names + 1] = name end
table.sort(names)
for _, name in ipairs(names) do
  clear()
  client:text("run " .. name)
  local got = client:receive()
  while got and got ~= "fine" and not got:find "^failed" do got = client:receive() end
  assert(got == "fine", name .. ": " .. tostring(got) .. logged())
  drain()
  local n, struck = 0, true
  while struck do
    n = n + 1
    struck = failing(n, client, "run " .. name)
    if client:closed() or n % 50 == 0 then drain() end
    clear()
  end
  failed = failed + n - 1
  drain()
  client:text("run " .. name)
  got = client:receive()
  while got and got ~= "fine" and not got:find "^failed" do got = client:receive() end
  assert(got == "fine", name .. ", after " .. n .. " failures: " .. tostring(got) .. logged())
  drain()
end
assert(failed > 100, failed)
