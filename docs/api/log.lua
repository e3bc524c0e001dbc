---@meta _
-- tide.log: lines for the server's log.

---Each line carries the time, the level, the connection with its address and path where there is one, and the version of the
---script. `print(...)` is an info line too. How lines look is in [operations](../operations.md#logs).
---@class moontide.log
local log = {}

---@param message any # made text by tostring; may have several lines
---@param fields? table<string, any> # more facts: strings, or anything that JSON can hold; at most 32. A secret by its name is hidden
function log.debug(message, fields) end

---@param message any # as above
---@param fields? table<string, any> # as above
function log.info(message, fields) end

---@param message any # as above
---@param fields? table<string, any> # as above
function log.warn(message, fields) end

---@param message any # as above
---@param fields? table<string, any> # as above
function log.error(message, fields) end
