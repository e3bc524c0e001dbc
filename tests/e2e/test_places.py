"""Places among limits.connections, in the waiting line and of addresses: whatever clients do, at the end none is lost and none is
there twice. Three workers, listeners of every kind, small limits that change by reloads, clients that follow no plan.

What is left at the end is not only counted by the server: as many clients as there are places have to be served at once, and one more
has to wait.
"""
import os
import random
import signal
import socket
import ssl
import struct
import threading

import pytest
from support.control import status
from support.wire import TEXT, TIMEOUT, Closed, Refused, Response, Wire, frame, head, upgrade_head

APP = """
local tide = require "moontide"
local app = {}
function app.on_connect(req)
  if req.query.wait then tide.sleep(0.02) end
  if req.query.no then return nil, "no" end
end
function app.on_message(conn, text) conn:send(text) end
function app.on_http(req) return 200, "here" end
return app
"""
PLACES, PER_ADDRESS = 6, 2
CLIENTS = ("203.0.113.1", "2001:db8::1")
DENIED = "198.51.100.7"
THREADS, TRIES = 24, 20


def proxy_header(client):
    return f"PROXY TCP{'6 {0} ::1' if ':' in client else '4 {0} 192.0.2.1'} 4711 443\r\n".format(client).encode()


def hello(context):
    """What a TLS client says first."""
    out = ssl.MemoryBIO()
    try:
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname="127.0.0.1").do_handshake()
    except ssl.SSLWantReadError:
        return out.read()
    raise AssertionError("a handshake without a server")


class Stranger:
    """One connection of a client that does what comes into its mind, and leaves as it likes."""

    def __init__(self, listeners, tls, rng):
        self.rng, self.tls = rng, tls
        self.address, self.secure, self.proxied = rng.choice(listeners)
        self.sock = socket.create_connection(self.address, TIMEOUT)
        self.sock.settimeout(rng.choice((0.01, 0.1, 2)))

    def live(self):
        try:
            if self.rng.random() < 0.1 or (self.proxied and not self.introduce()):
                return
            if self.rng.random() < 0.3:
                self.say_half()
            elif self.come_in():
                self.talk()
        except (OSError, Closed, Refused):
            pass  # refused, too late, broken off: all of that may be

    def introduce(self):
        whole = proxy_header(self.rng.choice((*CLIENTS, DENIED)))
        header = self.rng.choice((whole, whole, whole, b"PROXY UNKNOWN\r\n", whole[:9], b"GET / HTTP/1.1\r\n\r\n"))
        self.sock.sendall(header)
        return header.endswith(b"\n") and header.startswith(b"PROXY")

    def say_half(self):
        whole = hello(self.tls) if self.secure else upgrade_head()
        self.sock.sendall(whole[:self.rng.randrange(len(whole))])
        self.sock.recv(1)

    def come_in(self):
        if self.secure:
            self.sock = self.tls.wrap_socket(self.sock, server_hostname="127.0.0.1")
        return self.rng.random() < 0.9

    def talk(self):
        wire = Wire.__new__(Wire)
        wire.sock, wire.pending = self.sock, bytearray()
        client = {"X-Forwarded-For": self.rng.choice((*CLIENTS, DENIED, "nonsense"))} if not self.proxied else {}
        for _ in range(self.rng.randrange(3)):
            self.sock.sendall(head("/", client))
            Response(wire)
        self.sock.sendall(upgrade_head(self.rng.choice(("/", "/", "/?no=1", "/?wait=1")), client))
        if self.rng.random() < 0.2:
            return
        if Response(wire).status == 101:
            self.sock.sendall(frame(TEXT, "x") * self.rng.randrange(5) + (frame(8) if self.rng.random() < 0.3 else b""))
            self.sock.recv(100)

    def leave(self):
        try:
            if self.rng.random() < 0.3:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            elif self.rng.random() < 0.5:
                self.sock.shutdown(socket.SHUT_WR)
                self.sock.recv(1000)
        except OSError:
            pass
        self.sock.close()


