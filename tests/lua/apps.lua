-- The apps that the script API was designed with, as they are: what they do when their clients do what people do.

local function source(name)
  local from <close> = assert(io.open("tests/e2e/apps/" .. name .. ".lua"))
  return from:read "a"
end
local function load_file(name) load_app(source(name)) end

-- echo
load_file "echo"
local a = open()
a:text "Test message" expect(a, "Test message")
a:binary "\255" assert(a:closed() == 1003)

-- chat
load_file "chat"
local ann, bob = open "/?name=ann", open "/?name=bob"
expect(ann, { type = "system", message = "Welcome to the chat!" }) expect(bob, { type = "system" })
send(ann, { type = "join", room = "lobby", id = 1 })
expect(ann, { type = "reply", id = 1, data = { members = { { user = "ann" } } } }) expect(ann, { type = "user_joined", user_id = "ann" })
send(bob, { type = "join", room = "lobby" }) expect(bob, { type = "user_joined", user_id = "bob" }) expect(ann, { type = "user_joined", user_id = "bob" })
local tab = open "/?name=ann" expect(tab, { type = "system" })
send(tab, { type = "join", room = "lobby" }) expect_nothing(bob)
send(bob, { type = "chat", room = "lobby", text = "hi" })
for _, c in ipairs { ann, bob, tab } do expect(c, { type = "chat", from = "bob", text = "hi" }) end
send(bob, { type = "private", to = "ann", text = "psst" }) expect(ann, { type = "private", from = "bob" }) expect(tab, { type = "private" })
send(bob, { type = "private", to = "nobody", text = "x" }) expect(bob, { type = "error", code = "offline" })
send(bob, { type = "chat", room = "other", text = "x", id = 7 }) expect(bob, { type = "error", id = 7, code = "denied" })
send(bob, { type = "chat", room = "lobby" })
expect(bob, { type = "error", code = "invalid", message = "text: string 1..2000 expected, got nothing" })
send(bob, { type = "chat", room = null, text = 5 }) expect(bob, { type = "error", code = "invalid" })
send(bob, { type = "chat", room = "lobby", text = ("\u{20ac}"):rep(2000) }) expect(bob, { type = "chat" }) expect(ann, { type = "chat" }) expect(tab, { type = "chat" })
send(bob, { type = "chat", room = "lobby", text = ("\u{20ac}"):rep(2001) })
expect(bob, { code = "invalid", message = "text: string 1..2000 expected, got 2001 characters" })
bob:text "{nope" expect(bob, { type = "error", code = "bad_json" })
bob:text(("["):rep(10000)) expect(bob, { type = "error", code = "bad_json" })
send(bob, { type = "jion" }) expect(bob, { type = "error", code = "unknown_type" })
tab:close() advance(10) expect_nothing(bob)
bob:close() advance(2) expect_nothing(ann) advance(10) expect(ann, { type = "user_left", user_id = "bob" })

-- live updates
load_file "live"
local a, b = open(), open()
send(a, { type = "publish", topic = "news", data = { n = 1 } })
send(b, { type = "subscribe", topic = "news" }) expect(b, { type = "current_data", topic = "news", data = { n = 1 } })
send(a, { type = "publish", topic = "news", data = { n = 2 } })
local update = expect(b, { type = "update", topic = "news", data = { n = 2 } })
assert(type(update.timestamp) == "number") expect_nothing(a)
send(a, { type = "publish", topic = "news" }) expect(a, { type = "error", code = "invalid" })
send(a, { type = "publish", topic = "news", data = null }) expect(a, { type = "error", code = "invalid" })
send(a, { type = "publish", topic = "news", data = false }) expect(b, { type = "update", data = false })

-- the seed's two servers in one
load_file "j_seed"
local a = open() expect(a, { type = "system", message = "Welcome to the chat!" })
send(a, { type = "join_room", room = "r" })
local joined = expect(a, { type = "user_joined" })
assert(joined.message == "User " .. joined.user_id .. " joined the room")
send(a, { type = "publish", topic = "t", data = { 1, {} } }) send(a, { type = "subscribe", topic = "t" }) expect(a, { type = "current_data", data = { 1, {} } })

-- JSON-RPC
file("i_jsonrpc.lua", source "i_jsonrpc")
load_file "i_api"
local a = open()
send(a, { jsonrpc = "2.0", id = 9007199254740993, method = "add", params = { a = 1, b = 2 } }) expect(a, { id = 9007199254740993, result = 3 })
send(a, { jsonrpc = "2.0", id = "x", method = "add", params = { a = 1 } }) expect(a, { id = "x", error = { code = -32602 } })
send(a, { jsonrpc = "2.0", id = 2, method = "nope" }) expect(a, { error = { code = -32601 } })
a:text "{" expect(a, { error = { code = -32700 } })
a:text '[{"jsonrpc":"2.0","method":"add","params":{"a":1,"b":1}},{"jsonrpc":"2.0","id":1,"method":"add","params":{"a":1,"b":1}}]'
local answer = expect(a, {})
assert(#answer == 1 and answer[1].result == 2)
for _ = 1, 60 do send(a, { jsonrpc = "2.0", id = 5, method = "whoami" }) end
for n = 1, 60 do expect(a, n <= 40 - 3 and { id = 5 } or { id = 5, error = { code = -32029, message = "slow down" } }) end
advance(0.05) send(a, { jsonrpc = "2.0", id = 6, method = "add", params = { a = 1, b = 1 } }) expect(a, { id = 6, result = 2 })
logged()
