---@meta
-- tide.json
--
-- Strict JSON (RFC 8259) without loss. Integers stay integers and are exact to 64 bits; numbers with a point or an exponent are floats, and floats are
-- written so that they read back the same. A null member of an object is absent; inside lists null is `tide.null`. Lists stay lists, also empty ones
-- that came from JSON, from this API or from `tide.json.array`; an empty table of the script's own is `{}`. `require "cjson"` gives lua-cjson
-- itself, with its own rules.

tide.json = {}

---@param value any nil, boolean, number, string, table or `tide.null`. A table with the keys 1..n is a list, one with names an object. Raises with the place for all else: `value.players[3]: cannot be written as JSON: function`
---@return string text
function tide.json.encode(value) end

---@param text string? at most 16 MiB; nil is a failure, not a mistake
---@return any value nil after `"json"` or `"too_large"`; null as the whole text is `tide.null`
---@return string? message with the position: `not valid JSON at byte 4: a value was expected`
---@return string? name
function tide.json.decode(text) end

---Make a table a list for good, also while it is empty. It gets a metatable; one that has another raises.
---@generic T: table
---@param t T
---@return T t the same table
function tide.json.array(t) end
