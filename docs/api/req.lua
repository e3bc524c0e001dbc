---@meta _
-- req: an HTTP request or a handshake, for `on_connect` and `on_http`.

---A copy of the request: it stays whole as long as the script holds it, also when the client has gone. Fields are made when they
---are first asked for. They cannot be set: `on_connect` returns what the connection should carry. An unknown field raises with
---the nearest name.
---@class moontide.req
---"GET", "POST" and so on
---@field method string
---the path, decoded
---@field path string
---values of the route's `:name` and `*` parts, decoded
---@field params table<string, string>
---arguments of the URL, decoded; of several with one name the last counts
---@field query table<string, string>
---headers by name, in any case: `req.headers["User-Agent"]`. Several lines of one name are joined by ", " (RFC 9110 section 5.3).
---`pairs` gives the names in lower case
---@field headers table<string, string>
---cookies by name; of several with one name the first counts (RFC 6265)
---@field cookies table<string, string>
---subprotocols that the client lists, in its order
---@field protocols string[]
---address of the client: "203.0.113.9", "2001:db8::1" or "unix"
---@field ip string
---the Origin header, which browsers send: where the page came from. The server has checked it: only its own pages, and those
---that the setting `origins` lists, come this far
---@field origin string?
---whether the client came by TLS: to this server, or to a proxy that says so and that the setting `proxies` lists
---@field secure boolean
---facts of the TLS connection to this server, nil on a plain one
---@field tls moontide.req.tls?
---the body, whole, decoded from its transfer coding; empty for handshakes. Up to `limits.body`
---@field body string
---in the `on_connect` of a route: what `app.on_connect` returned as `user`
---@field user string?
---in the `on_connect` of a route: what `app.on_connect` returned as `data`
---@field data table?
local req = {}

---A token from one of the usual places, in this order: the header `Authorization: Bearer TOKEN` (RFC 6750), the argument of that
---name in the URL, the cookie of that name, and the subprotocols: the entry behind `bearer`, or an entry `bearer.TOKEN`. Browsers
---cannot set headers for a WebSocket; `new WebSocket(url, ["bearer", token])` is their way.
---@param name? string # of the argument and the cookie, "token" by default
---@return string? token # nil when there is none; compare it with `tide.crypto.equal`
function req:token(name) end

---The body as JSON. What is not JSON, or does not fit the shape, answers the request with 400 and the reason, and the call never
---returns.
---@param shape? moontide.shape # see [shapes](shape.md)
---@return any value # with a shape: a clean copy
function req:json(shape) end

---`req.tls`.
---@class moontide.req.tls
---"TLSv1.3" or "TLSv1.2"
---@field version string
---name of the cipher
---@field cipher string
---the name that the client asked for (SNI), where it may be one of a host
---@field sni? string
---the certificate of the client, where `tls.client` asks for one and it was verified
---@field client? moontide.req.client

---`req.tls.client`: a certificate that was verified against `tls.ca` and `tls.crl`.
---@class moontide.req.client
---the common name; nil where the subject has none, or several, or one with control characters in it
---@field cn? string
---the whole name, as RFC 2253 writes it: "CN=alice,O=Example". Everything but plain ASCII is escaped, so it can be compared as text
---@field subject string
---name of the authority that issued it
---@field issuer string
---SHA-256 of the certificate, 64 hexadecimal digits in lower case
---@field fingerprint string
---serial number, hexadecimal digits in upper case
---@field serial string
---when it ends, in unix seconds: good for `expires`
---@field not_after number
---alternative names: "DNS:a.example", "email:a@b.example", "URI:spiffe://example/a"; others are left out
---@field san string[]
