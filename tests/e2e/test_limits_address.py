"""What one address may have: connections and handshakes, 429 past them. The loopback is not counted, so the clients come from other
addresses: named by a trusted proxy, and in the second half really, in a network of its own in which this machine has several.
Where the system allows no such network, that half is skipped.
"""
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.control import status
from support.server import sanitized
from support.wire import TIMEOUT, Closed, Refused, Response, Socket, Wire, fetch, head, upgrade_head

HERE = Path(__file__).resolve()
ALONE = os.environ.get("MOONTIDE_NETWORK_ALONE") == "1"  # this is the run inside
ONE, TWO, SERVER = "203.0.113.1", "203.0.113.2", "198.51.100.1"
SIX = ("2001:db8:1:2::1", "2001:db8:1:2::2", "2001:db8:1:3::1")
outside = pytest.mark.skipif(ALONE, reason="runs outside")
inside = pytest.mark.skipif(not ALONE, reason="runs in a network of its own, started by the last test")

ECHO = """
local app = {}
function app.on_connect(req) if req.query.no then return nil, "no" end end
function app.on_message(conn, text) conn:send(text == "ip" and conn.ip or text) end
function app.on_http(req) return 200, req.ip end
return app
"""


def refused(call, least=1, most=60):
    """The answer is a 429 that says when to come back."""
    with pytest.raises(Refused) as why:
        call()
    answer = why.value.response
    assert answer.status == 429 and least <= int(answer.headers["retry-after"]) <= most, answer.raw
    assert answer.headers["connection"] == "close" and b"address" in answer.body


# ---- behind a proxy ----

PROXY = {"proxies": "127.0.0.1"}


@outside
def test_handshakes_through_a_proxy(serve, connect):
    """Counted for the client that the proxy names, for an IPv6 client by its network, in all workers together."""
    server = serve(ECHO, settings={**PROXY, "limits.rate.handshakes": "0.05/s burst 3"})

    def come(client):
        return connect(server, headers={"X-Forwarded-For": client})
    for _ in range(3):
        come(ONE).bye()
    refused(lambda: come(ONE), 10, 21)
    refused(lambda: come(f"::ffff:{ONE}"), 10, 21)
    ws = come(TWO)
    ws.text("ip")
    ws.expect(TWO)
    for client in (*SIX[:2], SIX[0]):
        come(client).bye()
    refused(lambda: come(SIX[1]), 10, 21)
    come(SIX[2]).bye()
    for _ in range(10):  # the proxy itself, and who else is on this machine
        connect(server).bye()
        come("127.0.0.1").bye()
    assert fetch(server.address, headers={"X-Forwarded-For": ONE}).body == ONE.encode()  # no handshake
    server.log.wait(rf"limits\.rate\.handshakes is reached.*peer={ONE}")
    assert status(server)["net"]["limited"] == 3


@outside
def test_connections_through_a_proxy(serve, connect, until):
    """From the handshake to the end of the connection; a refused one counts no longer."""
    server = serve(ECHO, settings={**PROXY, "limits.address_connections": 3})

    def come(client, target="/"):
        return connect(server, target, headers={"X-Forwarded-For": client})
    open_ones = [come(ONE) for _ in range(3)]
    refused(lambda: come(ONE))
    for _ in range(5):
        with pytest.raises(Refused):
            come(TWO, "/?no=1")
    others = [until_in(until, lambda: come(TWO)) for _ in range(3)]
    refused(lambda: come(TWO))
    with Wire(server.address) as wire:  # what a proxy keeps open for many clients is nobody's
        for client in (ONE, TWO, ONE):
            wire.send(head("/", {"X-Forwarded-For": client}))
            assert Response(wire).body == client.encode()
    open_ones.pop().bye()
    until_in(until, lambda: come(ONE)).reset()
    until_in(until, lambda: come(ONE)).bye()
    server.log.wait(rf"limits\.address_connections is reached.*peer={ONE}")
    for ws in open_ones + others:
        ws.bye()


def until_in(until, come):
    """Who has gone is forgotten a moment later."""
    def attempt():
        try:
            return come()
        except Refused:
            return None
    return until(attempt, what="a free place")


