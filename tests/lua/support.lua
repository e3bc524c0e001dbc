-- support.lua - helpers of the test files: expectations, and `inside`, which runs a piece of code in a handler of the VM.

-- Whether `want` is in `got`: tables by the given fields only, all else by equality.
local function contains(got, want)
  if type(want) ~= "table" or type(got) ~= "table" then return got == want and math.type(got) == math.type(want) end
  for k, v in pairs(want) do
    if not contains(got[k], v) then return false end
  end
  return true
end

-- The next message: a text, or a table of fields that must be in it.
function expect(client, want)
  local line = client:receive()
  assert(line, "nothing was sent; expected " .. (type(want) == "table" and encode(want) or tostring(want)))
  if type(want) == "string" then
    assert(line == want, ("expected %s, got %s"):format(want, line))
    return line
  end
  local got = decode(line)
  assert(contains(got, want), ("expected %s, got %s"):format(encode(want), line))
  return got
end

function expect_nothing(client)
  local line = client:receive()
  assert(line == nil, line)
end

function send(client, message) client:text(encode(message)) end

function open(target, headers)
  local client, status = connect(target, headers)
  assert(status == 101, status)
  return client
end

function load_app(text)
  local why = app(text)
  assert(why == nil, why)
end

-- Errors in the log since the last look; they count as expected then.
function expect_error(pattern)
  local text = logged()
  assert(text:find(pattern), ("expected in the log: %s\ngot: %s"):format(pattern, text))
end

local APP = [[
local app = {}
local env = setmetatable({ tide = tide, app = app }, { __index = _G })
function env.raises(pattern, fn, ...)
  local ok, why = pcall(fn, ...)
  assert(not ok, "did not raise: " .. pattern)
  assert(tostring(why):find(pattern), "expected " .. pattern .. ", got " .. tostring(why))
end
function env.fails(name, value, message, got, ...)
  assert(value == nil and type(message) == "string" and got == name and select("#", ...) == 0, tostring(value) .. " " .. tostring(message) .. " " .. tostring(got))
end
function env.same(a, b) assert(a == b and math.type(a) == math.type(b), tostring(a) .. " is not " .. tostring(b)) end
function app.on_open(conn) env.conn = conn end
function app.on_message(conn, text)
  local fn = assert(load(text, "=inside", "t", env))
  fn(conn)
  tide.log.info("the inside has ended")
end
return app
]]

-- Runs code in a handler of a new app, with tide, conn, raises(pattern, fn, ...), fails(name, results...) and same(a, b). Returns its client.
function inside(code, target)
  load_app(APP)
  local client = open(target)
  more(client, code)
  return client
end

-- Runs more code in the same app.
function more(client, code)
  logged()
  client:text(code)
  local text = logged()
  assert(text:find "the inside has ended" and not text:find " ERROR ", text)
end

-- The same for code that waits: it runs in a task of its own, until its end. What it sends to the client is thrown away.
function waiting(code, target)
  local client = inside("tide.spawn(function() " .. code .. " conn:send 'the task has ended' end)", target)
  local line = client:receive()
  while line ~= "the task has ended" do
    local text = logged()
    assert(not text:find " ERROR ", text)
    if not line then await() end
    line = client:receive()
  end
  return client
end
