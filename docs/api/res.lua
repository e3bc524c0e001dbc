---@meta _
-- res: an answer of another server, from `tide.http`.

---Of a stream (`stream = true`) the body comes while it is read. What is not read is not received: the other server waits. A stream
---holds its connection until it was read to the end or closed: `local res <close> = ...` closes it with the block. An answer may be
---kept over a reload. An unknown field raises with the nearest name.
---@class moontide.response
---200, 404 and so on
---@field status integer
---headers by name, in any case: `res.headers["Content-Type"]`. Several lines of one name are joined by ", ", those of `Set-Cookie`
---by a line break. `pairs` gives the names in lower case
---@field headers table<string, string>
---the body, whole; nil for a stream
---@field body string?
---of a stream that was read until its iterator ended: why it is not complete, in words for the log and not for clients. nil: all
---of it came. It is also set when the script closed it before the end
---@field error string?
local res = {}

---The body as JSON. Raises for a stream.
---
---Fails: `json` (no JSON), `invalid` (it does not fit the shape), `too_large` (more than 16 MiB).
---@param shape? moontide.shape # see [shapes](shape.md)
---@return any value # with a shape: a clean copy
---@return string? message
---@return string? name
function res:json(shape) end

---The lines of the body, without the line break (LF or CRLF), as they come; also the last one when it has none. A stream that
---breaks off, or has a line of more than `max_body` bytes, ends the loop and sets `error`.
---
---Waits: in the loop, for the next line of a stream. Raises when another task waits for this stream.
---@return fun(): string? iterator # for line in res:lines() do
function res:lines() end

---The body in pieces of any size, as they come; of an answer that is no stream, what `lines` has left, in one.
---
---Waits: in the loop, for the next piece of a stream. Raises when another task waits for this stream.
---@return fun(): string? iterator # for piece in res:chunks() do
function res:chunks() end

---End a stream before its end: the connection is closed. Who waits for it hears the end. Again, or of an answer that is complete:
---nothing happens.
function res:close() end
