-- What the conformance suite runs against: messages come back as they are, requests come back as JSON.
local app = { protocols = { "v2.echo", "v1.echo" } }

function app.on_message(conn, text) conn:send(text) end
function app.on_binary(conn, bytes) conn:send_binary(bytes) end

function app.on_http(req)
  if req.path == "/none" then return end
  if req.path == "/stream" then
    local n = 0
    return 200, function()
      n = n + 1
      if n <= 3 then return ("piece %d\n"):format(n) end
    end, { ["Content-Type"] = "text/plain" }
  end
  local body = req.body or ""
  return 200, { method = req.method, path = req.path, x = req.query.x, y = req.query.y, body = body, length = #body }
end

return app
