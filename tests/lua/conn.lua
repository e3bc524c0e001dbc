-- conn

load_app [[
  local app = { on = {} }
  function app.on_connect(req) return { user = req.query.user, data = { from = "on_connect" }, expires = req.query.expires and 4e9 } end
  function app.on_open(conn) tide.state.conn = conn end
  function app.on_close(conn, code, reason)
    local sent, message, name = conn:send "late"
    assert(sent == nil and message == "closed" and name == "closed")
    tide.log.info("closing", { user = conn.user, rooms = conn:rooms(), data = conn.data, code = code, reason = reason, ip = conn.ip or "none" })
  end
  app.routes = { ["/"] = app, ["/board/:id"] = app }
  return app
]]

local client = open "/board/a%20b?user=ann&x=1%2B2&empty="
client:text '{"type":"none"}'
expect(client, { type = "error", code = "unknown_type" })
client:close(4000)
local text = logged()
assert(text:find "closing" and text:find "user=\"?ann" and text:find "rooms=%[%]" and text:find "on_connect" and text:find "code=4000", text)

-- fields
inside([[
  same(conn.user, nil) same(conn.path, "/") same(conn.ip, "203.0.113.9") same(conn.protocol, nil) same(conn.expires, nil) same(conn.latency, nil)
  same(conn.buffered, 0) same(conn.resumed, false) same(next(conn.params), nil)
  same(conn.query.a, "1 2") same(conn.query.b, "") same(conn.query.c, "%zz") same(conn.query["\u{e4}"], "\u{1f600}")
  assert(conn.id:match "^c%w+$") assert(conn == tide.conns()() and conn.id == tide.conns()().id)
  assert(tostring(conn):find("^conn " .. conn.id .. " %(203"))
  assert(conn.data == conn.data) conn.data.x = { conn } same(conn.data.x[1], conn)
  local keys = { [conn] = 1 } collectgarbage "count" same(keys[tide.conns()()], 1)
  conn.user = "ann" same(conn.user, "ann") assert(tostring(conn):find "%(ann, 203") conn.user = "ann" conn.user = nil same(conn.user, nil)
  conn.expires = tide.now() + 100 assert(conn.expires > tide.now()) conn.expires = nil same(conn.expires, nil)
  same(getmetatable(conn), false)
]], "/?a=1+2&b=&c=%zz&%C3%A4=%F0%9F%98%80")

inside [[
  raises("conn has no field 'usr'; did you mean 'user'%?", function() return conn.usr end)
  raises("conn has no field 'banana'; your own go in conn.data", function() return conn.banana end)
  raises("conn has no field '5'", function() return conn[5] end) raises("conn has no field", function() return conn[{}] end)
  raises("conn has no field 'sned'; did you mean 'send'", function() conn:sned "x" end)
  raises("conn.data cannot be set", function() conn.data = {} end) raises("conn.id cannot be set", function() conn.id = 1 end)
  raises("conn.send cannot be set", function() conn.send = 1 end) raises("conn has no field 'foo'", function() conn.foo = 1 end)
  raises("conn.user: 1 to 256 bytes", function() conn.user = "" end) raises("1 to 256", function() conn.user = ("x"):rep(257) end)
  raises("string expected", function() conn.user = 5 end)
  raises("number expected", function() conn.expires = "soon" end) raises("unix seconds", function() conn.expires = 0/0 end)
  raises("unix seconds", function() conn.expires = -1 end) raises("unix seconds", function() conn.expires = 1/0 end) raises("unix seconds", function() conn.expires = 0 end)
]]

