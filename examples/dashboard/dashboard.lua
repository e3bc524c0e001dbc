-- dashboard.lua - live series of numbers on a page with a plot.  moontide run examples/dashboard/dashboard.lua --static examples/dashboard
--
-- Three demo sensors measure four times a second. Anybody may send a series of their own:
--   {"type": "publish", "series": "my.sensor", "value": 21.5}
-- Who subscribes gets the last two minutes first, then every point; a slow reader gets only the newest of each series.
local tide = require "moontide"
local app = { on = {} }

local KEEP, STEP = 480, 0.25                              -- points of a series; seconds between two demo points
local series = tide.store:open("series", { memory = true })   -- name -> list of { t, v }

app.accepts = {
  subscribe = {},
  publish   = { series = "string 1..40", value = "number" },
}

local function add(name, value)
  local point = { tide.now(), value }
  series:update(name, function(list)
    list = list or tide.json.array {}
    list[#list + 1] = point
    if #list > KEEP then table.remove(list, 1) end
    return list
  end)
  tide.room("dashboard"):send({ type = "point", series = name, t = point[1], value = value }, { key = name })
end

local function measure()
  local t = tide.now()
  add("sea level (m)", math.floor(100 * (1.2 + 0.9 * math.sin(t / 17) + 0.05 * math.random())) / 100)
  add("wind (m/s)", math.floor(100 * (6 + 2 * math.sin(t / 5) + 1.5 * math.random())) / 100)
  add("water (°C)", math.floor(100 * (14 + 0.6 * math.sin(t / 41) + 0.1 * math.random())) / 100)
end

function app.on_start() tide.every(STEP, measure) end

function app.on.subscribe(conn)
  conn:join("dashboard")
  local out = {}
  for name, points in series:scan("") do out[name] = points end
  conn:send { type = "series", series = out }
end

function app.on.publish(_, msg) add(msg.series, msg.value) end

return app
