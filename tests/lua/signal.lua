-- tide.signal, app.on_signal, tide.worker

load_app [[
  local app, seen = {}, {}
  function app.on_open(conn) tide.state.conn = conn end
  function app.on_message(conn, text) return assert(load("local tide, conn, seen = ... " .. text))(tide, conn, seen) end
  function app.on_signal(name, value) seen[#seen + 1] = { name, value } tide.state.conn:send(tide.json.encode { name = name, value = value }) end
  return app
]]
local ann = open "/"
-- behind the running handler, in order, with a value of its own
ann:text [[
  local value = { list = { 1, 2.5, "x" }, flag = true }
  assert(tide.signal("one", value) == true and tide.signal "two" == true and tide.signal("three", "text") and tide.signal("four", false))
  value.list = nil
  conn:send "the handler has ended"
]]
expect(ann, "the handler has ended")
expect(ann, { name = "one", value = { list = { 1, 2.5, "x" }, flag = true } })
expect(ann, '{"name":"two"}')
expect(ann, { name = "three", value = "text" })
expect(ann, { name = "four", value = false })
ann:text [[assert(#seen == 4 and seen[2][2] == nil and seen[4][2] == false and tide.worker == 1)]]
expect_nothing(ann)

-- a handler that waits, and one that raises
load_app [[
  local app = {}
  function app.on_open(conn) tide.state.conn = conn end
  function app.on_message(conn, text) tide.signal(text, tide.null) end
  function app.on_signal(name, value)
    if name == "bad" then error "no good" end
    tide.sleep(2) tide.state.conn:send(name .. tostring(value == tide.null))
  end
  return app
]]
local bob = open "/"
bob:text "slow" bob:text "bad"
expect_error "no good"
expect_nothing(bob)
advance(2) expect(bob, "slowtrue")
-- the version that is live hears it; without on_signal nobody does
assert(reload [[
  local app = {}
  function app.on_message(conn, text) tide.signal(text) conn:send "sent" end
  return app
]] == nil)
bob:text "x" expect(bob, "sent") expect_nothing(bob)

inside [[
  raises("string expected", tide.signal) raises("string expected", tide.signal, 5) raises("signal name", tide.signal, "") raises("signal name", tide.signal, ("x"):rep(257))
  raises("tide.signal: value", tide.signal, "x", print) raises("tide.signal: value", tide.signal, "x", { f = print }) raises("value", tide.signal, "x", "\xff")
  same(tide.signal(("x"):rep(256), ("y"):rep(100000)), true)
]]
load_app "return {}"
local why = reload "tide.signal('x') return {}"
assert(why and why:find "tide.signal: not while loading: use on_start", why)
assert(reload "return { on_signal = 5 }":find "app.on_signal: function expected")
assert(reload "return { on_signale = print }":find "did you mean on_signal")
logged()
