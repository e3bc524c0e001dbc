---@meta _
-- conn: one WebSocket connection.

---Handlers get the connection as their first argument. The object may be kept: there is one per connection, so it compares equal
---and works as a table key, and after the close every method gives `nil, "closed", "closed"`. Reading or setting a field that
---does not exist raises with the nearest name; your own fields go in `conn.data`.
---@class moontide.conn
---short name of the connection, also in the log: "c" and letters or digits. Never used twice while the server runs
---@field id string
---address of the client: "203.0.113.9", "2001:db8::1" or "unix". nil after the end
---@field ip string?
---path of the request, decoded. nil after the end
---@field path string?
---values of the route's `:name` and `*` parts, decoded. A new table each time
---@field params table<string, string>
---arguments of the URL, decoded; of several with one name the last counts. A new table each time
---@field query table<string, string>
---the subprotocol that was agreed on, nil for none
---@field protocol string?
---who it is, nil for nobody. Can be set, also to nil: the memberships of the connection move to that person, with `on_leave` and
---`on_join` where that makes a difference. 1 to 256 bytes. Where that user has as many connections as `limits.user_connections`
---allows, it stays as it was and the connection is closed with 1008: the handler goes on as when its client has gone
---@field user string?
---a table of your own, made when it is first touched. Stays over reloads, and with the object after the close
---@field data table
---unix seconds (above 0) at which the credentials end, nil for never. Can be set: when the time comes the connection is closed with 4401, or
---the code of the setting `auth.expired`
---@field expires number?
---seconds of the last ping's round trip, nil before the first
---@field latency number?
---bytes that wait to be sent
---@field buffered integer?
---whether this connection took up an earlier one; always false in this version
---@field resumed boolean?
local conn = {}

---Queue a text message for this client. It leaves with everything else at the end of the turn. A table is sent as JSON.
---
---Fails: `closed`; `dropped` (a `volatile` message to a slow reader); `overflow` (the outbox is over `limits.outbox`: what was
---queued is lost, the client is closed with 1013; a message that is larger than that is taken while nothing else waits, see
---`conn:drain`); `nomem`.
---Raises: when the text is not UTF-8, when the table cannot be written as JSON, and while a script loads.
---@param message string|table # text, or a table for JSON
---@param opts? moontide.send_opts # see below
---@return true? ok
---@return string? message
---@return string? name
function conn:send(message, opts) end

---Queue a binary message.
---
---Fails: as `conn:send`.
---@param bytes string # any bytes
---@param opts? moontide.send_opts # see below
---@return true? ok
---@return string? message
---@return string? name
function conn:send_binary(bytes, opts) end

---Begin the closing handshake behind what is queued. `on_close` comes when it is over. RFC 6455 section 7.
---
---Fails: `closed`.
---Raises: for codes other than 1000-1003, 1007-1014 and 3000-4999, and for a reason of more than 123 bytes or that is not UTF-8.
---@param code? integer # 1000 by default
---@param reason? string # told to the client
---@return true? ok
---@return string? message
---@return string? name
function conn:close(code, reason) end

---Become a member of a room, which begins to exist with its first member. Once more is fine and gives new info. The messages that
---a `current` room keeps are sent to this connection first, then `on_join` of the room runs when the person is new in it.
---
---Fails: `closed`; `full` (10,000 rooms for one connection); `nomem`.
---@param room string # name of the room, 1 to 256 bytes
---@param info? any # shown in `room:members()` and to `on_join`; anything that JSON can hold, up to 64 KiB
---@return true? ok
---@return string? message
---@return string? name
function conn:join(room, info) end

---Leave a room at once, without grace.
---
---Fails: `closed`.
---@param room string # name of the room
---@return boolean? was_member # false when it was no member
---@return string? message
---@return string? name
function conn:leave(room) end

---The rooms that this connection is in, also inside `on_close`.
---
---Fails: `closed` (after `on_close` has returned).
---@return string[]? names # sorted
---@return string? message
---@return string? name
function conn:rooms() end

---Ask the client something and wait for its answer. The message gets an `id` of the server's own; the client answers it with
---`{"type":"reply","id":...,"data":...}`, or with `{"type":"error","id":...,"code":...,"message":...}`, see
---[the protocol](../protocol.md#questions-of-the-server). The answer does not go through `app.on`, and nobody but this connection can
---give it. It is what a client says: check it (`tide.check`) before you rely on it.
---
---A handler may ask the connection whose message it handles. The answer is taken before the messages that wait behind the handler.
---
---Waits: for the client's answer.
---Fails: `timeout`; `closed` (also when the connection ends before it has answered); `full` (10,000 questions of this connection are
---open); `overflow`, `nomem`; and what the client's error said: its message, and its code as the name ("failed" where it gave none).
---Raises: when the table has an `id`, is a list, or cannot be written as JSON; while a script loads; where waiting is impossible.
---@param message table # sent as JSON, with the id added
---@param opts? moontide.request_opts # how long to wait
---@return any data # `data` of the reply; true when it has none
---@return string? message
---@return string? name
function conn:request(message, opts) end

---Wait until everything that was queued has been given to the system, so that a long answer is sent as fast as the client reads
---it.
---
---Waits: until the outbox is empty.
---Fails: `closed`, `timeout`.
---@param timeout? number # seconds; without it there is no limit
---@return true? ok
---@return string? message
---@return string? name
function conn:drain(timeout) end

---Start work that belongs to this connection: it is cancelled when the connection closes. It starts when the running handler
---waits or ends. See [task](task.md).
---
---Fails: `closed`.
---@param fn fun(...: any) # runs in a coroutine of its own
---@param ... any # its arguments
---@return moontide.task? task
---@return string? message
---@return string? name
function conn:spawn(fn, ...) end

---Options of `conn:request` and `tide.user(id):request`. An unknown option raises.
---@class moontide.request_opts
---seconds to wait for the answer, from 0; 10 by default
---@field timeout? number

---Options of every send: `conn`, user, room and `tide.broadcast`. An unknown option raises.
---@class moontide.send_opts
---who does not get it: a conn, a user id, what `tide.user` or `tide.conn` gave, or a list of them
---@field except? moontide.conn|moontide.user|moontide.conn.remote|string|table
---a message with the same key to the same receiver (for a room: in the same room) that is still queued is replaced by this one,
---in its place: a slow reader gets only the newest
---@field key? string
---true: first to be dropped when the outbox is over its limit; the client is told how many were
---(`{"type":"dropped","count":3}`, as text also among binary messages)
---@field volatile? boolean
