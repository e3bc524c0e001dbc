---@meta _
-- tide.store: opens stores of keys and values.

---In this version stores live in memory: `tide.store:open(name, { memory = true })`. They are one for
---all workers, stay over reloads and are gone when the server ends. A durable `tide.store` comes later; its functions are there
---already, and raise.
---@class moontide.store.table
local store = {}

---Open a store. Stores of one name are the same store. May be called while a script loads.
---
---Raises: without `{ memory = true }`.
---@param name string # 1 to 64 bytes
---@param opts { memory: true } # where it lives
---@return moontide.store store # see [memory store](memory.md)
function store:open(name, opts) end

---Raises: always, in this version.
---@return nil
function store:get() end

---Raises: always, in this version.
---@return nil
function store:set() end

---Raises: always, in this version.
---@return nil
function store:delete() end

---Raises: always, in this version.
---@return nil
function store:incr() end

---Raises: always, in this version.
---@return nil
function store:update() end

---Raises: always, in this version.
---@return nil
function store:scan() end
