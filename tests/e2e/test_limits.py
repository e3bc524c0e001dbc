"""How much one client may take: messages and bytes a second, and the waiting line behind limits.connections.

What an address may have is tested in test_limits_address.py.
"""
import os
import random
import resource
import select
import signal
import time
import zlib

import pytest
from support.control import status
from support.server import WORKERS
from support.wire import BINARY, PING, RSV1, TEXT, TIMEOUT, Closed, Response, Socket, Wire, frame, head, upgrade_head

ECHO = """
local tide = require "moontide"
local app = { routes = {} }
function app.on_connect(req) return { user = req.query.name } end
local echo = {}
function echo.on_message(conn, text)
  local name = text:match "^close (.+)"
  if name then tide.user(name):close(4000, "out") return end
  conn:send(text)
end
function echo.on_binary(conn, bytes) conn:send_binary(bytes) end
function echo.on_close(conn, code) tide.log.info("closed", { code = code }) end
function echo.on_http(req) return 200, "here" end
app.routes["/"] = echo
app.routes["/slow"] = { limits = { messages_per_second = 20, messages_burst = 10 }, on_message = echo.on_message }
app.routes["/fast"] = { limits = { messages_per_second = 1e6 }, on_message = echo.on_message }
return app
"""


def took_at_least(seconds, do):
    """What a rate of ours makes a client wait; bounded above by the timeout of the client alone."""
    begin = time.monotonic()
    do()
    took = time.monotonic() - begin
    assert took >= seconds, f"took {took:.3f} s where the limit makes {seconds} s of it"


def numbered(count):
    return b"".join(frame(TEXT, f"message {n}") for n in range(count))


def expect_numbered(ws, count, begin=0):
    for n in range(begin, count):
        ws.expect(f"message {n}")


# ---- rates: delay ----

def test_a_flood_of_messages_is_read_more_slowly(serve, connect):
    """All of it arrives, in order, at the rate; others notice nothing, and the operator hears who it is."""
    server = serve(ECHO, settings={"limits.rate.messages": "200/s burst 20"})
    ws, other = connect(server), connect(server)
    ws.send(numbered(120))

    def both():
        for n in range(12):
            other.text(f"other {n}")
            other.expect(f"other {n}")
        expect_numbered(ws, 120)
    took_at_least(0.49, both)
    server.log.wait(r"sends more than the limits on its rate.*more slowly.*peer=127\.0\.0\.1")
    net = status(server)["net"]
    assert net["delayed"] > 0 and net["flooded"] == 0 and net["malformed"] == 0
    assert sum("more slowly" in line for line in server.log.lines) == 1
    ws.bye()
    other.bye()


def test_who_stays_within_the_rate_does_not_wait(serve, connect):
    server = serve(ECHO, settings={"limits.rate.messages": "4/h burst 10", "limits.rate.bytes": "1/s burst 1000"})
    ws = connect(server)
    for n in range(10):
        ws.text(f"message {n}")
        ws.expect(f"message {n}")
    assert status(server)["net"]["delayed"] == 0


@pytest.mark.parametrize("tls", [False, True])
def test_a_flood_of_bytes_is_read_more_slowly_and_stays_whole(serve, tls, authority):
    chain, key = authority.issue("limits", "127.0.0.1") if tls else (None, None)
    server = serve(ECHO, *(("--tls", f"{chain},{key}") if tls else ()), settings={"limits.rate.bytes": "400k/s burst 50k"})
    rng = random.Random(5)
    messages = [rng.randbytes(rng.choice((1, 100, 5000, 60000))) for _ in range(20)]
    total = sum(map(len, messages))
    with Socket(server.address, tls=authority.client() if tls else None) as ws:
        def exchange():
            for at, data in enumerate(messages):  # some in pieces, with pings between them
                half = len(data) // 2
                ws.send(frame(BINARY, data) if at % 3 else frame(BINARY, data[:half], fin=False) + frame(PING, b"p")
                        + frame(0, data[half:]))
            for data in messages:
                assert ws.data() == data
        took_at_least((total - 51200 - 60100) / 409600, exchange)  # the burst, and what the last message owes
        ws.bye()
    assert status(server)["net"]["delayed"] > 0


