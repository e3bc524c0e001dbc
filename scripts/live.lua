-- live.lua - topics with a newest value: who subscribes gets it at once, then every update; a slow reader gets only the newest.
--
--   {"type": "subscribe", "topic": "price"}              -> {"type": "current_data", "topic": "price", "data": ...} if there is one
--   {"type": "publish", "topic": "price", "data": 42}    -> to subscribers: {"type": "update", "topic": ..., "data": 42, "timestamp": ...}
--   {"type": "unsubscribe", "topic": "price"}
local tide = require "moontide"
local app = { on = {} }

local TOPIC = "string 1..100"
local latest = tide.store:open("latest", { memory = true })     -- one for all workers, kept over reloads

app.accepts = {
  subscribe   = { topic = TOPIC },
  unsubscribe = { topic = TOPIC },
  publish     = { topic = TOPIC, data = "any" },
}

function app.on.subscribe(conn, msg)
  conn:join(msg.topic)                                          -- first join, then look: nothing falls between
  local data = latest:get(msg.topic)
  if data ~= nil then conn:send { type = "current_data", topic = msg.topic, data = data } end
end

function app.on.unsubscribe(conn, msg) conn:leave(msg.topic) end

function app.on.publish(_, msg)
  latest:set(msg.topic, msg.data)
  local update = { type = "update", topic = msg.topic, data = msg.data, timestamp = tide.now() }
  tide.room(msg.topic):send(update, { key = msg.topic })
end

return app
