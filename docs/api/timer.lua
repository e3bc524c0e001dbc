---@meta _
-- timer: a call that is still to come: `tide.after`, `tide.every`.

---Dropping the object does not stop the timer. As a `<close>` variable a timer ends with the block.
---@class moontide.timer
local timer = {}

---No call will begin after this. One that is running goes on.
---
---Raises: while a script loads, for a timer that another version has made.
---@return boolean cancelled # whether a call was still to come
function timer:cancel() end
