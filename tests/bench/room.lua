-- room.lua - everybody is in one room and hears everything
local tide = require "moontide"
local app = {}
function app.on_open(conn) conn:join("all") end
function app.on_message(_, text) tide.room("all"):send(text) end
return app
