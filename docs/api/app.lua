---@meta
-- The handler table
--
-- A script returns one table: its handlers and what they need. All keys are optional. Names and shapes are checked while a version loads; an
-- unknown `on_*` is an error with the nearest name, and the version before it keeps serving.
--
-- ```lua
-- local app = {}
-- function app.on_message(conn, text) conn:send(text) end
-- return app
-- ```
--
-- Every handler runs in a coroutine of its own, so it may wait (`tide.sleep`, `conn:drain`, ...). Events of one connection stay in order: while its
-- handler waits, its next events queue, and past a bound the socket is not read.
--
-- **Whose fault.** A client's mistake (bad JSON, an unknown type, a message that does not fit its shape, `tide.reject`, `nil, message, name`) is answered
-- with an error and never ends the connection. A raise is the script's fault: it is logged with its traceback, the client hears
-- `code = "internal"`, and three in a row close the connection with 1011.

---What a script returns.
---@class tide.App
---@field on? table<string, fun(conn: tide.Conn, msg: table): any, string?, string?> Handlers of JSON messages by their `type`. A message with an `id` gets exactly one answer: `{type="reply", id=, data=}` with what the handler returned, or `{type="error", id=, code=, message=}` after `nil, message, name`. Without an `id` only failures are answered.
---@field accepts? table<string, tide.Shape> The shape of each message type, checked before the handler wakes. Fields that are not declared are dropped, except `type` and `id`.
---@field routes? table<string, table> Handlers by path: `["/board/:id"] = board`. `:name` takes one part of the path, `*` the rest. When given, only listed paths exist. `app.on_connect` runs first, then the route's own with `req.user` set; all else is the route's own.
---@field rooms? table<string, tide.RoomKind> How rooms behave, by name or pattern (`["game:*"]`); the most specific one counts.
---@field protocols? string[] Subprotocols, the server's favourite first.
---@field limits? { message_bytes: integer } The longest message of a client, in bytes.
---@field version? integer The version of the data that the script keeps.
local app = {}

---Before the handshake is answered. May wait: nothing has been sent yet. Fails closed: what is not listed here, or a raise, is 500.
---@param req tide.Req the request
---@return { user: string?, data: table?, expires: number?, protocol: string?, headers: table? }|nil accept nothing to accept; `user` logs in, `data` becomes `conn.data`, `expires` (unix seconds) ends the credentials, `protocol` and `headers` go into the answer. `nil, message` refuses with 403
---@return string? message why not
function app.on_connect(req) end

---The connection is open.
---@param conn tide.Conn
function app.on_open(conn) end

---The connection is over. It is a member of its rooms until this has returned, and `conn.user` and `conn.data` are there; sends give `nil, "closed", "closed"`.
---@param conn tide.Conn
---@param code integer as RFC 6455 has it: 1006 when the socket broke, 1005 when the client gave none
---@param reason string
function app.on_close(conn, code, reason) end

---A text message that `on` does not take.
---@param conn tide.Conn
---@param text string UTF-8
---@return nil nothing or `nil, message, name`, which sends an error
---@return string? message
---@return string? name
function app.on_message(conn, text) end

---A binary message. Without this handler binary messages close the connection with 1003.
---@param conn tide.Conn
---@param bytes string
---@return nil nothing or `nil, message, name`, which sends an error
---@return string? message
---@return string? name
function app.on_binary(conn, bytes) end

---A plain HTTP request that no static file answers. Nothing returned is 404.
---@param req tide.Req
---@return integer? status
---@return string|table|function|nil body a text, a table (sent as JSON) or an iterator (sent piece by piece)
---@return table<string, string>? headers
function app.on_http(req) end

---This version has gone live in this worker.
---@param reason "start"|"reload"|"rollback"
function app.on_start(reason) end

---The server is about to stop; connections are still open. Bounded by `shutdown.timeout`.
---@param reason "shutdown"
function app.on_stop(reason) end

---How rooms of one name or pattern behave.
---@class tide.RoomKind
---@field grace? number seconds that somebody whose last connection broke stays a member (5); coming back in that time is neither a leave nor a join
---@field current? boolean keep the newest message of each `key` and send it to those who join, before anything else
---@field on_join? fun(room: tide.Room, member: tide.Member) somebody came: once per person, not per tab
---@field on_leave? fun(room: tide.Room, member: tide.Member) somebody left for good, after `grace`
---@field allow? fun(conn: tide.Conn, name: string, info: any): any, string? answers joins that clients ask for by themselves: true or the info to let in, `nil, message` to refuse
