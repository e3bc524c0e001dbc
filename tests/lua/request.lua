-- conn:request, user:request, tide.conn(id):request: a question to a client, and the answer

load_app [[
  local app = { on = {} }
  function app.on_connect(req) return { user = req.query.user } end
  local function say(conn, ...)
    local t = table.pack(...)
    for i = 1, t.n do t[i] = type(t[i]) == "table" and tide.json.encode(t[i]) or tostring(t[i]) end
    conn:send("got " .. table.concat(t, " "))
  end
  -- in the handler of the connection that is asked, which is the hardest place to wait for it
  function app.on.ask(conn, msg) say(conn, conn:request(msg.q, msg.opts)) end
  function app.on.user(conn, msg) say(conn, tide.user(msg.user):request(msg.q or { type = "q" }, msg.opts)) end
  function app.on.conn(conn, msg) say(conn, tide.conn(msg.conn):request({ type = "q" }, msg.opts)) end
  function app.on.id(conn) conn:send(conn.id) end
  function app.on.add(conn, msg) return msg.a end
  return app
]]
local a, b = open "/?user=ann", open "/?user=bob"

local function ask(client, q, opts)
  send(client, { type = "ask", q = q or { type = "q" }, opts = opts })
  local question = expect(client, q or {})
  assert(question.id:find "^tide%-%x+$" and #question.id == 21, question.id)
  return question.id
end

-- ---- answers ----

local id = ask(a, { type = "q", n = { 1, 2 } })
send(a, { type = "reply", id = id, data = { ok = true, list = { 1, 2.5, "x" } } })
local got = a:receive()
assert(got == 'got {"ok":true,"list":[1,2.5,"x"]}' or got == 'got {"list":[1,2.5,"x"],"ok":true}', got)
for _, data in ipairs { "5", '"text"', "false", "0.5", "[]" } do
  a:text(('{"data":%s,"id":"%s","type":"reply"}'):format(data, ask(a)))
  expect(a, "got " .. data:gsub('"', ""))
end
a:text(('{"type":"reply","id":"%s"}'):format(ask(a))) expect(a, "got true")
a:text(('{"type":"reply","id":"%s","data":null}'):format(ask(a))) expect(a, "got true")
a:text(('{"type":"\\u0072eply","id":"\\u0074\\u0069de-%s","data":1}'):format(ask(a):sub(6))) expect(a, "got 1")
-- errors of the client: its code is the name
send(a, { type = "error", id = ask(a), code = "denied", message = "not you" }) expect(a, "got nil not you denied")
send(a, { type = "error", id = ask(a), code = 404 }) expect(a, "got nil 404 404")
send(a, { type = "error", id = ask(a), code = {}, message = {} }) expect(a, "got nil failed failed")
-- the message: the id is in front of what the script gave
send(a, { type = "ask", q = { type = "q", x = 1 } })
local line = a:receive()
assert(line:find '^{"id":"tide%-%x+","' and not line:find ",,")
send(a, { type = "reply", id = decode(line).id }) expect(a, "got true")
a:text '{"type":"ask","q":{}}'
line = a:receive()
assert(line:find '^{"id":"tide%-%x+"}$', line)
send(a, { type = "reply", id = decode(line).id }) expect(a, "got true")

-- ---- who may answer, and once ----

id = ask(a)
send(b, { type = "reply", id = id, data = "forged" })
expect(b, { type = "error", code = "unknown_type" }) -- nobody ever asked b: it is a message like any other
send(b, { type = "reply", id = ask(b) }) expect(b, "got true")
send(b, { type = "reply", id = id, data = "forged" }) expect_nothing(b) -- now it looks like an answer that comes too late
send(a, { type = "reply", id = id:sub(1, -2) .. "1", data = "guessed" })
send(a, { type = "reply", id = "tide-1", data = "no id" })
send(a, { type = "hello", id = id, data = "no answer" })
a:text '{"type":"reply","id":"' a:text("[" .. encode { type = "reply", id = id } .. "]")
expect_nothing(a) -- the rest waits behind the handler
send(a, { type = "reply", id = id, data = "true one" })
expect(a, "got true one")
local codes = {}
for _ = 1, 4 do codes[#codes + 1] = expect(a, { type = "error" }).code end
assert(table.concat(codes, " ") == "unknown_type unknown_type bad_json unknown_type", table.concat(codes, " "))
send(a, { type = "reply", id = id, data = "again" }) expect_nothing(a)

-- ---- failures ----

id = ask(a, nil, { timeout = 2 })
advance(1.9) expect_nothing(a) advance(0.1) expect(a, "got nil timeout timeout")
send(a, { type = "reply", id = id, data = "late" }) expect_nothing(a)
ask(a) advance(9.9) expect_nothing(a) advance(0.1) expect(a, "got nil timeout timeout") -- by default
ask(a, nil, { timeout = 0 }) advance(0) expect(a, "got nil timeout timeout")
send(a, { type = "user", user = "nobody" }) expect(a, "got nil nobody there offline")
send(a, { type = "conn", conn = "c1" }) expect(a, "got nil nobody there offline")
send(a, { type = "conn", conn = "what" }) expect(a, "got nil nobody there offline")

-- the asked connection goes: at once, not when the time is over
send(a, { type = "user", user = "bob" })
expect(b, { type = "q" })
b:close(1000)
expect(a, "got nil closed closed")
-- the asking one goes: the handler runs to its end
b = open "/?user=bob"
local c = open "/?user=cid"
send(c, { type = "user", user = "bob" })
id = expect(b, { type = "q" }).id
c:close(1000)
send(b, { type = "reply", id = id }) expect_nothing(b)
-- its own: closed, then on_close
c = open "/?user=cid"
ask(c)
c:close(1000)

-- ---- all connections of a user, and one of them from afar ----

local b2 = open "/?user=bob"
send(a, { type = "user", user = "bob", q = { type = "q", n = 1 } })
id = expect(b, { n = 1 }).id
expect(b2, { n = 1, id = id })
send(b2, { type = "error", id = id, code = "busy" }) expect_nothing(a)
send(b, { type = "reply", id = id, data = "yes" }) expect(a, "got yes")
send(b2, { type = "reply", id = id, data = "no" }) expect_nothing(b2)
send(a, { type = "user", user = "bob" })
id = expect(b, { type = "q" }).id expect(b2, { id = id })
send(b, { type = "error", id = id, code = "busy", message = "not now" })
b2:close(1000)
expect(a, "got nil not now busy")
send(b, { type = "id" })
send(a, { type = "conn", conn = b:receive() })
send(b, { type = "reply", id = expect(b, { type = "q" }).id, data = 7 }) expect(a, "got 7")

-- ---- arguments ----

local client = inside [[
  raises("table expected", conn.request, conn) raises("table expected", conn.request, conn, "text") raises("conn expected", conn.request, {}, {})
  raises("the id is the server's own here: give yours another name", conn.request, conn, { id = 1 })
  raises("an object expected, not a list", conn.request, conn, { 1, 2 }) raises("not a list", conn.request, conn, tide.json.array {})
  raises("conn:request: message.f: cannot be written as JSON: function", conn.request, conn, { f = print })
  raises("unknown option 'timeot'; did you mean timeout%?", conn.request, conn, {}, { timeot = 1 }) raises("table expected", conn.request, conn, {}, 5)
  for _, bad in ipairs { -1, 0/0, "5", true } do raises("timeout: seconds from 0", conn.request, conn, {}, { timeout = bad }) end
  raises("table expected", tide.user "x".request, tide.user "x") raises("user expected", tide.user "x".request, {}, {})
  raises("not a list", tide.conn(conn.id).request, tide.conn(conn.id), { 1 })
  raises("cannot wait here; use tide.spawn", coroutine.wrap(function() conn:request { type = "x" } end))
  raises("inside 'sort'", function() table.sort({ 1, 2 }, function() conn:request { type = "x" } end) end)
  fails("offline", tide.user "nobody":request { type = "x" }) fails("offline", tide.user "nobody":request({ type = "x" }, { timeout = 5 }))
  same(select("#", tide.user "nobody":request {}), 3)
]]
assert(client:receive() == nil) -- nothing was sent for what raised
assert(app [[tide.user "x":request { type = "q" } return {}]]:find "user:request: not while loading: use on_start")
load_app [[return { on_open = function(conn) tide.state.c = conn end }]]
open()
assert(reload [[tide.state.c:request { type = "q" } return {}]]:find "conn:request: not while loading")

-- ---- a handler named reply hears what is no answer to a request; on_message too ----

load_app [[
  local app = { on = {} }
  function app.on.reply(conn, msg) conn:send("on.reply " .. tostring(msg.id)) end
  function app.on_message(conn, text) conn:send("on_message " .. text) end
  function app.on_open(conn) conn:spawn(function() conn:request({ type = "q" }, { timeout = 1 }) end) end
  return app
]]
client = open()
id = expect(client, { type = "q" }).id
send(client, { type = "reply", id = "mine" }) expect(client, "on.reply mine") expect(client, { type = "reply", id = "mine" })
client:text '{"type":"error"}' expect(client, 'on_message {"type":"error"}')
client:text "plain tide- text" expect(client, "on_message plain tide- text")
advance(1)
send(client, { type = "reply", id = id }) expect_nothing(client)
load_app [[
  local app = {}
  function app.on_open(conn) conn:spawn(function() conn:send(tostring(conn:request { type = "q" })) end) end
  function app.on_message(conn, text) conn:send("on_message " .. text) end
  return app
]]
client = open()
send(client, { type = "reply", id = expect(client, { type = "q" }).id, data = "raw" })
expect(client, "raw")

-- ---- behind more than the queue holds ----

local QUEUE = [[
  local app = { on = {} }
  function app.on.ask(conn) conn:send("got " .. tostring(conn:request { type = "q" })) end
  function app.on.late(conn) tide.sleep(5) conn:send("got " .. tostring(conn:request { type = "q" })) end
  function app.on.n(conn, msg) conn:send(tostring(msg.n)) end
  return app
]]
for _, kind in ipairs { "ask", "late" } do
  load_app(QUEUE)
  client = open()
  send(client, { type = kind })
  for n = 1, 100 do send(client, { type = "n", n = n }) end -- 64 would have paused it
  if kind == "late" then assert(client:paused()) advance(5) end
  assert(not client:paused())
  id = expect(client, { type = "q" }).id
  for n = 101, 900 do send(client, { type = "n", n = n }) end
  assert(not client:paused())
  send(client, { type = "reply", id = id, data = "in time" })
  expect(client, "got in time")
  for n = 1, 900 do expect(client, tostring(n)) end
  expect_nothing(client)
  assert(not client:paused())
end
-- but not without bound
load_app(QUEUE)
client = open()
send(client, { type = "ask" })
for n = 1, 1024 do assert(not client:paused()) send(client, { type = "n", n = n }) end
assert(client:paused())
advance(10)
assert(not client:paused())
