"""tide.queue over the wire: the client is answered at once, the work is done behind it, and nothing of it is lost without a word."""
import re
import signal
import time

import pytest
from support.control import status

APP = """
local tide = require "moontide"
local app, name = { on = {} }, "%s"
local function work(n)
  if n == "bad" then error "cannot be done" end
  while not tide.state.go do tide.sleep(0.005) end
  tide.room "log":send { done = n, by = name }
end
local q = tide.queue(work, { workers = %d, limit = 10 })
function app.on_open(conn) conn:join "log" end
function app.on.put(conn, msg)
  local ok, why, code = q:put(msg.n)
  if not ok then return nil, why, code end
  return { waiting = q:count() }
end
function app.on.go() tide.state.go = true end
function app.on.version() return name end
return app
"""


def call(ws, kind, **fields):
    ws.text({"type": kind, "id": 1, **fields})
    return ws.expect(id=1)


@pytest.mark.one_worker
def test_work_is_done_behind_the_answer(serve, connect):
    server = serve(APP % ("one", 1))
    ws = connect(server)
    for n in range(11):
        assert call(ws, "put", n=n)["data"] == {"waiting": n}
    full = call(ws, "put", n=99)
    assert full["type"] == "error" and full["code"] == "full"
    ws.text({"type": "go"})
    for n in range(11):
        ws.expect(done=n)
    assert call(ws, "put", n="more")["data"] == {"waiting": 0}
    ws.expect(done="more")


@pytest.mark.one_worker
def test_a_failure_is_logged_and_the_next_one_is_done(serve, connect, until):
    server = serve(APP % ("one", 1))
    ws = connect(server)
    for n in ("bad", 1, "bad", 2):
        call(ws, "put", n=n)
    ws.text({"type": "go"})
    ws.expect(done=1)
    ws.expect(done=2)
    assert status(server)["handlers"]["errors"] == 2
    failed = r"ERROR tide\.queue: app\.lua:\d+: cannot be done"
    until(lambda: len(re.findall(failed, server.log.text())) == 2, what="both in the log")
    assert "stack traceback" in server.log.text()
    ws.expect_nothing()  # it is nobody's answer


@pytest.mark.one_worker
def test_what_is_queued_at_a_reload_is_done_by_its_version(serve, connect, until):
    server = serve(APP % ("old", 2), watch=True, settings={"reload.probation": 0})
    ws = connect(server)
    for n in range(6):
        call(ws, "put", n=n)
    server.script.write_text(APP % ("new", 2))
    until(lambda: call(ws, "version")["data"] == "new", what="the reload")
    old = status(server)["reloads"]["old"]
    assert len(old) == 1 and old[0]["tasks"] == 2 and "6 queued items" in old[0]["held_by"], old
    call(ws, "put", n="new")
    ws.text({"type": "go"})
    done = [ws.json() for _ in range(7)]
    assert sorted(str(d["done"]) for d in done if d["by"] == "old") == list("012345")
    assert [d["done"] for d in done if d["by"] == "new"] == ["new"]
    until(lambda: not status(server)["reloads"]["old"], what="the end of the old version")


@pytest.mark.one_worker
def test_an_old_version_drops_what_is_left_after_reload_age(serve, connect, until):
    server = serve(APP % ("old", 2), watch=True, settings={"reload.probation": 0, "reload.age": 1})
    ws = connect(server)
    for n in range(6):
        call(ws, "put", n=n)
    server.script.write_text(APP % ("new", 2))
    until(lambda: call(ws, "version")["data"] == "new", what="the reload")
    server.log.wait(r"WARN +6 items of the queue of app\.lua:\d+ were dropped")
    ws.text({"type": "go"})
    call(ws, "put", n="new")
    ws.expect(done="new", by="new")
    until(lambda: not status(server)["reloads"]["old"], what="the end of the old version")


def test_shutdown_waits_for_what_is_queued(serve, connect):
    server = serve("""
    local tide = require "moontide"
    local app = {}
    local q = tide.queue(function(n) tide.sleep(0.1) tide.log.info("done", { n = n }) end)
    function app.on_message(conn) for n = 1, 8 do q:put(n) end conn:send "ok" end
    return app""", settings={"shutdown.timeout": 20})
    ws = connect(server)
    ws.text("go")
    ws.expect("ok")
    server.signal(signal.SIGTERM)
    ws.expect_close(1001)
    assert server.wait() == 0
    assert re.findall(r"done +n=(\d)", server.log.text()) == list("12345678")
    assert "dropped" not in server.log.text()


def test_shutdown_tells_what_is_lost(serve, connect):
    server = serve("""
    local tide = require "moontide"
    local app = {}
    local q = tide.queue(function() local x <close> = setmetatable({}, { __close = function() tide.log.info "unwound" end }) tide.sleep(60) end, { workers = 2 })
    function app.on_message(conn) for n = 1, 8 do q:put(n) end conn:send "ok" end
    return app""", settings={"shutdown.timeout": 0.5})
    ws = connect(server)
    ws.text("go")
    ws.expect("ok")
    begin = time.monotonic()
    server.signal(signal.SIGTERM)
    ws.expect_close(1001)
    assert server.wait() == 0
    assert time.monotonic() - begin < 15
    log = server.log.text()
    assert "8 items of the queue of app.lua:4 were dropped" in log and log.count("unwound") == 2, log
