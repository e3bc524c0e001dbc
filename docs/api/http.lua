---@meta _
-- tide.http: requests to other servers.

---Each call waits for the answer, and everything else goes on meanwhile. TLS certificates are checked; connections are kept for the
---next request; a proxy from the environment is used; up to 5 redirects are followed; gzip and deflate are undone. See [HTTP
---requests](../http-client.md).
---
---An answer with any status is a result, also 404 and 500: look at `res.status`. The message of a failure is for the log and not for
---clients: it has host, port and address of the server that was asked.
---@class moontide.http
local http = {}

---`request("GET", url, opts)`.
---
---Waits: until the answer is there.
---Fails: like request, below.
---@param url string # "https://example.com/path?a=b"
---@param opts? moontide.http.opts # see below
---@return moontide.response? res # see [res](res.md)
---@return string? message
---@return string? name
function http.get(url, opts) end

---`request("POST", url, opts)`.
---
---Waits: until the answer is there.
---Fails: like request, below.
---@param url string # "https://example.com/path?a=b"
---@param opts? moontide.http.opts # see below
---@return moontide.response? res # see [res](res.md)
---@return string? message
---@return string? name
function http.post(url, opts) end

---Ask for something. A URL that is none is no mistake of the script, it may have come from a client; a bad method, header or option
---raises, before anything is sent.
---
---Waits: until the answer is there; with `stream` until its head is.
---Fails: `invalid` (the URL, or neither http nor https), `dns` (the name is not found), `refused` (no connection, or the proxy does
---not make one), `timeout`, `tls` (no TLS there, or a certificate that is not right), `closed` (the connection ended before the
---answer was complete), `malformed` (not HTTP, or damaged), `too_large` (more than `max_body`, or a head of more than 64 KiB or 256
---lines), `denied` (a private address, or a redirect to something else than http and https), `limited` (more than 5 redirects),
---`full` (4096 requests wait for a connection).
---@param method string # in capitals: "PUT"
---@param url string # "https://example.com/path?a=b", up to 16 KiB
---@param opts? moontide.http.opts # see below
---@return moontide.response? res # see [res](res.md)
---@return string? message
---@return string? name
function http.request(method, url, opts) end

---Options of a request; at most one of `body`, `json` and `form`.
---@class moontide.http.opts
---by name, in any case; a list of values makes a line of each. `Content-Length` and other headers that belong to the connection are
---the client's and raise
---@field headers? table<string, string|number|string[]>
---bytes to send; `headers` says what they are
---@field body? string
---a value to send as JSON
---@field json? any
---names and values to send as a form does, URL-encoded
---@field form? table<string, string|number>
---seconds for everything, the connection included: 30 by default. Of a stream: for its head, and then for each piece of it that the
---script waits for
---@field timeout? number
---true: do not wait for the body, which is read with `res:lines` or `res:chunks`
---@field stream? boolean
---bytes of the body, after inflating; `http.body` (8 MiB) by default. Of a stream, which may have any length: bytes of one line
---@field max_body? integer
---false: only public addresses are asked, and no proxy. For URLs that strangers choose. What the setting `http.private` forbids,
---true does not allow
---@field private? boolean
