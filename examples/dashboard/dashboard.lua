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

local function wave(t, middle, ...)                       -- a sum of waves, each given by height and seconds: smooth, never the same
  for i = 1, select("#", ...), 2 do
    local height, period = select(i, ...)
    middle = middle + height * math.sin(t * 2 * math.pi / period)
  end
  return math.floor(middle * 100 + 0.5) / 100
end

local sensors = {
  ["sea level (m)"] = function(t) return wave(t, 1.6, 0.9, 107, 0.12, 13, 0.03, 3.1) end,
  ["wind (m/s)"]    = function(t) return wave(t, 6.2, 1.8, 41, 0.9, 11.3, 0.5, 4.7, 0.25, 1.9) end,
  ["water (°C)"]    = function(t) return wave(t, 14, 0.5, 173, 0.08, 29, 0.02, 2.3) end,
}

local function measure()
  for name, value_at in pairs(sensors) do add(name, value_at(tide.now())) end
end

function app.on_start(reason)
  if tide.worker ~= 1 then return end                     -- one measures for all
  tide.every(STEP, measure)
  if reason ~= "start" then return end                    -- the store has the past already
  local now = tide.now()
  for name, value_at in pairs(sensors) do                 -- so that nobody looks at an empty plot
    local list = tide.json.array {}
    for t = now - (KEEP - 1) * STEP, now, STEP do list[#list + 1] = { t, value_at(t) } end
    series:set(name, list)
  end
end

function app.on.subscribe(conn)
  conn:join("dashboard")
  local out = {}
  for name, points in series:scan("") do out[name] = points end
  conn:send { type = "series", series = out }
end

function app.on.publish(_, msg) add(msg.series, msg.value) end

return app
