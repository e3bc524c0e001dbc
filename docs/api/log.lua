---@meta
-- tide.log and tide.env
--
-- A line carries the time, the level, the message, the fields, and of itself the connection, its address and path, and the version of the script.
-- `print(...)` is an info line. What is below `log.level` costs nothing but the call.

tide.log = {}

---@param message any
---@param fields? table<string, any> strings as they are, all else as JSON; at most 32
function tide.log.debug(message, fields) end

---@param message any
---@param fields? table<string, any>
function tide.log.info(message, fields) end

---@param message any
---@param fields? table<string, any>
function tide.log.warn(message, fields) end

---@param message any
---@param fields? table<string, any>
function tide.log.error(message, fields) end

---Environment variables of the server: `tide.env.JWT_KEY`, nil when not set. Read only. `assert(tide.env.X, "set X")` as a first line makes a
---version without it fail to load.
---@type table<string, string?>
tide.env = {}
