"""Clients that break off, in every state of a connection: the socket is given back at once, and nothing spins."""
import time

import pytest
from support.server import sanitized
from support.wire import Socket, Wire, frame, head, upgrade_head

APP = """
local tide = require "moontide"
local app = {}
local piece = ("x"):rep(60000)
function app.on_connect(req) if req.path == "/slow-connect" then tide.sleep(0.2) end end
function app.on_message(conn, text)
  if text == "flood" then for n = 1, 15 do conn:send(piece) end
  elseif text == "wait" then tide.sleep(0.2)
  elseif text == "keyed" then
    tide.spawn(function() for n = 1, 400 do if not conn:send(piece .. n, { key = "k" }) then return end tide.sleep(0) end end)
  elseif text == "drain" then
    while conn:send(piece) and conn:drain(60) do end
  end
end
function app.on_http(req)
  if req.path == "/wait" then tide.sleep(0.2) return 200, "late" end
  if req.path == "/stream" then return 200, function() return piece end end
  if req.path == "/big" then return 200, piece:rep(150) end
  return 200, "fine"
end
return app
"""
HTTP = {
    "nothing sent": b"", "half a head": b"GET / HTTP/1.1\r\nHo",
    "half a body": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc",
    "a waiting handler": head("/wait"), "a file": head("/file.bin"), "a stream": head("/stream"), "a big answer": head("/big"),
    "many pipelined answers": head("/big") * 5 + head("/wait"), "a waiting on_connect": upgrade_head("/slow-connect"),
    "a refused request": b"BAD\r\n\r\n",
}
FRAMES = {
    "idle": b"", "half a frame": frame(1, "0123456789")[:9], "half a message": frame(1, "abc", fin=False),
    "a full outbox": frame(1, "flood"),
    "a full outbox and a waiting handler": frame(1, "flood") + frame(1, "wait") * 5, "conflation": frame(1, "keyed"),
    "drain": frame(1, "drain"),
    "a close without an end": frame(8, b"\x03\xe8"), "a violation": b"\xff\xff\xff\xff",
}
WAYS = {"reset": Wire.reset, "close": Wire.close_socket}


def settled(server, before, until):
    until(lambda: server.sockets() == before, timeout=10, what="the end of every connection")
    if not sanitized():
        used, begin = server.cpu(), time.monotonic()
        time.sleep(0.3)
        assert server.cpu() - used < 0.5 * (time.monotonic() - begin), "it spins"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    (folder / "file.bin").write_bytes(bytes(8 << 20))
    return folder


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_left(serve, until, folder, authority, way, secure):
    context = authority.client() if secure else None
    flags = ["--tls", ",".join(map(str, authority.issue("off", "localhost", "127.0.0.1")))] if secure else []
    server = serve(APP, "--static", folder, *flags)
    before = server.sockets()
    for name, data in HTTP.items():
        for read in (0, 1000) if name in ("a file", "a stream", "a big answer") else (0,):
            for _ in range(3):
                wire = Wire(server.address, tls=context, rcvbuf=4096)
                wire.send(data)
                wire.take(read)
                WAYS[way](wire)
    for data in FRAMES.values():
        for _ in range(3):
            ws = Socket(server.address, tls=context, rcvbuf=4096)
            ws.send(data)
            WAYS[way](ws)
    settled(server, before, until)


@pytest.mark.parametrize("state", ["a file", "a stream", "a big answer"])
def test_reset_while_the_server_cannot_write(serve, until, folder, state):
    """The socket is full and the server reads nothing meanwhile, so that only writing tells it of the end."""
    server = serve(APP, "--static", folder)
    before = server.sockets()
    for _ in range(20):
        wire = Wire(server.address, rcvbuf=4096)
        wire.send(HTTP[state])
        wire.take(1000)
        until(lambda: server.sockets() > before)
        wire.reset()
    settled(server, before, until)


@pytest.mark.parametrize("state", ["a full outbox and a waiting handler", "drain", "conflation"])
def test_reset_of_a_reader_that_never_read(serve, until, folder, state):
    server = serve(APP, "--static", folder)
    before = server.sockets()
    for _ in range(20):
        ws = Socket(server.address, rcvbuf=4096)
        ws.send(FRAMES[state])
        ws.take(10)
        ws.reset()
    settled(server, before, until)
