"""Clients that hold a connection by doing everything as slowly as they can, on plain sockets and under TLS: each ends in time, in the
right way, others are served meanwhile, and what they cost is bounded. Those that fall silent altogether: test_timeouts.py."""
import socket
import ssl
import time

import pytest
from support.control import status
from support.server import sanitized
from support.wire import BINARY, CLOSE, CONT, PING, PONG, Closed, Response, Socket, Wire, fetch, frame, head, upgrade_head

APP = """
local tide = require "moontide"
local app = {}
function app.on_open(conn) if conn.path == "/log" then conn:join "log" end end
function app.on_message(conn, text) if text == "close" then conn:close(4000) else conn:send(text) end end
function app.on_binary(conn, bytes) conn:send_binary(bytes) end
function app.on_close(conn, code) tide.room "log":send { closed = conn.path, code = code } end
function app.on_http(req)
  if req.path == "/big" then return 200, ("x"):rep(65536):rep(256) end
  if req.path == "/stream" then
    local left = 256
    return 200, function() left = left - 1 if left >= 0 then return ("x"):rep(65536) end end
  end
  if req.path == "/drops" then return 200, function() tide.sleep(0) return "x" end end
  return 200, tostring(#(req.body or ""))
end
return app
"""
BREATH = 0.01  # between two bytes of a dribbler


@pytest.fixture(scope="module")
def local(authority):
    return ",".join(map(str, authority.issue("slow", "localhost", "127.0.0.1")))


@pytest.fixture(params=["plain", "tls"])
def door(request, serve, authority, local, tmp_path):
    """door(**settings) -> server; server.tls is the context of its clients, None where it is plain."""
    def start(**settings):
        flags = ["--tls", local] if request.param == "tls" else []
        (tmp_path / "files").mkdir()
        (tmp_path / "files" / "large.bin").write_bytes(bytes(16 << 20))
        server = serve(APP, "--static", tmp_path / "files", *flags, settings={k.replace("_", "."): v for k, v in settings.items()})
        server.tls = authority.client() if flags else None
        return server
    return start


def dribble(wire, data, breath=BREATH):
    """Send byte by byte for as long as the server lets us; what it said to that. `data` gives bytes, for ever as a rule."""
    said, end = b"", time.monotonic() + wire.timeout
    wire.sock.settimeout(breath)
    for byte in data:
        assert time.monotonic() < end, "the server does not end it"
        try:
            wire.send(bytes([byte]))
            said += wire.sock.recv(65536) or _closed()
        except TimeoutError:
            continue
        except (Closed, OSError):
            break
    wire.sock.settimeout(wire.timeout)
    try:
        return said + wire.take_eof()
    except OSError:
        return said


def _closed():
    raise Closed()


def for_ever(byte=b"x"):
    while True:
        yield from byte


def served(server):
    """Somebody else is served, all the while."""
    with Socket(server.address, tls=server.tls) as ws:
        ws.text("hello")
        ws.expect("hello")


def ended(server, until, count=1):
    """The counter of those that took too long, and nobody is left."""
    until(lambda: status(server)["net"]["timed_out"] >= count, what="the end of those that are slow")
    until(lambda: status(server)["now"]["sessions"] == 0, what="the end of all sockets")


# ---- the handshake and the head ----

def test_head_that_trickles_in(door, until):
    server = door(handshake_timeout=0.5)
    with Wire(server.address, tls=server.tls) as wire:
        said = dribble(wire, b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 10000)
    assert said.startswith(b"HTTP/1.1 408 ") and b"Connection: close" in said
    served(server)
    ended(server, until)


def test_second_head_that_trickles_in(door):
    """The first request was served, and the time between two of them is long: the head of the second has its own."""
    server = door(handshake_timeout=0.5, idle_timeout=60)
    with Wire(server.address, tls=server.tls) as wire:
        wire.send(head("/"))
        assert Response(wire).status == 200
        assert dribble(wire, upgrade_head("/")[:-2] + b"X: " + b"x" * 10000).startswith(b"HTTP/1.1 408 ")


def test_client_that_says_nothing(door, until):
    server = door(handshake_timeout=0.3)
    with Wire(server.address, tls=server.tls) as wire:
        wire.expect_eof()
    ended(server, until)


