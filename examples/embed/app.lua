-- app.lua - the script of the embedding example: it uses a module that the C program brings along.
local host = require "host"
local app = {}

function app.on_http(req)
  if req.path ~= "/" then return 404, "nothing here" end
  return 200, { greeting = host.greet("browser"), visits = host.count() }
end

function app.on_message(conn, text) conn:send(host.greet(text)) end

return app
