"""Scripts cannot stop the server: endless handlers and chunks end, failures are counted and told."""
import time

import pytest
from support.server import refuses
from support.wire import fetch

APP = """
local tide = require "moontide"
local app = { on = {} }
function app.on.loop() while true do end end
function app.on.pcall_loop() while true do pcall(function() while true do end end) end end
function app.on.raise() error "boom in the handler" end
function app.on.slow_but_fine() tide.sleep(0.5) return { ok = true } end
function app.on.fine() return { ok = true } end
function app.on_open(conn) if conn.path == "/loop" then while true do end end end
function app.on_http(req) if req.path == "/loop" then while true do end end return 200, "fine" end
return app
"""


def call(ws, kind):
    ws.text({"type": kind, "id": 1})
    return ws.json()


@pytest.mark.parametrize("kind", ["loop", "pcall_loop"])
def test_endless_handler(serve, connect, kind):
    server = serve(APP, settings={"script.time": 0.2})
    ws, other = connect(server), connect(server)
    used = server.cpu()
    assert call(ws, kind)["code"] == "internal"
    assert 0.15 < server.cpu() - used < 2
    assert call(ws, "fine") == {"type": "reply", "id": 1, "data": {"ok": True}}
    assert call(other, "fine")["data"] == {"ok": True}
    server.log.wait(r"app\.lua:\d+")


@pytest.mark.parametrize("again", ["local _ <close> = setmetatable({}, { __close = function() while true do end end }) ", "",
                                   "local _ = coroutine.wrap(function() local _ <close> = setmetatable({}, { __close = loop }) sort() end)() "])
def test_endless_again_after_an_end_inside_a_library_call(serve, connect, again):
    """Lua leaves hooks off in a coroutine that a hook's error ended: what runs in it next must end all the same."""
    server = serve("""
    local app = { on = {} }
    local function loop() while true do end end
    local function sort() table.sort({ 3, 2, 1 }, loop) end
    app.on.loop = loop
    function app.on.sort() %s sort() end
    function app.on.fine() return { ok = true } end
    return app""" % again, settings={"script.time": 0.1})
    ws = connect(server)
    assert call(ws, "sort")["code"] == "internal"
    assert call(ws, "loop")["code"] == "internal"
    assert call(ws, "fine")["data"] == {"ok": True}


@pytest.mark.parametrize("end", ["task:cancel()", "", "tide.reject(400, 'no')"])
def test_message_handler_of_a_coroutine_that_was_ended(serve, connect, end):
    """The coroutine of a task that ended inside of xpcall is used again: a later error must not call what lies in that place."""
    server = serve("""
    local tide = require "moontide"
    local app, calls = { on = {} }, 0
    local function called(err) calls = calls + 1 return err end
    function app.on.leave()
      local task = tide.spawn(function() xpcall(tide.sleep, called, 100) end)
      tide.sleep(0)
      task:cancel()
      xpcall(function() %s while true do end end, called)
    end
    function app.on.raise()
      local a, b, c, d, e, f, g, h = called, called, called, called, called, called, called, called
      local function deeper(n)
        local a, b, c, d = called, called, called, called
        if n == 0 then error "boom" end
        deeper(n - 1)
        return a, b, c, d
      end
      deeper(10)
      return a, b, c, d, e, f, g, h
    end
    function app.on.calls() return { calls = calls } end
    return app""" % end, settings={"script.time": 0.1, "on_error": "keep"})
    ws = connect(server)
    for _ in range(3):
        call(ws, "leave")
    for _ in range(6):
        assert call(ws, "raise")["code"] == "internal"
    assert call(ws, "calls")["data"] == {"calls": 0}


@pytest.mark.parametrize("settings", [{"script.time": 20}, {"script.time": 0.03}])
def test_endless_recursion_is_told_at_once(serve, connect, settings):
    """Both as an overflow and as a kill: the far end of a stack of a million calls is not looked for."""
    server = serve("""
    local app = { on = {} }
    local function f() return 1 + f() end
    function app.on.deep() f() end
    function app.on.handler() return { trace = select(2, xpcall(f, debug.traceback)) } end
    return app""", settings={**settings, "on_error": "keep"})
    ws = connect(server)
    assert call(ws, "deep")["code"] == "internal"
    server.log.wait("deeper than 200 calls")
    text = server.log.text()
    assert "in upvalue 'f'" in text and text.count("app.lua:3") < 40
    assert settings["script.time"] < 1 or "deeper than 200 calls" in call(ws, "handler")["data"]["trace"]


def test_waiting_does_not_use_the_budget(serve, connect):
    ws = connect(serve(APP, settings={"script.time": 0.2}))
    assert call(ws, "slow_but_fine")["data"] == {"ok": True}


def test_endless_in_other_handlers(serve, connect):
    server = serve(APP, settings={"script.time": 0.2})
    connect(server, "/loop").fence()
    assert fetch(server.address, "/loop").status == 500
    assert fetch(server.address, "/").body == b"fine"


