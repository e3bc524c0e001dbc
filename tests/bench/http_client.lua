-- Keep-alive GETs from so many tasks at once, timed: the client side of http_client.py
local tide = require "moontide"
local app = { on = {} }

local function ask(url, count)
  for _ = 1, count do assert(assert(tide.http.get(url)).status == 200) end
end

function app.on.run(_, msg)
  local began, tasks = tide.now(), {}
  for i = 1, msg.tasks do tasks[i] = tide.spawn(ask, msg.url, msg.count // msg.tasks) end
  for _, task in ipairs(tasks) do assert(task:join() == nil) end
  return { seconds = tide.now() - began }
end
return app
