-- app.lua - answers that arrive in pieces from an HTTP backend go out as they come, and can be stopped.
--
--   -> {"type": "ask", "ask": 1, "text": "What makes the tide?"}
--   <- {"type": "piece", "ask": 1, "text": "The "} ...
--   <- {"type": "end", "ask": 1, "how": "done"}             or "failed" with a message, or "stopped"
--   -> {"type": "stop"}
local tide = require "moontide"
local URL = tide.env.ANSWERS_URL or "http://localhost:8766/answer"

local app = { on = {} }
app.accepts = {
  ask  = { ask = "integer", text = "string 1..4000" },
  stop = {},
}

local PIECE = { text = "string" }                           -- of the backend: {"text": "..."}; what it sends besides is passed over

local function stream(conn, ask, prompt)                   -- -> nothing, or why it failed and what the log should know
  local res <close>, err = tide.http.post(URL, { json = { prompt = prompt }, stream = true, timeout = 30 })
  if not res then return "the backend cannot be reached", err end
  if res.status ~= 200 then return "the backend refuses to answer", "status " .. res.status end
  for line in res:lines() do
    local data = line:match "^data: ?(.*)$"
    if data == "[DONE]" then return end
    local event = tide.check(tide.json.decode(data), PIECE)
    if event then
      conn:send { type = "piece", ask = ask, text = event.text }
      conn:drain()                                         -- a slow reader slows the backend down
    end
  end
  return "the answer broke off", res.error or "it ended without [DONE]"
end

local function answer(conn, ask, prompt)
  local why, more = stream(conn, ask, prompt)
  if why then tide.log.warn(why, { error = more }) end
  conn:send { type = "end", ask = ask, how = why and "failed" or "done", message = why }
end

local function stop(conn)                                  -- cancels: `res` closes, which ends the request to the backend
  local job = conn.data.job
  if job and job.task:cancel() then conn:send { type = "end", ask = job.ask, how = "stopped" } end
end

function app.on.ask(conn, msg)
  stop(conn)                                               -- one answer at a time
  conn.data.job = { ask = msg.ask, task = conn:spawn(answer, conn, msg.ask, msg.text) }   -- ends with the connection
end

app.on.stop = stop

return app
