-- tide.password

waiting [[
  local hash = tide.password.hash "correct horse"
  assert(hash:match "^%$scrypt%$ln=15,r=8,p=1%$[%w+/]+%$[%w+/]+$") same(#hash, 88)
  same(tide.password.verify("correct horse", hash), true)
  same(tide.password.verify("correct horsE", hash), false)
  same(tide.password.verify("", hash), false)
  assert(tide.password.hash "" ~= tide.password.hash "")
  same(tide.password.verify("\0\xff", tide.password.hash "\0\xff"), true)
]]

-- what others made
waiting [[
  local made = "$scrypt$ln=10,r=4,p=2$MDEyMzQ1Njc4OWFiY2RlZg$jWuTMOnskJ0E0bXgwQZMwppbOnXAd29H1VLScnTLlX4"
  same(tide.password.verify("secret", made), true)
  same(tide.password.verify("Secret", made), false)
]]

-- what cannot be a password of that hash is no failure
waiting [[
  same(tide.password.verify("x", nil), false)
  same(tide.password.verify(nil, nil), false)
  local hash = tide.password.hash "x"
  same(tide.password.verify(nil, hash), false)
  same(tide.password.verify(("x"):rep(1025), hash), false)
  same(tide.password.verify(("x"):rep(1024), tide.password.hash(("x"):rep(1024))), true)
  fails("too_large", tide.password.hash(("x"):rep(1025)))
  fails("malformed", tide.password.verify("x", "")) fails("malformed", tide.password.verify("x", "x"))
  fails("malformed", tide.password.verify("x", "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$RdescudvJCsgt3ub+b4dWRWJTmaaJObG"))
  fails("too_large", tide.password.verify("x", "$scrypt$ln=30,r=8,p=1$MDEyMzQ1Njc4OWFiY2RlZg$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"))
]]

inside [[
  raises("string expected", tide.password.hash) raises("string expected", tide.password.hash, nil) raises("string expected", tide.password.hash, 5)
  raises("string expected", tide.password.verify, 5, "x") raises("string expected", tide.password.verify, "x", 5)
  raises("value expected", tide.password.verify, "x")
]]

-- the line is bounded: here one hashes and four wait
waiting [[
  local tasks, busy = {}, 0
  for i = 1, 8 do tasks[i] = tide.spawn(tide.password.hash, "x") end
  for _, task in ipairs(tasks) do
    local hash, _, name = task:join()
    if not hash then same(name, "busy") busy = busy + 1 end
  end
  assert(busy == 3 or busy == 4, busy)
]]

-- cancelled: the call never returns
inside [[
  local task = tide.spawn(function() tide.password.hash "x" tide.log.error "never" end)
  tide.spawn(function() task:cancel() end)
]]

assert(app [[ tide.password.hash "x" return {} ]]:find "not while loading: use on_start")
