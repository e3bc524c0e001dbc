---@meta _
-- task: work that runs beside the handlers: `tide.spawn`, `conn:spawn`.

---A task is a function in a coroutine of its own. Its object may be kept or dropped; the task runs either way. An error in it is
---logged with its traceback.
---
---A task that is cancelled unwinds: the call that it waits in never returns, its `<close>` variables run, and no error is
---counted. `<close>` code may not wait. As a `<close>` variable itself (`local t <close> = tide.spawn(...)`) a task ends with the
---block.
---@class moontide.task
local task = {}

---Wait for the end of a task and take its results. Any number of times, also after the end, and by any number of tasks.
---
---Waits: until the task has ended.
---Fails: `timeout` (it goes on), `cancelled`; and "error" with the message when it raised.
---Raises: when a task would wait for itself, or tasks for each other, for ever.
---@param timeout? number # seconds; without it there is no limit
---@return any ... # what the function returned
---@return string? message
---@return string? name
function task:join(timeout) end

---End the task. One that waits is unwound before this returns; one that has not begun never does; one that runs at the moment,
---which is the one that cancels itself, ends where it next waits, and goes to its end when it does not.
---
---Raises: while a script loads, for a task that another version has made.
---@return boolean cancelled # false when it had ended, also by a cancel before
function task:cancel() end
