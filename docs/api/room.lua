---@meta _
-- room: who hears what: `tide.room(name)`.

---A room is a name and its members. It begins with the first member and ends with the last; asking about or sending to a room
---that does not exist is no error. Members are people: several connections of one user count once. A room is the same in all
---workers: what `has`, `count` and `members` say is exact at once everywhere. Room objects of one name are equal. What rooms of a kind do is said in `app.rooms`, see [app](app.md#room).
---@class moontide.room
---its name
---@field name string
local room = {}

---Send to everybody in the room. The message is written and framed once, however many members and workers there are; what one
---worker sends to a room arrives in that order everywhere. With a `key`, a room
---with `current = true` keeps it for those who join later, also while nobody is there.
---
---Fails: `nomem`.
---Raises: as `conn:send`.
---@param message string|table # text, or a table for JSON
---@param opts? moontide.send_opts # as for every send
---@return true? ok
---@return string? message
---@return string? name
function room:send(message, opts) end

---Send a binary message to everybody in the room.
---
---Fails: `nomem`.
---@param bytes string # any bytes
---@param opts? moontide.send_opts # as for every send
---@return true? ok
---@return string? message
---@return string? name
function room:send_binary(bytes, opts) end

---@param who moontide.conn|string # a connection of this worker, or a user id
---@return boolean found # a user counts during the grace time too
function room:has(who) end

---@return integer people # those in grace too; 0 for a room that is not there
function room:count() end

---Everybody in the room, in the order in which they came. Records, not connections.
---@return moontide.member[] members
function room:members() end

---Raises: always. Rooms keep no history in this version.
---@return nil
function room:history() end

---Forget the kept message of a key, in a room with `current = true`.
---@param key string # the key it was sent with
---@return boolean was_there # false when there was none
function room:forget(key) end

---Everybody leaves at once, without grace. `on_leave` runs for each person.
function room:empty() end

---Close the connections of everybody in the room.
---
---Raises: as `conn:close`.
---@param code? integer # 1000 by default
---@param reason? string # told to the clients
function room:close_all(code, reason) end

---A person in a room, as `members`, `on_join` and `on_leave` have it.
---@class moontide.member
---who it is, nil when nobody logged in on that connection
---@field user? string
---id of the person's first connection in this room, for `tide.conn`
---@field id string
---what was given at `join`
---@field info? any
