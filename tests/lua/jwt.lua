-- tide.jwt: published vectors, known attacks, keys of every kind, claims, options

-- Keys and tokens that the tests share; each piece of code below begins with them.
local SHARED = [==[
  local jwt, crypto = tide.jwt, tide.crypto
  local function b64(text) return crypto.encode(text, "base64url") end
  local function token(header, claims, signature) return b64(header) .. "." .. b64(claims) .. "." .. (signature or "") end
  local SECRET = ("s"):rep(64)
  local function hs(header, claims, secret, digest)
    local text = b64(header) .. "." .. b64(claims)
    return text .. "." .. crypto.hmac(digest or "sha256", secret or SECRET, text, "base64url")
  end
  local HS = '{"alg":"HS256"}'
  -- RFC 7515, appendix A
  local A1_KEY = { kty = "oct", k = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow" }
  local A1 = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19"
    .. "yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
  local RSA = { kty = "RSA", e = "AQAB", n = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT"
    .. "-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xs"
    .. "mtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ" }
  local A2 = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiU"
    .. "PoWgZuSh_ETQLGLdUQlPgZo38LrmPp9O8gqXWYxQpPdo0iHp7PgVrdVYRSeKcJO8zL_-SX7UTdfa0jYNvtQ"
]==]
local _ = SHARED
