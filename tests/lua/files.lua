-- tide.files; the folder allows 1 MiB a file.

waiting [[
  local files = tide.files
  fails("not_found", files.open "a.txt") fails("not_found", files.open("a.txt", "r"))
  local f <close> = assert(files.open("a.txt", "w"))
  same(f:size(), 0) same(f:read(0, 10), "")
  same(f:write(0, "hello"), true) same(f:write(5, ""), true) same(f:write(10, "world"), true)
  same(f:size(), 15) same(f:read(0, 5), "hello") same(f:read(10, 16 << 20), "world") same(f:read(5, 5), "\0\0\0\0\0")
  same(f:read(15, 1), "") same(f:read(math.maxinteger, 1), "") same(f:read(0, 0), "")
  local again <close> = assert(files.open("a.txt", "w"))
  same(again:size(), 15) same(again:read(0, 5), "hello")
  again:write(0, "HELLO") same(f:read(0, 5), "HELLO")
  fails("too_large", f:write(1 << 20, "x")) fails("too_large", f:write(math.maxinteger, "x")) same(f:size(), 15)
]]

waiting [[
  local files = tide.files
  local f = assert(files.open("p/2026/a.part", "w"))
  f:write(0, "photo")
  same(files.rename("p/2026/a.part", "p/2026/a.jpg"), true)
  fails("not_found", files.rename("p/2026/a.part", "p/2026/a.jpg"))
  f:write(5, "!") f:close()
  local r <close> = assert(files.open "p/2026/a.jpg")
  same(r:read(0, 99), "photo!")
  raises("opened for reading", r.write, r, 0, "x")
  local list = files.list "p/"
  same(#list, 1) same(list[1].name, "p/2026/a.jpg") same(list[1].size, 6) assert(math.abs(list[1].time - os.time()) < 60)
  same(tide.json.encode(files.list "none"), "[]")
  assert(files.open("q", "w")):close()
  local names = {} for i, entry in ipairs(files.list()) do names[i] = entry.name end
  same(table.concat(names, " "), "a.txt p/2026/a.jpg q") same(#files.list "", 3)
  same(files.delete "p/2026/a.jpg", true) same(files.delete "p/2026/a.jpg", false) same(files.delete "none/x", false)
  same(r:read(0, 5), "photo")
  fails("denied", files.open("p/2026", "w")) fails("denied", files.delete "p/2026") fails("denied", files.open("q/x", "w"))
]]

-- what is closed
waiting [[
  local f = assert(tide.files.open("c", "w"))
  assert(tostring(f):match "^file: [^ ]+$")
  same(select("#", f:close()), 0) f:close()
  assert(tostring(f):match "%(closed%)$")
  fails("closed", f:read(0, 1)) fails("closed", f:write(0, "x")) fails("closed", f:size())
  local kept
  do local g <close> = assert(tide.files.open("c", "w")) kept = g end
  fails("closed", kept:size())
]]

-- one after the other, in the order of the calls; close does not overtake them
waiting [[
  local f, tasks = assert(tide.files.open("order", "w")), {}
  for i = 1, 50 do tasks[i] = tide.spawn(function() return f:write(0, ("%04d"):format(i)) end) end
  f:size() -- they have begun meanwhile
  f:close()
  for _, task in ipairs(tasks) do same(task:join(), true) end
  local r <close> = assert(tide.files.open "order")
  same(r:read(0, 9), "0050")
]]

-- large pieces, more than may be under way at once
waiting [[
  local tasks = {}
  for i = 1, 100 do
    tasks[i] = tide.spawn(function()
      local f <close> = assert(tide.files.open("large/" .. i, "w"))
      local bytes = string.char(i):rep(1 << 20)
      assert(f:write(0, bytes))
      assert(f:read(0, 16 << 20) == bytes)
      return f:size()
    end)
  end
  for _, task in ipairs(tasks) do same(task:join(), 1 << 20) end
]]

inside [[
  local files = tide.files
  local hostile = { "", "/etc/passwd", "../x", "a/../../x", ".", "..", ".hidden", "a/", "a//b", "a\0b", "a\nb", "a\\b", "\xff", ("x"):rep(256), ("x/"):rep(600) .. "x" }
  for _, name in ipairs(hostile) do
    fails("invalid", files.open(name)) fails("invalid", files.open(name, "w")) fails("invalid", files.delete(name))
    fails("invalid", files.rename(name, "a")) fails("invalid", files.rename("a", name))
  end
  fails("invalid", files.list "../") fails("invalid", files.list "/") fails("invalid", files.list "..")
  raises("unknown mode 'x'", files.open, "a", "x") raises("unknown mode 'rw'", files.open, "a", "rw")
  raises("string expected", files.open) raises("string expected", files.open, 5) raises("string expected", files.open, "a", true)
  raises("string expected", files.rename, "a") raises("string expected", files.rename, nil, "a") raises("string expected", files.delete)
  raises("string expected", files.list, 5)
]]

waiting [[
  local f <close> = assert(tide.files.open("a.txt", "w"))
  raises("number expected", f.read, f) raises("number expected", f.read, f, 0) raises("0 or more", f.read, f, -1, 1)
  raises("0 to 16777216", f.read, f, 0, -1) raises("0 to 16777216", f.read, f, 0, (16 << 20) + 1) raises("no integer", f.read, f, 0.5, 1)
  raises("string expected", f.write, f, 0) raises("string expected", f.write, f, 0, 5) raises("0 or more", f.write, f, -1, "x")
  raises("at most 16777216", f.write, f, 0, ("x"):rep((16 << 20) + 1))
  raises("file expected", f.read, {}, 0, 1) raises("file expected", f.close) same(getmetatable(f), false)
]]

-- a file in tide.state and conn.data is the same after a reload, and the object keeps working
local client = waiting [[
  conn.data.f = assert(tide.files.open("kept", "w"))
  conn.data.f:write(0, "before")
  tide.state.f = conn.data.f
]]
assert(reload("tide.state.f:close() return {}"):find "file:close: not while loading") -- it is the live version's
assert(reload [[
  local app = {}
  function app.on_message(conn) conn:send(conn.data.f:read(0, 100)) end
  return app
]] == nil)
client:text "?"
local line
repeat
  await()
  line = client:receive()
until line
assert(line == "before", line)

-- cancelled while it waits: what has not begun is not done
waiting [[
  local f = assert(tide.files.open("cancelled", "w"))
  local first = tide.spawn(function() f:write(0, ("a"):rep(1 << 20)) end)
  local second = tide.spawn(function() f:write(0, "b") tide.log.error "never" end)
  f:size() -- they have begun meanwhile
  second:cancel()
  first:join()
  same(f:read(0, 1), "a")
  f:close()
]]

-- the app ends while something is under way
inside [[ tide.spawn(function() local f = tide.files.open("ended", "w") f:write(0, ("x"):rep(1 << 20)) f:write(0, "y") end) ]]
await()
load_app "return {}"

assert(app [[ tide.files.open "x" return {} ]]:find "not while loading: use on_start")
