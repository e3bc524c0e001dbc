-- chat.lua - rooms, names, who is here, private messages, and the last messages of each room.
--
-- Connect with ?name=ann (or get a guest name), then send:
--   {"type": "join", "room": "lobby", "id": 1}     -> reply: you, members, history
--   {"type": "chat", "room": "lobby", "text": "hi"}
--   {"type": "private", "to": "bob", "text": "psst"}
--   {"type": "who", "room": "lobby", "id": 2}      -> reply: members
--   {"type": "rooms", "id": 3}                     -> reply: rooms with people in them
--   {"type": "leave", "room": "lobby"}
-- Everybody in the room hears user_joined, user_left and chat.
local tide = require "moontide"
local app = { on = {} }

local NAME, TEXT = "string 1..64", "string 1..2000"
local KEEP = 50                                            -- messages of a room that a newcomer sees
local history = tide.store:open("history", { memory = true })   -- kept over reloads, shared by all workers

app.accepts = {
  join    = { room = NAME },
  leave   = { room = NAME },
  chat    = { room = NAME, text = TEXT },
  private = { to = NAME, text = TEXT },
  who     = { room = NAME },
  rooms   = {},
}

app.rooms = { ["*"] = {                                    -- once per person, not per tab; a quick reconnect is neither
  on_join  = function(room, who) room:send { type = "user_joined", room = room.name, user_id = who.user } end,
  on_leave = function(room, who) room:send { type = "user_left", room = room.name, user_id = who.user } end,
} }

local function remember(message)
  history:update(message.room, function(list)
    list = list or tide.json.array {}
    list[#list + 1] = message
    if #list > KEEP then table.remove(list, 1) end
    return list
  end)
end

function app.on_connect(req)
  local name = tide.check(req.query.name, NAME)
  return { user = name or "guest-" .. tide.crypto.random(3, "hex") }
end

function app.on_open(conn)
  conn:send { type = "system", message = "Welcome to the chat!", you = conn.user }
end

function app.on.join(conn, msg)
  conn:join(msg.room)
  return {
    you = conn.user,
    members = tide.room(msg.room):members(),
    history = history:get(msg.room) or tide.json.array {},
  }
end

function app.on.leave(conn, msg) conn:leave(msg.room) end

function app.on.chat(conn, msg)
  local room = tide.room(msg.room)
  if not room:has(conn) then return nil, "join the room first", "denied" end
  local message = { type = "chat", room = room.name, from = conn.user, text = msg.text, at = tide.now() }
  remember(message)
  room:send(message)
end

function app.on.private(conn, msg)                         -- every tab and device of that person, or "nobody there"
  return tide.user(msg.to):send { type = "private", from = conn.user, text = msg.text, at = tide.now() }
end

function app.on.who(_, msg) return { room = msg.room, members = tide.room(msg.room):members() } end

function app.on.rooms() return { rooms = tide.rooms() } end

return app
