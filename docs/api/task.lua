---@meta
-- Waiting, tasks and timers
--
-- A call that waits lets other events run and comes back where it was. Waiting works in handlers, tasks, timers and hooks; not while a script loads,
-- not in a coroutine of the script's own (`tide.spawn` is for that), not in metamethods, iterators and callbacks of C functions such as `table.sort`: there it raises.
--
-- Cancelling unwinds: the waiting call never returns, `<close>` variables run, nothing is logged. `<close>` code may not wait then.

---Wait.
---@param seconds number
---@return true ok
function tide.sleep(seconds) end

---Run a function beside this one. It begins when the running handler waits or ends.
---@param fn function
---@param ... any arguments of fn
---@return tide.Task task
function tide.spawn(fn, ...) end

---Run a function and wait for it, but not longer; past the time it is cancelled.
---@param seconds number
---@param fn function
---@param ... any arguments of fn
---@return any ... its results, or `nil, "timeout", "timeout"`
function tide.timeout(seconds, fn, ...) end

---Call once, later. A function is called in the version that made the timer; a name means `app.name` of the version that is live then.
---@param seconds number
---@param fn function|string
---@param ... any arguments
---@return tide.Timer timer
function tide.after(seconds, fn, ...) end

---Call again and again, until cancelled or until this version ends. Calls never overlap: one that takes longer than the period delays the next.
---@param seconds number above 0
---@param fn fun(elapsed: number) gets the seconds since the last call
---@return tide.Timer timer
function tide.every(seconds, fn) end

---@class tide.Task
local task = {}

---Wait for its end. A function that raised gives `nil, message, "error"`, a cancelled one `nil, "cancelled", "cancelled"`.
---@param timeout? number seconds (no limit); then `nil, "timeout", "timeout"`, and the task goes on
---@return any ... its results
function task:join(timeout) end

---@return boolean was_alive
function task:cancel() end

---@class tide.Timer
local timer = {}

---@return boolean was_pending
function timer:cancel() end
