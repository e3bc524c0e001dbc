-- rooms

load_app [[
  local app = { on = {} }
  app.rooms = { ["*"] = { grace = 2,
    on_join = function(room, who) room:send { type = "in", room = room.name, user = who.user, id = who.id, info = who.info } end,
    on_leave = function(room, who) room:send { type = "out", room = room.name, user = who.user } end,
  } }
  function app.on_connect(req) return { user = req.query.user } end
  function app.on.join(conn, msg) conn:join(msg.room, msg.info) return { members = tide.room(msg.room):members() } end
  function app.on.leave(conn, msg) return conn:leave(msg.room) end
  function app.on.send(conn, msg) return tide.room(msg.room):send({ type = "msg", from = conn.user, text = msg.text }, msg.opts) end
  function app.on.others(conn, msg) return tide.room(msg.room):send({ type = "msg", text = msg.text }, { except = conn }) end
  function app.on.list() return tide.rooms() end
  function app.on.empty(_, msg) tide.room(msg.room):empty() end
  function app.on.close_all(_, msg) tide.room(msg.room):close_all(4001, "over") end
  return app
]]
local ann, bob = open "/?user=ann", open "/?user=bob"
local function say(client, message) send(client, message) end
say(ann, { type = "join", room = "r", id = 1, info = { color = "red" } })
local answer = expect(ann, { type = "reply", id = 1 })
assert(#answer.data.members == 1 and answer.data.members[1].user == "ann" and answer.data.members[1].info.color == "red" and answer.data.members[1].id)
expect(ann, { type = "in", room = "r", user = "ann", info = { color = "red" } })
say(bob, { type = "join", room = "r" })
expect(ann, { type = "in", user = "bob" }) expect(bob, { type = "in", user = "bob" })
local tab = open "/?user=ann"
say(tab, { type = "join", room = "r" })
expect_nothing(ann) expect_nothing(bob)                                 -- a second tab is not a second person
say(ann, { type = "send", room = "r", text = "hi" })
for _, c in ipairs { ann, bob, tab } do expect(c, { type = "msg", from = "ann", text = "hi" }) expect_nothing(c) end
say(ann, { type = "others", room = "r", text = "psst" })
expect_nothing(ann) expect(bob, { text = "psst" }) expect(tab, { text = "psst" })
say(ann, { type = "send", room = "r", text = "not ann", opts = { except = "ann" } })
expect_nothing(ann) expect_nothing(tab) expect(bob, { text = "not ann" })
say(ann, { type = "send", room = "r", text = "nobody", opts = { except = { "ann", "bob" } } })
for _, c in ipairs { ann, bob, tab } do expect_nothing(c) end
say(ann, { type = "list", id = 2 })
assert(encode(expect(ann, { id = 2 }).data):find('"count":2', 1, true))
tab:close() advance(10) expect_nothing(bob)
bob:close() advance(1) expect_nothing(ann) advance(2) expect(ann, { type = "out", user = "bob" })
say(ann, { type = "empty", room = "r" })
expect_nothing(ann)
say(ann, { type = "list", id = 3 })
assert(encode(expect(ann, { id = 3 }).data) == "[]")
local carl = open "/?user=carl"
say(ann, { type = "join", room = "r" }) say(carl, { type = "join", room = "r" })
say(carl, { type = "close_all", room = "r" })
assert(ann:closed() == 4001 and carl:closed() == 4001)

inside [[
  local room = tide.room "r"
  same(room.name, "r") same(room:count(), 0) same(tide.json.encode(room:members()), "[]") same(room:has(conn), false) same(room:has "ann", false)
  same(room:send "x", true) same(room:send({}, { key = "k" }), true) same(room:send_binary "\xff", true) room:empty() room:close_all() same(room:forget "k", false)
  conn:join "r" same(room:has(conn), true) same(room:has "ann", false) same(room:count(), 1) conn.user = "ann" same(room:has "ann", true) same(room:members()[1].user, "ann")
  same(tide.room "r" == room, true) same(tide.room "q" == room, false) same(tostring(room), "room: r") same(getmetatable(room), false)
  same(tide.rooms()[1].name, "r") same(tide.rooms "r"[1].count, 1) same(#tide.rooms "x", 0) same(tide.json.encode(tide.rooms "x"), "[]")
  same(tide.room("\0\xff").name, "\0\xff")
]]

inside [[
  local room = tide.room "r"
  raises("room name: 1 to 256 bytes", tide.room, "") raises("1 to 256", tide.room, ("x"):rep(257)) raises("string expected", tide.room) raises("string expected", tide.room, 5) raises("string expected", tide.room, {})
  raises("1 to 256", tide.room, ("x"):rep(10 << 20)) raises("string expected", tide.rooms, 5)
  raises("string or table expected", room.send, room) raises("string or table", room.send, room, 5) raises("room:send: the text is not UTF%-8", room.send, room, "\xff")
  raises("room:send: message.f: cannot", room.send, room, { f = print }) raises("unknown option 'exept'; did you mean except", room.send, room, "x", { exept = conn })
  raises("string expected", room.send_binary, room, {}) raises("room expected", room.send, conn, "x") raises("room expected", room.count) raises("room expected", room.members, tide.user "x")
  raises("conn or user id expected", room.has, room) raises("conn or user id expected, got number", room.has, room, 5) raises("string expected", room.forget, room) raises("close codes", room.close_all, room, 1005)
  raises("no history", room.history, room) raises("room has no field 'sned'; did you mean 'send'", function() room:sned "x" end) raises("room has no field '1'", function() return room[1] end)
  raises("attempt to index", function() room.x = 1 end) raises("room expected", room.has, "r", conn)
]]

-- the newest message of each key is sent to those who come later
load_app [[
  local app = { on = {}, rooms = { ["price:*"] = { current = true } } }
  function app.on.join(conn, msg) conn:join(msg.room) end
  function app.on.put(_, msg) tide.room(msg.room):send({ k = msg.k, v = msg.v }, { key = msg.k }) end
  function app.on.forget(_, msg) return tide.room(msg.room):forget(msg.k) end
  return app
]]
local a = open()
say(a, { type = "put", room = "price:x", k = "x", v = 1 }) say(a, { type = "put", room = "price:x", k = "x", v = 2 }) say(a, { type = "put", room = "price:x", k = "y", v = 3 })
say(a, { type = "join", room = "price:x" })
expect(a, { k = "x", v = 2 }) expect(a, { k = "y", v = 3 })
say(a, { type = "forget", room = "price:x", k = "x", id = 1 }) expect(a, { id = 1, data = true })
say(a, { type = "forget", room = "price:x", k = "x", id = 2 }) expect(a, { id = 2, data = false })
local b = open()
say(b, { type = "join", room = "price:x" }) expect(b, { k = "y" }) expect_nothing(b)

-- nothing acts while a chunk loads; asking is fine
load_app "return {}"
for _, call in ipairs { "send 'x'", "send_binary 'x'", "forget 'k'", "empty()", "close_all()" } do
  local why = reload("tide.room 'r':" .. call .. " return {}")
  assert(why and why:find("room:" .. call:match "^[%w_]+" .. ": not while loading: use on_start"), why)
end
assert(reload "local r = tide.room 'r' r:count() r:members() r:has 'x' tide.rooms() return {}" == nil)
logged()
