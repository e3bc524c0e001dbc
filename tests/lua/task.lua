-- tide.sleep, tide.spawn, tide.timeout, tasks: where a script may wait, what it hears where it may not, who ends whom

-- Runs code that waits in a handler, and lets time go by until it has come to its end.
local function waiting(code, seconds)
  load_app([[
    local app = { on = {} }
    local function raises(pattern, fn, ...)
      local ok, why = pcall(fn, ...)
      assert(not ok, "did not raise: " .. pattern)
      assert(tostring(why):find(pattern), "expected " .. pattern .. ", got " .. tostring(why))
    end
    local function fails(name, value, message, got) assert(value == nil and type(message) == "string" and got == name, tostring(got)) end
    local function same(a, b) assert(a == b and math.type(a) == math.type(b), tostring(a) .. " is not " .. tostring(b)) end
    local function guard(fn) return setmetatable({}, { __close = fn }) end
    local function wait(...) tide.sleep(1) return ... end
    function app.on_message(conn) ]] .. code .. [[ tide.log.info "the inside has ended" end
    return app
  ]])
  logged()
  local client = open()
  client:text ""
  advance(seconds or 100)
  local text = logged()
  assert(text:find "the inside has ended" and not text:find " ERROR ", text)
  return client
end

-- ---- where waiting works ----

