-- backend.lua - answers questions word by word, as the HTTP API of a language model does, so that the example needs nothing else.
--   moontide run examples/tokens/backend.lua --listen localhost:8766
--
-- POST /answer with {"prompt": "..."} -> text/event-stream: lines `data: {"text": "..."}`, at the end `data: [DONE]`.
-- A prompt with the word "break" breaks off in the middle, as real ones do now and then.
local tide = require "moontide"
local app = {}

local SPEED = tonumber(tide.env.WORDS_PER_SECOND) or 12
local ABOUT = {
  { "tide", "The sea rises and falls because the moon pulls the near side of the Earth a little more than its middle, and its middle a "
    .. "little more than the far side. The water heaps up on both, and the Earth turns beneath the two heaps. So most coasts see two "
    .. "high waters in a little less than twenty-five hours." },
  { "moon", "The moon goes once around the Earth in twenty-seven days, and always shows it the same face. Its gravity is what makes most "
    .. "of the tides; the sun adds a bit less than half as much. When both pull in one line, at new and at full moon, the water rises "
    .. "highest." },
  { "", "I am a small script that knows two things, the tide and the moon. Ask me about one of them. All else I answer with these "
    .. "words, one after the other, at the speed at which people read, so that there is something to stop." },
}

local function answer_to(prompt)
  for _, entry in ipairs(ABOUT) do
    if prompt:find(entry[1], 1, true) then return entry[2] end
  end
end

local function event(value) return "data: " .. tide.json.encode(value) .. "\n\n" end

function app.on_http(req)
  if req.path ~= "/answer" or req.method ~= "POST" then return end
  local prompt = req:json { prompt = "string 1..4000" }.prompt:lower()
  local next_word, count, over = answer_to(prompt):gmatch "%S+%s*", 0, false
  return 200, function()                                   -- a body that is a function goes out piece by piece
    if over then return nil end
    tide.sleep(1 / SPEED)
    count = count + 1
    if count == 12 and prompt:find("break", 1, true) then error "broke off, as it was asked to" end
    local word = next_word()
    over = word == nil
    return word and event { text = word } or "data: [DONE]\n\n"
  end, { ["Content-Type"] = "text/event-stream", ["Cache-Control"] = "no-store" }
end

return app