def hello():
    """What a TLS client says first."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


@pytest.mark.parametrize("door", ["tls"], indirect=True)
@pytest.mark.parametrize("how", ["silent", "dribble", "half"])
def test_tls_handshake_that_does_not_end(door, until, how):
    server = door(handshake_timeout=0.5)
    with Wire(server.address) as wire:
        if how == "half":
            wire.send(hello())  # and never the next step
            wire.take_eof()
        else:
            dribble(wire, hello()[:-1] + bytes(100000) if how == "dribble" else b"")
    served(server)
    until(lambda: status(server)["net"]["tls_failed"] == 1, what="a failed handshake")
    until(lambda: status(server)["now"]["sessions"] == 0, what="the end of all sockets")
    assert status(server)["net"]["tls_handshakes"] == 1  # of the one who was served


def test_memory_of_those_who_dribble_heads(door, until):
    server = door(handshake_timeout=3)
    before, wires = server.rss(), []
    for _ in range(100):
        wires.append(Wire(server.address, tls=server.tls))
        wires[-1].send(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 15000)
    served(server)
    if not sanitized():
        assert server.rss() - before < 100 * (100 << 10)
    for wire in wires:
        assert wire.take_eof().startswith(b"HTTP/1.1 408 ")
        wire.close_socket()
    ended(server, until, 100)


# ---- the body ----

@pytest.mark.parametrize("how,data", [
    ("Content-Length: 1000000", b"x"), ("Transfer-Encoding: chunked", b"1\r\nx\r\n"),
    ("Transfer-Encoding: chunked\r\nX: a", b"1;" + b"x" * 4000)])
def test_body_that_trickles_in(door, until, how, data):
    server = door(body_timeout=0.4, handshake_timeout=60)
    with Wire(server.address, tls=server.tls) as wire:
        wire.send(f"POST / HTTP/1.1\r\nHost: x\r\n{how}\r\n\r\n".encode())
        assert dribble(wire, for_ever(data), 0.02).startswith(b"HTTP/1.1 408 ")
    served(server)
    ended(server, until)


def test_large_body_on_a_slow_line(door):
    """It takes many times body.timeout, and what has come earns the time for more."""
    server = door(body_timeout=1, handshake_timeout=0.5)
    with Wire(server.address, tls=server.tls) as wire:
        wire.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
        for _ in range(40):
            wire.send(b"x" * 2500)
            time.sleep(0.05)
        assert Response(wire).body == b"100000"


# ---- the answer ----

@pytest.mark.parametrize("target", ["/large.bin", "/big", "/stream"])
@pytest.mark.parametrize("how", ["never", "dribble", "pipelined"])
def test_answer_that_nobody_takes(door, until, target, how):
    server = door(idle_timeout=0.5)
    with Wire(server.address, tls=server.tls, rcvbuf=4096) as wire:
        request = head(target)
        wire.send(head("/") * 3 + request * 3 if how == "pipelined" else request)
        end = time.monotonic() + wire.timeout
        while how == "dribble" and status(server)["now"]["sessions"] and time.monotonic() < end:
            wire.sock.settimeout(BREATH)
            try:
                wire.sock.recv(1)
            except (TimeoutError, OSError):
                pass
        ended(server, until)
        served(server)


@pytest.mark.parametrize("target", ["/large.bin", "/big", "/stream"])
def test_download_on_a_slow_line(door, target):
    """It takes many times idle.timeout, with whole intervals in which the server's system takes nothing more, and arrives."""
    server = door(idle_timeout=0.5)
    with Wire(server.address, tls=server.tls, rcvbuf=65536) as wire:
        wire.send(head(target, {"Connection": "close"}, version="HTTP/1.0"))
        wire.take_until(b"\r\n\r\n")
        for _ in range(128):
            assert wire.take(131072).strip(b"x\0") == b""
            time.sleep(0.015)
        wire.expect_eof()


