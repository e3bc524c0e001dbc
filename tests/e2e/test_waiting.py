"""Waiting calls look like plain calls: order, other connections, tasks, timers, the end of a client."""
import threading
import time

import pytest
from support.control import status
from support.server import sanitized
from support.wire import Refused, Response, Wire, frame, upgrade_head

SLEEPER = """
local tide = require "moontide"
local app = {}
function app.on_message(conn, text)
  tide.sleep(tonumber(text))
  conn:send(text)
end
return app
"""


def test_events_of_one_connection_stay_in_order(serve, connect):
    server = serve(SLEEPER)
    ws = connect(server)
    delays = ["0.1", "0.05", "0", "0.02", "0"]
    for d in delays:
        ws.text(d)
    for d in delays:
        ws.expect(d)


UNTIL_GO = """
local tide = require "moontide"
local app = {}
function app.on_message(conn, text)
  if text == "go" then tide.state.go = true
  elseif text == "wait" then while not tide.state.go do tide.sleep(0.005) end end
  conn:send(text)
end
return app
"""


@pytest.mark.one_worker
def test_a_waiting_handler_blocks_nobody_else(serve, connect):
    server = serve(UNTIL_GO)
    slow, quick = connect(server), connect(server)
    slow.text("wait")
    for _ in range(20):
        quick.text("x")
        quick.expect("x")
    slow.expect_nothing()
    quick.text("go")
    slow.expect("wait")


def test_many_messages_wait_in_order_behind_one(serve, connect):
    """Past its bound the queue stops reading the socket; nothing is lost and the order stays."""
    server = serve("""
    local tide = require "moontide"
    local app = {}
    function app.on_message(conn, text)
      if text == "0" then tide.sleep(0.2) end
      conn:send(text)
    end
    return app""")
    ws = connect(server)
    for n in range(2000):
        ws.text(str(n))
    for n in range(2000):
        ws.expect(str(n))


@pytest.mark.one_worker
def test_ping_is_answered_while_a_handler_waits(serve, connect):
    server = serve(UNTIL_GO)
    ws = connect(server)
    ws.text("wait")
    ws.expect_nothing()
    connect(server).text("go")
    ws.expect("wait")


def test_on_connect_waits_before_anything_is_answered(serve, connect):
    server = serve("""
    local tide = require "moontide"
    local app = {}
    function app.on_connect(req)
      tide.sleep(0.1)
      if req.query.name == "nobody" then return nil, "who are you" end
      if req.query.name == "crash" then error "boom" end
      if req.query.name == "other" then return 42 end
      if req.query.name == "busy" then tide.reject(503, "later", { ["Retry-After"] = "7" }) end
      return { user = req.query.name, data = { seen = req.cookies.seen }, headers = { ["X-Who"] = req:token("key") } }
    end
    function app.on_open(conn) conn:send { user = conn.user, seen = conn.data.seen } end
    return app""")
    begin = time.monotonic()
    ws = connect(server, "/?name=ann", headers={"Cookie": 'a=b; seen=yes; key=k1'})
    assert time.monotonic() - begin >= 0.09
    assert ws.response.headers["x-who"] == "k1"
    ws.expect(user="ann", seen="yes")
    for name, status, body in (("nobody", 403, "who are you"), ("crash", 500, ""), ("other", 500, ""), ("busy", 503, "later")):
        got = refused(connect, server, f"/?name={name}")
        assert got.status == status and body in got.body.decode(), got
        assert "boom" not in got.body.decode()
        assert name != "busy" or got.headers["retry-after"] == "7"


def refused(connect, server, target, **how):
    try:
        connect(server, target, **how)
    except Refused as why:
        return why.response
    raise AssertionError(f"{target} was accepted")


