-- echo.lua - every text comes back
local app = {}
function app.on_message(conn, text) conn:send(text) end
return app
