-- api.lua - a price API to poll, so that the example needs nothing else.  moontide run examples/ticker/api.lua --listen localhost:8766
--
-- GET /prices -> {"prices": [{"symbol": "COD", "price": 4.81}, ...]}, a little different every half second.
local tide = require "moontide"
local app = {}

local FISH = { { "COD", 4.80 }, { "CRAB", 11.20 }, { "EEL", 16.50 }, { "HAKE", 6.30 }, { "MUSSEL", 3.10 }, { "PLAICE", 7.40 },
               { "SQUID", 9.90 }, { "TURBOT", 21.00 } }

local function price(symbol, middle, t)                    -- a sum of waves: smooth, never the same, equal in all workers
  local phase = symbol:byte() + symbol:byte(2)
  local swing = math.sin(t / 7 + phase) + 0.6 * math.sin(t / 2.9 + 2 * phase) + 0.4 * math.sin(t / 1.3 + 3 * phase)
  return math.floor(100 * middle * (1 + 0.02 * swing) + 0.5) / 100
end

function app.on_http(req)
  if req.path ~= "/prices" then return end
  local t, list = tide.now() // 0.5 / 2, {}
  for i, fish in ipairs(FISH) do list[i] = { symbol = fish[1], price = price(fish[1], fish[2], t) } end
  return 200, { prices = list }
end

return app
