-- app.lua - who is here, and from where: what the server knows of its visitors when a proxy stands in front of it.
--
--   <- {"type": "you", "name": "visitor 7", "ip": "203.0.113.9"}       at once
--   <- {"type": "here", "people": ["visitor 7", ...]}                  at once, and with every change
--   -> {"type": "say", "text": "hello"}
--   <- {"type": "said", "name": "visitor 7", "text": "hello"}
--   GET /ip                                                            {"ip": "203.0.113.9"}
local tide = require "moontide"
local app = { on = {} }

app.accepts = { say = { text = "string 1..500" } }

local function tell(room)                                  -- a slow reader gets only the newest
  local people = tide.json.array {}
  for i, member in ipairs(room:members()) do people[i] = member.user end
  room:send({ type = "here", people = people }, { key = "people" })
end

app.rooms = { here = { on_join = tell, on_leave = tell, grace = 0 } }

function app.on_connect()
  return { user = "visitor " .. assert(tide.store:incr("visitors")) }
end

function app.on_open(conn)
  conn:send { type = "you", name = conn.user, ip = conn.ip }
  conn:join("here")
end

function app.on.say(conn, msg)
  tide.room("here"):send { type = "said", name = conn.user, text = msg.text }
end

function app.on_http(req)
  if req.path == "/ip" then return 200, { ip = req.ip }, { ["Cache-Control"] = "no-store" } end
end

return app
