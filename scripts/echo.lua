-- echo.lua - says back what it hears, as JSON. Binary messages come back as they are.
--
--   {"message": "hi"}   ->  {"type": "echo", "message": "Received: hi", "timestamp": 1732345678.9}
--   not JSON            ->  {"error": "Invalid JSON"}, and the connection stays
local tide = require "moontide"
local app = {}

local function as_text(value)
  if type(value) == "string" then return value end
  return tide.json.encode(value == nil and tide.null or value)
end

function app.on_message(conn, text)
  local msg = tide.json.decode(text)
  if type(msg) ~= "table" then
    conn:send { error = "Invalid JSON" }
    return
  end
  conn:send { type = "echo", message = "Received: " .. as_text(msg.message), timestamp = tide.now() }
end

function app.on_binary(conn, bytes) conn:send_binary(bytes) end

return app
