---@meta
-- People, and connections by id
--
-- `tide.user(id)` is a person: all connections that have this `conn.user`. `tide.conn(id)` is the connection of this `conn.id`. Both may be made for
-- ids that nobody has; then the methods give `nil, "nobody there", "offline"`.

---A person.
---@param id string 1 to 256 bytes
---@return tide.User user
function tide.user(id) end

---A connection, by its id.
---@param id string
---@return tide.Remote conn
function tide.conn(id) end

---Send a text message to every connection.
---@param message string|table
---@param opts? tide.SendOptions
---@return true ok
function tide.broadcast(message, opts) end

---@class tide.User
local user = {}

---Send to all connections of this person.
---@param message string|table
---@param opts? tide.SendOptions
---@return true|nil ok
---@return string? message
---@return string? name
function user:send(message, opts) end

---@param bytes string
---@param opts? tide.SendOptions
---@return true|nil ok
---@return string? message
---@return string? name
function user:send_binary(bytes, opts) end

---Close all connections of this person.
---@param code? integer as for `conn:close`
---@param reason? string
---@return true|nil ok
---@return string? message
---@return string? name
function user:close(code, reason) end

---Make all connections of this person members of a room.
---@param room string
---@param info? any
---@return true|nil ok
---@return string? message
---@return string? name
function user:join(room, info) end

---@param room string
---@return boolean|nil was_member whether one of them was
---@return string? message
---@return string? name
function user:leave(room) end

---@return integer connections open ones, 0 when nobody is there
function user:count() end

---@class tide.Remote
local remote = {}

---@param message string|table
---@param opts? tide.SendOptions
---@return true|nil ok
---@return string? message
---@return string? name
function remote:send(message, opts) end

---@param bytes string
---@param opts? tide.SendOptions
---@return true|nil ok
---@return string? message
---@return string? name
function remote:send_binary(bytes, opts) end

---@param code? integer as for `conn:close`
---@param reason? string
---@return true|nil ok
---@return string? message
---@return string? name
function remote:close(code, reason) end

---@param room string
---@param info? any
---@return true|nil ok
---@return string? message
---@return string? name
function remote:join(room, info) end

---@param room string
---@return boolean|nil was_member
---@return string? message
---@return string? name
function remote:leave(room) end