@pytest.mark.one_worker
def test_bytes_before_the_answer_are_refused(serve, connect, until):
    """on_connect waits, the client does not: 400, whatever it sends."""
    server = serve("""
    local tide = require "moontide"
    local app = {}
    function app.on_connect(req)
      if req.query.go then tide.state[req.query.go] = true return end
      while not tide.state[req.path] do tide.sleep(0.01) end
    end
    return app""")
    for path, early in (("/a", frame(1, "early")), ("/b", b"x"), ("/c", upgrade_head("/again"))):
        with Wire(server.address) as wire:
            wire.send(upgrade_head(path))
            until(lambda: status(server)["handlers"]["waiting"] == 1, what="the head, which arrives alone")
            wire.send(early)
            connect(server, "/?go=" + path)
            assert Response(wire).status == 400
            wire.expect_eof()


@pytest.mark.one_worker
def test_on_connect_in_flight_over_a_reload(serve, connect, until):
    text = """
    local tide = require "moontide"
    local app, name = {}, "%s"
    function app.on_connect(req)
      while req.path == "/slow" and not tide.state.go do tide.sleep(0.01) end
      return { data = { by = name } }
    end
    function app.on_open(conn)
      if conn.path == "/go" then tide.state.go = true end
      conn:send { connected = conn.data.by, opened = name }
    end
    return app"""
    server = serve(text % "old", watch=True)
    slow = Wire(server.address)
    slow.send(upgrade_head("/slow"))
    server.script.write_text(text % "new")
    until(lambda: connect(server).json()["opened"] == "new", what="the reload")
    connect(server, "/go").expect(connected="new")
    assert Response(slow).status == 101
    slow.take(2)
    assert b'"opened":"new"' in slow.take_until(b"}")
    slow.close_socket()


@pytest.mark.one_worker
def test_client_that_goes_during_on_connect(serve, connect, until):
    server = serve("""
    local tide = require "moontide"
    local app, n = {}, 0
    function app.on_connect(req)
      if req.path == "/slow" then tide.sleep(0.1) n = n + 1 end
    end
    function app.on_message(conn) conn:send(tostring(n)) end
    return app""")
    gone = Wire(server.address)
    gone.send(upgrade_head("/slow"))
    gone.reset()
    ws = connect(server)

    def ran():
        ws.text("?")
        return ws.data() == "1"
    until(ran, what="the end of on_connect")


def test_what_the_client_sent_before_it_went_is_handled(serve, connect):
    server = serve("""
    local tide = require "moontide"
    local app = {}
    function app.on_message(conn, text)
      tide.sleep(0.02)
      tide.room "log":send { text = text, answered = (conn:send "x") or false }
    end
    function app.on_open(conn) if conn.path == "/log" then conn:join "log" end end
    function app.on_close(conn, code, reason) tide.room "log":send { code = code, reason = reason, rooms = conn:rooms() } end
    return app""")
    log, ws = connect(server, "/log"), connect(server)
    for text in ("a", "b", "c"):
        ws.text(text)
    ws.close(4000, "enough")
    ws.sock.shutdown(1)
    for text in ("a", "b", "c"):
        log.expect(text=text)
    log.expect(code=4000, reason="enough")


def test_close_codes_that_on_close_sees(serve, connect):
    server = serve("""
    local tide = require "moontide"
    local app = {}
    function app.on_open(conn) if conn.path == "/log" then conn:join "log" end end
    function app.on_message(conn, text) conn:close(4321, text) end
    function app.on_close(conn, code, reason)
      tide.room "log":send { code = code, reason = reason, sent = select(3, conn:send "late"), rooms = conn:rooms() }
    end
    return app""")
    log = connect(server, "/log")

    def gone(code, reason=""):
        got = log.expect(code=code, sent="closed")
        assert reason is None or got["reason"] == reason, got

    connect(server).bye(3000)
    gone(3000)
    ws = connect(server)
    ws.send(b"\x88\x80\0\0\0\0")
    gone(1005)
    connect(server).reset()
    gone(1006)
    connect(server).close_socket()
    gone(1006)
    ws = connect(server)
    ws.text("why not")
    ws.expect_close(4321, "why not")
    gone(4321, "why not")
    ws = connect(server)
    ws.send(b"\xff\x80\0\0\0\0")
    ws.expect_close(1002)
    gone(1002, None)


