-- tide.jwt: published vectors, known attacks, keys of every kind, claims, options

-- Each piece of code below begins with these: keys of RFC 7515 appendix A and RFC 8037, and tokens made by hand, so that nothing
-- depends on sign.
local SHARED = [==[
  local jwt, crypto, json = tide.jwt, tide.crypto, tide.json
  local verify, sign = jwt.verify, jwt.sign
  local NOW = math.floor(tide.now())
  local SECRET = ("s"):rep(64)
  local OPTS = { key = SECRET }
  local function b64(text) return text == "" and "" or crypto.encode(text, "base64url") end
  local DIGESTS = { HS256 = "sha256", HS384 = "sha384", HS512 = "sha512" }
  local function mac(text, secret, alg) return crypto.hmac(DIGESTS[alg or "HS256"], secret or SECRET, text, "base64url") end
  local function raw(header, claims, secret, alg)         -- both as texts
    local text = b64(header) .. "." .. b64(claims)
    return text .. "." .. mac(text, secret, alg)
  end
  local function token(claims, header) return raw(header or '{"alg":"HS256"}', type(claims) == "table" and json.encode(claims) or claims) end
  local CLAIMS = '{"sub":"ann"}'
  local GOOD = token(CLAIMS)
  local OCT = { kty = "oct", k = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow" }
  local RSA = { kty = "RSA", e = "AQAB", n = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-"
    .. "SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQ"
    .. "Y4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ" }
  local RSA_D = "Eq5xpGnNCivDflJsRQBXHx1hdR1k6Ulwe2JZD50LpXyWPEAeP88vLNO97IjlA7_GQ5sLKMgvfTeXZx9SE-7YwVol2NXOoAJe46sui395IW_GO-pWJ1O0BkTGoVEn2bKV"
    .. "RUCgu-GjBVaYLU6f3l9kJfFNS3E0QbVdxzubSu3Mkqzjkn439X0M_V51gfpRLI9JYanrC4D4qAdGcopV_0ZHHzQlBjudU2QvXt4ehNYTCBr6XCLQUShb1juUO1ZdiYoFaFQT"
    .. "5Tw8bGUl_x_jTj3ccPDVZFD9pIuhLhBOneufuBiB4cS98l2SR_RQyGWSeWjnczT0QU91p1DhOVRuOopznQ"
  local EC = { kty = "EC", crv = "P-256", x = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", y = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0" }
  local EC_D = "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"
  local OKP = { kty = "OKP", crv = "Ed25519", x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" }
  local OKP_D = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"
  local function with(jwk, more) local all = {} for k, v in pairs(jwk) do all[k] = v end for k, v in pairs(more) do all[k] = v end return all end
  local PAYLOAD = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
  local A1 = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." .. PAYLOAD .. ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
  local A2 = "eyJhbGciOiJSUzI1NiJ9." .. PAYLOAD .. ".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5j"
    .. "ujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzD"
    .. "wusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
  local A3 = "eyJhbGciOiJFUzI1NiJ9." .. PAYLOAD .. ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
  local function is_good(claims, message) assert(type(claims) == "table" and claims.sub == "ann", message) end
]==]
local function check(code, before)
  if before then load_app(before) end
  inside(SHARED .. code)
end

-- The vectors of the RFCs have expired in 2011: the signature is checked before that, and a wrong one is told first.
check [=[
  for name, t in pairs { A1 = { A1, OCT }, A2 = { A2, RSA }, A3 = { A3, EC } } do
    local _, message, what = verify(t[1], { key = t[2] })
    assert(what == "expired" and message == "the token has expired", name .. ": " .. tostring(message))
    fails("invalid", verify(t[1]:sub(1, -3) .. (t[1]:sub(-2) == "AA" and "BA" or "AA"), { key = t[2] }))
  end
  local far = token { sub = "ann", exp = NOW + 100 }                  -- RFC 7519, 3.1 has the shape of A1
  is_good(verify(far, OPTS))
  same(verify(far, OPTS).exp, NOW + 100)
]=]

-- What is no token
check [=[
  fails("missing", verify(nil, OPTS)) fails("malformed", verify(5, OPTS)) fails("malformed", verify({}, OPTS)) fails("malformed", verify(true, OPTS))
  fails("malformed", verify("", OPTS)) fails("malformed", verify(".", OPTS)) fails("malformed", verify("..", OPTS)) fails("malformed", verify("a.b", OPTS))
  fails("malformed", verify("a.b.c.d.e", OPTS)) fails("malformed", verify(GOOD .. ".", OPTS)) fails("malformed", verify("." .. GOOD, OPTS))
  fails("malformed", verify(GOOD:gsub("^%w+", "!!!!"), OPTS)) fails("malformed", verify(" " .. GOOD, OPTS)) fails("malformed", verify(GOOD .. "\n", OPTS))
  fails("malformed", verify(GOOD .. "=", OPTS)) fails("malformed", verify(GOOD:gsub("%.", "=.", 1), OPTS)) fails("malformed", verify("\0.\0.\0", OPTS))
  fails("too_large", verify(("a"):rep(20000), OPTS)) fails("too_large", verify(raw('{"alg":"HS256","x":"' .. ("x"):rep(4000) .. '"}', CLAIMS), OPTS))
  for _, header in ipairs { "", "{", "[]", "5", "null", '"x"', "{}{}", '{"alg":"HS256","alg":"HS256"}', '{"alg":"HS256","\\u0061lg":"none"}',
      '{"alg":"HS256","x":null}', '{"alg":"HS256","kid":5}', '{"alg":"HS256"}\0', "\xff" } do
    fails("malformed", verify(raw(header, CLAIMS), OPTS))
  end
  for _, claims in ipairs { "{", "[]", "5", "null", '"x"', '{"sub":"ann","sub":"bob"}', '{"exp":null,"exp":9e9}', '{"exp":9e9,"exp":null}', '{"x":null,"x":null}', '{"sub":"ann","s\\u0075b":"bob"}', "\xff", ("["):rep(1000) } do
    fails("malformed", verify(token(claims), OPTS))
  end
  -- no bits that are not used: the last letter of 32 bytes has two of them
  local last = GOOD:sub(-1)
  local alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
  local at = alphabet:find(last, 1, true)
  fails("malformed", verify(GOOD:sub(1, -2) .. alphabet:sub(at + 1, at + 1), OPTS))
  is_good(verify(GOOD, OPTS))
  same(verify(token '{"sub":"ann","x":null,"y":{"a":1,"b":":n","c":null}, "z" : null }', OPTS).x, nil)
]=]

-- Known attacks
check [=[
  for _, alg in ipairs { "none", "None", "NONE", "nOnE", "", "hs256", "HS256 ", "HS1", "RS256x", "A128KW", "dir" } do
    local header = '{"alg":"' .. alg .. '"}'
    fails("denied", verify(b64(header) .. "." .. b64(CLAIMS) .. ".", OPTS))
    fails("denied", verify(raw(header, CLAIMS), OPTS))
  end
  for _, header in ipairs { "{}", '{"alg":5}', '{"alg":["HS256"]}', '{"alg":true}' } do fails("denied", verify(raw(header, CLAIMS), OPTS)) end
  fails("invalid", verify(GOOD:match "^(.+%.)", OPTS))                                                      -- without a signature
  -- "signed" with the public key, which everybody has
  local PUBLIC = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n"
  for _, text in ipairs { PUBLIC, PUBLIC:gsub("\n$", ""), "\n" .. PUBLIC } do
    for alg in pairs(DIGESTS) do
      local _, message = verify(raw('{"alg":"' .. alg .. '"}', CLAIMS, text, alg), { key = text })
      same(message, "the key is not for " .. alg)
      fails("denied", verify(raw('{"alg":"' .. alg .. '"}', CLAIMS, text, alg), { key = text, algorithms = { alg, "EdDSA" } }))
    end
  end
  fails("denied", verify(raw('{"alg":"HS256"}', CLAIMS, RSA.n), { key = RSA })) fails("denied", verify(raw('{"alg":"HS256"}', CLAIMS, RSA.n), { jwks = { keys = { RSA } } }))
  -- the same without its lines, as some show it; in one more base64; and as JSON that is none
  local BARE = PUBLIC:match "\n(.-)\n"
  for _, text in ipairs { BARE, BARE .. "\n", crypto.decode(BARE, "base64"), crypto.encode(PUBLIC, "base64"), "\xef\xbb\xbf" .. json.encode(OKP), "[" .. json.encode(OKP) .. "]" } do
    raises("key: ", verify, raw('{"alg":"HS256"}', CLAIMS, text), { key = text })
  end
  raises("without its lines BEGIN and END", verify, GOOD, { key = BARE })
  for _, t in ipairs { "ssh-ed25519 AAAA", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----" } do
    raises("key: not a key or certificate that can be read", verify, raw('{"alg":"HS256"}', CLAIMS, t), { key = t })
  end
  -- another algorithm of another kind of key
  for alg, key in pairs { RS256 = EC, ES256 = RSA, ES384 = EC, ES512 = EC, EdDSA = EC, PS256 = OKP, HS256 = OKP } do
    fails("denied", verify(raw('{"alg":"' .. alg .. '"}', CLAIMS), { key = key }))
  end
  -- psychic signatures (CVE-2022-21449): r and s are zero
  fails("invalid", verify(b64 '{"alg":"ES256"}' .. "." .. b64(CLAIMS) .. "." .. b64(("\0"):rep(64)), { key = EC }))
  for _, n in ipairs { 0, 1, 32, 63, 65, 70, 132 } do fails("invalid", verify(b64 '{"alg":"ES256"}' .. "." .. b64(CLAIMS) .. "." .. b64(("\1"):rep(n)), { key = EC })) end
  -- keys that a token brings along are not looked at
  for _, member in ipairs { '"jwk":' .. json.encode(OCT), '"jku":"https://localhost:1/"', '"x5u":"https://localhost:1/"', '"x5c":["AAAA"]', '"typ":"at+jwt","cty":"JWT"' } do
    is_good(verify(raw('{"alg":"HS256",' .. member .. '}', CLAIMS), OPTS))
    fails("invalid", verify(raw('{"alg":"HS256",' .. member .. '}', CLAIMS, crypto.decode(OCT.k, "base64url")), OPTS))
  end
  fails("denied", verify(raw('{"alg":"HS256","crit":["exp"]}', CLAIMS), OPTS)) fails("denied", verify(raw('{"alg":"HS256","crit":[]}', CLAIMS), OPTS))
  fails("denied", verify(raw('{"alg":"HS256","b64":false}', CLAIMS), OPTS)) fails("denied", verify(raw('{"alg":"HS256","b64":true}', CLAIMS), OPTS))
  -- kid is a name, and nothing else
  for _, kid in ipairs { "../../../../dev/null", "' OR 1=1 --", "a\\u0000b", "" } do is_good(verify(raw('{"alg":"HS256","kid":"' .. kid .. '"}', CLAIMS), OPTS)) end
  fails("too_large", verify(raw('{"alg":"HS256","kid":"' .. ("k"):rep(257) .. '"}', CLAIMS), OPTS))
  -- a key is what is asked for, whatever the token says
  fails("denied", verify(GOOD, { key = SECRET, algorithms = { "HS512" } })) fails("denied", verify(GOOD, { key = SECRET, algorithms = "RS256" }))
  is_good(verify(GOOD, { key = SECRET, algorithms = { "RS256", "HS256" } }))
]=]

-- Algorithms and what a JWK says of itself
check [=[
  for alg in pairs(DIGESTS) do is_good(verify(raw('{"alg":"' .. alg .. '"}', CLAIMS, nil, alg), OPTS)) end
  local short = ("s"):rep(32)                               -- HS384 takes 48 bytes, unless one insists
  is_good(verify(raw('{"alg":"HS256"}', CLAIMS, short), { key = short }))
  fails("denied", verify(raw('{"alg":"HS384"}', CLAIMS, short, "HS384"), { key = short }))
  is_good(verify(raw('{"alg":"HS384"}', CLAIMS, short, "HS384"), { key = short, algorithms = "HS384" }))
  local priv = { RSA = with(RSA, { d = RSA_D }), EC = with(EC, { d = EC_D }), OKP = with(OKP, { d = OKP_D }), oct = OCT }
  local pub = { RSA = RSA, EC = EC, OKP = OKP, oct = OCT }
  for kty, algs in pairs { RSA = { "RS256", "RS384", "RS512", "PS256", "PS384", "PS512" }, EC = { "ES256" }, OKP = { "EdDSA" }, oct = { "HS256", "HS384", "HS512" } } do
    for i, alg in ipairs(algs) do
      local t = sign({ sub = "ann" }, { key = priv[kty], algorithm = alg })
      same(json.decode(crypto.decode(t:match "^[^.]+", "base64url")).alg, alg)
      is_good(verify(t, { key = pub[kty] })) is_good(verify(t, { key = priv[kty] })) is_good(verify(t, { key = json.encode(pub[kty]) }))
      is_good(verify(t, { key = with(pub[kty], { alg = alg, use = "sig", key_ops = { "verify" } }) }))
      is_good(verify(t, { jwks = { keys = { pub[kty] } } })) is_good(verify(t, { jwks = json.encode { keys = { pub[kty] } } }))
      fails("invalid", verify(t:gsub("%.", ".e30", 1), { key = pub[kty] }))
      if i == 1 then same(json.decode(crypto.decode(sign({}, { key = priv[kty] }):match "^[^.]+", "base64url")).alg, alg) end
      if #algs > 1 then fails("denied", verify(t, { key = with(pub[kty], { alg = algs[i % #algs + 1] }) })) end
      fails("denied", verify(t, { key = with(priv[kty], { key_ops = { "sign" } }) }))
    end
  end
  raises('key: its "use" is not "sig"', verify, GOOD, { key = with(OCT, { use = "enc" }) }) raises('key: its "alg" does not go with the key', verify, GOOD, { key = with(RSA, { alg = "HS256" }) })
  raises('"alg" does not go', verify, GOOD, { key = with(RSA, { alg = "RSA%-OAEP" }) }) raises('"key_ops" have neither', verify, GOOD, { key = with(OCT, { key_ops = { "wrapKey" } }) })
  raises('"key_ops" have neither', verify, GOOD, { key = with(OCT, { key_ops = "verify" }) }) raises("two primes", verify, GOOD, { key = with(RSA, { oth = {} }) })
  raises("kty: oct, RSA, EC and OKP", verify, GOOD, { key = { kty = "ec" } }) raises("kty", verify, GOOD, { key = {} }) raises("not JSON", verify, GOOD, { key = "{x" })
  raises("key: a JWK set without a list", verify, GOOD, { key = { keys = "x" } }) raises("key: this is a set", verify, GOOD, { key = { keys = { OCT } } })
  raises("jwks: a set expected", verify, GOOD, { jwks = OCT }) raises("jwks: a JWK set without a key that is understood", verify, GOOD, { jwks = { keys = {} } })
  raises("without a key", verify, GOOD, { jwks = { keys = { { kty = "XX" }, 5, with(OCT, { use = "enc" }) } } })
  for e, what in pairs { AQ = "exponent", AA = "exponent", Ag = "exponent", AQAA = "exponent", AQAAAAAAAAAB = "exponent" } do raises(what, verify, GOOD, { key = with(RSA, { e = e }) }) end
  raises("modulus is even", verify, GOOD, { key = with(RSA, { n = RSA.n:sub(1, -2) .. "g" }) })
  raises("less than 2048 bits", verify, GOOD, { key = { kty = "RSA", e = "AQAB", n = RSA.n:sub(1, 128) } })
  raises("key: a secret of no bytes", verify, GOOD, { key = "" })
]=]

-- Sets: by kid, and where there is none by trying
check [=[
  local one, two = with(OCT, { kid = "1" }), { kty = "oct", k = b64(SECRET), kid = "2" }
  local set = { keys = { { kty = "XX", kid = "1" }, one, two, with(EC, { kid = "3" }) } }
  local function by(kid, secret) return raw('{"alg":"HS256"' .. (kid and ',"kid":"' .. kid .. '"' or "") .. '}', CLAIMS, secret) end
  is_good(verify(by("2"), { jwks = set })) is_good(verify(by(nil), { jwks = set })) fails("invalid", verify(by("1"), { jwks = set }))
  fails("not_found", verify(by("4"), { jwks = set })) fails("denied", verify(by("3"), { jwks = set })) fails("invalid", verify(by(nil, "x"), { jwks = set }))
  is_good(verify(sign({ sub = "ann" }, { key = two }), { jwks = set }))
  same(json.decode(crypto.decode(sign({}, { key = two }):match "^[^.]+", "base64url")).kid, "2")
  table.remove(set.keys, 3)                                      -- what is changed in a table is seen
  fails("invalid", verify(by(nil), { jwks = set }))
  is_good(verify(by("9"), { jwks = { keys = { { kty = "oct", k = b64(SECRET) } } } }))     -- a key without a name may be any
  local many = {} for i = 1, 65 do many[i] = OCT end
  raises("more than 64 keys", verify, GOOD, { jwks = { keys = many } })
]=]

-- Claims
check [=[
  local function v(claims, more) return verify(token(claims), with(OPTS, more or {})) end
  is_good(v { sub = "ann", exp = NOW + 60 }) fails("expired", v { exp = NOW - 1 }) fails("expired", v { exp = 0 }) fails("expired", v { exp = -1e300 })
  is_good(v('{"sub":"ann","exp":' .. NOW + 60 .. '.5}')) is_good(v '{"sub":"ann","exp":1e300}') is_good(v '{"sub":"ann","exp":9223372036854775807}')
  is_good(v({ sub = "ann", exp = NOW - 5 }, { leeway = 10 })) fails("expired", v({ exp = NOW - 15 }, { leeway = 10 })) is_good(v({ sub = "ann", exp = NOW - 1 }, { leeway = 2.5 }))
  fails("denied", v { nbf = NOW + 60 }) is_good(v { sub = "ann", nbf = NOW - 60 }) is_good(v({ sub = "ann", nbf = NOW + 5 }, { leeway = 10 }))
  is_good(v { sub = "ann", iat = NOW - 1e6 }) is_good(v { sub = "ann", iat = NOW + 30 }) fails("denied", v { iat = NOW + 3600 }) is_good(v({ sub = "ann", iat = NOW + 600 }, { leeway = 600 }))
  for _, name in ipairs { "exp", "nbf", "iat" } do
    for _, value in ipairs { '"1"', "true", "{}", "[]", '"9999999999"' } do fails("invalid", v(('{"%s":%s}'):format(name, value))) end
  end
  for _, name in ipairs { "sub", "iss", "jti" } do
    for _, value in ipairs { "1", "true", "{}", '["ann"]' } do fails("invalid", v(('{"%s":%s}'):format(name, value))) end
  end
  is_good(v({ sub = "ann", iss = "me" }, { issuer = "me" })) is_good(v({ sub = "ann", iss = "me" }, { issuer = { "you", "me" } })) is_good(v { sub = "ann", iss = "any" })
  fails("denied", v({ iss = "Me" }, { issuer = "me" })) fails("denied", v({ iss = "m" }, { issuer = "me" })) fails("denied", v({}, { issuer = "me" })) fails("denied", v({ iss = "" }, { issuer = { "me" } }))
  is_good(v({ sub = "ann", aud = "us" }, { audience = "us" })) is_good(v({ sub = "ann", aud = { "x", "us" } }, { audience = "us" })) is_good(v({ sub = "ann", aud = { "x", "us" } }, { audience = { "y", "x" } }))
  fails("denied", v({ aud = "them" }, { audience = "us" })) fails("denied", v({}, { audience = "us" })) fails("denied", v({ aud = json.array {} }, { audience = "us" })) fails("denied", v({ aud = { "u", "s" } }, { audience = "us" }))
  fails("denied", v { aud = "us" })                        -- RFC 7519, 4.1.3: for somebody, and nobody said that it is us
  for _, value in ipairs { "1", "true", "{}", '{"1":"us"}' } do fails("invalid", v('{"aud":' .. value .. '}', { audience = "us" })) end
  fails("denied", v('{"aud":[1,true,["us"]]}', { audience = "us" }))
  is_good(v({ sub = "ann", exp = NOW + 9 }, { require = { "sub", "exp" } })) fails("invalid", v({ sub = "ann" }, { require = { "sub", "exp" } })) fails("invalid", v({}, { require = "sub" }))
  is_good(v({ sub = "ann" }, { require = "sub" }))
  local all = v { sub = "ann", list = { 1, 2 }, deep = { a = { b = "c" } }, yes = true, n = 1.5, big = 9007199254740993, text = "ü" }
  same(all.list[2], 2) same(all.deep.a.b, "c") same(all.yes, true) same(all.n, 1.5) same(all.big, 9007199254740993) same(all.text, "ü")
]=]

-- Signing
check [=[
  local t = sign({ sub = "ann", role = "admin", aud = { "us" } }, { key = SECRET, expires_in = 60 })
  local claims = verify(t, { key = SECRET, audience = "us" })
  same(claims.role, "admin") assert(claims.iat >= NOW and claims.iat <= NOW + 5 and claims.exp == claims.iat + 60, claims.exp)
  same(math.type(claims.exp), "integer") same(select(2, t:gsub("%.", "")), 2) same(t:find "=", nil)
  local mine = { sub = "ann" } sign(mine, { key = SECRET, expires_in = 1 }) same(mine.exp, nil) same(mine.iat, nil)     -- the table is the caller's
  same(verify(sign({ iat = 5, exp = NOW + 9 }, OPTS), OPTS).iat, 5) fails("expired", verify(sign({ exp = NOW - 9 }, OPTS), OPTS))
  is_good(verify(sign({ sub = "ann" }, { key = SECRET, algorithm = "HS512" }), OPTS))
  raises("table expected", sign, nil, OPTS) raises("table expected", sign, {}) raises("jwt.sign: no key", sign, {}, {}) raises("unknown option 'expires'; did you mean expires_in", sign, {}, { key = SECRET, expires = 5 })
  raises("unknown algorithm 'none'", sign, {}, { key = SECRET, algorithm = "none" }) raises("unknown algorithm 'HS257'; did you mean HS256%?", sign, {}, { key = SECRET, algorithm = "HS257" })
  raises("this key is not for RS256", sign, {}, { key = SECRET, algorithm = "RS256" }) raises("this key does not sign", sign, {}, { key = RSA }) raises("not for HS256", sign, {}, { key = with(EC, { d = EC_D }), algorithm = "HS256" })
  raises("does not sign", sign, {}, { key = with(OCT, { key_ops = { "verify" } }) }) raises("this is a set", sign, {}, { key = { keys = { OCT } } })
  raises("claims.exp: number expected, got string", sign, { exp = "1h" }, OPTS) raises("claims.iat: a finite number", sign, { iat = 0 / 0 }, OPTS) raises("claims.nbf: a finite", sign, { nbf = 1 / 0 }, OPTS)
  raises("claims.sub: string expected, got number", sign, { sub = 5 }, OPTS) raises("claims.iss: string", sign, { iss = {} }, OPTS) raises("either claims.exp or expires_in", sign, { exp = NOW }, { key = SECRET, expires_in = 5 })
  for _, value in ipairs { "1h", 0, -1, 0 / 0, 1 / 0, {} } do raises("expires_in: a number", sign, {}, { key = SECRET, expires_in = value }) end
  raises("claims have names", sign, { "a" }, OPTS) raises("jwt.sign: claims", sign, { f = print }, OPTS) raises("longer than 16 KiB", sign, { x = ("x"):rep(20000) }, OPTS)
  local loop = {} loop.loop = loop raises("jwt.sign", sign, loop, OPTS)
  raises("algorithm: a string", sign, {}, { key = SECRET, algorithm = 5 })
]=]

-- Options
check [=[
  raises("table expected", verify, GOOD) raises("table expected", verify, GOOD, "x") raises("jwt.verify: no key", verify, GOOD, {}) raises("jwt.verify: no key", verify, nil, {})
  raises("no key", verify, nil, { key = nil, issuer = "x" }) raises("either key or jwks", verify, GOOD, { key = SECRET, jwks = { keys = { OCT } } })
  raises("unknown option 'isuer'; did you mean issuer%?", verify, GOOD, { key = SECRET, isuer = "x" }) raises("options have names", verify, GOOD, { SECRET })
  raises("key: string or table expected, got number", verify, GOOD, { key = 5 }) raises("key: string or table expected, got boolean", verify, GOOD, { key = true }) raises("jwks: string or table", verify, GOOD, { jwks = print })
  raises("unknown algorithm 'none'", verify, GOOD, { key = SECRET, algorithms = { "none" } }) raises("unknown algorithm 'HS26'; did you mean HS256", verify, GOOD, { key = SECRET, algorithms = "HS26" })
  for _, name in ipairs { "issuer", "audience", "require", "algorithms" } do
    for _, value in ipairs { 5, true, {}, { 5 }, { "HS256", 5 }, { x = "y" }, print } do raises(name .. ": a string or a list of strings", verify, GOOD, { key = SECRET, [name] = value }) end
  end
  for _, value in ipairs { "5", -1, 0 / 0, 1 / 0, 3601, {} } do raises("leeway: a number from", verify, GOOD, { key = SECRET, leeway = value }) end
  for _, name in ipairs { "http://example.com/keys", "ftp://localhost/x", "https://", "http://localhost@example.com/", "https://user:pw@example.com/", "http://127.0.0.1.example.com/", "file:", "a\0b" } do
    raises("jwt.verify: jwks:", verify, GOOD, { jwks = name })
  end
  raises("jwks: 1 to 2048", verify, GOOD, { jwks = "" })
  for i = 1, 300 do is_good(verify(raw('{"alg":"HS256"}', CLAIMS, SECRET .. i), { key = SECRET .. i })) end       -- more keys than are remembered
  local deep = {} local at = deep for _ = 1, 300 do at.x = {} at = at.x end
  raises("key", verify, GOOD, { key = deep })
]=]

-- A secret that can be guessed works, and is told once.
load_app [=[
  local app = {}
  function app.on_connect(req)
    for _ = 1, 3 do if not tide.jwt.verify(req:token(), { key = "k" }) then tide.reject(401) end end
    return { user = tide.jwt.verify(req:token(), { key = "k" }).sub }
  end
  function app.on_message(conn) conn:send(conn.user) end
  return app
]=]
local SHORT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.YmZ-q4x17Kze0grcrqDxiRYtMm9H2SUJRBsCQG74cMk"
local client = open("/?token=" .. SHORT)
client:text "who"
expect(client, "ann")
local _, times = logged():gsub("can find a secret of 1 bytes by trying", "")
assert(times == 1, times)
local _, status = connect("/?token=" .. SHORT:sub(1, -2) .. "Q")
assert(status == 401)

-- While a script loads keys can be used, but not be fetched.
assert(app [=[
  local t = tide.jwt.sign({ sub = "ann" }, { key = ("s"):rep(32) })
  assert(tide.jwt.verify(t, { key = ("s"):rep(32) }).sub == "ann")
  return {}
]=] == nil)
assert(app [[ tide.jwt.verify("x", { jwks = "keys.json" }) return {} ]] == nil)     -- the token is looked at first
assert(app [[ tide.jwt.verify("eyJhbGciOiJIUzI1NiJ9.e30.AA", { jwks = "keys.json" }) return {} ]]:find "tide.jwt.verify: not while loading")
