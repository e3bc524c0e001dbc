"""tide.http kept away from private addresses: by the setting, by the option, over redirects, and by names that lead there.

What is public is tested as well, without leaving the machine: the second half runs in a network of its own, in which a public
address and a name server are this machine's. Where the system allows no such network, that half is skipped.
"""
import os
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from support.backend import answering

HERE = Path(__file__).resolve()
ALONE = os.environ.get("MOONTIDE_NETWORK_ALONE") == "1"  # this is the run inside
PUBLIC = "93.184.216.34"
hello = answering(lambda peer, line, headers, body: peer.answer("hello"))
outside = pytest.mark.skipif(ALONE, reason="runs outside")
inside = pytest.mark.skipif(not ALONE, reason="runs in a network of its own, started by the last test")

ALIASES = ("127.0.0.1", "127.1.2.3", "localhost", "0.0.0.0", "2130706433", "0x7f.1", "0177.0.0.1", "127.1", "[::1]", "[::]", "[::ffff:127.0.0.1]",
           "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "LOCALHOST")
ELSEWHERE = ("10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "[fe80::1]", "[fd00:ec2::254]", "224.0.0.1",
             "255.255.255.255", "198.18.0.1", "168.63.129.16")


@outside
def test_this_machine_is_refused(http_caller, backend):
    server = backend(hello)
    client = http_caller(settings={"http.private": "false"})
    for host in ALIASES:
        got = client(f"http://{host}:{server.port}/")
        assert got["failed"] == "denied", (host, got)
    for host in ELSEWHERE:  # nothing is sent there: denied at once, not after a timeout
        got = client(f"http://{host}/", opts={"timeout": 5})
        assert got["failed"] == "denied" and got["took"] < 1, (host, got)
    assert client(f"https://127.0.0.1:{server.port}/")["failed"] == "denied"
    assert client(f"http://127.0.0.1:{server.port}/", opts={"private": True})["failed"] == "denied"
    assert client(f"http://127.0.0.1:{server.port}/", read="lines", opts={"stream": True})["failed"] == "denied"
    assert server.accepted == 0


@outside
def test_one_request_is_refused(client, backend):
    """Also where a connection is open that another request has made."""
    server = backend(hello)
    for _ in range(2):
        assert client(f"http://127.0.0.1:{server.port}/")["body"] == "hello"
        assert client(f"http://127.0.0.1:{server.port}/", opts={"private": False})["failed"] == "denied"
        assert client(f"http://localhost:{server.port}/", opts={"private": False})["failed"] == "denied"
    assert client(f"http://127.0.0.1:{server.port}/", opts={"private": True})["body"] == "hello"
    assert server.accepted <= 3  # a kept connection that was not wanted is closed


@outside
def test_in_a_network_of_its_own(tmp_path):
    resolv = tmp_path / "resolv.conf"
    resolv.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    alone = ["unshare", "--map-root-user", "--net", "--mount", "sh", "-ec",
             f"ip link set lo up; ip addr add {PUBLIC}/32 dev lo; mount --bind {resolv} /etc/resolv.conf; exec \"$@\"", "sh"]
    if subprocess.run([*alone, "true"], stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode != 0:
        pytest.skip("the system allows no network of its own")
    done = subprocess.run([*alone, sys.executable, "-B", "-m", "pytest", str(HERE)], cwd=HERE.parent, stdin=subprocess.DEVNULL,
                          env={**os.environ, "MOONTIDE_NETWORK_ALONE": "1"}, capture_output=True, check=False)
    assert done.returncode == 0 and b"passed" in done.stdout, done.stdout.decode()


# ---- inside ----

class Names:
    """A name server: each name has a list of IPv4 addresses; one that is asked again gets the next list."""

    def __init__(self, names):
        self.names, self.asked = {name: list(lists) for name, lists in names.items()}, []
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 53))
        self.sock.settimeout(0.05)
        self.stopping, self.thread = False, threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        while not self.stopping:
            try:
                query, client = self.sock.recvfrom(512)
            except TimeoutError:
                continue
            self.sock.sendto(self._answer(query), client)

    def stop(self):
        self.stopping = True
        self.thread.join()
        self.sock.close()

    def _answer(self, query):
        at, labels = 12, []
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode())
            at += 1 + query[at]
        name, kind = ".".join(labels), struct.unpack(">H", query[at + 1:at + 3])[0]
        lists = self.names.get(name)
        found = []
        if lists and kind == 1:
            found = lists.pop(0) if len(lists) > 1 else lists[0]
            self.asked.append(name)
        head = query[:2] + struct.pack(">HHHHH", 0x8180 if lists else 0x8183, 1, len(found), 0, 0)
        records = b"".join(b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4" + socket.inet_aton(ip) for ip in found)
        return head + query[12:at + 5] + records


@pytest.fixture
def names():
    running = []
    yield lambda **lists: running.append(Names({k.replace("_", "."): v for k, v in lists.items()})) or running[-1]
    for server in running:
        server.stop()


@pytest.fixture
def public(backend):
    """A backend on the public address, with the same port on the loopback as everything private."""
    def make(handle):
        server = backend(handle)
        listener = socket.create_server((PUBLIC, server.port))
        server.listener, private = listener, server.listener
        threading.Thread(target=server._accept, daemon=True).start()  # pylint: disable=protected-access
        server.private = private
        return server
    made = []
    yield lambda handle: made.append(make(handle)) or made[-1]
    for server in made:
        server.private.close()


@inside
def test_public_addresses_are_reached(http_caller, public, names):
    names(fine_test=[[PUBLIC]])
    server = public(hello)
    client = http_caller(settings={"http.private": "false"})
    for host in (PUBLIC, "fine.test"):
        assert client(f"http://{host}:{server.port}/", opts={"timeout": 5})["body"] == "hello"
    assert client(f"http://127.0.0.1:{server.port}/")["failed"] == "denied"


@inside
def test_names_and_redirects_that_lead_to_private_addresses(http_caller, public, names):
    names(inner_test=[["127.0.0.1"]], meta_test=[["169.254.169.254"]], both_test=[["10.0.0.1", PUBLIC]])

    def respond(peer, line, headers, body):
        path = line.split(" ")[1]
        if path.startswith("/to/"):
            peer.answer("", "302 Found", f"Location: {path[4:]}\r\n")
        else:
            peer.answer("hello")

    server = public(answering(respond))
    client = http_caller(settings={"http.private": "false"})
    for host in ("inner.test", "meta.test"):
        assert client(f"http://{host}:{server.port}/")["failed"] == "denied", host
    before = server.accepted
    for host in ("127.0.0.1", "[::1]", "inner.test", "meta.test", "169.254.169.254"):
        got = client(f"http://{PUBLIC}:{server.port}/to/http://{host}:{server.port}/secret", opts={"timeout": 5})
        assert got["failed"] == "denied", (host, got)
    assert server.accepted <= before + 1
    # of several addresses the public one is taken
    assert client(f"http://both.test:{server.port}/", opts={"timeout": 5})["body"] == "hello"
    open_client = http_caller()
    got = open_client(f"http://{PUBLIC}:{server.port}/to/http://inner.test:{server.port}/", opts={"timeout": 5})
    assert got["body"] == "hello"


@inside
def test_a_name_that_changes_its_address(http_caller, public, names):
    """DNS rebinding: public when it is looked at, private when it is used. Each look-up here gives the next answer."""
    dns = names(rebind_test=[[PUBLIC], ["127.0.0.1"]])
    server = public(lambda peer: (peer.request(), peer.answer("hello", headers="Connection: close\r\n")))
    client = http_caller(settings={"http.private": "false"})
    assert client(f"http://rebind.test:{server.port}/", opts={"timeout": 5})["body"] == "hello"
    assert dns.asked == ["rebind.test"]
    assert socket.gethostbyname("rebind.test") == "127.0.0.1"  # from now on
    second = http_caller(settings={"http.private": "false"})  # remembers nothing
    assert second(f"http://rebind.test:{server.port}/", opts={"timeout": 5})["failed"] == "denied"


@inside
def test_a_look_up_that_takes_long_stops_nobody(http_caller, connect):
    """No name server at all: the request is given up in time, and others go on meanwhile."""
    silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    silent.bind(("127.0.0.1", 53))
    client = http_caller()
    client.ws.text({"type": "fetch", "id": 1, "url": "http://slow.test/", "opts": {"timeout": 0.3}})
    other = connect(client.server)
    for _ in range(50):
        other.text({"type": "fetch", "id": 2, "url": "gopher://x"})
        other.expect(type="reply", id=2)
    got = client.ws.expect(type="reply", id=1)["data"]
    assert got["failed"] == "timeout" and got["took"] < 0.9 and "looking up the name" in got["message"], got
    client.ws.text({"type": "start", "url": "http://slow2.test/"})
    client.ws.text({"type": "cancel", "id": 3})
    client.ws.expect(type="reply", id=3)
    silent.close()
