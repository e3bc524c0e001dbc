-- f_files.lua with users: ?name=ann
local app = require "f_files"
function app.on_connect(req) return { user = req.query.name } end
return app
