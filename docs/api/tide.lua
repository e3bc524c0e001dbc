---@meta moontide
-- tide: the rest
--
-- `local tide = require "moontide"`.
--
-- **Failures.** What can fail in the world returns `nil, message, name`; the author's mistakes raise. Names are a closed list: `closed overflow dropped
-- offline timeout cancelled refused tls dns too_large malformed json invalid denied limited missing expired full busy constraint not_found`; scripts may
-- add their own. Times are seconds.
--
-- **Where state lives.** A `local` belongs to this version and worker; `tide.state` to this worker, over reloads; a store in memory to the server, until it
-- is restarted.

---@class tide
---@field state table this worker's own, kept over reloads. Read only while a script loads
---@field null lightuserdata JSON's null inside lists
---@field version string hash of the sources that are running
---@field worker integer number of this worker, from 1
tide = {}

---@return number seconds since 1970, with a fraction
function tide.now() end

---End the handler and answer with this: an HTTP status for requests and handshakes, an error reply for messages. Never returns, and no pcall keeps it.
---@param status integer 400 to 599
---@param message? string
---@param headers? table<string, string>
function tide.reject(status, message, headers) end

---Check a value against a shape.
---@param value any
---@param shape tide.Shape compiled once per table or function: later changes of it are not seen
---@return any value a copy with the declared fields only, or nil
---@return string? message
---@return "invalid"? name
function tide.check(value, shape) end

return tide
