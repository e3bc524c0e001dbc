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

---Wait for the end of a task and take its results. Any number of times, also after the end.
---
---Waits: until the task has ended.
---Fails: `timeout` (it goes on), `cancelled`; and "error" with the message when it raised.
---@param timeout? number # seconds; without it there is no limit
---@return any ... # what the function returned
---@return string? message
---@return string? name
function task:join(timeout) end

---End the task. One that runs at the moment ends where it next waits.
---@return boolean cancelled # false when it had ended
function task:cancel() end
