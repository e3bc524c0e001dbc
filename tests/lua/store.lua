-- tide.store where it lives in memory, and stores that were opened with { memory = true }: one set of methods

inside [[
for _, store in ipairs { tide.store, tide.store:open "s", tide.store:open("s", { memory = true }) } do
  same(store:get "k", nil)
  same(store:set("k", "v"), true) same(store:get "k", "v")
  for _, v in ipairs { "", "\0\xff\n", ("x"):rep(1000), 5, -1, math.maxinteger, 5.0, 0.1, true, false } do
    assert(store:set("k", v)) same(store:get "k", v)
  end
  store:set("k", tide.null) same(store:get "k", tide.null)
  local t = { a = { 1, 2 }, e = tide.json.array {} }
  store:set("k", t) t.a[1] = 9
  local copy = store:get "k"
  assert(copy ~= t and copy.a[1] == 1 and copy.a[2] == 2)
  copy.a[1] = 7 same(store:get "k".a[1], 1) same(tide.json.encode(store:get "k".e), "[]")
  same(store:delete "k", true) same(store:delete "k", false) same(store:get "k", nil)
  same(store:incr "n", 1) same(store:incr("n", 5), 6) same(store:incr("n", -10), -4) same(store:get "n", -4)
  store:set("n", 41) same(store:incr "n", 42)
  same(store:update("u", function(old) same(old, nil) return { 1 } end)[1], 1)
  same(store:update("u", function(old) old[2] = 2 return old end)[2], 2) same(#store:get "u", 2)
  same(store:update("u", function() return nil end), nil) same(store:get "u", nil)
  same(store:update("none", function() end), nil)
  same(tide.store:open("other", { memory = true }):get "n", nil) same(tide.store:open "other":get "n", nil)
end
  local store = tide.store:open("s", { memory = true })
  assert(store == tide.store:open("s", { memory = true }) and store ~= tide.store:open("other", { memory = true }))
  assert(tide.store:open "s" == tide.store:open("s", { memory = false }) and store ~= tide.store:open "s")
  same(tostring(store), "store: s") same(getmetatable(store), false)
  for _, each in ipairs { tide.store, tide.store:open "s", tide.store:open("s", { memory = true }) } do each:set("n", 1) each:incr "n" same(each:get "n", 2) end
]]

inside [[
for _, store in ipairs { tide.store, tide.store:open "scan", tide.store:open("scan", { memory = true }) } do
  for _, k in ipairs { "b", "a:2", "a:10", "a:1", "a\0", "" .. "c" } do store:set(k, "v" .. k) end
  local function keys(...) local list = {} for k, v in store:scan(...) do list[#list + 1] = k same(v, "v" .. k) end return table.concat(list, " ") end
  same(keys "a:", "a:1 a:10 a:2") same(keys(), "a\0 a:1 a:10 a:2 b c") same(keys(nil), keys "") same(keys("a:", { limit = 2 }), "a:1 a:10") same(keys "z", "")
  same(keys("", { limit = 0 }), "")
  local seen = {}
  for k in store:scan "a:" do seen[#seen + 1] = k store:delete "a:10" store:set("a:3", "va:3") end
  same(table.concat(seen, " "), "a:1 a:2")
end
]]

-- time to live runs by the clock of the machine: only what is over already can be seen here (the rest is in test_store_memory.c)
inside [[
for _, store in ipairs { tide.store, tide.store:open("ttl", { memory = true }) } do
  assert(store:set("k", 1, { ttl = 60 })) same(store:get "k", 1)
  assert(store:set("k", 1, {})) assert(store:set("k", 1, { ttl = 1e300 })) same(store:get "k", 1)
  raises("a number of seconds", store.set, store, "k", 1, { ttl = "x" }) raises("a number of seconds", store.set, store, "k", 1, { ttl = 0/0 })
  raises("unknown option 'tll'; did you mean ttl%?", store.set, store, "k", 1, { tll = 5 })
  raises("options have names", store.set, store, "k", 1, { 5 }) raises("table expected", store.set, store, "k", 1, 5)
end
]]

inside [[
for _, store in ipairs { tide.store, tide.store:open "wrong", tide.store:open("wrong", { memory = true }) } do
  raises("store:delete removes a key", store.set, store, "k", nil) raises("store:set: value.f: cannot be written", store.set, store, "k", { f = print })
  raises("store:set: value: JSON has no way to write nan", store.set, store, "k", 0/0)
  for _, name in ipairs { "get", "set", "delete", "incr" } do
    local f = store[name]
    raises("string expected, got number", f, store, 5, 1) raises("string expected", f, store) raises("key: 1 to 1024 bytes", f, store, "", 1)
    raises("key: 1 to 1024 bytes", f, store, ("x"):rep(1025), 1) raises("store", f, conn, "k", 1) raises("store", f, {}, "k", 1)
  end
  fails("too_large", store:set("k", ("x"):rep((1 << 20) + 1))) fails("too_large", store:set("k", { ("x"):rep(1 << 20) })) same(store:get "k", nil)
  assert(store:set(("k"):rep(1024), ("x"):rep(1 << 20)))
  store:set("text", "5") fails("invalid", store:incr "text") store:set("top", math.maxinteger) fails("invalid", store:incr "top") same(store:get "top", math.maxinteger)
  store:set("float", 1.5) fails("invalid", store:incr "float") raises("number expected", store.incr, store, "n", "x") raises("no integer", store.incr, store, "n", 1.5)
  raises("function expected", store.update, store, "k") raises("boom", store.update, store, "k", function() error "boom" end) same(store:get "k", nil)
  raises("store:update: value: cannot", store.update, store, "k", function() return print end)
  raises("whole number", store.scan, store, "", { limit = -1 }) raises("whole number", store.scan, store, "", { limit = "x" }) raises("string expected", store.scan, store, 5)
  raises("unknown option", store.scan, store, "", { limt = 1 }) raises("at most 1024", store.scan, store, ("x"):rep(1025))
end
  local opened = tide.store:open("wrong", { memory = true })
  raises("store", opened.get, tide.store, "k") raises("store", tide.store.open, opened, "x") raises("store", tide.store.open, {}, "x")
]]

-- What may wait somewhere is used where waiting is possible, everywhere; stores in memory can be used in any place.
inside [[
  for _, store in ipairs { tide.store, tide.store:open "w" } do
    for name, arg in pairs { get = 1, set = 1, delete = 1, incr = 1, update = function() end, scan = { limit = 1 } } do
      local co = coroutine.wrap(function() store[name](store, "k", arg) end)
      raises("cannot wait here; use tide.spawn", co)
    end
  end
  local store = tide.store:open("w", { memory = true })
  assert(coroutine.wrap(function() return store:set("k", 1) and store:incr "k" == 2 and store:update("k", function(n) return n + 1 end) == 3 end)())
  local list = { "b", "a" }
  store:set("a", 1) store:set("b", 2)
  table.sort(list, function(a, b) return store:get(a) < store:get(b) end)
  same(table.concat(list), "ab")
]]

inside [[
  raises("did you mean memory", tide.store.open, tide.store, "x", { memry = true }) raises("true or false", tide.store.open, tide.store, "x", { memory = 1 })
  raises("store name: 1 to 64 bytes", tide.store.open, tide.store, "", { memory = true }) raises("1 to 64", tide.store.open, tide.store, ("x"):rep(65))
  raises("no zero bytes", tide.store.open, tide.store, "a\0b", { memory = true }) raises("string expected", tide.store.open, tide.store, 5, { memory = true })
  raises("tide.store expected", tide.store.open, "x", { memory = true })
]]

-- what is kept outlives a reload; opening is fine while a chunk loads, writing is not
load_app [[
  local store = tide.store:open("kept", { memory = true })
  local app = {}
  function app.on_start() store:set("k", { n = 1 }) end
  return app
]]
assert(reload [[
  local store = tide.store:open("kept", { memory = true })
  return { on_message = function(conn) conn:send(tostring(store:get "k".n)) end }
]] == nil)
local client = open()
client:text "?"
expect(client, "1")
assert(reload [[tide.store:open("kept", { memory = true }):set("k", 1) return {}]]:find "store:set: not while loading: use on_start")
assert(reload [[tide.store:open("kept", { memory = true }):incr("k") return {}]]:find "store:incr: not while loading")
assert(reload [[tide.store:open("kept", { memory = true }):delete("k") return {}]]:find "store:delete: not while loading")
for _, call in ipairs { "get 'k'", "set('k', 1)", "delete 'k'", "incr 'k'", "scan()", "update('k', function() end)" } do
  assert(reload("tide.store:" .. call .. " return {}"):find "store:%a+: not while loading: use on_start", call)
end
assert(reload [[local store, mine = tide.store, tide.store:open "x" return {
  on_message = function(conn, text) assert(store:set(text, text) and mine:set(text, "mine")) conn:send(store:get(text)) end,
} ]] == nil)
client:text "own"
expect(client, "own")
assert(reload [[local app = {}
  function app.on_message(conn, text) conn:send(tide.store:get(text) .. tide.store:open "x":get(text)) end
  return app]] == nil)
client:text "own"
expect(client, "ownmine")
assert(reload [[
  local store = tide.store:open("kept", { memory = true })
  return { on_message = function(conn) conn:send(tostring(store:get "k".n)) end }
]] == nil)
client:text "?"
expect(client, "1")
logged()

-- update: the function may wait, and is called again when somebody else was faster
load_app [[
  local app = {}
  for name, store in pairs { durable = tide.store, memory = tide.store:open("u", { memory = true }) } do
    app.on = app.on or {}
    app.on[name] = function(conn)
      local calls = 0
      local v = store:update("k", function(old)
        calls = calls + 1
        if calls == 1 then tide.sleep(1) end
        return (old or 0) + 1
      end)
      return { value = v, calls = calls }
    end
    app.on["faster_" .. name] = function() assert(store:incr("k", 10)) end
  end
  return app
]]
for _, kind in ipairs { "memory", "durable" } do
  local one = open()
  send(one, { type = kind, id = 1 })
  expect_nothing(one)
  send(open(), { type = "faster_" .. kind })
  advance(1000)
  expect(one, { type = "reply", id = 1, data = { value = 11, calls = 2 } })
end