waiting [[
  same(pcall(wait, 1), true) same(select(2, pcall(function() wait() error("e", 0) end)), "e")
  same(select(2, xpcall(function() wait() error("e", 0) end, function(why) return why .. "!" end)), "e!")
  same(select(2, pcall(pcall, pcall, wait, 7)), true)
  same((function(...) return select("#", ...) end)(wait(1, nil, nil)), 3)
]]
waiting [[
  local list = {}
  for i in function(_, i) i = wait((i or 0) + 1) return i < 4 and i or nil end do list[#list + 1] = i end
  same(#list, 3)
  for k, v in pairs(setmetatable({}, { __pairs = function() wait() return next, { a = 1 } end })) do same(k, "a") same(v, 1) end
]]
waiting [[
  local log = {}
  local mt = { __index = function(_, k) return wait(k .. "!") end, __newindex = function(t, k, v) wait() rawset(t, k, v * 2) end,
    __call = function(_, a, b) return wait(a + b) end, __len = function() return wait(9) end, __unm = function() return wait(-1) end,
    __concat = function(a, b) return wait "concat" end, __eq = function() return wait(true) end, __lt = function() return wait(true) end,
    __le = function() return wait(false) end, __close = function() wait() log[#log + 1] = "closed" end }
  for _, name in ipairs { "add", "sub", "mul", "div", "mod", "pow", "idiv", "band", "bor", "bxor", "shl", "shr" } do
    mt["__" .. name] = function() return wait(name) end
  end
  mt.__bnot = function() return wait "bnot" end
  local function new() return setmetatable({}, mt) end
  local t, u = new(), new()
  same(t.x, "x!") same(t.y.z, nil) t.n = 21 same(rawget(t, "n"), 42) same(t(1, 2), 3) same(#t, 9) same(-t, -1) same(~t, "bnot")
  same(t .. "x", "concat") same("a" .. "b" .. t, "aconcat") same(t == u, true) same(t ~= u, false) same(t < u, true) same(t > u, true) same(t <= u, false)
  same(t + 1, "add") same(1 - t, "sub") same(t * 1, "mul") same(t / 1, "div") same(t % 1, "mod") same(t ^ 1, "pow") same(t // 1, "idiv")
  same(t & 1, "band") same(t | 1, "bor") same(t ~ 1, "bxor") same(t << 1, "shl") same(t >> 1, "shr")
  do local c <close> = new() end same(log[1], "closed")
  same(select(2, pcall(function() local c <close> = new() error("e", 0) end)), "e") same(log[2], "closed")
  local function leaves() local c <close> = new() return "left" end same(leaves(), "left") same(log[3], "closed")
  for _ in function() return nil end, nil, nil, new() do end same(log[4], "closed")
]]
waiting [[
  local co = coroutine.wrap(function() for i = 1, 3 do coroutine.yield(i) end end)
  for i = 1, 3 do tide.sleep(1) same(co(), i) end
]]

waiting [[
  local store = tide.store:open("s", { memory = true })
  for i = 1, 2 do same(store:update("k", function(v) return wait((v or 0) + 1) end), i) end
]]

-- ---- where it does not ----

waiting [[
  raises("cannot wait here; use tide.spawn: only the script itself resumes a coroutine that it made", coroutine.wrap(wait))
  local ok, why = coroutine.resume(coroutine.create(function() return pcall(wait) end))
  assert(ok and not why)
  raises("cannot wait here: inside 'sort', a C function that cannot be left; wait before or after it", function() table.sort({ 1, 2 }, wait) end)
  raises("inside 'gsub'", function() return ("x"):gsub("x", wait) end) assert(select(2, load(wait)):find "inside 'load'")
  raises("inside 'tostring'", function() return tostring(setmetatable({}, { __tostring = wait })) .. "" end)
  raises("inside 'for iterator'", function() for _ in ipairs(setmetatable({}, { __index = wait })) do end end)
  raises("inside 'sort'", function() table.sort({ 1, 2 }, function() assert(pcall(pcall, wait)) local ok, why = pcall(wait) error(why, 0) end) end)
  raises("inside a C function that cannot be left %(as table.sort, string.gsub or a shape%)", table.sort, { 1, 2 }, wait)
  raises("inside 'check'", function() tide.check(1, function() wait() return true end) end)
  raises("__gc is not available", setmetatable, {}, { __gc = wait })
  same(tide.json.encode(setmetatable({ a = 1 }, { __pairs = wait, __index = wait })), '{"a":1}')
]]
file("slow.lua", "local tide = require 'moontide' tide.sleep(1) return {}")
waiting [[ raises("inside 'require', a C function", function() require "slow" end) raises("module 'nope' not found", require, "nope") ]]
assert(app [[tide.sleep(1) return {}]]:find "cannot wait here: not while loading: use on_start")
assert(app [[tide.timeout(1, print) return {}]]:find "cannot wait here: not while loading: use on_start")
assert(app [[tide.spawn(print):join() return {}]]:find "cannot wait here: not while loading: use on_start")
load_app [[return { version = 1 }]]
assert(reload [[return { version = 2, on_upgrade = function(state) tide.sleep(1) return state end }]]:find "cannot wait here: not in on_upgrade")

-- shapes are checked by the server before the handler: what they raise is the script's fault
load_app [[return { accepts = { x = { v = function() tide.sleep(1) return true end } }, on = { x = function() end } }]]
local client = open()
send(client, { type = "x", v = 1 })
expect(client, { type = "error", code = "internal" })
expect_error "on: app.lua:1: cannot wait here: inside a C function that cannot be left"

-- <close> code of a task that ends against its will; what it does instead may still be spawned
waiting [[
  local why
  local task = tide.spawn(function() local c <close> = guard(function() why = select(2, pcall(wait)) tide.spawn(function() tide.sleep(1) why = why .. "+" end) end) wait() wait() end)
  tide.sleep(0.5) same(task:cancel(), true) assert(why:find "cannot wait here: the task has ended, and its <close> code may not wait") tide.sleep(2) assert(why:sub(-1) == "+")
]]
load_app [[
  local app = {}
  function app.on_message()
    local c <close> = setmetatable({}, { __close = function() tide.log.info(tostring(select(2, pcall(tide.sleep, 1)))) end })
    error "boom"
  end
  return app
]]
open():text ""
expect_error "cannot wait here: the task has ended, and its <close> code may not wait.*boom"

-- ---- tasks ----

waiting [[
  local order = {}
  local task = tide.spawn(function(...) order[#order + 1] = "task" return ... end, 1, nil, nil)
  order[1] = "first" same(select("#", task:join()), 3) same(table.concat(order, " "), "first task")
  same(task:join(0), 1) same(select(3, task:join()), nil) same(task:cancel(), false) assert(tostring(task):find "ended")
  same(select("#", tide.spawn(function() end):join()), 0)
  local slow = tide.spawn(function() return wait "done" end)
  assert(tostring(slow):find "at work") fails("timeout", slow:join(0.5)) fails("timeout", slow:join(0)) same(slow:join(5), "done")
  local both = {} for i = 1, 3 do both[i] = tide.spawn(function() return slow:join() end) end for i = 1, 3 do same(both[i]:join(), "done") end
  raises("number expected", slow.join, slow, "x") raises("negative", slow.join, slow, -1) raises("moontide.task expected", slow.join, {}) raises("moontide.task expected", slow.cancel)
  raises("function expected", tide.spawn) raises("function expected", tide.spawn, 5) same(getmetatable(task), false)
  raises("number expected", tide.sleep, "x") raises("seconds expected", tide.sleep) raises("negative", tide.sleep, -1) raises("negative", tide.sleep, 0/0)
]]

-- waiting for oneself, and for each other
waiting [[
  local me me = tide.spawn(function() return pcall(me.join, me) end)
  local ok, why = me:join() assert(ok == false and why:find "a task cannot wait for itself")
  local a, b, c
  a = tide.spawn(function() tide.sleep(1) return b:join() end)
  b = tide.spawn(function() tide.sleep(2) return c:join() end)
  c = tide.spawn(function() tide.sleep(3) return select(2, pcall(a.join, a)) end)
  assert(a:join():find "these tasks would wait for each other for ever")
  local d, e
  d = tide.spawn(function() return e:join() end)
  e = tide.spawn(function() return select(3, d:join(5)) end)
  same(d:join(), "timeout")
]]

-- cancelling
waiting [[
  local closed, after = 0, 0
  local function sleeper() local c <close> = guard(function() closed = closed + 1 end) pcall(tide.sleep, 50) after = after + 1 end
  local task = tide.spawn(sleeper) tide.sleep(1)
  same(task:cancel(), true) same(closed, 1) same(task:cancel(), false) fails("cancelled", task:join())
  local queued = tide.spawn(sleeper) same(queued:cancel(), true) fails("cancelled", queued:join()) same(closed, 1)
  local self self = tide.spawn(function() local c <close> = guard(function() closed = closed + 1 end) same(self:cancel(), true) same(self:cancel(), true) closed = closed + 10 wait() after = 1 end)
  fails("cancelled", self:join()) same(closed, 12)
  local whole self = tide.spawn(function() self:cancel() whole = true return 5 end) same(self:join(), 5) same(whole, true)
  do local t <close> = tide.spawn(sleeper) tide.sleep(1) end same(closed, 13)
  local joiner = tide.spawn(function() local t = tide.spawn(sleeper) return t:join() end) tide.sleep(1) same(joiner:cancel(), true) fails("cancelled", joiner:join()) same(closed, 13)
  same(after, 0) tide.sleep(60) same(after, 1)
]]

-- a task that fails is logged once, with its traceback, whether somebody joins it or not
load_app [[
  local app = {}
  function app.on_message()
    local task = tide.spawn(function() tide.sleep(1) error "broken" end)
    for _ = 1, 2 do local ok, why, name = task:join() assert(ok == nil and why:find "app.lua:%d+: broken$" and name == "error") end
    tide.log.info "joined twice"
  end
  return app
]]
open():text ""
advance(2)
local text = logged()
assert(select(2, text:gsub("broken", "")) == 1 and text:find "spawned task: app.lua:3: broken" and text:find "stack traceback" and text:find "joined twice", text)

-- ---- tide.timeout ----

waiting [[
  local closed = {}
  local function late(name) local c <close> = guard(function() closed[#closed + 1] = name end) tide.sleep(50) closed[#closed + 1] = "never" end
  same(select("#", tide.timeout(5, wait, 1, nil)), 2) same(tide.timeout(0, function() return "at once" end), "at once")
  fails("timeout", tide.timeout(0, late, "zero")) fails("timeout", tide.timeout(1, late, "one"))
  fails("timeout", tide.timeout(2, function() fails("timeout", tide.timeout(1, late, "inner")) closed[#closed + 1] = "between" late "outer" end))
  fails("timeout", tide.timeout(1, function() tide.timeout(50, late, "inner2") closed[#closed + 1] = "never" end))
  same(table.concat(closed, " "), "zero one inner between outer inner2")
  local ok, why, name = tide.timeout(5, function() return nil, "no", "denied" end) same(ok, nil) same(name, "denied")
  raises("seconds expected", tide.timeout) raises("function expected", tide.timeout, 1) raises("negative", tide.timeout, -1, print)
]]

-- ---- work of a connection ----

waiting [[
  local task = conn:spawn(function(a) return wait(a) end, 5) same(task:join(), 5)
]]
load_app [[
  local app, kept, tasks = {}, nil, {}
  function app.on_message(conn, text)
    if text == "keep" then
      kept = conn
      for i = 1, 3 do
        tasks[i] = conn:spawn(function() local c <close> = setmetatable({}, { __close = function() tide.log.info("unwound " .. i) end }) tide.sleep(99) tide.log.error "never" end)
      end
      tide.sleep(5)
      local ok, why, name = kept:spawn(print)
      assert(ok == nil and why == "closed" and name == "closed")
      assert(select(3, tasks[1]:join()) == "cancelled")
      tide.log.info "handled to its end"
    end
  end
  function app.on_close() tide.log.info "on_close" end
  return app
]]
local one = open()
one:text "keep"
advance(1)
one:close(1000)
text = logged()
assert(text:find "unwound 1.*unwound 2.*unwound 3" and not text:find "on_close", text)
advance(10)
text = logged()
assert(text:find "handled to its end.*on_close" and not text:find "never", text)

-- a version that loads may yet be refused: it ends what it made itself, and leaves alone what the live one has at work
load_app [[
  local app = {}
  function app.on_open(conn)
    tide.state.task = tide.spawn(function() tide.sleep(1) conn:send "done" end)
    tide.state.timer = tide.after(1, function() conn:send "rung" end)
  end
  return app
]]
one = open()
for _, text in ipairs { "tide.state.task:cancel()", "tide.state.timer:cancel()", "do local x <close> = tide.state.task end",
                        "do local x <close> = tide.state.timer end" } do
  local why = reload("pcall(function() " .. text .. " end) " .. text .. " return {}")
  assert(why and why:find "not while loading: use on_start", why)
end
assert(reload "tide.spawn(print):cancel() tide.after(1, print):cancel() do local x <close> = tide.spawn(print) end error 'so far'":find "so far")
advance(1)
expect(one, "rung") expect(one, "done")

-- tasks without end: the handler that makes them hits script.memory or script.time, the server goes on (tests/e2e/test_budget.py)
