-- Does HTTP requests as the messages say: what the tests of tide.http drive.
local tide = require "moontide"
local app = { on = {} }

local function copy(headers)
  local out = {}
  for name, value in pairs(headers) do out[name] = value end
  return out
end

-- read: "lines" or "chunks"; stop: after so many; tell: each piece goes to the client; count: only the size is of interest
local function read(conn, res, msg, out)
  local pieces, size = tide.json.array {}, 0
  if msg.stop ~= 0 then
    for piece in res[msg.read](res) do
      size = size + #piece
      if not msg.count then pieces[#pieces + 1] = piece end
      if msg.tell then conn:send { type = "piece", piece = piece } end
      if #pieces == msg.stop then break end
    end
  end
  out.pieces, out.size, out.error, out.body = pieces, size, res.error, res.body
end

local function fetch(conn, msg)
  local began = tide.now()
  local res <close>, message, name = tide.http.request(msg.method or "GET", msg.url, msg.opts)
  if not res then return { failed = name, message = message, took = tide.now() - began } end
  local out = { status = res.status, headers = copy(res.headers), took = tide.now() - began }
  if msg.read then
    read(conn, res, msg, out)
  elseif msg.decode then
    out.value, out.message, out.name = res:json(msg.shape)
  else
    out.body, out.size = msg.count and "" or res.body, #res.body
  end
  return out
end

function app.on.fetch(conn, msg) return fetch(conn, msg) end

-- so many at once: how many answers had which status, or failure
function app.on.many(conn, msg)
  local tasks, counts = {}, {}
  for i = 1, msg.count do tasks[i] = conn:spawn(fetch, conn, msg) end
  for _, task in ipairs(tasks) do
    local got = task:join()
    local key = tostring(got.status or got.failed)
    counts[key] = (counts[key] or 0) + 1
  end
  return counts
end

-- work that is told when it ends, and can be cancelled
function app.on.start(conn, msg)
  conn.data.task = conn:spawn(function() conn:send { type = "done", result = fetch(conn, msg) } end)
end
function app.on.cancel(conn) conn.data.task:cancel() end

-- a stream that nobody reads, until it is drained
function app.on.hold(conn, msg)
  conn.data.held = assert(tide.http.get(msg.url, { stream = true }))
  return "held"
end
function app.on.drain(conn, msg)
  local out = {}
  read(conn, conn.data.held, { read = msg.read, count = true }, out)
  return out
end

-- two tasks on one stream
function app.on.share(conn, msg)
  local res <close> = assert(tide.http.get(msg.url, { stream = true }))
  local first = conn:spawn(function() for _ in res:chunks() do end return res.error end)
  tide.sleep(0)
  local ok, why = pcall(res:lines())
  res:close()
  res:close()
  return { ok = ok, why = tostring(why), error = first:join() }
end

function app.on_http() return 200, "v1" end
return app
