-- app.lua - people register and log in; only who is logged in gets a WebSocket.
--
-- POST /register and /login take {"name": ..., "password": ...} and set a cookie, POST /logout ends the session and closes its
-- sockets, GET /me tells who one is. Passwords are kept as hashes in SQLite, sessions in tide.store.
local tide = require "moontide"
local db = tide.sql.open("login.db", { migrations = "migrations" })
local app = { on = {} }

local DAYS = 24 * 3600
local SESSION = tonumber(tide.env.SESSION_SECONDS) or 30 * DAYS
local TRIES, PAUSE = 5, 15 * 60                            -- wrong passwords of one address for one name, and how long they count
local LOGIN = { name = "string 1..32", password = "string 8..200" }

-- ---- sessions ----

-- The cookie holds a random token, the store its digest: who reads the store cannot log in with what is there.
local function key_of(token) return "session:" .. tide.crypto.digest("sha256", token) end

local function session_of(req)                             -- -> session, key
  local token = req.cookies.session
  if not token then return nil end
  local session, err = tide.store:get(key_of(token))
  if err then tide.reject(503, err) end
  return session, key_of(token)
end

local function cookie(req, token, seconds)
  return { ["Cache-Control"] = "no-store", ["Set-Cookie"] = ("session=%s; Path=/; Max-Age=%d; HttpOnly; SameSite=Strict%s")
    :format(token, seconds, req.secure and "; Secure" or "") }
end

local function begin_session(req, user)
  local token = tide.crypto.random(32, "base64url")
  assert(tide.store:set(key_of(token), { user = user, expires = tide.now() + SESSION }, { ttl = SESSION }))
  return 200, { user = user }, cookie(req, token, SESSION)
end

-- ---- requests ----

local function post(handler)
  return { on_http = function(req)
    if req.method ~= "POST" then tide.reject(405, "POST only", { Allow = "POST" }) end
    return handler(req)
  end }
end

local function count_try(key)
  local tries, err = tide.store:incr(key, 1, { ttl = PAUSE })   -- counted before the password is looked at: many at once count too
  if not tries then tide.reject(503, err) end
  if tries > TRIES then tide.reject(429, "too many tries, wait a quarter of an hour", { ["Retry-After"] = tostring(PAUSE) }) end
end

local function register(req)
  local who = req:json(LOGIN)
  if not who.name:match "^[%w_.-]+$" then tide.reject(400, "a name has letters, digits, dots, dashes and underscores") end
  count_try("register:" .. req.ip)
  local hash, err = tide.password.hash(who.password)
  if not hash then tide.reject(503, err) end
  local done, why, name = db:query("INSERT INTO people (name, hash, created) VALUES (?, ?, ?)", who.name, hash, tide.now())
  if name == "constraint" then tide.reject(409, "this name is taken") end
  assert(done, why)
  return begin_session(req, who.name)
end

local function login(req)
  local who = req:json(LOGIN)
  local tries = ("login:%s:%s"):format(req.ip, who.name:lower())
  count_try(tries)
  local row, err = db:row("SELECT name, hash FROM people WHERE name = ?", who.name)
  assert(not err, err)                                     -- for the log: it may name tables and files
  local same, why, name = tide.password.verify(who.password, row and row.hash)   -- without a person it takes as long
  if name == "busy" then tide.reject(503, why) end
  if not same then tide.reject(401, "wrong name or password") end                -- which of them is not told
  tide.store:delete(tries)
  return begin_session(req, row.name)
end

local function logout(req)
  local session, key = session_of(req)
  if session then
    assert(tide.store:delete(key) ~= nil)
    tide.room(key):close_all(4401, "logged out")           -- every tab of this session, whatever worker it is at
  end
  return 200, {}, cookie(req, "", 0)
end

local function me(req)
  local session = session_of(req)
  return 200, { user = session and session.user }, { ["Cache-Control"] = "no-store" }
end

-- ---- sockets ----

function app.on_connect(req)
  local session, key = session_of(req)
  if not session then tide.reject(401, "log in first") end
  return { user = session.user, expires = session.expires, data = { session = key } }   -- closed with 4401 when it expires
end

function app.on_open(conn)
  conn:join(conn.data.session)
  if not tide.store:get(conn.data.session) then return conn:close(4401, "logged out") end   -- since on_connect
  conn:send { type = "hello", user = conn.user, expires = conn.expires }
  conn:join "online"
end

local function tell_online(room)
  local names = tide.json.array {}
  for i, member in ipairs(room:members()) do names[i] = member.user end
  room:send({ type = "online", names = names }, { key = "online" })
end
app.rooms = { online = { current = true, on_join = tell_online, on_leave = tell_online } }   -- once per person; each tab gets the newest

app.routes = {
  ["/"] = app, ["/register"] = post(register), ["/login"] = post(login), ["/logout"] = post(logout), ["/me"] = { on_http = me },
}
return app
