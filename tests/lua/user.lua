-- tide.user, tide.conn, tide.conns and tide.broadcast

load_app [[
  local app = {}
  function app.on_connect(req) return { user = req.query.user } end
  function app.on_message(conn, text) return assert(load("local tide, conn = ... " .. text))(tide, conn) end
  return app
]]
local ann, tab, bob = open "/?user=ann", open "/?user=ann", open "/?user=bob"
bob:text [[assert(tide.user "ann":send { hi = 1 } == true) assert(tide.user "ann":count() == 2)]]
expect(ann, { hi = 1 }) expect(tab, { hi = 1 }) expect_nothing(bob)
ann:text [[tide.user(conn.user):send("other tabs", { except = conn })]]
expect_nothing(ann) expect(tab, "other tabs")
bob:text [[tide.user "ann":send_binary "\1\2"]]
expect(ann, "\1\2") expect(tab, "\1\2")
bob:text [[assert(tide.broadcast("all") == true) tide.broadcast({ but = "bob" }, { except = "bob" }) tide.broadcast("most", { except = { conn, "ann" } })]]
for _, c in ipairs { ann, tab, bob } do expect(c, "all") end
expect(ann, { but = "bob" }) expect(tab, { but = "bob" }) expect_nothing(bob) expect_nothing(ann)
bob:text [[
  assert(tide.user "ann":join("r", { x = 1 }) == true) assert(#tide.room "r":members() == 1 and tide.room "r":members()[1].info.x == 1)
  assert(tide.user "ann":leave "r" == true and tide.user "ann":leave "r" == false and tide.room "r":count() == 0)
  local n = 0 for c in tide.conns() do n = n + 1 c.data.seen = n end assert(n == 3 and conn.data.seen)
  for c in tide.conns() do if c.user == "ann" then
    local far = tide.conn(c.id)
    assert(far:send "far" == true and far:send_binary "b" == true and far:join "q" == true and tide.room "q":has(c) and far:leave "q" == true and far:leave "q" == false)
    assert(far:send("no", { except = c }) == true and far:send("no", { except = far }) == true and far:send("no", { except = { tide.user "ann" } }) == true)
  end end
]]
for _, c in ipairs { ann, tab } do expect(c, "far") expect(c, "b") expect_nothing(c) end
bob:text [[assert(tide.user "ann":close(4002, "bye") == true)]]
assert(ann:closed() == 4002 and tab:closed() == 4002)
ann:close(4002) tab:close(4002)
bob:text [[assert(tide.user "ann":count() == 0) assert(select(3, tide.user "ann":send "x") == "offline") for c in tide.conns() do assert(c == conn) end conn:send "end"]]
expect(bob, "end")
bob:text [[assert(tide.conn(conn.id):close(4003) == true and select(3, tide.conn(conn.id):close()) == "offline" and select(3, tide.conn(conn.id):send "x") == "offline")]]
assert(bob:closed() == 4003)

-- leaving out what nobody can be leaves out nobody, also not those without a user
local guest = inside [[
  tide.broadcast("1", { except = "" }) tide.broadcast("2", { except = { "", tide.user "", tide.conn "" } }) tide.broadcast("3", { except = tide.user "" })
  tide.broadcast("no", { except = tide.conn(conn.id) }) tide.broadcast("no", { except = { "", tide.conn(conn.id) } })
]]
for i = 1, 3 do expect(guest, tostring(i)) end
expect_nothing(guest)

inside [[
  local nobody = tide.user "nobody"
  same(nobody:count(), 0)
  for _, far in ipairs { nobody, tide.user "", tide.user(("x"):rep(10000)), tide.conn "c0", tide.conn "", tide.conn "nonsense", tide.conn "c1zzzzzzzz", tide.conn(("c"):rep(10000)) } do
    fails("offline", far:send "x") fails("offline", far:send {}) fails("offline", far:send_binary "x") fails("offline", far:close()) fails("offline", far:join "r") fails("offline", far:leave "r")
    local _, message = far:send "x" same(message, "nobody there")
    raises("string or table expected", far.send, far) raises("not UTF%-8", far.send, far, "\xff") raises("string expected", far.send_binary, far, {}) raises("close codes", far.close, far, 1006)
    raises("room name", far.join, far, "") raises("string expected", far.leave, far) raises("expected", far.send, conn, "x") raises("unknown option", far.send, far, "x", { kye = 1 })
    same(getmetatable(far), false)
  end
  raises("string expected", tide.user) raises("string expected", tide.user, 5) raises("string expected", tide.user, conn)
  raises("string expected", tide.conn) raises("string expected", tide.conn, 5)
  raises("string or table expected", tide.broadcast) raises("string or table expected", tide.broadcast, 5) raises("tide.broadcast: the text is not UTF", tide.broadcast, "\xff")
  raises("except: a conn", tide.broadcast, "x", { except = { {} } })
]]

load_app "return {}"
for _, call in ipairs { "user 'x':send 'x'", "user 'x':join 'r'", "user 'x':leave 'r'", "user 'x':close()", "conn 'x':send 'x'", "conn 'x':join 'r'", "conn 'x':leave 'r'", "broadcast 'x'" } do
  local why = reload("tide." .. call .. " return {}")
  assert(why and why:find "not while loading: use on_start", why)
end
assert(reload "assert(tide.user 'x':count() == 0) for c in tide.conns() do end return {}" == nil)
logged()
