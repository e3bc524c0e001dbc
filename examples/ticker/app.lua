-- app.lua - a price ticker: one job polls an HTTP API, everybody who watches a symbol gets its price.
--
--   <- {"type": "feed", "ok": true, "symbols": ["COD", ...], ...}       at once, and after each question to the API
--   <- {"type": "feed", "ok": false, "reason": "refused", "pause": 4}    it fails, and is asked again in 4 seconds
--   -> {"type": "watch", "symbols": ["COD", "EEL"]}
--   <- {"type": "price", "symbol": "COD", "price": 4.81, "at": ...}     at once, and with every change
local tide = require "moontide"
local URL = tide.env.PRICES_URL or "http://localhost:8766/prices"
local EVERY = tonumber(tide.env.POLL_SECONDS) or 1         -- from one answer to the next question
local LONGEST = 30 * EVERY                                 -- when it fails again and again

local app = { on = {}, jobs = {} }
local SYMBOL = "string 1..12"
local ANSWER = { prices = { { symbol = SYMBOL, price = "number" }, max = 1000 } }   -- checked like a message

app.rooms   = { ["price:*"] = { current = true }, feed = { current = true } }   -- who comes late gets the newest first
app.accepts = { watch = { symbols = { SYMBOL, max = 1000 } } }

local function ask()
  local res, err, name = tide.http.get(URL, { timeout = 5, max_body = 1 << 20 })
  if not res then return nil, err, name end
  if res.status ~= 200 then return nil, "status " .. res.status, "invalid" end
  return res:json(ANSWER)
end

local function publish(prices, last)                       -- -> the symbols; sends what is not as it was
  local symbols = tide.json.array {}
  for i, p in ipairs(prices) do
    symbols[i] = p.symbol
    if last[p.symbol] ~= p.price then
      last[p.symbol] = p.price
      tide.room("price:" .. p.symbol):send({ type = "price", symbol = p.symbol, price = p.price, at = tide.now() },
                                           { key = p.symbol })     -- a slow reader gets only the newest
    end
  end
  return symbols
end

function app.jobs.poll()                                   -- one, however many workers there are; again at a reload
  local last, symbols, failures = {}, tide.json.array {}, 0
  while true do
    local answer, err, name = ask()
    if answer then symbols = publish(answer.prices, last) end
    failures = answer and 0 or failures + 1
    local pause = math.min(EVERY * 2 ^ failures, LONGEST)
    if err then tide.log.warn("the API fails", { error = err, pause = pause }) end   -- strangers hear only the name
    tide.room("feed"):send({ type = "feed", ok = answer ~= nil, reason = name, pause = pause, symbols = symbols }, { key = "feed" })
    tide.sleep(pause)
  end
end

function app.on_open(conn) conn:join("feed") end

function app.on.watch(conn, msg)
  local wanted = {}
  for _, symbol in ipairs(msg.symbols) do wanted["price:" .. symbol] = true end
  for _, room in ipairs(conn:rooms()) do
    if room ~= "feed" and not wanted[room] then conn:leave(room) end
  end
  for room in pairs(wanted) do conn:join(room) end
end

return app
