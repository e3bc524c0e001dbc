---@meta _
-- user: a person, with all tabs and devices: `tide.user(id)`.

---A user is the text that `on_connect` returned as `user` or that was set as `conn.user`. The object holds the id only, so it may
---be made for anybody at any time.
---
---The connections may be those of several workers. What concerns those of others is sent there and done a moment later, in the
---order of your calls: after `tide.user(id):join(room)` a `tide.room(room):send(...)` of the same worker reaches them, but
---`room:count()` may not tell of them yet.
---@class moontide.user
local user = {}

---Send to every connection of this person. That one of them is slow does not count as a failure.
---
---Fails: `offline` (nobody there), `nomem`.
---Raises: as `conn:send`.
---@param message string|table # text, or a table for JSON
---@param opts? moontide.send_opts # as for every send
---@return true? ok
---@return string? message
---@return string? name
function user:send(message, opts) end

---Send a binary message to every connection of this person.
---
---Fails: `offline`, `nomem`.
---@param bytes string # any bytes
---@param opts? moontide.send_opts # as for every send
---@return true? ok
---@return string? message
---@return string? name
function user:send_binary(bytes, opts) end

---Close every connection of this person.
---
---Fails: `offline`.
---@param code? integer # 1000 by default
---@param reason? string # told to the clients
---@return true? ok
---@return string? message
---@return string? name
function user:close(code, reason) end

---Put every connection of this person into a room.
---
---Fails: `offline`, `nomem`; `full` for a connection of this worker that is in too many rooms.
---@param room string # name of the room, 1 to 256 bytes
---@param info? any # anything that JSON can hold, up to 64 KiB
---@return true? ok
---@return string? message
---@return string? name
function user:join(room, info) end

---Take every connection of this person out of a room, without grace.
---
---Fails: `offline`.
---@param room string # name of the room
---@return boolean? was_member # whether one of them was a member; joins and leaves on their way to other workers do not count yet
---@return string? message
---@return string? name
function user:leave(room) end

---Ask every connection of this person, and wait for the first reply; the answers of the others are dropped. An error of one of them
---is the result only when nobody is left who could still reply. Everything else is as for [`conn:request`](conn.md).
---
---Waits: for the first reply.
---Fails: `offline` (nobody there), `timeout`, `closed` (all have gone without an answer), `busy` (the inboxes of their workers are
---full), and as `conn:request`.
---Raises: as `conn:request`.
---@param message table # sent as JSON, with the id added
---@param opts? moontide.request_opts # how long to wait
---@return any data # `data` of the reply; true when it has none
---@return string? message
---@return string? name
function user:request(message, opts) end

---@return integer count # open connections of this person, 0 for nobody
function user:count() end
