---@meta moontide
-- tide: the server as scripts see it: `local tide = require "moontide"`.

---Each version of a script has its own copy of this table. While a script loads, calls that act (sends, joins, writes to stores
---and to `tide.state`) raise "not while loading: use on_start"; timers and tasks are noted and start when the version goes live.
---@class moontide.tide
---JSON text and values
---@field json moontide.json
---digests, random bytes, encodings
---@field crypto moontide.crypto
---requests to other servers
---@field http moontide.http
---passwords are kept as hashes
---@field password moontide.password
---JSON Web Tokens: who a client is, as somebody else has signed it
---@field jwt moontide.jwt
---lines for the server's log; `print` writes an info line too
---@field log moontide.log
---stores of keys and values
---@field store moontide.store.table
---the files of one folder
---@field files moontide.files
---@field sql moontide.sql
---variables of the environment
---@field env moontide.env
---a table that stays over reloads
---@field state moontide.state
---null inside lists and as a whole JSON text; members of objects that are null are absent instead
---@field null lightuserdata
---short hash of the sources of the running version: 8 hex digits, as in the log. nil until the script has been loaded
---@field version string?
---number of the worker that runs this, from 1
---@field worker integer
local tide = {}

---@return number time # unix seconds, with a fraction
function tide.now() end

---Wait.
---
---Waits: that long. Everything else goes on.
---@param seconds number # 0 lets others run first
---@return true done
function tide.sleep(seconds) end

---Start work that belongs to no connection. It begins when the running handler waits or ends, and goes on over reloads in the
---version that started it.
---
---Raises: when so many tasks and handlers are alive as `script.memory` has room for, which is one for each 4 KiB (65536 by default).
---@param fn fun(...: any) # runs in a coroutine of its own
---@param ... any # its arguments
---@return moontide.task task
function tide.spawn(fn, ...) end

---Call a function, but not for longer than so many seconds; then it is cancelled.
---
---Waits: until the function returns or the time is over.
---Fails: `timeout`; and "error" with the message when it raised, which is logged too. `tide.reject` in it refuses what the caller
---handles.
---@param seconds number # time for it
---@param fn fun(...: any): ... # may wait
---@param ... any # its arguments
---@return any ... # what the function returned
---@return string? message
---@return string? name
function tide.timeout(seconds, fn, ...) end

---Call a function once, later. A function is called in the version that made the timer; a name calls `app.NAME(...)` of the
---version that is live by then, so a reload in between counts.
---@param seconds number # from now on
---@param fn function|string # what to call
---@param ... any # its arguments
---@return moontide.timer timer
function tide.after(seconds, fn, ...) end

---Call a function again and again. It never overlaps itself: calls that would have come while it ran are left out. Ends with the
---version that made it, so `on_start` is the place for it.
---@param seconds number # between two calls, above 0
---@param fn fun(elapsed: number) # gets the seconds since its last call
---@return moontide.timer timer
function tide.every(seconds, fn) end

---A bounded queue of work. May be made while the script loads, as a local at its top. See [queue](queue.md).
---@param fn fun(...: any) # does one item; may wait
---@param opts? moontide.queue_opts # workers and limit
---@return moontide.queue queue
function tide.queue(fn, opts) end

---Limit how often something may happen, by key. May be made while the script loads, as a local at its top. See [limit](limit.md).
---
---Raises: a rate that is not above 0, a burst below 1, either of them infinite or above 1e9; the hundred and first name.
---@param name string # 1 to 256 bytes; the same name is the same limit, in all workers
---@param rate number # so many a second over time
---@param burst? number # so many at once; as many as `rate` by default, but at least 1
---@return moontide.limit limit
function tide.limit(name, rate, burst) end

---A room is one over all workers: members hear what is sent to it, and are counted, wherever they are connected.
---@param name string # 1 to 256 bytes
---@return moontide.room room
function tide.room(name) end

---The rooms that somebody is in.
---@param prefix? string # only names that begin so
---@return { name: string, count: integer }[] rooms # count is people
function tide.rooms(prefix) end

---@param id string # any text; what nobody can be called (empty, over 256 bytes) is offline
---@return moontide.user user
function tide.user(id) end

---@param id string # the `id` of a connection; any other text is offline
---@return moontide.conn.remote remote
function tide.conn(id) end

---The open connections of this worker. Connections may come and go between two steps.
---
---```lua
---for conn in tide.conns() do conn:send { type = "notice", text = "tea is ready" } end
---```
---@return fun(): moontide.conn? iterator # for a `for` loop
function tide.conns() end

---Send to every connection of every worker.
---
---Fails: `nomem`.
---Raises: as `conn:send`.
---@param message string|table # text, or a table for JSON
---@param opts? moontide.send_opts # as for every send
---@return true? ok
---@return string? message
---@return string? name
function tide.broadcast(message, opts) end

---Call `app.on_signal(name, value)` in every worker, this one too. It runs behind the running handler; signals of one worker
---arrive everywhere in the order in which they were sent. The value travels as JSON, so each worker gets a table of its own.
---
---Fails: `nomem`.
---Raises: for a value that JSON cannot hold.
---@param name string # 1 to 256 bytes
---@param value? any # anything that JSON can hold
---@return true? ok
---@return string? message
---@return string? name
function tide.signal(name, value) end

---Refuse what the client asks for. Never returns, and no `pcall` keeps it. In `on_connect` and `on_http` it is the answer; in a
---message's handler it becomes an error reply with the number as `code`. It never counts as a failure of the script.
---
---Raises: where there is nothing to refuse (a spawned task, a timer, a hook, while a script loads), and for a status that is not 400
---to 599.
---@param status integer # 400 to 599
---@param message? string # told to the client; by default the name of the status
---@param headers? table<string, string> # more headers of the answer
function tide.reject(status, message, headers) end

---Check a value against a shape. See [shapes](shape.md).
---
---Fails: `invalid`, the message names the place.
---@param value any # nothing is changed in it
---@param shape moontide.shape # compiled once per text, table or function: later changes are not seen
---@return any copy # the value; of objects a copy with the declared fields
---@return string? message
---@return string? name
function tide.check(value, shape) end

return tide
