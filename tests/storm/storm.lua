-- storm.lua - what the reload storm reloads: rooms that everybody writes to, each message with the version that made it.
-- tests/support/storm.py makes good and bad versions of it: it sets the numbers and fills in the lines `-- HERE`.
local tide = require "moontide"
local GENERATION = 1
local LEVEL = 1 -- shape of the state: rises with each on_upgrade
local ROOMS <const> = 20
local SLOW <const> = 16 -- one of so many messages waits in its handler; 0: none does
-- HERE: chunk

local app = { version = LEVEL }

-- Five characters with 6 bits each, the lowest first: see tests/bench/peer.c.
local function number_at(text, place)
  local n = 0
  for k = 4, 0, -1 do n = n * 64 + text:byte(place + k) - 48 end
  return n
end

-- What a message of this moment starts with: version, worker, and how many messages this worker and this connection have had
-- answered. Both counts are state that every reload has to keep.
local function stamp(conn)
  local data, state = conn.data, tide.state
  data.count = (data.count or 0) + 1
  state.total = (state.total or 0) + 1
  return ("%s %d %d %d %d "):format(tide.version, GENERATION, tide.worker, state.total, data.count)
end

function app.on_message(conn, text)
  local number = number_at(text, 7)
  -- HERE: message
  local head, room, answer = stamp(conn), "R ", "A "
  if number == 0 then
    conn.data.room = "room " .. number_at(text, 1) % ROOMS
    conn:join(conn.data.room)
  else
    if SLOW > 0 and number % SLOW == 0 then
      tide.sleep(0.001)
      room, answer = "r ", "a " -- by now another version may be live
    end
    tide.room(conn.data.room):send(room .. head .. text)
  end
  conn:send(answer .. head .. text)
end

-- The levels that the state has been through, of the worker that answers.
function app.on_http() return 200, { levels = tide.json.array(tide.state.levels or {}) } end

-- HERE: app
return app
