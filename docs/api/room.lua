---@meta
-- Rooms
--
-- A room needs no making: it exists while somebody is in it, and a room object is just its name with methods. Members are people: two tabs of one user
-- are one member with two connections, and a connection without a user is a member by itself.

---The room of this name.
---@param name string 1 to 256 bytes
---@return tide.Room room
function tide.room(name) end

---Rooms that somebody is in.
---@param prefix? string only names that begin with it
---@return { name: string, count: integer }[] rooms
function tide.rooms(prefix) end

---Somebody in a room, as lists and hooks show it: a record, not a connection, because it may be on another worker.
---@class tide.Member
---@field user string? nil when nobody logged in
---@field id string id of the first connection of this person in the room
---@field info any what was given to `join`

---@class tide.Room
---@field name string
local room = {}

---Send a text message to every connection in the room. It is built once for all.
---@param message string|table
---@param opts? tide.SendOptions with `key` in a room that keeps `current` messages, it also becomes what those who join later are sent first
---@return true ok also when nobody is there
function room:send(message, opts) end

---@param bytes string
---@param opts? tide.SendOptions
---@return true ok
function room:send_binary(bytes, opts) end

---@param who tide.Conn|string a conn, or a user id (also while in grace)
---@return boolean is_member
function room:has(who) end

---@return integer people those in grace too
function room:count() end

---@return tide.Member[] members in the order in which they came
function room:members() end

---Not in this version: raises.
function room:history() end

---Forget the current message of a key, so that nobody who joins later is sent it.
---@param key string
---@return boolean was_there
function room:forget(key) end

---Everybody leaves at once, without grace.
function room:empty() end

---Close the connections of all members.
---@param code? integer as for `conn:close`
---@param reason? string
function room:close_all(code, reason) end
