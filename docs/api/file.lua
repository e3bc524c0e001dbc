---@meta _
-- file: an open file: `tide.files.open`.

---Bytes are read and written by their place, so a file has no position. The operations of one file object run one after the other,
---in the order in which they were called. As a `<close>` variable (`local f <close> = assert(tide.files.open(...))`) it is closed
---with the block. It may be kept in `conn.data` or `tide.state` over reloads. On a closed file everything fails with `closed`.
---
---When a task is cancelled while it waits here, what has not begun is not done; what has begun is brought to its end.
---@class moontide.file
local file = {}

---Fewer bytes than asked for come only at the end of the file, "" behind it.
---
---Waits: for the disk.
---Fails: `closed`, `io`.
---@param offset integer # 0 is the first byte
---@param n integer # bytes, 0 to 16777216
---@return string? bytes
---@return string? message
---@return string? name
function file:read(offset, n) end

---Behind the end of the file the gap reads as zeros. Raises when the file was opened with "r".
---
---Waits: for the disk.
---Fails: `closed`, `too_large` (the file would have more than `files.size` bytes), `full` (the disk), `io`. Some of the bytes may
---have been written then.
---@param offset integer # 0 is the first byte
---@param bytes string # at most 16777216
---@return boolean? ok
---@return string? message
---@return string? name
function file:write(offset, bytes) end

---Waits: for the disk.
---Fails: `closed`, `io`.
---@return integer? n # bytes
---@return string? message
---@return string? name
function file:size() end

---Does not wait; what was called before is still done. Again: nothing.
---
---Raises: while a script loads.
function file:close() end
