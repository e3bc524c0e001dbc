---@meta _
-- tide.json: JSON text and values, exact.

---Strict RFC 8259. Integers stay integers and are exact to 64 bits, floats are written so that they read back the same. A member
---that is null is absent after decoding; inside lists and alone null is `tide.null`. Lists stay lists: `[]` decodes to a table
---that is written as `[]` again, and so do all lists that this API returns. Tables are read raw, metamethods do not run. At most
---128 levels deep.
---
---`require "cjson"` and `require "cjson.safe"` give the same functions in the shape of lua-cjson: `encode`, `decode` and `null`; what fails
---is raised, or returned as nil and a message by the second. lua-cjson itself is not used: it takes memory outside of `script.memory`.
---@class moontide.json
local json = {}

---Raises: for what JSON cannot hold (functions, NaN, mixed keys, text that is not UTF-8, tables in themselves), with the place in
---it; and past 16 MiB.
---@param value any # nil is written as null
---@return string text # without line breaks
function json.encode(value) end

---Fails: `json` with the position, also for nil; `too_large` past 16 MiB.
---@param text string? # nil is no mistake, so that a missing body may be given
---@return any value
---@return string? message
---@return string? name
function json.decode(text) end

---Mark a table as a list, so that it is written as `[]` while it is empty.
---
---Raises: for a table with a metatable of its own.
---@param t table # a list, or an empty table
---@return table t # the same table
function json.array(t) end
