---@meta
-- conn: one connection
--
-- There is one object per connection, so it can be compared and used as a table key. It may be kept for ever: after the close its methods give
-- `nil, "closed", "closed"`, `conn.id` and `conn.data` stay, and the other fields are nil once `on_close` has returned. An unknown field raises with the
-- nearest name.

---How a message is sent.
---@class tide.SendOptions
---@field except? tide.Conn|string|(tide.Conn|string)[] who is left out: a conn, a user id or a list of them
---@field key? string replaces a message of this key that still waits in the outbox, in its place: a slow reader gets only the newest
---@field volatile? boolean the first to be dropped when the outbox is over its limit

---@class tide.Conn
---@field id string unique while the server runs; the name for logs and clients
---@field ip string the client's address; nil when the socket is gone
---@field path string of the request, decoded
---@field params table<string, string> the parts of the path that the route's `:name` took
---@field query table<string, string> arguments behind the `?`, decoded
---@field protocol string? the chosen subprotocol
---@field user string? who this is. Can be set: logs in, changes or (nil) logs out
---@field data table the script's own fields. Made when it is first touched; stays over reloads
---@field expires number? unix seconds at which the credentials end; then the connection is closed with 4401. Can be set
---@field latency number? seconds of the last ping's round trip
---@field buffered integer bytes in the outbox
---@field resumed boolean whether this connection goes on where an earlier one broke; false in this version
local conn = {}

---Queue a text message. It leaves after the running handler, together with everything else of this turn.
---@param message string|table UTF-8 text, or a table that is sent as JSON. Anything else raises
---@param opts? tide.SendOptions
---@return true|nil ok nil after `"closed"`, `"dropped"` (volatile, the reader is slow) or `"overflow"` (the outbox is full: the connection is closing with 1013)
---@return string? message
---@return string? name
function conn:send(message, opts) end

---Queue a binary message.
---@param bytes string any bytes
---@param opts? tide.SendOptions
---@return true|nil ok
---@return string? message
---@return string? name
function conn:send_binary(bytes, opts) end

---Close the connection behind what is queued.
---@param code? integer 1000-1003, 1007-1014 or 3000-4999 (1000)
---@param reason? string at most 123 bytes of UTF-8
---@return true|nil ok
---@return string? message
---@return string? name
function conn:close(code, reason) end

---Become a member of a room. Joining again changes the info only.
---@param room string 1 to 256 bytes
---@param info? any what the others see of this member, kept as JSON (at most 64 KiB)
---@return true|nil ok nil after `"closed"` or `"full"` (over 10,000 rooms)
---@return string? message
---@return string? name
function conn:join(room, info) end

---Leave a room at once, without grace.
---@param room string
---@return boolean|nil was_member
---@return string? message
---@return string? name
function conn:leave(room) end

---The rooms that this connection is in, also in `on_close`.
---@return string[]|nil names sorted
---@return string? message
---@return string? name
function conn:rooms() end

---Wait until everything queued has left. For writers of much data: send, drain, send.
---@param timeout? number seconds (no limit)
---@return true|nil ok nil after `"closed"` or `"timeout"`
---@return string? message
---@return string? name
function conn:drain(timeout) end

---Start a task that ends with the connection: it is cancelled at the close.
---@param fn function
---@param ... any arguments of fn
---@return tide.Task|nil task
---@return string? message
---@return string? name
function conn:spawn(fn, ...) end

---All open connections of this worker. They may come and go while the loop runs.
---@return fun(): tide.Conn? iterator
function tide.conns() end
