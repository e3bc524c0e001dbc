-- tide.crypto

inside [[
  local crypto = tide.crypto
  same(crypto.digest("sha256", "abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
  same(crypto.digest("md5", ""), "d41d8cd98f00b204e9800998ecf8427e")
  same(#crypto.digest("sha512", "abc", "raw"), 64)
  same(crypto.digest("sha1", "abc", "base64"), "qZk+NkcGgWq6PiVxeFDCbJzQ2J0=")
  same(crypto.hmac("sha256", "key", "The quick brown fox jumps over the lazy dog"), "f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8")
  local h = crypto.hasher()
  assert(h:update("a") == h)
  h:update("b"):update("")
  same(h:digest(), crypto.digest("sha256", "ab"))
  h:update("c")
  same(h:digest "hex", crypto.digest("sha256", "abc"))
  same(h:digest "base64url", crypto.digest("sha256", "abc", "base64url"))
  same(crypto.hasher("md5"):digest(), crypto.digest("md5", ""))
  same(#crypto.random(16), 16) same(#crypto.random(16, "hex"), 32) assert(crypto.random(16) ~= crypto.random(16))
  assert(crypto.uuid():match "^%x%x%x%x%x%x%x%x%-%x%x%x%x%-4%x%x%x%-[89ab]%x%x%x%-%x%x%x%x%x%x%x%x%x%x%x%x$") assert(crypto.uuid() ~= crypto.uuid())
  for _, as in ipairs { "raw", "hex", "base64", "base64url" } do
    for n = 0, 40 do
      local bytes = n == 0 and "" or crypto.random(n)
      same(crypto.decode(crypto.encode(bytes, as), as), bytes)
    end
  end
  same(crypto.encode("\xfb\xff", "base64"), "+/8=") same(crypto.encode("\xfb\xff", "base64url"), "-_8")
]]

inside [[
  local crypto = tide.crypto
  same(crypto.equal("abc", "abc"), true) same(crypto.equal("abc", "abd"), false) same(crypto.equal("abc", "ab"), false) same(crypto.equal("", ""), true)
  same(crypto.equal(nil, nil), false) same(crypto.equal(nil, "x"), false) same(crypto.equal("x", nil), false)
  fails("malformed", crypto.decode("zz", "hex")) fails("malformed", crypto.decode("abc", "hex")) fails("malformed", crypto.decode("a", "base64"))
  fails("malformed", crypto.decode("+/8=", "base64url")) fails("missing", crypto.decode(nil, "hex"))
  local _, message = crypto.decode("zz", "hex") same(message, "not hex")
]]

inside [[
  local crypto = tide.crypto
  raises("unknown digest 'sha257'; did you mean sha256%?", crypto.digest, "sha257", "x")
  raises("unknown digest 'sha257'; did you mean sha256%?", crypto.hmac, "sha257", "k", "x")
  raises("unknown digest 'sha257'", crypto.hasher, "sha257")
  raises("unknown encoding 'hx'; did you mean hex%?", crypto.digest, "md5", "x", "hx")
  raises("unknown encoding 'zzzzz'; there are raw hex base64 base64url", crypto.encode, "x", "zzzzz")
  raises("string expected", crypto.encode, "x") raises("string expected", crypto.decode, "x") raises("string expected", crypto.decode, 5, "hex")
  raises("string expected", crypto.digest, "md5") raises("string expected", crypto.digest, "md5", 5) raises("string expected", crypto.hmac, "md5", nil, "x")
  raises("string expected", crypto.equal, 5, "x") raises("value expected", crypto.equal, "x")
  raises("1 to 1048576", crypto.random, 0) raises("1 to 1048576", crypto.random, -1) raises("1 to 1048576", crypto.random, 1 << 30)
  raises("no integer representation", crypto.random, 1.5) raises("number expected", crypto.random)
  local h = crypto.hasher()
  raises("string expected", h.update, h) raises("string expected", h.update, h, 5) raises("unknown encoding", h.digest, h, "x")
  raises("hasher", h.update, conn, "x") raises("hasher", h.digest, {})
  same(getmetatable(h), false)
]]