-- send
local client = inside [[
  same(conn:send "text", true) same(conn:send "", true) same(conn:send { a = 1 }, true) same(conn:send(tide.json.array {}), true) same(conn:send {}, true)
  same(conn:send_binary "\xff\0", true) same(conn:send_binary "", true)
  same(conn:send("k", { key = "k" }), true) same(conn:send("v", { volatile = true }), true) same(conn:send("n", {}), true)
  same(conn:send("not me", { except = conn }), true) same(conn:send("not me", { except = { conn } }), true) conn.user = "ann" same(conn:send("not me", { except = "ann" }), true)
  same(conn:send("not me", { except = { "bob", "ann" } }), true) same(conn:send("me", { except = "bob" }), true) same(conn:send("me", { except = {} }), true)
]]
for _, want in ipairs { "text", "", '{"a":1}', "[]", "{}", "\xff\0", "", "k", "v", "n", "me", "me" } do expect(client, want) end
expect_nothing(client)

inside [[
  raises("string or table expected, got nil", conn.send, conn, nil) raises("string or table expected, got number", conn.send, conn, 5)
  raises("string or table expected, got no value", conn.send, conn) raises("string or table expected", conn.send, conn, print)
  raises("string or table expected, got conn", conn.send, conn, conn)
  raises("conn:send: the text is not UTF%-8", conn.send, conn, "\xff") raises("message.t: a string that is not UTF%-8", conn.send, conn, { t = "\xff" })
  raises("conn:send: message.x: JSON has no way to write nan", conn.send, conn, { x = 0/0 }) raises("message%[2%]: cannot be written as JSON: function", conn.send, conn, { 1, print })
  raises("conn expected", conn.send, "x", "y") raises("conn expected", conn.send) raises("conn expected", conn.send, io, "y") raises("conn expected", conn.send, tide.room "r", "y")
  raises("table expected", conn.send, conn, "x", 5) raises("table expected", conn.send, conn, "x", "key")
  raises("unknown option 'ky'; did you mean key%?", conn.send, conn, "x", { ky = 1 }) raises("options have names", conn.send, conn, "x", { 5 })
  raises("key: a string", conn.send, conn, "x", { key = 5 }) raises("volatile: true or false", conn.send, conn, "x", { volatile = 1 })
  raises("except: a conn", conn.send, conn, "x", { except = 5 }) raises("except: a conn", conn.send, conn, "x", { except = { conn, 5 } })
  raises("string expected, got table", conn.send_binary, conn, {}) raises("string expected", conn.send_binary, conn) raises("string expected", conn.send_binary, conn, 5)
  local loop = {} loop.l = loop raises("nested too deep", conn.send, conn, loop)
]]