def test_bytes_are_counted_as_they_come(serve, connect):
    """Before inflating: what compresses well is cheap."""
    server = serve(ECHO, settings={"limits.rate.bytes": "1/s burst 2k", "limits.rate.exceeded": "close"})
    ws = connect(server, extensions="permessage-deflate")
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = (packer.compress(b"x" * 60000) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]
    assert len(packed) < 500
    ws.send(frame(TEXT, packed, rsv=RSV1))
    got = ws.frame()
    assert got.rsv == RSV1 and zlib.decompressobj(-15).decompress(got.payload + b"\0\0\xff\xff") == b"x" * 60000


@pytest.mark.parametrize("kind", ["ping", "pong", "fragment"])
def test_floods_of_small_frames_are_held_too(serve, connect, kind):
    rate = {"limits.rate.bytes": "1400/s burst 350"} if kind == "fragment" else {"limits.rate.messages": "200/s burst 50"}
    server = serve(ECHO, settings=rate)
    ws = connect(server)
    flood = {"ping": frame(PING, b"x") * 150, "pong": frame(10, b"x") * 150,
             "fragment": frame(TEXT, b"a", fin=False) + frame(0, b"a", fin=False) * 149 + frame(0, b"a")}[kind]

    def exchange():
        ws.send(flood)
        ws.text("last")
        if kind == "fragment":
            assert ws.data() == "a" * 151
        assert ws.data() == "last"
    took_at_least(0.49, exchange)