def test_three_failures_in_a_row_close_the_connection(serve, connect):
    server = serve(APP)
    ws = connect(server)
    for _ in range(5):  # two failures, then a good one: the count starts anew
        for _ in range(2):
            got = call(ws, "raise")
            assert got["code"] == "internal" and "boom" not in str(got)
        assert call(ws, "fine")["data"] == {"ok": True}
    for _ in range(3):
        ws.text({"type": "raise"})
    for _ in range(3):
        ws.expect(type="error", code="internal")
    ws.expect_close(1011)
    server.log.wait(r"app\.lua:6: boom in the handler")
    server.log.wait(r"traceback|in function|in field|in method")


def test_three_kills_in_a_row_close_the_connection(serve, connect):
    """Endings by the watchdog count as failures do; a handler that ends well begins anew; nobody else is touched."""
    server = serve(APP, settings={"script.time": 0.05})
    ws, other = connect(server), connect(server)
    for _ in range(2):
        assert call(ws, "loop")["code"] == "internal"
        assert call(ws, "raise")["code"] == "internal"
        assert call(ws, "fine")["data"] == {"ok": True}
    assert call(other, "raise")["code"] == "internal"
    assert call(other, "loop")["code"] == "internal"
    for kind in ["loop", "raise", "loop"]:
        assert call(ws, kind)["code"] == "internal"
    ws.expect_close(1011)
    assert call(other, "fine")["data"] == {"ok": True}