@outside
def test_many_addresses_take_little_memory(serve):
    """As many as an attacker has: 2000 networks, each with one handshake that is remembered."""
    server = serve(ECHO, settings={**PROXY, "limits.rate.handshakes": "1/min burst 1"})
    before = server.rss()
    with Wire(server.address) as wire:
        wire.send(upgrade_head("/?no=1", {"X-Forwarded-For": ONE}))
        assert Response(wire).status == 403
    for n in range(2000):
        with Wire(server.address) as wire:
            wire.send(upgrade_head("/?no=1", {"X-Forwarded-For": f"2001:db8:{n:x}::1"}))
            assert Response(wire).status == 403
    assert server.rss() - before < 64 << 20 or sanitized()
    with Wire(server.address) as wire:  # and the first is still known
        wire.send(upgrade_head("/?no=1", {"X-Forwarded-For": ONE}))
        assert Response(wire).status == 429


@outside
def test_limits_of_addresses_change_by_reload(serve, connect, until, tmp_path):
    path = tmp_path / "moontide.conf.lua"
    client = {"X-Forwarded-For": ONE}

    def configure(limits):
        path.write_text(f"return {{ proxies = {{ '127.0.0.1' }}, limits = {{ {limits} }} }}")

    configure("rate = { handshakes = '4/h burst 2' }")
    server = serve(ECHO, "--config", path)
    first = [connect(server, headers=client) for _ in range(2)]
    refused(lambda: connect(server, headers=client), 600, 901)
    configure("rate = { handshakes = '1000/s' }")  # who was to wait for a quarter of an hour
    server.signal(signal.SIGHUP)
    third = until_in(until, lambda: connect(server, headers=client))
    configure("address_connections = 2")  # the three that are there were not counted
    server.signal(signal.SIGHUP)
    kept = []

    def full():
        try:
            kept.append(connect(server, headers=client))
        except Refused:
            return True
        return False
    until(full, what="the new limit")
    assert len(kept) >= 2
    configure("")
    server.signal(signal.SIGHUP)
    until_in(until, lambda: connect(server, headers=client)).bye()
    for ws in (*first, third, *kept):
        ws.text("still here")
        ws.expect("still here")


# ---- from several addresses ----

