-- auth.lua - only clients with a token get in.
--
-- The token may come in any of the usual places:
--   wscat -c ws://localhost:8765 -H "Authorization: Bearer token123"
--   ws://localhost:8765/?token=token123
--   new WebSocket(url, ["bearer", "token123"])                 (browsers cannot set headers)
-- Without one, or with a wrong one: 401. Pages of other origins may ask where the setting `origins` lists them.
--
--   AUTH_TOKENS="token123=demo secret9=ann"   tokens and who they stand for
--   JWT_KEY=...                               signed tokens (JWT) instead: a secret, or a public key as PEM or JWK
--   JWT_JWKS=https://...                      or a set of keys at an address or in a file; see docs/tokens.md
--   JWT_ISSUER=... JWT_AUDIENCE=...           whose they must be, and for whom
local tide = require "moontide"
local app = { on = {}, protocols = { "bearer" } }

local DEMO = "token123=demo"
local users = {}
for token, user in (tide.env.AUTH_TOKENS or DEMO):gmatch "([^%s=]+)=(%S+)" do users[#users + 1] = { token = token, user = user } end

local env = tide.env
local jwt = { key = env.JWT_KEY, jwks = env.JWT_JWKS, issuer = env.JWT_ISSUER, audience = env.JWT_AUDIENCE, require = "sub" }
local signed = jwt.key or jwt.jwks
assert(signed or not (jwt.issuer or jwt.audience), "JWT_ISSUER and JWT_AUDIENCE need JWT_KEY or JWT_JWKS")

local function who_is(token)                                    -- looks at all of them: takes the same time for every token
  local found
  for _, entry in ipairs(users) do
    if tide.crypto.equal(token, entry.token) then found = entry.user end
  end
  return found
end

function app.on_start()
  if not tide.env.AUTH_TOKENS and not signed then tide.log.warn("auth.lua runs with its demo token; set AUTH_TOKENS") end
end

function app.on_connect(req)
  if signed then
    local claims, message = tide.jwt.verify(req:token(), jwt)
    if not claims then tide.reject(401, message, { ["WWW-Authenticate"] = "Bearer" }) end
    return { user = claims.sub, expires = claims.exp }
  end
  local user = who_is(req:token())
  if not user then tide.reject(401, "a valid token is needed", { ["WWW-Authenticate"] = "Bearer" }) end
  return { user = user }
end

function app.on_open(conn) conn:send { type = "welcome", user = conn.user } end

function app.on.whoami(conn) return { user = conn.user } end

function app.on_message(conn, text) conn:send { type = "echo", from = conn.user, message = text } end

return app
