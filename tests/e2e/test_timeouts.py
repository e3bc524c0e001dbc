"""Clients that fall silent: pings, idle HTTP connections, closes without an answer. Those that are slow: test_slowloris.py."""
import time

from support.wire import CLOSE, PING, PONG, Response, Socket, Wire, frame, head

APP = """
local tide = require "moontide"
local app = {}
function app.on_open(conn) if conn.path == "/log" then conn:join "log" end end
function app.on_message(conn, text)
  if text == "close" then conn:close(4000)
  elseif text == "latency" then conn:send { latency = conn.latency or -1 }
  else conn:send(text) end
end
function app.on_close(conn, code) tide.room "log":send { closed = conn.path, code = code } end
return app
"""
FAST = {"ping.interval": 0.2, "ping.timeout": 0.2}


def answer_pings(ws):
    """The next frame that is no ping; pings are answered."""
    while True:
        got = ws.frame()
        if got.op != PING:
            return got
        ws.send(frame(PONG, got.payload))


def test_silent_client_ends_with_1006(serve, connect):
    server = serve(APP, settings=FAST)
    log, silent = connect(server, "/log"), connect(server, "/silent")
    begin = time.monotonic()
    assert silent.frame().op == PING
    got = answer_pings(log)
    assert b'"closed":"/silent"' in got.payload and b'"code":1006' in got.payload
    assert time.monotonic() - begin > 0.3
    silent.take_eof()


def test_any_byte_is_a_sign_of_life(serve):
    server = serve(APP, settings=FAST)
    with Socket(server.address) as ws:
        big = frame(2, bytes(200))
        for byte in big[:25]:  # one frame, a byte each 50 ms: six ping timeouts long
            ws.send(bytes([byte]))
            time.sleep(0.05)
        ws.send(big[25:] + frame(8, b"\x03\xe8"))
        while True:
            got = ws.frame()
            if got.op == CLOSE:
                break
        assert got.code in (1003, 1000)


def test_latency_is_measured(serve, connect, until):
    import json
    server = serve(APP, settings={"ping.interval": 0.1, "ping.timeout": 5})
    ws = connect(server)

    def known():
        ws.text("latency")
        return json.loads(answer_pings(ws).payload)["latency"] > 0
    until(known, what="a ping and its pong")


def test_no_pings_when_they_are_off(serve, connect):
    server = serve(APP, settings={"ping.interval": 0, "ping.timeout": 0.1})
    ws = connect(server)
    time.sleep(0.5)
    ws.expect_nothing()


def test_idle_http_connection_ends(serve):
    server = serve(APP, settings={"idle.timeout": 0.3})
    with Wire(server.address) as wire:
        wire.send(head("/"))
        Response(wire)
        begin = time.monotonic()
        wire.expect_eof()
        assert time.monotonic() - begin > 0.15


def test_close_that_is_never_answered(serve, connect):
    server = serve(APP, settings={"close.timeout": 0.3})
    log, mute = connect(server, "/log"), connect(server, "/mute")
    log.fence()
    mute.text("close")
    assert mute.frame().code == 4000
    mute.expect_eof()
    got = log.json()
    assert got["closed"] == "/mute" and got["code"] in (4000, 1006)
