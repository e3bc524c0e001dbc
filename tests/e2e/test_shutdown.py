"""SIGTERM and SIGINT: nobody new, on_stop, 1001 for everybody, what is queued goes out, exit code 0."""
import os
import signal
import subprocess
import time

import pytest
from support.server import BIN, WORKERS, clean_environment
from support.wire import CLOSE, TEXT, Response, Socket, Wire, head, upgrade_head

APP = """
local tide = require "moontide"
local app = {}
function app.on_message(conn, text)
  if text == "flood" then for n = 1, 15 do conn:send { n = n, filler = ("x"):rep(50000) } end
  elseif text == "wait" then tide.sleep(0.3) conn:send "waited"
  elseif text == "hang" then tide.sleep(3600)
  else conn:send(text) end
end
function app.on_stop(reason) tide.log.info("on_stop ran", { reason = reason }) tide.broadcast("stop: " .. reason) end
function app.on_close(conn, code) tide.log.info("closed", { code = code }) end
return app
"""


def expect_the_end(ws):
    """What on_stop of each worker broadcasts, as far as it comes in time, then the close."""
    ws.expect("stop: shutdown")
    got = ws.frame()
    while got.op == TEXT and got.payload == b"stop: shutdown" and WORKERS > 1:
        got = ws.frame()
    assert got.op == CLOSE and got.code == 1001, got
    ws.finish(got)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_everybody_hears_1001(serve, connect, number):
    server = serve(APP)
    clients = [connect(server) for _ in range(100)]
    server.signal(number)
    for ws in clients:
        expect_the_end(ws)
    assert server.wait() == 0
    server.log.wait("on_stop ran.*shutdown")


def test_nobody_new_comes_in(serve, connect, until):
    server = serve(APP, settings={"shutdown.timeout": 1})
    address = server.address
    ws = connect(server)
    server.signal(signal.SIGTERM)
    until(lambda: server.log.text().count("on_stop ran") == WORKERS, what="the end of listening in every worker")
    with pytest.raises(OSError):
        Wire(address)
    expect_the_end(ws)
    assert server.wait() == 0


def test_what_is_queued_goes_out_first(serve, connect):
    server = serve(APP)
    ws = connect(server, rcvbuf=4096)
    ws.text("flood")
    ws.frame()
    server.signal(signal.SIGTERM)
    for n in range(2, 16):
        ws.expect(n=n)
    expect_the_end(ws)
    assert server.wait() == 0


def test_waiting_handler_may_end(serve, connect):
    server = serve(APP)
    ws = connect(server)
    ws.text("wait")
    ws.fence()
    server.signal(signal.SIGTERM)
    heard = []
    while True:
        got = ws.frame()
        if got.op == CLOSE:
            break
        heard.append(got.payload.decode())
    assert got.code == 1001 and "stop: shutdown" in heard
    ws.finish(got)
    assert server.wait() == 0


def test_clients_and_handlers_that_hang_are_left(serve, connect):
    server = serve(APP, settings={"shutdown.timeout": 0.5})
    mute, busy = connect(server), connect(server)  # neither answers the close
    busy.text("hang")
    busy.fence()
    mute.fence()
    begin = time.monotonic()
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert time.monotonic() - begin > 0.3


def test_second_signal_leaves_at_once(serve, connect):
    server = serve(APP, settings={"shutdown.timeout": 60})
    ws = connect(server)
    ws.text("hang")
    ws.fence()
    server.signal(signal.SIGTERM)
    ws.expect("stop: shutdown")
    begin = time.monotonic()
    server.codes = {0, 128 + signal.SIGTERM}
    server.signal(signal.SIGTERM)
    server.wait()
    assert time.monotonic() - begin < 20


def test_requests_and_handshakes_in_flight(serve):
    """What was asked before the signal is answered, within the time for shutting down."""
    server = serve("""
    local tide = require "moontide"
    local app = {}
    function app.on_connect() tide.sleep(0.2) end
    function app.on_http(req) tide.sleep(0.2) return 200, "answered" end
    return app""", settings={"shutdown.timeout": 2})
    asked, shaking = Wire(server.address), Wire(server.address)
    asked.send(head("/"))
    shaking.send(upgrade_head())
    time.sleep(0.05)  # both are with the script
    server.signal(signal.SIGTERM)
    got = Response(asked)
    assert got.body == b"answered"
    try:
        rest = shaking.take_eof()
        assert rest[:12] in (b"HTTP/1.1 101", b"HTTP/1.1 503", b""), rest
    except OSError:
        pass
    asked.close_socket()
    shaking.close_socket()
    assert server.wait() == 0


def test_output_that_nobody_reads_any_more(tmp_path):
    """Who reads the log may go first; the server works on and still ends as it should."""
    script = tmp_path / "app.lua"
    script.write_text(APP)
    out, log = os.pipe(), os.pipe()
    running = subprocess.Popen([BIN, "run", script, "--listen", "127.0.0.1:0"], stdout=out[1], stderr=log[1],
                               env=clean_environment())
    try:
        port = int(os.read(out[0], 1000).decode().rsplit(":", 1)[1])
        for fd in (*out, *log):
            os.close(fd)
        for text in ("x", "y"):
            with Socket(("127.0.0.1", port)) as ws:
                ws.text(text)
                ws.expect(text)
                ws.bye()
    finally:
        running.terminate()
        assert running.wait(10) == 0


def test_idle_http_connections_do_not_hold_it_up(serve):
    server = serve(APP, settings={"shutdown.timeout": 60})
    idle = Wire(server.address)
    idle.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    idle.take_until(b"\r\n\r\n")
    half = Wire(server.address)
    half.send(b"GET / HT")
    begin = time.monotonic()
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert time.monotonic() - begin < 20


def test_task_that_another_cancels_as_it_unwinds(serve):
    """At the end all tasks are cancelled; the <close> of one cancels another that has not had its turn."""
    server = serve("""
    local tide = require "moontide"
    local app, second = {}, nil
    function app.on_start()
      tide.spawn(function()
        local _ <close> = setmetatable({}, { __close = function() second:cancel() end })
        tide.sleep(1000)
      end)
      second = tide.spawn(function()
        local _ <close> = setmetatable({}, { __close = function() print "second unwound" end })
        tide.sleep(1000)
      end)
      tide.sleep(0)
      print "both wait"
    end
    return app""")
    server.log.wait("both wait")
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    server.log.wait("second unwound")