-- rooms
inside [[
  same(tide.json.encode(conn:rooms()), "[]")
  same(conn:join "r", true) same(conn:join("q", { name = "x" }), true) same(conn:join "r", true) same(tide.json.encode(conn:rooms()), '["q","r"]')
  same(conn:join("\0\xff"), true) same(conn:leave "\0\xff", true)
  same(tide.room "q":members()[1].info.name, "x") conn:join("q", 5) same(tide.room "q":members()[1].info, 5)
  same(conn:leave "q", true) same(conn:leave "q", false) same(tide.json.encode(conn:rooms()), '["r"]')
  raises("room name: 1 to 256 bytes", conn.join, conn, "") raises("1 to 256", conn.join, conn, ("x"):rep(257)) raises("string expected", conn.join, conn) raises("string expected", conn.join, conn, 5)
  raises("1 to 256", conn.join, conn, ("x"):rep(10 << 20))
  raises("string expected", conn.leave, conn) raises("conn:join: info: cannot be written", conn.join, conn, "r", print) raises("more than 64 KiB", conn.join, conn, "r", ("x"):rep(70000))
  for i = 1, 300 do conn:join("room" .. i) end same(#conn:rooms(), 301)
]]

-- close
for _, code in ipairs { 1000, 1001, 1003, 1007, 1014, 3000, 4999 } do
  local client = inside("same(conn:close(" .. code .. ", 'bye'), true) fails('closed', conn:close()) fails('closed', conn:send 'x') fails('closed', conn:send_binary 'x')")
  assert(client:closed() == code)
end
inside [[
  for _, code in ipairs { 0, -1, 1, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 70000, math.maxinteger, math.mininteger } do raises("close codes are", conn.close, conn, code) end
  raises("number expected", conn.close, conn, "x") raises("no integer", conn.close, conn, 1000.5) raises("string expected", conn.close, conn, 1000, 5)
  raises("at most 123 bytes", conn.close, conn, 1000, ("x"):rep(124)) raises("not UTF%-8", conn.close, conn, 1000, "\xff") raises("conn expected", conn.close, {})
]]
assert(inside "conn:close(nil, ('x'):rep(123))":closed() == 1000)

-- drain and spawn
local client = inside [[
  same(conn:drain(), true) same(conn:drain(0), true) same(conn:drain(5), true)
  raises("number expected", conn.drain, conn, "x") raises("seconds", conn.drain, conn, -1) raises("seconds", conn.drain, conn, 0/0)
  local task = conn:spawn(function(a, b) return a + b end, 1, 2) same(task:join(), 3)
  raises("function expected", conn.spawn, conn) raises("function expected", conn.spawn, conn, 5)
]]
client:block(true)
client:text [[
  conn:send "much"
  conn:spawn(function() fails("timeout", conn:drain(2)) tide.log.info "timed out" same(conn:drain(), true) tide.log.info "drained" fails("closed", conn:drain()) end)
]]
advance(3)
assert(logged():find "timed out")
client:block(false)
client:drain()
assert(logged():find "drained")

-- work of a connection ends with it; the handle stays safe for ever
load_app [[
  local kept, app = {}, {}
  function app.on_open(conn) kept[#kept + 1] = conn conn.data.n = #kept end
  function app.on_message(conn, text)
    if text == "spawn" then
      conn:spawn(function() local guard <close> = setmetatable({}, { __close = function() tide.log.info "unwound" end }) tide.sleep(100) tide.log.error "too long" end)
    end
    if text ~= "use" then return end
    local old = kept[1]
    local function closed(...) local v, message, name = ... assert(v == nil and message == "closed" and name == "closed" and select("#", ...) == 3) end
    closed(old:send "x") closed(old:send_binary "x") closed(old:close()) closed(old:join "r") closed(old:leave "r") closed(old:rooms()) closed(old:drain()) closed(old:drain(1))
    closed(old:spawn(print)) closed(old:send { a = 1 }) closed(old:send("x", { key = "k" }))
    for _, field in ipairs { "ip", "path", "params", "query", "protocol", "user", "expires", "latency", "buffered", "resumed" } do assert(old[field] == nil, field) end
    assert(old.data.n == 1 and old.id and old ~= conn and kept[2] == conn) old.user = "x" old.expires = 5 assert(old.user == nil)
    assert(tostring(old):find "closed" and not pcall(old.send, old) and not tide.room "r":has(old))
    assert(not pcall(function() return old.nope end))
    conn:send "fine"
  end
  return app
]]
local one = open()
one:text "spawn"
one:close(1001)
local two = open()
two:text "use"
expect(two, "fine")
local text = logged()
assert(text:find "unwound" and not text:find " ERROR ", text)
advance(200)

-- nothing acts while a chunk loads
load_app [[
  return { on_open = function(conn) tide.state.c = conn end }
]]
open()
for _, call in ipairs { "send 'x'", "send_binary 'x'", "close()", "join 'r'", "leave 'r'", "spawn(print)" } do
  local why = reload("tide.state.c:" .. call .. " return {}")
  assert(why and why:find("conn:" .. call:match "^[%w_]+" .. ": not while loading: use on_start"), why)
end
assert(reload "tide.state.c.data.x = 1 return {}":find "conn.data: not while loading: use on_start")
for _, name in ipairs { "user", "expires" } do
  local why = reload("tide.state.c." .. name .. " = nil return {}")
  assert(why and why:find("conn." .. name .. ": not while loading"), why)
end
logged()
