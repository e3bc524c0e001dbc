-- app.lua - signed webhooks come in by HTTP and go out to everybody who watches their room.
--
-- POST /hooks/ROOM with a JSON body and three headers, as https://www.standardwebhooks.com describes them:
--   webhook-id         names the delivery; the same one again is answered, not pushed a second time
--   webhook-timestamp  unix seconds, at most five minutes off
--   webhook-signature  "v1," and the HMAC-SHA256 of "ID.TIMESTAMP.BODY" in base64; several with blanks between them
local tide = require "moontide"
local secret = assert(tide.env.WEBHOOK_SECRET, "set WEBHOOK_SECRET to whsec_ and a key in base64")
local KEY = assert(tide.crypto.decode(secret:match "^whsec_(.+)$", "base64"))

local CLOCK = 300                                          -- seconds that a timestamp may be off
local KEEP = 20                                            -- deliveries of a room that who comes later sees
local LARGEST = 64 << 10                                   -- bytes of a body
local ROOM = "string 1..64"

local app = { on = {}, accepts = { watch = { room = ROOM } } }

local function signed(req, id, at)
  local wanted = tide.crypto.hmac("sha256", KEY, id .. "." .. at .. "." .. req.body, "base64")
  for signature in (req.headers["webhook-signature"] or ""):gmatch "v1,(%S+)" do   -- two while the sender changes its key
    if tide.crypto.equal(signature, wanted) then return true end
  end
  return false
end

local function check(req)                                  -- -> id; whoever is not the sender gets no further
  local id, at = req.headers["webhook-id"], req.headers["webhook-timestamp"]
  if not (id and at and #id <= 128 and at:match "^%d+$") then tide.reject(400, "webhook-id and webhook-timestamp are needed") end
  if not signed(req, id, at) then tide.reject(401, "the signature is wrong") end
  if math.abs(tide.now() - tonumber(at)) > CLOCK then tide.reject(401, "the timestamp is too far off") end
  return id
end

local function remember(delivery)                          -- for who comes later -> ok
  return tide.store:update("recent:" .. delivery.room, function(list)
    list = list or tide.json.array {}
    table.insert(list, 1, delivery)
    list[KEEP + 1] = nil
    return list
  end)
end

local function receive(req)
  if req.method ~= "POST" then tide.reject(405, "POST only", { Allow = "POST" }) end
  if #req.body > LARGEST then tide.reject(413) end
  local name = tide.check(req.params.room, ROOM)
  if not name then tide.reject(404) end
  local id = check(req)
  local event = req:json { type = "string? 1..100", data = "any?" }

  local seen = "delivery:" .. id                           -- of all rooms: the room is not signed
  local times, err = tide.store:incr(seen, 1, { ttl = 2 * CLOCK })
  if not times then tide.reject(503, err) end              -- the sender tries again later
  if times > 1 then return 200, { duplicate = true } end   -- also two at the same moment: one of them is first
  local delivery = { type = "delivery", room = name, id = id, at = tide.now(), event = event }
  local kept, why = remember(delivery)
  if not kept then
    tide.store:delete(seen)
    tide.reject(503, why)
  end
  tide.room(name):send(delivery)
  return 202, { watched_by = tide.room(name):count() }
end

function app.on.watch(conn, msg)
  for _, name in ipairs(conn:rooms()) do conn:leave(name) end
  conn:join(msg.room)                                      -- first join, then look: nothing falls between
  return { recent = tide.store:get("recent:" .. msg.room) or tide.json.array {} }
end

app.routes = { ["/"] = app, ["/hooks/:room"] = { on_http = receive } }
return app
