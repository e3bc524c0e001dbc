-- tide.json and tide.null

inside [[
  local json = tide.json
  same(json.encode { 1, 2.5, "x", true, tide.null, {} }, '[1,2.5,"x",true,null,{}]')
  same(json.encode(json.array {}), "[]")
  same(json.encode(nil), "null")
  same(json.encode(2^53), "9007199254740992.0")
  same(json.decode "9007199254740993", 9007199254740993)
  same(json.decode '{"a":[1,{"b":null}]}'.a[2].b, nil)
  same(json.decode "null", tide.null)
  same(json.decode "false", false)
  same(require "cjson".null, tide.null) same(require "cjson".decode("[5]")[1], 5) same(require "cjson".encode { a = 5 }, '{"a":5}')
  raises("cannot be written", require "cjson".encode, print) raises("JSON", require "cjson".decode, "{")
  local safe = require "cjson.safe" local v, why = safe.decode "{" same(v, nil) same(type(why), "string")
  v, why = safe.encode(print) same(v, nil) same(type(why), "string")
  local t = { 1 }
  assert(json.array(t) == t and json.array(t) == t)
  assert(json.encode(json.decode "[]") == "[]")
]]

-- failures of the world
inside [[
  local decode = tide.json.decode
  fails("json", decode(nil)) fails("json", decode()) fails("json", decode "") fails("json", decode "[1,]") fails("json", decode "\xff")
  fails("json", decode(("["):rep(10000) .. ("]"):rep(10000))) fails("json", decode "1e999") fails("json", decode "NaN")
  fails("too_large", decode((" "):rep(16 * 1024 * 1024 + 1)))
  local _, message = decode "[1,]"
  assert(message:find "byte 4", message)
]]

-- the author's mistakes
inside [[
  local json = tide.json
  raises("string expected, got number", json.decode, 5)
  raises("string expected, got table", json.decode, {})
  raises("value expected", json.encode)
  raises("value.a.b%[2%]: cannot be written as JSON: function", json.encode, { a = { b = { 1, print } } })
  raises("value: cannot be written as JSON: conn", json.encode, conn)
  raises("value.x: JSON has no way to write nan", json.encode, { x = 0/0 })
  raises("value: a list", json.encode, { 1, 2, nil, 4, x = 1 })
  raises("value.t: a string that is not UTF%-8", json.encode, { t = "\xff" })
  raises("table expected", json.array, "x")
  raises("metatable of its own", json.array, setmetatable({}, {}))
  local loop = {} loop.loop = loop
  raises("nested too deep", json.encode, loop)
  local wide = "x" for i = 1, 40 do wide = { wide, wide } end
  raises("too large", json.encode, wide)
]]
