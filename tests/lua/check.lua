-- tide.check and tide.now

inside [[
  local clean = tide.check({ a = 1, b = 2 }, { a = "integer" })
  assert(clean.a == 1 and clean.b == nil)
  same(tide.check("x", "string 1..3"), "x")
  same(tide.check(nil, "string?"), nil)
  fails("invalid", tide.check({}, { a = "integer" }))
  fails("invalid", tide.check(nil, "string"))
  fails("invalid", tide.check(5.0, "integer"))
  local _, message = tide.check({ list = { 1, "x" } }, { list = { "integer" } })
  same(message, "list[2]: integer expected, got string")
  raises("shape.a: unknown shape 'strng'; did you mean string%?", tide.check, 1, { a = "strng" })
  raises("not nothing", tide.check, 1)
  raises("not a number", tide.check, 1, 5)
  raises("boom", tide.check, 1, function() error "boom" end)
  raises("nested too deep", function() local t = {} t.t = t tide.check({}, t) end)
  assert(tide.now() > 1.7e9 and math.type(tide.now()) == "float")
  -- thousands of shapes made by the way leave nothing behind
  for i = 1, 20000 do tide.check({ a = 1 }, { a = "integer 1.." .. i }) end
]]
