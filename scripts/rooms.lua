-- rooms.lua - named rooms by JSON commands; every command with an "id" gets exactly one reply or error.
--
--   {"type": "join", "room": "r", "id": 1}              -> {"type": "reply", "id": 1, "data": {"room": "r", "count": 1}}
--   {"type": "publish", "room": "r", "data": 42, "id": 2} -> to all in r: {"type": "message", "room": "r", "from": ..., "data": 42}
--   {"type": "list", "id": 3}                           -> reply: all rooms with their number of people, and yours
--   {"type": "leave", "room": "r", "id": 4}
local tide = require "moontide"
local app = { on = {} }

local ROOM = "string 1..100"

app.accepts = {
  join    = { room = ROOM },
  leave   = { room = ROOM },
  publish = { room = ROOM, data = "any" },
  list    = { prefix = "string? ..100" },
}

function app.on_connect(req) return { user = tide.check(req.query.name, "string 1..64") } end

function app.on.join(conn, msg)
  local ok, err, name = conn:join(msg.room)
  if not ok then return nil, err, name end
  return { room = msg.room, count = tide.room(msg.room):count() }
end

function app.on.leave(conn, msg)
  if not conn:leave(msg.room) then return nil, "you are not in this room", "not_found" end
  return { room = msg.room }
end

function app.on.publish(conn, msg)
  local room = tide.room(msg.room)
  if not room:has(conn) then return nil, "join the room first", "denied" end
  room:send { type = "message", room = room.name, from = conn.user or conn.id, data = msg.data }
  return { room = msg.room, count = room:count() }
end

function app.on.list(conn, msg) return { rooms = tide.rooms(msg.prefix or ""), joined = conn:rooms() } end

return app
