---@meta _
-- remote: a connection by its id, from anywhere: `tide.conn(id)`.

---`tide.conn(id)` takes the `id` of a connection, for instance from `room:members()`, and never looks it up before it is used.
---It may be a connection of another worker: then what you ask for is done there a moment later, in the order of your calls.
---@class moontide.conn.remote
local remote = {}

---As [`conn:send`](conn.md).
---
---Fails: `offline` (no open connection has this id), and as `conn:send`.
---@param message string|table # text, or a table for JSON
---@param opts? moontide.send_opts # as for every send
---@return true? ok
---@return string? message
---@return string? name
function remote:send(message, opts) end

---As [`conn:send_binary`](conn.md).
---
---Fails: `offline`, and as `conn:send`.
---@param bytes string # any bytes
---@param opts? moontide.send_opts # as for every send
---@return true? ok
---@return string? message
---@return string? name
function remote:send_binary(bytes, opts) end

---As [`conn:close`](conn.md).
---
---Fails: `offline`.
---@param code? integer # 1000 by default
---@param reason? string # told to the client
---@return true? ok
---@return string? message
---@return string? name
function remote:close(code, reason) end

---As [`conn:join`](conn.md).
---
---Fails: `offline`, `nomem`; `full` when it is of this worker and in too many rooms.
---@param room string # name of the room, 1 to 256 bytes
---@param info? any # anything that JSON can hold, up to 64 KiB
---@return true? ok
---@return string? message
---@return string? name
function remote:join(room, info) end

---As [`conn:leave`](conn.md).
---
---Fails: `offline`.
---@param room string # name of the room
---@return boolean? was_member # false when it was no member; of another worker's connection only the room can be asked about
---@return string? message
---@return string? name
function remote:leave(room) end

---As [`conn:request`](conn.md). When the connection is another worker's, question and answer go there and back.
---
---Waits: for the client's answer.
---Fails: `offline` (no open connection has this id), `closed` (it ended before it answered), `busy` (the inbox of its worker is full),
---and as `conn:request`.
---@param message table # sent as JSON, with the id added
---@param opts? moontide.request_opts # how long to wait
---@return any data # `data` of the reply; true when it has none
---@return string? message
---@return string? name
function remote:request(message, opts) end
