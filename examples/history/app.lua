-- app.lua - a chat whose messages stay: kept in SQLite, read back page by page, searched.
--
--   {"type": "join", "room": "lobby", "id": 1}                    -> reply: you, the newest messages, whether there are more
--   {"type": "earlier", "room": "lobby", "before": 71, "id": 2}   -> reply: the messages before that one
--   {"type": "search", "room": "lobby", "text": "tea", "id": 3}   -> reply: the newest messages with words that begin so
--   {"type": "chat", "room": "lobby", "text": "hi", "id": 4}      -> reply: it is kept; everybody in the room hears it
local tide = require "moontide"
local db = tide.sql.open("history.db", { migrations = "migrations" })    -- made at the first start
local app = { on = {} }

local PAGE = 30
local ROOM = "string 1..64"
app.accepts = {
  join    = { room = ROOM },
  earlier = { room = ROOM, before = "integer" },
  search  = { room = ROOM, text = "string 1..100" },
  chat    = { room = ROOM, text = "string 1..2000" },
}

local function tell_people(room) room:send({ type = "people", room = room.name, count = room:count() }, { key = "people" }) end
app.rooms = { ["*"] = { on_join = tell_people, on_leave = tell_people } }

function app.on_connect(req)
  return { user = tide.check(req.query.name, "string 1..64") or "guest-" .. tide.crypto.random(3, "hex") }
end

local function page(room, before)                             -- one more than wanted tells whether there are more
  local rows, err, name = db:query([[
    SELECT * FROM (SELECT id, author, text, at FROM messages WHERE room = ? AND id < ? ORDER BY id DESC LIMIT ?) ORDER BY id]],
    room, before, PAGE + 1)
  if not rows then return nil, err, name end
  local more = #rows > PAGE
  if more then table.remove(rows, 1) end
  return { messages = rows, more = more }
end

function app.on.join(conn, msg)
  conn:join(msg.room)                                         -- first join, then look: nothing falls between
  local latest, err, name = page(msg.room, math.maxinteger)
  if not latest then return nil, err, name end
  latest.you, latest.people = conn.user, tide.room(msg.room):count()
  return latest
end

local function member(handler)                                -- middleware is a function around a function
  return function(conn, msg)
    if not tide.room(msg.room):has(conn) then return nil, "join the room first", "denied" end
    return handler(conn, msg)
  end
end

app.on.earlier = member(function(_, msg) return page(msg.room, msg.before) end)

app.on.search = member(function(_, msg)
  if not msg.text:find "%S" then return nil, "a word to look for", "invalid" end
  local words = msg.text:gsub("%S+", function(word) return '"' .. word:gsub('"', '""') .. '"*' end)   -- no operators of FTS5
  local rows, err, name = db:query([[
    SELECT id, author, messages.text, at FROM words JOIN messages ON messages.id = words.rowid
    WHERE words MATCH ? AND room = ? ORDER BY id DESC LIMIT 20]], words, msg.room)
  return rows and { messages = rows }, err, name
end)

app.on.chat = member(function(conn, msg)
  local at = tide.now()
  local id, err, name = db:transaction(function(tx)           -- both or none
    local rows, err, name = tx:query("INSERT INTO messages (room, author, text, at) VALUES (?, ?, ?, ?)",
                                     msg.room, conn.user, msg.text, at)
    if not rows then return nil, err, name end
    assert(tx:query("INSERT INTO words (rowid, text) VALUES (?, ?)", rows.last_id, msg.text))
    return rows.last_id
  end)
  if not id then return nil, err, name end                    -- nobody hears what is not kept
  tide.room(msg.room):send { type = "chat", room = msg.room, id = id, author = conn.user, text = msg.text, at = at }
  return { id = id }
end)

return app
