---@meta _
-- hasher: a digest of data that comes in pieces: `tide.crypto.hasher`.

---It works where it is called: a MiB of sha256 takes about 0.7 ms on a processor with SHA instructions and some milliseconds on
---others, in which the worker does nothing else. So read large files in pieces, as `file:read` gives them; others go on between
---two pieces.
---@class moontide.hasher
local hasher = {}

---@param bytes string # the next piece
---@return moontide.hasher hasher # the same, for chains of calls
function hasher:update(bytes) end

---The digest of what came so far; more may follow.
---@param as? moontide.encoding # "hex" by default
---@return string digest
function hasher:digest(as) end
