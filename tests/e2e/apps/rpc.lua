-- A JSON-RPC app on i_jsonrpc.lua, with methods that answer, refuse and crash.
return require "i_jsonrpc" {
  add = { params = { a = "number", b = "number" }, run = function(_, p) return p.a + p.b end },
  whoami = { params = {}, run = function(conn) return { id = conn.id } end },
  crash = { params = {}, run = function() error "secret detail" end },
}