@pytest.mark.parametrize("door", ["tls"], indirect=True)
def test_small_records_on_a_slow_line(door, until):
    """What waits in the system is many times as long as what was written, and that somebody takes it shows all the same."""
    server = door(idle_timeout=0.5)
    with Wire(server.address, tls=server.tls, rcvbuf=4096) as wire:
        wire.send(head("/drops", version="HTTP/1.0"))
        sent = []

        def is_full():
            sent.append(status(server)["net"]["bytes_out"])
            return len(sent) > 2 and sent[-1] == sent[-2] == sent[-3] > 1000

        until(is_full, timeout=60, what="a full socket")
        for _ in range(100):
            assert wire.take(400)
            time.sleep(0.02)
        assert status(server)["now"]["sessions"] == 1


def test_idle_connection_ends(door, until):
    server = door(idle_timeout=0.3)
    with Wire(server.address, tls=server.tls) as wire:
        wire.send(head("/"))
        Response(wire)
        wire.expect_eof()
    assert status(server)["net"]["timed_out"] == 0  # it did nothing wrong


# ---- WebSocket ----

def test_client_that_reads_pings_and_answers_none(door):
    server = door(ping_interval=0.2, ping_timeout=0.3)
    with Socket(server.address, "/log", tls=server.tls) as log, Socket(server.address, "/mute", tls=server.tls) as mute:
        assert mute.frame().op == PING
        assert b'"code":1006' in log.data().encode()
        mute.take_eof()


def test_closing_that_is_drawn_out(door, until):
    """Pings come for ever, the answer to the close frame does not."""
    server = door(close_timeout=0.5)
    with Socket(server.address, "/log", tls=server.tls) as log, Socket(server.address, "/mute", tls=server.tls) as mute:
        mute.text("close")
        got = mute.frame()
        assert got.op == CLOSE and got.code == 4000
        dribble(mute, for_ever(frame(PING, b"")))
        assert b'"code":4000' in log.data().encode()
    ended(server, until)


def test_message_that_trickles_in_harms_nobody(door):
    """An open connection may be silent for as long as it likes, so a message may take as long as it likes: it costs its bytes."""
    server = door(ping_interval=0.2, ping_timeout=0.5, handshake_timeout=0.5, body_timeout=0.5, idle_timeout=0.5)
    with Socket(server.address, tls=server.tls) as ws:
        ws.send(frame(BINARY, b"", fin=False))
        end = time.monotonic() + 1.5
        pieces = pings = 0
        while time.monotonic() < end or pings < 3:
            ws.send(frame(CONT, b"x", fin=False))
            pieces += 1
            served(server)
            ws.sock.settimeout(BREATH)
            try:
                got = ws.frame()
            except TimeoutError:
                continue
            assert got.op == PING
            pings += 1
            ws.sock.settimeout(ws.timeout)
            ws.send(frame(PONG, got.payload))
        ws.sock.settimeout(ws.timeout)
        ws.send(frame(CONT, b"", fin=True))
        assert ws.data() == b"x" * pieces


def test_memory_of_messages_that_do_not_end(door):
    server = door()
    sockets, before = [], server.rss()
    for _ in range(100):
        sockets.append(Socket(server.address, tls=server.tls))
        sockets[-1].send(frame(BINARY, b"x" * 60000, fin=False))
    for ws in sockets:
        ws.fence()
    if not sanitized():
        assert server.rss() - before < 100 * (64 << 10) * 2.5
    sockets[0].send(frame(CONT, b"x" * 10000, fin=False))
    sockets[0].expect_close(1009)
    served(server)
    for ws in sockets[1:]:
        ws.close_socket()


# ---- many at once ----

@pytest.mark.parametrize("door", ["tls"], indirect=True)
@pytest.mark.one_worker
def test_storm_of_handshakes(door, until):
    """More say hello at once than can be served in a turn: those who leave while they wait are gone, all others get their answer,
    and who is connected goes on."""
    server = door()
    said = hello()
    with Socket(server.address, tls=server.tls) as ws:
        crowd = []
        for n in range(400):
            sock = socket.create_connection(server.address)
            sock.sendall(said)
            crowd.append(sock)
            if n % 2:
                sock.close()
            if n % 20 == 0:
                ws.text(str(n))
                ws.expect(str(n))
        for sock in crowd[::2]:
            sock.settimeout(ws.timeout)
            assert sock.recv(1) == b"\x16"  # handshake, RFC 8446 5.1
            sock.close()
        until(lambda: status(server)["net"]["tls_failed"] == 400, what="the end of the storm")
        served(server)
        assert status(server)["net"]["tls_waiting"] == 0
