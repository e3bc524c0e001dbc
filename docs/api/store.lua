---@meta
-- tide.store
--
-- In this version stores live in memory: `tide.store:open(name, { memory = true })`. They never wait, are kept over reloads and are gone at a restart. The
-- durable store (`tide.store:get` and so on, without open) is not there yet; its functions raise and say so.
--
-- Values are copied in and out. A string is kept as it is, whatever bytes it has; an integer as an integer; all else as JSON. A key has 1 to 1024 bytes,
-- a value at most 1 MiB, and all stores of a worker together 128 MiB: past that, `set` gives `nil, message, "full"`.

tide.store = {}

---@param name string 1 to 64 bytes; stores of one name are the same
---@param opts { memory: true }
---@return tide.Store store
function tide.store:open(name, opts) end

---Not in this version: raises.
function tide.store:get() end

---Not in this version: raises.
function tide.store:set() end

---Not in this version: raises.
function tide.store:delete() end

---Not in this version: raises.
function tide.store:incr() end

---Not in this version: raises.
function tide.store:update() end

---Not in this version: raises.
function tide.store:scan() end

---@class tide.Store
local store = {}

---@param key string
---@return any value a copy; nil when the key is not there
function store:get(key) end

---@param key string
---@param value any not nil; what JSON cannot hold raises
---@param opts? { ttl: number } `ttl`: seconds that the value lives (for ever). One that is over already removes it
---@return true|nil ok nil after `"full"` or `"too_large"`
---@return string? message
---@return string? name
function store:set(key, value, opts) end

---@param key string
---@return boolean was_there
function store:delete(key) end

---Add to an integer in one step. A key that is not there counts as 0.
---@param key string
---@param by? integer (1)
---@param opts? { ttl: number } of a key that this call makes; one that is there keeps its own
---@return integer? sum nil after `"invalid"` (no integer, or too large) or `"full"`
---@return string? message
---@return string? name
function store:incr(key, by, opts) end

---Change a value in one step: read, call, write, and again when somebody else wrote the key in between. So the function should do nothing else, and it
---must not wait.
---@param key string
---@param fn fun(old: any): any gets a copy of the value or nil; nil as its result removes the key
---@param opts? { ttl: number } without it the value lives as long as the old one would have
---@return any value the new one | nil, message, name
---@return string? message
---@return string? name
function store:update(key, fn, opts) end

---Walk over keys in their order. The keys are those of the moment of the call; those deleted meanwhile are left out. Looks at every key of the worker's
---stores, so it is for small stores or rare calls.
---@param prefix? string
---@param opts? { limit: integer } at most so many
---@return fun(): string?, any iterator of key and value
function store:scan(prefix, opts) end
