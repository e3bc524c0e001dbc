---@meta _
-- tide.files: the files of one folder, which the setting `files.folder` names, and no others.

---Every call waits until the disk has answered, on threads that do nothing else: a slow disk delays only those who wait for it.
---
---A name is UTF-8, 1 to 1024 bytes, with parts of up to 255 bytes that are separated by `/` ("photos/2026/a.jpg"). Parts that are
---empty or begin with a dot (`..` among them), a leading `/`, backslashes and control characters are not allowed: such a name
---fails with `invalid`, as names often come from clients. Symbolic links are not followed, wherever in a name they are, and only
---plain files are touched, whatever else somebody puts into the folder: `denied`.
---
---What `write` has written survives the end of the server, `kill -9` too. A crash of the machine may take it back, until `rename`
---has returned true. So write to a name of its own (`x.part`), then rename.
---
---All of these fail with `denied` where `files.folder` is not set.
---@class moontide.files
local files = {}

---Open a file. "w" opens for reading and writing: the file is made, with its folders, when it is not there, and keeps its content
---when it is (`size` tells where to go on). A file that was opened several times is the same for all of them, also when it is
---renamed or deleted meanwhile. See [file](file.md).
---
---A worker's scripts may have `files.open` (1000) files open. Close what you are done with; what nobody holds any more is closed
---when the collector finds it.
---
---Waits: for the disk.
---Fails: `invalid`, `denied`, `not_found` (only with "r"), `limited` (too many are open), `full`, `io`.
---@param name string # of the file
---@param mode? "r"|"w" # "r" by default
---@return moontide.file? file
---@return string? message
---@return string? name
function files.open(name, mode) end

---Give a file another name, in place of what has that name. When it returns true, its content and its name are on the disk. Who
---has it open goes on with it.
---
---Waits: for the disk, which has to write all that is still in memory.
---Fails: `invalid`, `denied`, `not_found`, `full`, `limited` (too many are open in the process), `io`.
---@param from string # its name now
---@param to string # its folders are made when they are not there
---@return boolean? ok
---@return string? message
---@return string? name
function files.rename(from, to) end

---Waits: for the disk.
---Fails: `invalid`, `denied`, `io`.
---@param name string # of the file
---@return boolean? deleted # false when it was not there
---@return string? message
---@return string? name
function files.delete(name) end

---The files whose names begin with a prefix, also those in folders: `list "photos/"` is all of that folder, `list "ann."` what
---begins so. Sorted by the bytes of their names; at most 10,000, else `too_large`.
---
---Waits: for the disk.
---Fails: `invalid`, `denied`, `too_large`, `limited` (too many are open in the process), `io`: a list that is not whole is none.
---@param prefix? string # all files without it
---@return moontide.file_entry[]? list
---@return string? message
---@return string? name
function files.list(prefix) end

---@class moontide.file_entry
---@field name string
---@field size integer # bytes
---@field time number # of the last change, unix seconds
