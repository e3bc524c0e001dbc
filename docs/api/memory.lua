---@meta _
-- store: keys and values in memory: `tide.store:open(name, { memory = true })`.

---One for all workers: what one has written the others read at once. No call waits. Keys are texts of 1 to 1024 bytes. A value is
---a string (any bytes), a number, a boolean or a table that JSON can hold, up to 1 MiB; what is read is always a copy. All stores
---together hold up to 128 MiB. Writing raises while a script loads, reading does not. Where several workers change the same key,
---`incr` and `update` lose nothing; a `get` with a `set` after it may.
---
---```lua
---local hits = tide.store:open("hits", { memory = true })
---local n = hits:incr(conn.ip, 1, { ttl = 60 })
---```
---@class moontide.store
local store = {}

---@param key string # 1 to 1024 bytes
---@return any value # nil when there is none
function store:get(key) end

---Fails: `full`, `too_large`, `nomem`: the old value is still there then.
---@param key string # 1 to 1024 bytes
---@param value any # not nil
---@param opts? { ttl: number } # seconds that it lives, without it for ever; one that is over removes the key
---@return true? ok
---@return string? message
---@return string? name
function store:set(key, value, opts) end

---@param key string # 1 to 1024 bytes
---@return boolean was_there # false when there was nothing
function store:delete(key) end

---Add to an integer. A key that is not there counts as 0.
---
---Fails: `invalid` (the value is no integer, or the sum would not be one), `full`, `nomem`.
---@param key string # 1 to 1024 bytes
---@param by? integer # 1 by default
---@param opts? { ttl: number } # seconds, for a key that was not there; one that was keeps its end
---@return integer? sum
---@return string? message
---@return string? name
function store:incr(key, by, opts) end

---Change a value by a function, which gets the old one (nil for none) and returns the new one; nil removes the key. The function
---may not wait, and is called again when another worker has written the key meanwhile: it should do nothing but make the value.
---
---Fails: `full`, `too_large`, `nomem`, `busy` (changed by others 1000 times in a row).
---@param key string # 1 to 1024 bytes
---@param fn fun(old: any): any # makes the new value
---@param opts? { ttl: number } # seconds; without it the value keeps its end
---@return any value # what is stored now
---@return string? message
---@return string? name
function store:update(key, fn, opts) end

---Walk over keys in their order. Keys that are written meanwhile may be seen or not; each step reads the value anew.
---@param prefix? string # only keys that begin so
---@param opts? { limit: integer } # at most so many keys
---@return fun(): string?, any iterator # for a `for key, value in` loop
function store:scan(prefix, opts) end