def storm(listeners, tls, seed, stop):
    rng = random.Random(seed)
    for _ in range(TRIES):
        if stop.is_set():
            return
        try:
            stranger = Stranger(listeners, tls, rng)
        except OSError:
            return  # the server has stopped
        stranger.live()
        stranger.leave()


@pytest.fixture(name="door")
def door_fixture(serve, authority, tmp_path):
    """door() -> a server with a listener of each kind, what they are, and configure(**limits), which reloads."""
    chain, key = authority.issue("places", "127.0.0.1")
    path = tmp_path / "moontide.conf.lua"

    def configure(waiting=4, wait=0.3):
        path.write_text(f"""return {{ proxies = {{ "127.0.0.1" }}, deny = {{ "{DENIED}" }}, handshake = {{ timeout = 0.5 }},
            limits = {{ connections = {PLACES}, waiting = {waiting}, wait = {wait}, address_connections = {PER_ADDRESS} }} }}""")

    configure()
    server = serve(APP, "--config", path, "--tls", f"{chain},{key}", "--workers", "3",
                   listen=("http://127.0.0.1:0", "https://127.0.0.1:0", "proxy+http://127.0.0.1:0", "proxy+https://127.0.0.1:0"))
    listeners = []
    for url in server.urls:
        address = ("127.0.0.1", int(url.rsplit(":", 1)[1]))
        listeners.append((address, "https:" in url, url.startswith("proxy+")))

    def reload(**limits):
        configure(**limits)
        seen = len(server.log)
        server.signal(signal.SIGHUP)
        server.log.wait("reloaded", since=seen, timeout=3 * TIMEOUT)

    return server, listeners, reload


def start_storm(listeners, tls, stop):
    seed = int(os.environ.get("MOONTIDE_SEED", random.randrange(1 << 32)))
    print("MOONTIDE_SEED", seed)  # pytest shows it where the test fails
    threads = [threading.Thread(target=storm, args=(listeners, tls, seed + n, stop), daemon=True) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    return threads


def expect_all_places(server, connect, until):
    """All of them, and not one more."""
    until(lambda: status(server)["now"]["sessions"] == 0 == status(server)["now"]["in_line"], what="the end of all sessions",
          timeout=2 * TIMEOUT)
    inside = [connect(server) for _ in range(PLACES)]
    with Wire(server.address) as late:
        late.send(head("/"))
        until(lambda: status(server)["now"]["in_line"] == 1, what="one more in line")
        for ws in inside:
            ws.text("here")
            ws.expect("here")
        inside.pop().bye()
        assert Response(late).status == 200
    for ws in inside:
        ws.bye()


def expect_all_of_addresses(server, connect, until):
    for client in CLIENTS:
        inside = [connect(server, headers={"X-Forwarded-For": client}) for _ in range(PER_ADDRESS)]
        with pytest.raises(Refused) as why:
            connect(server, headers={"X-Forwarded-For": client})
        assert why.value.status == 429
        for ws in inside:
            ws.bye()
        until(lambda: status(server)["now"]["sessions"] == 0, what="the end of those")


def test_no_place_is_lost(door, connect, until, authority):
    server, listeners, reload = door
    threads = start_storm(listeners, authority.client(), threading.Event())
    rng = random.Random(7)
    while any(thread.is_alive() for thread in threads):
        reload(waiting=rng.randint(0, 4), wait=rng.choice((0.1, 0.3, 2)))
    reload(wait=60)
    expect_all_places(server, connect, until)
    expect_all_of_addresses(server, connect, until)


def test_the_server_stops_in_the_middle(door, authority):
    server, listeners, _ = door
    stop = threading.Event()
    threads = start_storm(listeners, authority.client(), stop)
    while status(server)["net"]["closed"] < 20:
        pass
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    stop.set()
    for thread in threads:
        thread.join()
