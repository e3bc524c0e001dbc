-- A chat with rooms. Save this file while it runs: what you change is live at once, and nobody is disconnected.
--
--   {"type": "join", "room": "lobby", "id": 1}                 <- reply: { lines = the last ones, members = who is there }
--   {"type": "say", "room": "lobby", "text": "hello"}          <- {"type": "line", ...} for all in the room
local tide = require "moontide"
local app = { on = {} }

local NAME, TEXT, KEEP = "string 1..64", "string 1..2000", 50
app.accepts = { join = { room = NAME }, say = { room = NAME, text = TEXT } } -- checked before a handler runs

app.rooms = { ["*"] = {                                       -- once per person, not per tab
  on_join  = function(room, who) room:send { type = "joined", room = room.name, user = who.user } end,
  on_leave = function(room, who) room:send { type = "left", room = room.name, user = who.user } end,
} }

function app.on_connect(req)
  local name = req.query.name or ""
  if #name < 1 or #name > 64 then return nil, "a name of 1 to 64 bytes, as in /?name=ann" end
  return { user = name }                                      -- anybody may say any name: ask for a password here
end

function app.on.join(conn, msg)
  conn:join(msg.room)                                         -- first, so that no line falls in between
  local lines, why, name = tide.store:get("lines:" .. msg.room)
  if why then return nil, why, name end
  return { lines = lines or tide.json.array {}, members = tide.room(msg.room):members() }
end

function app.on.say(conn, msg)
  local room = tide.room(msg.room)
  if not room:has(conn) then return nil, "join the room first", "denied" end
  local line = { from = conn.user, text = msg.text, time = tide.now() }
  local kept, why, name = tide.store:update("lines:" .. msg.room, function(lines) -- on the disk when it returns
    lines = lines or tide.json.array {}
    line.n = #lines > 0 and lines[#lines].n + 1 or 1          -- a page knows by it what it has already
    lines[#lines + 1] = line
    if #lines > KEEP then table.remove(lines, 1) end
    return lines
  end)
  if not kept then return nil, why, name end
  line.type, line.room = "line", msg.room
  room:send(line)
end

return app
