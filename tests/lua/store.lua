-- tide.store

inside [[
  local store = tide.store:open("s", { memory = true })
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
  assert(store == tide.store:open("s", { memory = true }) and store ~= tide.store:open("other", { memory = true }))
  same(tide.store:open("other", { memory = true }):get "n", nil)
  same(tostring(store), "store: s") same(getmetatable(store), false)
]]

inside [[
  local store = tide.store:open("scan", { memory = true })
  for _, k in ipairs { "b", "a:2", "a:10", "a:1", "a\0", "" .. "c" } do store:set(k, "v" .. k) end
  local function keys(...) local list = {} for k, v in store:scan(...) do list[#list + 1] = k same(v, "v" .. k) end return table.concat(list, " ") end
  same(keys "a:", "a:1 a:10 a:2") same(keys(), "a\0 a:1 a:10 a:2 b c") same(keys(nil), keys "") same(keys("a:", { limit = 2 }), "a:1 a:10") same(keys "z", "")
  same(keys("", { limit = 0 }), "")
  local seen = {}
  for k in store:scan "a:" do seen[#seen + 1] = k store:delete "a:10" store:set("a:3", "va:3") end
  same(table.concat(seen, " "), "a:1 a:2")
]]

-- time to live runs by the clock of the machine: only what is over already can be seen here (the rest is in test_store_memory.c)
inside [[
  local store = tide.store:open("ttl", { memory = true })
  assert(store:set("k", 1, { ttl = 60 })) same(store:get "k", 1)
  assert(store:set("k", 1, {})) assert(store:set("k", 1, { ttl = 1e300 })) same(store:get "k", 1)
  raises("a number of seconds", store.set, store, "k", 1, { ttl = "x" }) raises("a number of seconds", store.set, store, "k", 1, { ttl = 0/0 })
  raises("unknown option 'tll'; did you mean ttl%?", store.set, store, "k", 1, { tll = 5 })
  raises("options have names", store.set, store, "k", 1, { 5 }) raises("table expected", store.set, store, "k", 1, 5)
]]

inside [[
  local store = tide.store:open("wrong", { memory = true })
  raises("store:delete removes a key", store.set, store, "k", nil) raises("store:set: value.f: cannot be written", store.set, store, "k", { f = print })
  raises("store:set: value: JSON has no way to write nan", store.set, store, "k", 0/0)
  for _, name in ipairs { "get", "set", "delete", "incr" } do
    local f = store[name]
    raises("string expected, got number", f, store, 5, 1) raises("string expected", f, store) raises("key: 1 to 1024 bytes", f, store, "", 1)
    raises("key: 1 to 1024 bytes", f, store, ("x"):rep(1025), 1) raises("store", f, conn, "k", 1) raises("store", f, {}, "k", 1) raises("store", f, tide.store, "k", 1)
  end
  fails("too_large", store:set("k", ("x"):rep((1 << 20) + 1))) fails("too_large", store:set("k", { ("x"):rep(1 << 20) })) same(store:get "k", nil)
  assert(store:set(("k"):rep(1024), ("x"):rep(1 << 20)))
  store:set("text", "5") fails("invalid", store:incr "text") store:set("top", math.maxinteger) fails("invalid", store:incr "top") same(store:get "top", math.maxinteger)
  store:set("float", 1.5) fails("invalid", store:incr "float") raises("number expected", store.incr, store, "n", "x") raises("no integer", store.incr, store, "n", 1.5)
  raises("function expected", store.update, store, "k") raises("boom", store.update, store, "k", function() error "boom" end) same(store:get "k", nil)
  raises("store:update: value: cannot", store.update, store, "k", function() return print end)
  raises("cannot wait", store.update, store, "k", function() tide.sleep(1) end)
  raises("whole number", store.scan, store, "", { limit = -1 }) raises("whole number", store.scan, store, "", { limit = "x" }) raises("string expected", store.scan, store, 5)
  raises("unknown option", store.scan, store, "", { limt = 1 }) raises("at most 1024", store.scan, store, ("x"):rep(1025))
]]

inside [[
  raises("only tide.store:open", tide.store.open, tide.store, "x") raises("only tide.store:open", tide.store.open, tide.store, "x", {})
  raises("only tide.store:open", tide.store.open, tide.store, "x", { memory = false }) raises("did you mean memory", tide.store.open, tide.store, "x", { memry = true })
  raises("store name: 1 to 64 bytes", tide.store.open, tide.store, "", { memory = true }) raises("1 to 64", tide.store.open, tide.store, ("x"):rep(65), { memory = true })
  raises("no zero bytes", tide.store.open, tide.store, "a\0b", { memory = true }) raises("string expected", tide.store.open, tide.store, 5, { memory = true })
  raises("table expected", tide.store.open, "x", { memory = true })
  for _, name in ipairs { "get", "set", "delete", "incr", "update", "scan" } do
    raises("tide.store." .. name .. ": only tide.store:open", tide.store[name], tide.store, "k")
  end
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
client:text "?"
expect(client, "1")
logged()