TASKS = """
local tide = require "moontide"
local app = { on = {} }
function app.on.timeout(conn)
  local ok, message, name = tide.timeout(0.05, function() tide.sleep(60) return "never" end)
  return { ok = ok or false, name = name }
end
function app.on.in_time() return { got = { tide.timeout(5, function(a, b) tide.sleep(0.01) return a + b, "two" end, 1, 2) } } end
function app.on.join()
  local task = tide.spawn(function(x) tide.sleep(0.02) return x * 2 end, 21)
  return { got = task:join() }
end
function app.on.join_timeout()
  local task = tide.spawn(tide.sleep, 60)
  local ok, _, name = task:join(0.02)
  return { ok = ok or false, name = name, cancelled = task:cancel() }
end
function app.on.cancel()
  local closed = false
  local task = tide.spawn(function()
    local guard <close> = setmetatable({}, { __close = function() closed = true end })
    tide.sleep(60)
  end)
  tide.sleep(0.01)
  local did = task:cancel()
  local ok, _, name = task:join()
  return { did = did, closed = closed, ok = ok or false, name = name, again = task:cancel() }
end
function app.on.coroutine()
  local co = coroutine.create(function() tide.sleep(0.01) end)
  local ok, why = coroutine.resume(co)
  return { ok = ok, why = why }
end
function app.on.own(conn)
  local gone = false
  conn:spawn(function()
    local guard <close> = setmetatable({}, { __close = function() gone = true tide.room "log":send "unwound" end })
    tide.sleep(60)
    tide.room "log":send "wrong"
  end)
  tide.spawn(function() repeat tide.sleep(0.05) until gone tide.room "log":send "outlived" end)
end
function app.on_open(conn) if conn.path == "/log" then conn:join "log" end end
function app.on.after(conn)
  local stopped = tide.after(0.01, function() conn:send "wrong" end)
  stopped:cancel()
  tide.after(0.03, function(text) conn:send(text) end, "fired")
end
function app.on.every(conn)
  local n, timer = 0, nil
  timer = tide.every(0.01, function() n = n + 1 conn:send { n = n } if n == 3 then timer:cancel() end end)
end
return app
"""


def call(ws, kind):
    ws.text({"type": kind, "id": 1})
    reply = ws.expect(type="reply", id=1)
    return reply.get("data")


def test_timeout_and_tasks(serve, connect):
    ws = connect(serve(TASKS))
    assert call(ws, "timeout") == {"ok": False, "name": "timeout"}
    assert call(ws, "in_time") == {"got": [3, "two"]}
    assert call(ws, "join") == {"got": 42}
    assert call(ws, "join_timeout") == {"ok": False, "name": "timeout", "cancelled": True}
    assert call(ws, "cancel") == {"did": True, "closed": True, "ok": False, "name": "cancelled", "again": False}
    got = call(ws, "coroutine")
    assert got["ok"] is False and "cannot wait here" in got["why"]


def test_timers(serve, connect):
    ws = connect(serve(TASKS))
    call(ws, "after")
    ws.expect("fired")
    call(ws, "every")
    assert [ws.json()["n"] for _ in range(3)] == [1, 2, 3]
    ws.text({"type": "after", "id": 2})
    ws.expect(type="reply", id=2)
    ws.expect("fired")  # no fourth tick came in between


def test_work_of_a_connection_ends_with_it(serve, connect):
    server = serve(TASKS)
    log, ws = connect(server, "/log"), connect(server)
    log.fence()
    call(ws, "own")
    ws.bye()
    log.expect("unwound")
    log.expect("outlived")


