-- tide.queue: a bounded queue of work, done by a few coroutines at a time

-- An app with a queue, made while it loads, and code that a message of the client names.
local function queue_app(fn, opts, code)
  load_app([[
    local app = { on = {} }
    local log = {}
    local function say(text) log[#log + 1] = tostring(text) end
    local q q = tide.queue(]] .. fn .. ", " .. (opts or "nil") .. [[)
    local function put(...) return select(3, q:put(...)) or "ok" end
    function app.on_message(conn, text) ]] .. (code or "") .. [[
      local fn = load(text, "=inside", "t", setmetatable({ q = q, put = put, say = say, tide = tide, conn = conn }, { __index = _G }))
      local got = assert(fn)()
      if got ~= nil then say(got) end
      conn:send(table.concat(log, " ")) log = {}
    end
    function app.tell(conn) conn:send(table.concat(log, " ")) log = {} end
    return app
  ]])
  return open()
end

local function ask(client, code, want)
  client:text(code)
  expect(client, want)
end

-- ---- order, limits, workers ----

local client = queue_app("function(n) say('+' .. n) tide.sleep(1) say('-' .. n) end", "{ workers = 1, limit = 3 }")
ask(client, "for i = 1, 4 do say(put(i)) end say(put(5)) say(q:count()) say(select(2, q:put(6))) say(q)",
  "ok ok ok ok full 3 the queue is full queue: 3 waiting, 1 at work")
ask(client, "", "+1") -- it started when the handler had ended
advance(2.5)
ask(client, "say(q:count())", "-1 +2 -2 +3 1")
advance(10)
ask(client, "say(q:count()) say(q)", "-3 +4 -4 0 queue: 0 waiting, 0 at work")
ask(client, "put(7)", "") -- it begins again
advance(2)
ask(client, "", "+7 -7")

client = queue_app("function(n) say('+' .. n) tide.sleep(n) say('-' .. n) end", "{ workers = 2 }")
ask(client, "for _, n in ipairs { 3, 1, 1, 1 } do put(n) end", "")
advance(0.5) ask(client, "say(q:count())", "+3 +1 2")
advance(1) ask(client, "", "-1 +1")
advance(9) ask(client, "", "-1 +1 -3 -1")

-- what never waits is done as soon as the handler has ended; any values, none too
client = queue_app("function(...) say(select('#', ...) .. ':' .. tostring((select(-1, nil, ...)))) end")
ask(client, "put() put(nil) put(1, nil) put({}, print, 'x', nil, false) say(q:count())", "3")
ask(client, "", "0:nil 1:nil 2:nil 5:false")
ask(client, "local t = {} for i = 1, 200 do t[i] = i end put(table.unpack(t))", "")
ask(client, "", "200:200")

-- the default limit; an item that puts the next one in
client = queue_app("function(n) if n > 0 then say(n) q:put(n - 1) end end")
ask(client, "local n = 0 while q:put(0) do n = n + 1 end return n", "1001")
ask(client, "return q:put(3) and q:count()", "0")
ask(client, "", "3 2 1")

-- ---- failures ----

client = queue_app("function(n) if n == 1 then error 'broken' elseif n == 2 then tide.reject(400) elseif n == 3 then tide.sleep(1) error({}) end say(n) end")
logged()
client:text "for i = 1, 4 do put(i) end"
local text = logged()
assert(text:find "tide.queue: app.lua:4: broken.-\n    stack traceback:" and text:find "tide.reject: there is no request", text)
advance(2)
expect_error "tide.queue: table: "
expect(client, "")
ask(client, "", "4")

-- ---- arguments ----

inside [[
  local q = tide.queue(print)
  raises("function expected, got no value", tide.queue) raises("function expected", tide.queue, 5) raises("table expected", tide.queue, print, 5)
  raises("unknown option 'worker'; did you mean workers%?", tide.queue, print, { worker = 1 }) raises("options have names", tide.queue, print, { 1 })
  for _, bad in ipairs { 0, -1, 1e9 // 1 | 0 } do
    raises("workers: 1 to 100000", tide.queue, print, { workers = bad }) raises("limit: 1 to 10000000", tide.queue, print, { limit = bad })
  end
  raises("workers: a whole number", tide.queue, print, { workers = 1.5 }) raises("limit: a whole number", tide.queue, print, { limit = "5" })
  same(tide.queue(print, {}):count(), 0) same(tide.queue(print, nil):count(), 0) same(getmetatable(q), false)
  raises("moontide.queue expected", q.put) raises("moontide.queue expected", q.put, {}) raises("moontide.queue expected", q.count, conn)
]]
assert(app [[local q = tide.queue(print) q:put(1) return {}]]:find "queue:put: not while loading: use on_start")

-- ---- cancelling from inside does not touch the queue; waiting for what it cannot ----

client = queue_app("function(n) local ok, why, name = tide.timeout(1, tide.sleep, 9) say(n .. name) end", "{ workers = 2 }")
ask(client, "put(1) put(2) put(3)", "")
advance(5)
ask(client, "", "1timeout 2timeout 3timeout")

-- ---- reload: what is in it belongs to its version ----

local VERSION = [[
  local app, name = {}, "%s"
  local q = tide.queue(function(n) tide.sleep(1) tide.log.info(("done %%d by %%s as %%s"):format(n, name, tide.version)) end)
  function app.on_message(conn, text)
    if text == "keep" then tide.state.q = q end
    local queue = text == "kept" and tide.state.q or q
    for i = 1, 3 do queue:put(i) end
    conn:send(tostring(queue:count()))
  end
  return app
]]
load_app(VERSION:format "one")
client = open()
ask(client, "keep", "2")
advance(0.5)
assert(reload(VERSION:format "two") == nil)
ask(client, "", "2")
advance(1)
text = logged()
assert(text:find "done 1 by one" and text:find "done 1 by two", text)
ask(client, "kept", "4") -- the old queue takes more, and does it in its version
advance(20)
text = logged()
assert(select(2, text:gsub("by one", "")) == 5 and select(2, text:gsub("by two", "")) == 2 and not text:find "dropped", text)
-- the old version has ended by now, but its queue is still held: it works for who puts something in
assert(reload(VERSION:format "three") == nil)
advance(20)
assert(reload(VERSION:format "four") == nil)
logged()
ask(client, "kept", "2")
advance(5)
text = logged()
assert(select(2, text:gsub("by one", "")) == 3, text)
