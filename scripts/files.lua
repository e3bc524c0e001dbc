-- files.lua - files in pieces, both ways, with progress and a checksum at the end. Kept in memory, the newest few.
--
--   {"type": "begin", "name": "a.bin", "size": 300000, "id": 1}   then binary messages with the bytes, in order
--        <- {"type": "progress", "name": "a.bin", "received": 65536, "size": 300000}   after each piece
--        <- {"type": "complete", "name": "a.bin", "size": 300000, "sha256": "..."}     compare it with yours
--   {"type": "get", "name": "a.bin", "id": 2}                     <- binary messages, then {"type": "sent", ..., "sha256": "..."}
--   {"type": "list", "id": 3}   {"type": "cancel"}
local tide = require "moontide"
local app = { on = {}, limits = { message_bytes = 1 << 20 } }

local MAX_SIZE, KEEP, PIECE = 16 << 20, 8, 64 << 10

app.accepts = {
  begin  = { name = "string 1..100", size = "integer 1.." .. MAX_SIZE },
  get    = { name = "string 1..100" },
  list   = {},
  cancel = {},
}

local files                                                     -- newest last
function app.on_start()
  tide.state.files = tide.state.files or {}                     -- kept over reloads
  files = tide.state.files
end

local function find(name)
  for i, file in ipairs(files) do
    if file.name == name then return file, i end
  end
end

local function keep(file)
  local _, old = find(file.name)
  if old then table.remove(files, old) end
  files[#files + 1] = file
  if #files > KEEP then table.remove(files, 1) end
end

function app.on.begin(conn, msg)
  conn.data.upload = { name = msg.name, size = msg.size, received = 0, pieces = {}, hash = tide.crypto.hasher "sha256" }
  return { name = msg.name, piece = PIECE }
end

function app.on_binary(conn, bytes)
  local up = conn.data.upload
  if not up then return nil, "begin first", "denied" end
  if up.received + #bytes > up.size then return nil, "more bytes than announced", "too_large" end
  up.received = up.received + #bytes
  up.pieces[#up.pieces + 1] = bytes
  up.hash:update(bytes)
  conn:send({ type = "progress", name = up.name, received = up.received, size = up.size }, { key = "progress" })
  if up.received < up.size then return end
  conn.data.upload = nil
  local file = { name = up.name, size = up.size, sha256 = up.hash:digest(), bytes = table.concat(up.pieces) }
  keep(file)
  conn:send { type = "complete", name = file.name, size = file.size, sha256 = file.sha256 }
end

function app.on.get(conn, msg)
  local file = find(msg.name)
  if not file then return nil, "no such file", "not_found" end
  for at = 1, file.size, PIECE do
    local ok, err, name = conn:send_binary(file.bytes:sub(at, at + PIECE - 1))
    if not ok then return nil, err, name end
    conn:drain()                                                -- as fast as the client reads, no faster
  end
  conn:send { type = "sent", name = file.name, size = file.size, sha256 = file.sha256 }
  return { name = file.name }
end

function app.on.list()
  local out = tide.json.array {}
  for _, file in ipairs(files) do out[#out + 1] = { name = file.name, size = file.size, sha256 = file.sha256 } end
  return { files = out }
end

function app.on.cancel(conn) conn.data.upload = nil end

return app
