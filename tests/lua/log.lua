-- tide.log, print and tide.env

local function lines(code)
  local client = inside "return"
  client:text(code)
  return logged()
end

local text = lines [[
  tide.log.debug("one") tide.log.info("two", { b = 1, a = "x y", t = { 1, 2 }, f = false }) tide.log.warn("three") tide.log.info(nil) tide.log.info({ 1 })
  print("four", 5, nil)
]]
assert(text:find "DEBUG[^\n]*one" and text:find "INFO[^\n]*two" and text:find "WARN[^\n]*three", text)
assert(text:find "a=\"?x y\"?[^\n]*b=1[^\n]*f=false[^\n]*t=%[1,2%]", text)
assert(text:find "INFO[^\n]*nil" and text:find "table: " and text:find "four%s+5%s+nil", text)

-- what a name calls secret stays so, also inside
text = lines [[
  tide.log.info("who", { password = "hush", list = { { api_key = 5, n = 1 } }, json = tide.json.encode { token = "seen" },
    headers = { authorization = "hush", Cookie = { "hush" }, host = "h", authorized = true } })
]]
assert(not text:find "hush" and text:find "password=%*%*%*" and text:find '"host":"h"' and text:find '"authorized":true', text)
assert(text:find 'list=%[{[^%]]*"api_key":"%*%*%*"' and text:find '"n":1' and text:find "seen", text)

-- nobody forges a line
text = lines [[tide.log.info("a\nb error c", { ["k\n"] = "v\nw" })]]
assert(not text:find "\nb error" or text:find "\n%s+b error", text)
assert(not text:find "\nw", text)

-- what JSON cannot hold goes out as tostring has it; too many fields are left out
text = lines [[
  tide.log.info("odd", { f = print, n = 0/0, s = "\xff", c = conn })
  local many = {} for i = 1, 1000 do many["k" .. i] = i end
  tide.log.info("many", many)
]]
assert(text:find "f=\"?function" and text:find "n=\"?%-?nan" and text:find "c=\"?conn c", text)
assert(select(2, text:match "many[^\n]*":gsub("k%d+=", "")) == 32, text)

inside [[
  raises("value expected", tide.log.info) raises("table expected", tide.log.info, "x", 5) raises("fields have names", tide.log.info, "x", { 5 })
  same(tide.env.HOME ~= nil, true) same(tide.env.SURELY_NOT_SET, nil) same(tide.env["HOME\0x"], nil)
  raises("read only", function() tide.env.X = "1" end) raises("string expected", function() return tide.env[5] end) same(getmetatable(tide.env), false)
]]
