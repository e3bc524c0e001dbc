---@meta _
-- tide.store: keys and values that all workers share, durable or in memory.

---A store of its own for everything that has to last. `tide.store` has all the methods of a [store](#store), and opens more of them,
---each with keys of its own.
---
---```lua
---local tide = require "moontide"
---local hits = tide.store:open("hits", { memory = true })
---
---function app.on.save(conn, msg)
---  assert(tide.store:set("draft:" .. conn.user, msg.text))   -- it is on the disk when this returns
---  return { saved = true, saves = hits:incr(conn.user) }
---end
---```
---
--- | | kept | calls |
--- | --- | --- | --- |
--- | `tide.store`, `tide.store:open(name)` | in the file that the setting `store.file` names, or in the Redis of `store.url`; with neither in memory | wait where they have to |
--- | `tide.store:open(name, { memory = true })` | in memory until the server ends, 128 MiB in all | never wait |
---
---[Keeping data](../data.md) says what to keep where, and what is promised.
---@class moontide.store.table : moontide.store
local store = {}

---Open a store. Stores of one name in one place are the same store. Never waits; may be called while a script loads.
---@param name string # 1 to 64 bytes
---@param opts? { memory: boolean } # true: in memory, for all workers, until the server ends
---@return moontide.store store # to be kept where you like, also over reloads
function store:open(name, opts) end

---Keys are texts of 1 to 1024 bytes, values strings (any bytes), numbers (integers are exact), booleans, and tables that JSON can
---hold, up to 1 MiB. What is read is a copy.
---
---All workers see a write as soon as the call that made it returns. A write of a durable store is on the disk by then. Where several
---handlers change the same key, `incr` and `update` lose nothing; a `get` with a `set` after it may.
---
---The calls of durable stores can be made where waiting is possible, and raise elsewhere ("cannot wait here") and while a script
---loads. A `get` of what was read or written lately comes out of a cache and waits for nothing. When the client goes, or the server
---stops, while a call waits, what it has sent is carried out all the same. Stores in memory can be used everywhere; while a script loads
---they can be read only.
---
---Besides what is listed, every call of a durable store may fail by `io`, `malformed` (the file is damaged there), `busy` (another
---program holds the file for more than 5 s, or too many calls wait), `nomem`; with Redis also by `refused`, `timeout` and `closed`.
---Nothing has been written then, or (`io`, `timeout`, `closed`) nobody knows.
---@class moontide.store
local store = {}

---Waits: in durable stores, for what the cache does not know.
---@param key string # 1 to 1024 bytes
---@return any value # nil when there is none
---@return string? message # only where it could not be read
---@return string? name
function store:get(key) end

---Fails: `full` (no room on the disk, or in memory), `too_large`: the old value is still there then.
---
---Waits: in durable stores, until it is on the disk.
---@param key string # 1 to 1024 bytes
---@param value any # not nil
---@param opts? { ttl: number } # seconds that it lives, without it for ever; one that is over is a millisecond
---@return true? ok
---@return string? message
---@return string? name
function store:set(key, value, opts) end

---Waits: in durable stores, until it is on the disk.
---@param key string # 1 to 1024 bytes
---@return boolean? was_there # false when there was nothing
---@return string? message
---@return string? name
function store:delete(key) end

---Add to an integer. A key that is not there counts as 0.
---
---Fails: `invalid` (the value is no integer, or the sum would not be one), `full`.
---
---Waits: in durable stores, until it is on the disk.
---@param key string # 1 to 1024 bytes
---@param by? integer # 1 by default
---@param opts? { ttl: number } # seconds, for a key that was not there; one that was keeps its end
---@return integer? sum
---@return string? message
---@return string? name
function store:incr(key, by, opts) end

---Change a value by a function, which gets the old one (nil for none) and returns the new one; nil removes the key. It is called
---again when somebody else has written the key meanwhile: it should do nothing but make the value. It may wait.
---
---Fails: `full`, `too_large`, `busy` (changed by others 1000 times in a row).
---
---Waits: in durable stores, until it is on the disk.
---@param key string # 1 to 1024 bytes
---@param fn fun(old: any): any # makes the new value
---@param opts? { ttl: number } # seconds; without it the value keeps its end
---@return any value # what is stored now
---@return string? message
---@return string? name
function store:update(key, fn, opts) end

---Walk over keys, sorted by their bytes, each at most once. What others write meanwhile may be seen or not: in memory the keys are
---those that were there at the call, each with its value as of its turn; a durable store is read 128 keys at a time, each such page as
---it was at one moment. What cannot be read raises, so that no loop ends early unnoticed.
---
---```lua
---for key, draft in tide.store:scan("draft:", { limit = 100 }) do print(key, draft) end
---```
---
---Waits: in durable stores, in the loop, for each page.
---@param prefix? string # only keys that begin so
---@param opts? { limit: integer } # at most so many keys
---@return fun(): string?, any iterator # for a `for key, value in` loop
function store:scan(prefix, opts) end
