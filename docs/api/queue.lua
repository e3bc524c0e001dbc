---@meta _
-- queue: a bounded queue of work with a few coroutines: `tide.queue`.

---For work that need not be done before the client is answered, and that may not be done without bound: alerts to another
---server, mails, pictures to be scaled. `put` never waits; when the queue is full it says so at once.
---
---Each item is one call of the function in a coroutine of its own, at most `workers` of them at a time, in the order in which they
---were put. A coroutine is there only while there is work. The function may wait, and has the budget of running time of any handler
---(`script.time`). When it raises, the error is logged with its traceback and counted, and the queue goes on with the next item.
---
---```lua
---local tide = require "moontide"
---local app = { on = {} }
---local slow = tide.queue(function(name, n) tide.sleep(0.1) tide.log.info("worked", { name = name, n = n }) end, { workers = 4 })
---
---function app.on.work(conn, msg)
---  if not slow:put(conn.id, msg.n) then return nil, "try again later", "busy" end
---end
---
---return app
---```
---
---A queue belongs to the worker and to the version of the script that made it. What is in it at a reload is done in that version,
---which `moontide status` shows as held by its queued items; those that are still there `reload.age` after the reload are dropped.
---When the server stops, `shutdown.timeout` is the time for what is queued, as it is for handlers. The log tells how many items
---were dropped. What must not be lost belongs in a store.
---
---A queue that is kept in `tide.state` works on after a reload, with the function that it was made with.
---@class moontide.queue
local queue = {}

---Add an item. It starts when the running handler waits or ends, or when a worker is free.
---
---Fails: `full` (so many items wait as `limit` says; the item is not in the queue), `nomem`.
---Raises: while a script loads.
---@param ... any # arguments for the function, any values
---@return true? ok
---@return string? message
---@return string? name
function queue:put(...) end

---@return integer count # items that wait for a worker; those that are being worked on do not count
function queue:count() end

---Options of `tide.queue`. An unknown option raises.
---@class moontide.queue_opts
---items that are worked on at the same time, 1 to 100000. 1 by default, which keeps them strictly one after the other
---@field workers? integer
---items that may wait, 1 to 10000000. 1000 by default
---@field limit? integer