def test_endless_where_no_client_waits(serve, connect):
    """Handlers, timers, tasks, queues, updates of the store and hooks of a closed connection."""
    server = serve("""
    local tide = require "moontide"
    local app = { on = {} }
    local function loop() while true do pcall(function() while true do end end) end end
    local work = tide.queue(loop)
    function app.on_connect(req) if req.path == "/connect" then loop() end end
    function app.on_close(conn) if conn.path == "/close" then loop() end end
    function app.on.timer() tide.after(0, loop) end
    function app.on.task() tide.spawn(loop) end
    function app.on.queue() work:put(1) end
    function app.on.store() tide.store:update("k", loop) end
    function app.on.shape() tide.check(1, loop) end
    function app.on.fine() return { ok = true } end
    return app""", settings={"script.time": 0.05, "on_error": "keep"})
    assert fetch(server.address, "/connect", headers={"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
                                              "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}).status == 500
    ws = connect(server)
    closing = connect(server, "/close")
    for kind in ["close", "timer", "task", "queue", "store", "shape"]:
        seen = len(server.log)
        if kind == "close":
            closing.close()
        else:
            ws.text({"type": kind})
        server.log.wait("script.time: more than 0.05 s", since=seen)
    ws.text({"type": "fine", "id": 9})
    while ws.json().get("id") != 9:
        pass


GROW = {
    "tables": "local t = {} while true do t[#t + 1] = { #t } end",
    "strings": "local t = {} while true do t[#t + 1] = ('x'):rep(100000) .. #t end",
    "concat": "local s = 'x' while true do s = s .. s end",
    "rep": "local t = {} while true do t[#t + 1] = ('x'):rep(8 << 20) .. #t end",
    "table_concat": "local t = {} for i = 1, 1000 do t[i] = ('x'):rep(100000) end return table.concat(t)",
    "gsub": "return (('x'):rep(1 << 20):gsub('x', ('y'):rep(1000)))",
    "coroutines": "local t = {} while true do local co = coroutine.create(function() coroutine.yield() end) coroutine.resume(co) t[#t + 1] = co end",
    "closures": "local t = {} while true do local n = #t t[n + 1] = function() return n end end",
    "recursion": "local function f(...) return f(1, ...) end f()",
    "json": "local t, text = {}, '[' .. ('[1],'):rep(100000) .. '1]' while true do t[#t + 1] = tide.json.decode(text) end",
    "state": "local t = {} tide.state.t = t while true do t[#t + 1] = { #t } end",
    "pcall": "local t = {} while true do pcall(function() t[#t + 1] = ('x'):rep(1 << 20) .. #t end) end",
}


@pytest.mark.parametrize("way", GROW)
def test_memory_limit_in_every_way(serve, connect, way):
    """The handler that crosses it fails, by name; its memory is given back, and the server goes on."""
    server = serve("""
    local tide = require "moontide"
    local app = { on = {} }
    function app.on.grow() %s end
    function app.on.forget() tide.state.t = nil return { ok = true } end
    return app""" % GROW[way], settings={"script.memory": "32m", "script.time": 5 if way != "pcall" else 0.5, "on_error": "keep"})
    ws = connect(server)
    for _ in range(2):
        assert call(ws, "grow")["code"] == "internal"
        assert call(ws, "forget")["data"] == {"ok": True}
    server.log.wait(r"ERROR on: .*conn=c\w+ .*version=\w{8}")
    assert "not enough memory" in server.log.text() or way in ("pcall", "recursion")
    server.log.wait(r"app\.lua:4: in ")
    assert server.rss() < 400 << 20


def test_on_error_keep(serve, connect):
    ws = connect(serve(APP, settings={"on_error": "keep"}))
    for _ in range(6):
        assert call(ws, "raise")["code"] == "internal"
    assert call(ws, "fine")["data"] == {"ok": True}


def test_endless_chunk_refuses_to_start(tmp_path):
    script = tmp_path / "app.lua"
    script.write_text("while true do end")
    begin = time.monotonic()
    _, text = refuses("run", script, "--listen", "127.0.0.1:0", "--set", "reload.timeout=0.3")
    assert time.monotonic() - begin < 15
    assert "app.lua:1" in text


def test_memory_limit(serve, connect):
    server = serve("""
    local app = { on = {} }
    function app.on.grow() local t = {} while true do t[#t + 1] = ("x"):rep(1000) .. #t end end
    function app.on.fine() return { ok = true } end
    return app""", settings={"script.memory": "32m", "script.time": 10})
    ws = connect(server)
    assert call(ws, "grow")["code"] == "internal"
    assert call(ws, "fine")["data"] == {"ok": True}
    assert server.rss() < 400 << 20


@pytest.mark.parametrize("end", ["f(1)", "pcall(f, 1)", "local t = {} f(1, t) while true do t[#t + 1] = { #t } end"])
def test_memory_comes_back_from_deep_recursion(serve, connect, end):
    """Lua keeps the records of the deepest calls of a coroutine, and where memory is short it does not look after them."""
    server = serve("""
    local tide = require "moontide"
    local app = { on = {} }
    local function f(n) return 1 + f(n + 1) end
    function app.on.deep()
      for i = 1, 4 do tide.spawn(function() tide.sleep(0.01) %s end) end
      tide.sleep(0.02)
      %s
    end
    function app.on.grow() local t = {} while true do t[#t + 1] = { #t } end end
    function app.on.fine() local t = {} for i = 1, 10000 do t[i] = { i } end return { ok = true } end
    return app""" % (end, end), settings={"script.memory": "24m", "script.time": 20, "on_error": "keep"})
    ws = connect(server)
    for kind in ["deep", "grow", "deep", "deep"]:
        call(ws, kind)
        assert call(ws, "fine").get("data") == {"ok": True}


def test_endless_in_a_transaction(serve, connect):
    """It is rolled back, and the database is free again."""
    server = serve("""
    local tide = require "moontide"
    local app, db = { on = {} }, tide.sql.open(":memory:")
    function app.on_start() db:query "create table if not exists t (a)" end
    function app.on.loop() db:transaction(function(tx) tx:query "insert into t values (1)" while true do pcall(function() while true do end end) end end) end
    function app.on.count() return { n = db:row "select count(*) as n from t".n } end
    return app""", settings={"script.time": 0.1, "workers": 1})
    ws = connect(server)
    for _ in range(2):
        assert call(ws, "loop")["code"] == "internal"
        assert call(ws, "count")["data"] == {"n": 0}


def test_memory_of_one_worker(serve, connect):
    """One worker's script is at its limit again and again; those of the others have all of theirs."""
    server = serve("""
    local tide = require "moontide"
    local app = { on = {} }
    function app.on.where() return { worker = tide.worker } end
    function app.on.grow() local t = {} while true do t[#t + 1] = ("x"):rep(1000) .. #t end end
    function app.on.half() local t = {} for i = 1, 10000 do t[i] = ("x"):rep(1000) .. i end return { n = #t } end
    return app""", settings={"script.memory": "24m", "script.time": 10, "workers": 3, "on_error": "keep"})
    all = [connect(server) for _ in range(12)]
    by_worker = {}
    for ws in all:
        by_worker.setdefault(call(ws, "where")["data"]["worker"], []).append(ws)
    full = next(iter(by_worker))
    for _ in range(3):
        by_worker[full][0].text({"type": "grow", "id": 1})
        for worker, sockets in by_worker.items():
            for ws in sockets[1 if worker == full else 0:]:
                assert call(ws, "half")["data"] == {"n": 10000}
        assert by_worker[full][0].json()["code"] == "internal"


def test_sends_without_end(serve, connect):
    """What is queued for clients is bounded by their limits, not by the script's memory; who sends without end is ended by its time."""
    server = serve("""
    local app = { on = {} }
    function app.on.flood(conn) local text = ("x"):rep(100000) while true do conn:send(text) end end
    function app.on.fine() return { ok = true } end
    return app""", settings={"script.time": 0.5, "on_error": "keep"})
    other = connect(server)
    flooded = connect(server)
    flooded.text({"type": "flood"})
    server.log.wait("script.time: more than 0.5 s")
    assert call(other, "fine")["data"] == {"ok": True}
    assert server.rss() < 400 << 20
