-- tide.limit: token buckets by name and key

local APP = [[
  local app = {}
  local pace = tide.limit("chat", %s)
  function app.on_message(conn, text)
    local fn = load(text, "=inside", "t", setmetatable({ pace = pace, tide = tide, conn = conn }, { __index = _G }))
    conn:send(tostring(assert(fn)()))
  end
  return app
]]

-- How many of `key` can be taken now.
local ALL = "local n = 0 while n < 100 and pace:take(%q) do n = n + 1 end return n"

load_app(APP:format "5, 10")
local client = open()
local function ask(code, want)
  client:text(code)
  expect(client, tostring(want))
end

-- ---- a burst, then the rate; seconds is how long to wait ----

ask(ALL:format "ann", 10)
ask("local ok, s = pace:take 'ann' return tostring(ok) .. s", "false0.2")
ask("local _, s = pace:take('ann', 3) return s", 0.6)
ask("return select('#', pace:take 'bob')", 1)
advance(0.199) ask("return pace:take 'ann'", "false")
advance(0.001) ask("return pace:take 'ann'", "true")
advance(1) ask(ALL:format "ann", 5)
advance(3600) ask(ALL:format "ann", 10) -- no more than a burst is saved up
client:text "local _, s = pace:take 'ann' tide.sleep(s) return pace:take 'ann'"
advance(0.2)
expect(client, "true")

-- ---- keys: texts of any length, numbers, nothing else ----

ask(ALL:format(("x"):rep(100000)), 10)
ask(ALL:format(("x"):rep(100000)), 0)
ask(ALL:format(("x"):rep(100001)), 10)
ask(ALL:format "", 10)
ask(ALL:format "a\0b", 10) ask(ALL:format "a\0c", 10)
ask("pace:take(7, 10) return pace:take '7'", "false")

-- ---- n ----

advance(3600)
ask("return pace:take('n', 10.5)", "false")
ask("local _, s = pace:take('n', 1e300) return s == math.huge", "true") -- never
ask("return pace:take('n', 0)", "true")
ask("return pace:take('n', 2.5) and pace:take('n', 7.5) and not pace:take('n', 0.5) and pace:take('n', 0)", "true")

-- ---- the same name is the same limit, also in modules and inside of handlers ----

advance(3600)
ask("return tide.limit('chat', 5, 10) ~= pace and tide.limit('chat', 5, 10):take('ann', 10) and pace:take 'ann'", "false")
ask("return tide.limit('other', 5, 10):take 'ann'", "true")
ask("return tide.limit('x', 0.5):take('a') and not tide.limit('x', 0.5):take 'a'", "true") -- at least one at once
ask("local l = tide.limit('y', 20) return l:take('a', 20) and not l:take 'a'", "true") -- as many at once as in a second
ask("return tostring(pace)", "limit chat: 5.0 a second, bursts of 10.0")

-- ---- reloads: the buckets stay, the rate is that of the version ----

advance(3600)
ask(ALL:format "ann", 10)
assert(not reload("local tide = require 'moontide' " .. APP:format "100, 10"))
ask(ALL:format "ann", 0)
ask(ALL:format "bob", 10)
advance(0.01) ask(ALL:format "ann", 1)
assert(reload("local tide = require 'moontide' tide.limit('chat', 1e6, 1e6) error 'no'"):find "no")
ask(ALL:format "ann", 0) -- a version that did not load has changed nothing
assert(not reload("local tide = require 'moontide' " .. APP:format "5, 20"))
ask("local _, s = pace:take('ann', 20) return s <= 4", "true")

-- ---- so many of them ----

ask("for i = 1, 5000 do tide.limit('n' .. i % 50, 1) end return pace:take 'still here'", "true")
ask([[local keep = {}
for i = 1, 1000 do
  local ok, l = pcall(tide.limit, "n" .. i, 1)
  if not ok then return i > 90 and l end
  keep[i] = l
end]], "tide.limit: there are 100 of them already; one has room for many keys")

-- ---- more keys than it has room for: counted and told ----

logged()
ask("for i = 1, 300000 do pace:take(i) end return pace:take 'ann'", "true")
local text = logged()
assert(text:find 'tide.limit "chat": too many keys at once, %d+ buckets were forgotten', text)
assert(not text:find "forgotten.*forgotten", text) -- at a bounded rate

-- ---- arguments ----

inside [[
  raises("string expected, got no value", tide.limit) raises("string expected", tide.limit, 5, 1) raises("name: 1 to 256 bytes", tide.limit, "", 1)
  raises("name: 1 to 256 bytes", tide.limit, ("x"):rep(257), 1) raises("number expected, got no value", tide.limit, "x")
  raises("number expected, got table", tide.limit, "x", {}) raises("number expected, got string", tide.limit, "x", "fast")
  for _, bad in ipairs { 0, -1, 0/0, 1/0, -1/0, 1e10 } do
    raises("rate: a number above 0", tide.limit, "x", bad)
    raises("burst: a number from 1 to 1e9", tide.limit, "x", 1, bad)
  end
  raises("burst: a number from 1 to 1e9", tide.limit, "x", 1, 0.5)
  local l = tide.limit("x", 1e-300, 1e9)
  same(l:take("a", 1e9), true) same(l:take "a", false)
  same(tide.limit("x", 1e9, 1e9):take("b", 1e9), true)
  raises("key: string or number expected, got nil", l.take, l, nil) raises("key: string or number expected, got no value", l.take, l)
  raises("key: string or number expected, got table", l.take, l, {}) raises("key: string or number expected, got userdata", l.take, l, conn)
  for _, bad in ipairs { -1, -0.5, 0/0, 1/0, -1/0 } do raises("n: a number from 0 on", l.take, l, "a", bad) end
  raises("number expected, got string", l.take, l, "a", "many") raises("moontide.limit expected", l.take) raises("moontide.limit expected", l.take, conn, "a")
  same(getmetatable(l), false)
]]
assert(app [[tide.limit("x", 1):take "a" return {}]]:find "app.lua:1: limit:take: not while loading: use on_start")
assert(app [[tide.limit("x", 0) return {}]]:find "app.lua:1: bad argument #2 to 'limit' %(rate: a number above 0")
