-- files.lua - files in pieces, both ways, with progress and a checksum at the end. Kept in memory, the newest few.
--
--   {"type": "begin", "name": "a.bin", "size": 300000, "id": 1}   then binary messages with the bytes, in order
--        <- {"type": "progress", "name": "a.bin", "received": 65536, "size": 300000}   after each piece
--        <- {"type": "complete", "name": "a.bin", "size": 300000, "sha256": "..."}     compare it with yours
--   {"type": "get", "name": "a.bin", "id": 2}                     <- binary messages, then {"type": "sent", ..., "sha256": "..."}
--   {"type": "list", "id": 3}   {"type": "cancel"}
local tide = require "moontide"
local app = { on = {}, limits = { message_bytes = 1 << 20 } }

local MAX_SIZE, KEEP, PIECE = 16 << 20, 6, 64 << 10             -- together below the 128 MiB of all stores in memory
local index = tide.store:open("files", { memory = true })       -- "newest last" -> list of { name, size, sha256, id }
local pieces = tide.store:open("pieces", { memory = true })     -- "id/place" -> bytes; one for all workers, kept over reloads

app.accepts = {
  begin  = { name = "string 1..100", size = "integer 1.." .. MAX_SIZE },
  get    = { name = "string 1..100" },
  list   = {},
  cancel = {},
}

local function list() return index:get "newest last" or tide.json.array {} end

local function find(name)
  for _, file in ipairs(list()) do
    if file.name == name then return file end
  end
end

local function drop(file)
  for at = 1, file.size, PIECE do pieces:delete(file.id .. "/" .. at) end
end

local function add(file)                                        -- -> those that it replaces or that are too many now
  local gone
  local ok, err, name = index:update("newest last", function(old)
    local kept = tide.json.array {}
    gone = {}
    for _, other in ipairs(old or {}) do
      local to = other.name == file.name and gone or kept
      to[#to + 1] = other
    end
    kept[#kept + 1] = file
    if #kept > KEEP then gone[#gone + 1] = table.remove(kept, 1) end
    return kept
  end)
  return ok and gone, err, name
end

local function keep(file, bytes)
  for at = 1, file.size, PIECE do
    local ok, err, name = pieces:set(file.id .. "/" .. at, bytes:sub(at, at + PIECE - 1))
    if not ok then drop(file) return nil, err, name end
  end
  local gone, err, name = add(file)
  for _, old in ipairs(gone or { file }) do drop(old) end
  return gone, err, name
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
  local file = { name = up.name, size = up.size, sha256 = up.hash:digest(), id = tide.crypto.uuid() }
  local ok, err, name = keep(file, table.concat(up.pieces))
  if not ok then return nil, err, name end
  conn:send { type = "complete", name = file.name, size = file.size, sha256 = file.sha256 }
end

function app.on.get(conn, msg)
  local file = find(msg.name)
  if not file then return nil, "no such file", "not_found" end
  for at = 1, file.size, PIECE do
    local bytes = pieces:get(file.id .. "/" .. at)
    if not bytes then return nil, "the file was replaced", "not_found" end
    local ok, err, name = conn:send_binary(bytes)
    if not ok then return nil, err, name end
    conn:drain()                                                -- as fast as the client reads, no faster
  end
  conn:send { type = "sent", name = file.name, size = file.size, sha256 = file.sha256 }
  return { name = file.name }
end

function app.on.list() return { files = list() } end

function app.on.cancel(conn) conn.data.upload = nil end

return app
