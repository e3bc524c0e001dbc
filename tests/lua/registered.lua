-- What the manual documents and what the VM registers are the same, both ways. (The handler table is no part of the VM: docs.pages has it.)

load_app "return {}"

local pipe <close> = assert(io.popen "lua5.4 tools/docs.lua --names")
local documented, known = {}, {}
for name in pipe:lines() do documented[name] = true end
for _, name in ipairs(registered()) do known[name] = true end
assert(next(documented), "tools/docs.lua has no names")

local missing = {}
for name in pairs(documented) do
  if not known[name] then missing[#missing + 1] = "documented, but not there: " .. name end
end
for name in pairs(known) do
  if not documented[name] then missing[#missing + 1] = "there, but not documented: " .. name end
end
table.sort(missing)
assert(#missing == 0, table.concat(missing, "\n"))

local fields = {}
for name in pairs(documented) do fields[#fields + 1] = name:match "^req%.(.*)$" end
assert(#fields > 10)
load_app(([[
  local app = {}
  function app.on_http(req)
    for name in ("%s"):gmatch "%%S+" do local _ = req[name] end
    return 200, "fine"
  end
  return app
]]):format(table.concat(fields, " ")))
local status, body = http("GET", "/")
assert(status == 200 and body == "fine", body)