def test_a_route_may_allow_less_but_not_more(serve, connect):
    server = serve(ECHO, settings={"limits.rate.messages": "40/s burst 20"})
    for path, burst, rate in (("/slow", 10, 20), ("/fast", 20, 40), ("/", 20, 40)):
        ws = connect(server, path)
        ws.send(numbered(burst + rate // 2))
        took_at_least(0.49 - 1 / rate, lambda ws=ws, count=burst + rate // 2: expect_numbered(ws, count))


def test_a_silent_reader_is_alive_while_it_is_delayed(serve, connect):
    """Its answer to our ping lies behind what is not read yet."""
    server = serve(ECHO, settings={"limits.rate.messages": "1/s burst 1", "ping.interval": 0.05, "ping.timeout": 0.7})
    ws = connect(server)
    ws.send(numbered(3))
    expect_numbered(ws, 3)
    ws.bye()


# ---- rates: the end of a connection that is delayed ----

def delayed(server, connect, until):
    """A connection of which the server reads nothing for a quarter of an hour."""
    ws = connect(server, "/?name=slow")
    ws.send(numbered(8))
    expect_numbered(ws, 5)
    until(lambda: status(server)["net"]["delayed"] == 1, what="the delay")
    return ws


STUCK = {"limits.rate.messages": "4/h burst 5", "shutdown.timeout": 3}


def test_a_stop_closes_delayed_connections(serve, connect, until):
    server = serve(ECHO, settings=STUCK)
    ws = delayed(server, connect, until)
    server.signal(signal.SIGTERM)
    ws.expect_close(1001)
    assert server.wait() == 0
    assert "cut" not in server.log.text()


def test_a_script_closes_delayed_connections(serve, connect, until):
    server = serve(ECHO, settings=STUCK)
    ws = delayed(server, connect, until)
    connect(server).text("close slow")
    ws.expect_close(4000, "out")
    server.log.wait("closed.*code=4000")


def test_a_delayed_client_that_breaks_off_is_noticed(serve, connect, until):
    """Not at once, because it is not read, but by the pings."""
    server = serve(ECHO, settings={**STUCK, "ping.interval": 2})
    delayed(server, connect, until).reset()
    server.log.wait("closed.*code=1006")
    until(lambda: status(server)["now"]["sessions"] == 0, what="the end of the session")


def test_a_close_behind_delayed_messages_waits_for_them(serve, connect):
    server = serve(ECHO, settings={"limits.rate.messages": "20/s burst 5"})
    ws = connect(server)
    ws.send(numbered(10))
    ws.close(1000)
    expect_numbered(ws, 10)
    ws.expect_close(1000)
    server.log.wait("closed.*code=1000")


# ---- rates: close ----

@pytest.mark.parametrize("rate", ["messages", "bytes"])
def test_a_flood_is_closed_with_1008(serve, connect, rate):
    setting = {"messages": "4/h burst 10", "bytes": "1/s burst 160"}[rate]  # a frame has 6 bytes of head and 9 of text
    server = serve(ECHO, settings={f"limits.rate.{rate}": setting, "limits.rate.exceeded": "close"})
    ws, other = connect(server), connect(server)
    other.text("message 0")
    ws.send(numbered(10))
    expect_numbered(ws, 10)
    ws.send(frame(TEXT, "message x") * 1000)
    ws.expect_close(1008)
    server.log.wait("closed.*code=1008")
    server.log.wait(r"closed with 1008.*peer=127\.0\.0\.1")
    other.expect("message 0")
    net = status(server)["net"]
    assert net["flooded"] == 1 and net["delayed"] == 0 and net["malformed"] == 0


def test_rates_change_by_reload(serve, connect, until, tmp_path):
    """For connections that are open, too: with them a flood can be ended that is under way."""
    path = tmp_path / "moontide.conf.lua"

    def configure(rate):
        path.write_text(f"return {{ limits = {{ rate = {rate} }} }}")

    def reload(rate):
        configure(rate)
        seen = len(server.log)
        server.signal(signal.SIGHUP)
        server.log.wait("reloaded", since=seen)

    configure("{}")
    server = serve(ECHO, "--config", path)
    ws = connect(server)
    ws.send(numbered(100))
    expect_numbered(ws, 100)
    reload("{ messages = '4/h burst 5' }")
    until(lambda: flood_is_held(ws), what="the limit")
    reload("{ messages = '1000/s' }")  # and who waits goes on at once
    ws.set_timeout(10)
    assert ws.data() == "held"
    reload("{ messages = '4/h burst 5', exceeded = 'close' }")

    def closes():
        try:
            ws.send(numbered(6))
            return any(ws.frame().op == 8 for _ in range(6))
        except (Closed, OSError):
            return True
    until(closes, what="the close")


def flood_is_held(ws):
    """Whether nothing comes back of what is sent; `held` is then the one that waits."""
    ws.set_timeout(0.3)
    ws.text("held")
    try:
        while True:
            ws.data()
            ws.text("held")
    except TimeoutError:
        return True


# ---- the waiting line ----

def ask(server, **options):
    wire = Wire(server.address, **options)
    wire.send(head("/", {"Connection": "close"}))
    return wire


def served(waiting):
    """All get their answer; each goes as soon as it has it. In the order in which that happened."""
    came = []
    while len(came) < len(waiting):
        ready, _, _ = select.select([w for w in waiting if w not in came], [], [], TIMEOUT)
        assert ready, f"{len(came)} of {len(waiting)} were served"
        for wire in ready:
            assert Response(wire).status == 200
            wire.close_socket()
            came.append(wire)
    return came


def in_line(server):
    return status(server)["now"]["in_line"]


@pytest.mark.one_worker  # the system decides whose line a client gets into
def test_who_waits_comes_in_in_order(serve, connect, until):
    server = serve(ECHO, settings={"limits.connections": 1, "limits.wait": 60})
    inside = connect(server)
    waiting = [ask(server) for _ in range(20)]
    until(lambda: in_line(server) == 20, what="the line")
    inside.bye()
    assert served(waiting) == waiting
    server.log.wait("limits.connections is reached: clients wait in line")
    now = status(server)
    assert now["now"]["in_line"] == 0 and now["net"]["unserved"] == 0


def test_no_place_in_time_is_503(serve, connect, until):
    """Over all workers; who has a place is served all the while, and the places are free again for others."""
    server = serve(ECHO, settings={"limits.connections": 6, "limits.wait": 0.3})
    inside = [connect(server) for _ in range(6)]
    late = []
    for n in range(30):
        wire = Wire(server.address)
        wire.send(upgrade_head() if n % 2 else head("/"))
        late.append(wire)
    for ws in inside:
        ws.text("served")
        ws.expect("served")
    for wire in late:
        answer = Response(wire)
        assert answer.status == 503 and answer.headers["retry-after"] == "1" and b"full" in answer.body
        assert answer.headers["connection"] == "close"
        wire.expect_eof()
    server.log.wait(r"answered with 503.*peer=127\.0\.0\.1")
    assert status(server)["net"]["unserved"] == 30
    for ws in inside:
        ws.bye()
    until(lambda: status(server)["now"]["sessions"] == 0, what="the end of all sessions")
    for ws in [connect(server) for _ in range(6)]:
        ws.bye()


def test_503_over_tls(serve, authority):
    chain, key = authority.issue("line", "127.0.0.1")
    server = serve(ECHO, "--tls", f"{chain},{key}", settings={"limits.connections": 1, "limits.wait": 0.2})
    with Socket(server.address, tls=authority.client()) as inside:
        with ask(server, tls=authority.client()) as wire:
            answer = Response(wire)
            assert answer.status == 503 and answer.headers["retry-after"] == "1"
            wire.expect_eof()
        inside.bye()


def test_who_waits_costs_nothing_when_it_leaves(serve, connect, until):
    server = serve(ECHO, settings={"limits.connections": 1, "limits.wait": 60})
    inside = connect(server)
    waiting = [ask(server) for _ in range(10)]
    until(lambda: in_line(server) == 10, what="the line")
    for wire in waiting[1::2]:
        wire.close_socket()
    waiting[0].reset()
    until(lambda: in_line(server) == 4, what="the others in line")
    inside.bye()
    served(waiting[2::2])
    assert in_line(server) == 0


def test_places_go_to_the_lines_of_all_workers(serve, connect, until):
    """A place comes free in one worker and goes to somebody who waits in another."""
    server = serve(ECHO, settings={"limits.connections": 4, "limits.wait": 60})
    inside = [connect(server) for _ in range(4)]
    waiting = [ask(server) for _ in range(40)]
    until(lambda: in_line(server) == 40, what="the line")
    inside[0].bye()  # all 40 go through this place
    served(waiting)
    for ws in inside[1:]:
        ws.text("still here")
        ws.expect("still here")


@pytest.mark.one_worker  # each has a line of its own
def test_past_the_line_accepting_pauses(serve, connect, until):
    """Those wait in the queue of the system; none is dropped."""
    server = serve(ECHO, settings={"limits.connections": 1, "limits.wait": 60, "limits.waiting": 3})
    inside = connect(server)
    waiting = [ask(server) for _ in range(10)]
    server.log.wait("accepting pauses: limits.waiting is reached")
    assert in_line(server) == 3 and server.sockets() < 12
    inside.bye()
    served(waiting)


def test_the_server_stops_while_some_wait(serve, connect, until):
    server = serve(ECHO, settings={"limits.connections": 2, "limits.wait": 60})
    inside = [connect(server) for _ in range(2)]
    waiting = [ask(server) for _ in range(5)]
    until(lambda: in_line(server) == 5, what="the line")
    server.signal(signal.SIGTERM)
    for ws in inside:
        ws.expect_close(1001)
    for wire in waiting:
        wire.expect_eof()
    assert server.wait() == 0


def test_descriptors_are_there_for_all_that_may_be_open(serve):
    """Those of connections, of the lines, and of 1000 in each worker that are told of a limit."""
    server = serve(ECHO, settings={"limits.connections": 2000, "limits.waiting": 100})
    soft, hard = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
    assert soft >= min(hard, 2000 + WORKERS * (100 + 1000) + 500)


def test_who_may_connect_changes_while_some_wait(serve, connect, until, tmp_path):
    """Who came in time is not served for that when its turn comes; it was asked nothing yet, so it is closed."""
    path = tmp_path / "moontide.conf.lua"
    limits = "limits = { connections = 1, wait = 60 }"
    path.write_text(f"return {{ {limits}, deny = {{ '127.0.0.2' }} }}")
    server = serve(ECHO, "--config", path)
    inside = connect(server)
    waiting = [Wire(server.address, source=f"127.0.0.{last}") for last in (3, 4)]
    for wire in waiting:
        wire.send(head("/", {"Connection": "close"}))
    until(lambda: in_line(server) == 2, what="the line")
    path.write_text(f"return {{ {limits}, deny = {{ '127.0.0.3' }} }}")
    server.signal(signal.SIGHUP)
    server.log.wait("reloaded")
    inside.bye()
    assert Response(waiting[1]).status == 200
    with pytest.raises(Closed):
        waiting[0].take(1)
    net = status(server)["net"]
    assert net["denied"] == 1 and net["malformed"] == 0


def test_waiting_takes_no_processor(serve, connect, until):
    server = serve(ECHO, settings={"limits.connections": 1, "limits.wait": 60})
    inside = connect(server)
    waiting = [ask(server) for _ in range(50)]
    until(lambda: in_line(server) == 50, what="the line")
    used, begin = server.cpu(), time.monotonic()
    while time.monotonic() < begin + 0.5:
        inside.text("x")
        inside.expect("x")
        time.sleep(0.01)
    assert server.cpu() - used < 0.25 * max(1, WORKERS) or os.environ.get("SUITE_TIMEOUT"), "it spins"
    for wire in waiting:
        wire.close_socket()
