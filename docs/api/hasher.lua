---@meta _
-- hasher: a digest of data that comes in pieces: `tide.crypto.hasher`.

---@class moontide.hasher
local hasher = {}

---@param bytes string # the next piece
---@return moontide.hasher hasher # the same, for chains of calls
function hasher:update(bytes) end

---The digest of what came so far; more may follow.
---@param as? moontide.encoding # "hex" by default
---@return string digest
function hasher:digest(as) end