@pytest.mark.one_worker
def test_big_messages_that_wait_are_bounded_by_their_bytes(serve, connect):
    """64 messages may wait, but not 64 of any size: past some bytes the socket is paused as well."""
    server = serve("""
    local tide = require "moontide"
    local app, n = {}, 0
    function app.on_binary(conn, bytes)
      n = n + 1
      if n == 1 then while not tide.state.go do tide.sleep(0.01) end end
      conn:send(tostring(n))
    end
    function app.on_message() tide.state.go = true end
    return app""", settings={"limits.message": 8 << 20})
    ws, other = connect(server, rcvbuf=65536), connect(server)
    before = server.rss()
    sender = threading.Thread(target=lambda: [ws.binary(b"x" * (4 << 20)) for _ in range(24)])
    sender.start()
    sender.join(1.0)
    assert sender.is_alive(), "96 MiB were taken in while the handler waited"
    assert server.rss() - before < (64 << 20) or sanitized()
    other.text("go")
    for i in range(24):
        assert ws.data() == str(i + 1)
    sender.join()


DRAIN = """
local tide = require "moontide"
local app = { on = {} }
function app.on_open(conn) if conn.path == "/log" then conn:join "log" end end
function app.on.fill(conn, msg)
  conn:send(("x"):rep(6 << 20)) -- more than the system takes for a socket
  if msg.close then conn:close(4000) end
  for n, seconds in pairs { 0.1, false, false } do
    tide.spawn(function()
      local ok, why, name = conn:drain(seconds or nil)
      tide.room "log":send { drained = n, ok = ok or false, name = name, buffered = conn.buffered }
    end)
  end
end
return app
"""


def test_drain_waits_for_a_slow_reader(serve, connect):
    server = serve(DRAIN)
    log, slow = connect(server, "/log"), connect(server, rcvbuf=4096)
    log.fence()
    slow.text({"type": "fill"})
    assert log.expect(drained=1, ok=False, name="timeout")["buffered"] > 0
    log.expect_nothing()
    assert len(slow.data()) == 6 << 20
    assert sorted((log.expect(ok=True, buffered=0)["drained"]) for _ in range(2)) == [2, 3]
    # it goes instead of reading
    slow = connect(server, rcvbuf=4096)
    slow.text({"type": "fill"})
    log.expect(drained=1, name="timeout")
    slow.reset()
    assert sorted((log.expect(ok=False, name="closed")["drained"]) for _ in range(2)) == [2, 3]
    # it is closed: nobody waits, and what was queued is sent before the close all the same
    slow = connect(server, rcvbuf=4096)
    slow.text({"type": "fill", "close": True})
    assert sorted((log.expect(ok=False, name="closed")["drained"]) for _ in range(3)) == [1, 2, 3]
    assert len(slow.data()) == 6 << 20
    slow.expect_close(4000)


@pytest.mark.one_worker
def test_spawning_without_end(serve, connect):
    """script.memory bounds the number of tasks: the one that makes more fails, those that were made do their work."""
    server = serve("""
    local tide = require "moontide"
    local app = {}
    function app.on_message(conn, text)
      if text ~= "storm" then conn:send(text) return end
      local done, n = 0, 0
      local ok, why = pcall(function()
        while true do tide.spawn(function() tide.sleep(0.1) done = done + 1 end) n = n + 1 end
      end)
      conn:send(tostring(why))
      while done < n do tide.sleep(0.01) end
      conn:send(tostring(n))
    end
    return app""", settings={"script.memory": 8 << 20})
    ws = connect(server)
    before = server.rss()
    for _ in range(3):
        ws.text("storm")
        assert "2048 tasks are alive, and script.memory has no room for more" in ws.data()
        ws.expect("2047")  # and the handler that made them
        ws.text("fine")
        ws.expect("fine")
    assert server.rss() - before < (64 << 20) or sanitized()
    assert "ERROR" not in server.log.text()
