---@meta
-- req: one HTTP request or handshake
--
-- What `on_connect` and `on_http` get.

---@class tide.Req
---@field method string
---@field path string decoded, without the query
---@field params table<string, string> what the route's `:name` took
---@field query table<string, string> decoded
---@field headers table<string, string> by name in any case; several lines of one name are joined
---@field cookies table<string, string>
---@field protocols string[] subprotocols that the client offers
---@field ip string
---@field origin string?
---@field tls { version: string, cipher: string, sni: string?, client: { cn: string }? }? nil on plain connections; `client` only when its certificate was verified
---@field body string of `on_http`
---@field user string? in a route's `on_connect`: who `app.on_connect` let in
---@field data table? likewise
local req = {}

---A token from the Authorization header (Bearer), the query, a cookie or the list of subprotocols.
---@param name? string of the query argument and the cookie ("token")
---@return string? token
function req:token(name) end

---The body as JSON, checked. Where it does not fit, the request is answered with 400 and the reason, and this call does not return.
---@param shape? tide.Shape
---@return any value
function req:json(shape) end