@outside
def test_in_a_network_of_its_own():
    addresses = " ".join(f"ip addr add {a}/32 dev lo;" for a in (ONE, TWO, SERVER)) + " ".join(
        f"ip addr add {a}/128 dev lo nodad;" for a in SIX)
    alone = ["unshare", "--map-root-user", "--net", "sh", "-ec", f"ip link set lo up; {addresses} exec \"$@\"", "sh"]
    if subprocess.run([*alone, "true"], stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode != 0:
        pytest.skip("the system allows no network of its own")
    done = subprocess.run([*alone, sys.executable, "-B", "-m", "pytest", str(HERE)], cwd=HERE.parent, stdin=subprocess.DEVNULL,
                          env={**os.environ, "MOONTIDE_NETWORK_ALONE": "1"}, capture_output=True, check=False)
    assert done.returncode == 0 and b"passed" in done.stdout, done.stdout.decode()


def dial(server, source):
    """A connected socket of that address, as a function that Wire and Socket take for their connect."""
    port = server.port
    sock = socket.socket(socket.AF_INET6 if ":" in source else socket.AF_INET)
    sock.settimeout(TIMEOUT)
    sock.bind((source, 0))
    sock.connect((SIX[2] if ":" in source else SERVER, port))
    return sock


@pytest.fixture(name="come")
def come_fixture(monkeypatch):
    """come(server, source, kind=Socket, **options): a client of that address, closed at the end."""
    opened = []

    def come(server, source, kind=Socket, **options):
        with monkeypatch.context() as patch:
            patch.setattr(Wire, "_connect", staticmethod(lambda *_: dial(server, source)))
            opened.append(kind((source, 0), **options))
        return opened[-1]
    yield come
    for wire in opened:
        wire.close_socket()


def everywhere(serve, *flags, **settings):
    return serve(ECHO, *flags, listen=("*:0",), settings=settings)


@inside
def test_connections_of_an_address(serve, come, until):
    """All its sockets, from accept: those that ask nothing, too. Others are served."""
    server = everywhere(serve, **{"limits.address_connections": 4})
    sockets = [come(server, ONE), come(server, ONE), come(server, ONE, Wire), come(server, ONE, Wire)]
    until(lambda: status(server)["now"]["sessions"] == 4, what="all four accepted")
    refused(lambda: come(server, ONE))
    wire = come(server, ONE, Wire)
    wire.send(head("/"))
    answer = Response(wire)
    assert answer.status == 429 and answer.headers["retry-after"] == "5"
    wire.expect_eof()
    for _ in range(4):
        come(server, TWO).text("here")
    sockets[2].close_socket()
    ws = until_in(until, lambda: come(server, ONE))
    ws.text("ip")
    ws.expect(ONE)
    server.log.wait(rf"limits\.address_connections is reached.*peer={ONE}")


@inside
def test_ipv6_counts_by_network(serve, come):
    server = everywhere(serve, **{"limits.address_connections": 2, "limits.rate.handshakes": "1/min burst 2"})
    kept = [come(server, SIX[0]), come(server, SIX[1])]
    refused(lambda: come(server, SIX[1]))
    kept.append(come(server, SIX[2]))
    for ws in kept:
        ws.text("here")
        ws.expect("here")


@inside
def test_429_over_tls(serve, come, authority):
    chain, key = authority.issue("address", SERVER)
    server = everywhere(serve, "--tls", f"{chain},{key}", **{"limits.address_connections": 1})
    options = {"tls": authority.client(), "name": SERVER}
    ws = come(server, ONE, **options)
    refused(lambda: come(server, ONE, **options))
    come(server, TWO, **options).bye()
    ws.text("here")
    ws.expect("here")


@inside
def test_who_has_enough_takes_no_place_from_others(serve, come, until):
    """Not among the connections, and not in the waiting line."""
    server = everywhere(serve, **{"limits.address_connections": 2, "limits.connections": 4, "limits.wait": 60})
    kept = [come(server, ONE), come(server, ONE)]
    greedy = [come(server, ONE, Wire) for _ in range(50)]  # ask nothing, and are gone in a few seconds
    kept += [come(server, TWO) for _ in range(2)]
    for wire in greedy:
        wire.send(head("/"))
        assert Response(wire).status == 429
    waiting = [come(server, source, Wire) for source in (SIX[0], SIX[1], SIX[2], SIX[2])]
    until(lambda: status(server)["now"]["in_line"] == 4, what="the line")
    for wire in (come(server, SIX[1], Wire), come(server, SIX[2], Wire)):  # two of this network wait already
        wire.send(head("/"))
        assert Response(wire).status == 429
    waiting[0].close_socket()
    until(lambda: status(server)["now"]["in_line"] == 3, what="one to leave the line")
    waiting.append(come(server, SIX[1], Wire))
    until(lambda: status(server)["now"]["in_line"] == 4, what="its place in line for another")
    for ws in kept:
        ws.bye()
    for wire in waiting[1:]:
        wire.send(head("/", {"Connection": "close"}))
        assert Response(wire).status == 200
        wire.close_socket()


@inside
def test_silent_sockets_past_the_limit_do_not_stay(serve, come, until):
    server = everywhere(serve, **{"limits.address_connections": 1, "handshake.timeout": 0.5})
    come(server, ONE)
    for _ in range(20):
        come(server, ONE, Wire)
    until(lambda: status(server)["now"]["sessions"] == 1, what="the end of the others")


@inside
def test_handshakes_of_an_address(serve, come):
    server = everywhere(serve, **{"limits.rate.handshakes": "20/s burst 5"})
    begin, let_in = time.monotonic(), 0
    while time.monotonic() < begin + 1:
        try:
            come(server, ONE).bye()
            let_in += 1
        except Refused as why:
            assert why.status == 429 and why.response.headers["retry-after"] == "1"
        except Closed:
            pytest.fail("closed without an answer")
    took = time.monotonic() - begin
    assert let_in <= 5 + 20 * took + 1
    assert status(server)["net"]["limited"] > 0
    for _ in range(5):
        come(server, TWO).bye()


@inside
def test_a_listed_proxy_is_not_counted_itself(serve, come):
    server = everywhere(serve, **{"limits.address_connections": 1, "proxies": ONE})
    clients = [come(server, ONE, headers={"X-Forwarded-For": f"192.0.2.{n}"}) for n in range(5)]
    refused(lambda: come(server, ONE, headers={"X-Forwarded-For": "192.0.2.3"}))
    come(server, ONE, headers={"X-Forwarded-For": "127.0.0.1"})
    come(server, TWO, headers={"X-Forwarded-For": "192.0.2.3"})  # not its to say: this is TWO
    refused(lambda: come(server, TWO, headers={"X-Forwarded-For": "192.0.2.77"}))
    for ws in clients:
        ws.bye()
