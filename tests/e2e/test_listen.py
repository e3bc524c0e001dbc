"""Where the server listens: IPv4, IPv6, unix sockets, several at once; ports in use; running out of descriptors."""
import socket
import stat
import time

import pytest
from support.server import refuses, sanitized
from support.wire import Response, Socket, Wire, fetch, head, upgrade_head

ECHO = """
local app = {}
function app.on_message(conn, text) conn:send(text) end
function app.on_http(req) return 200, { ip = req.ip } end
return app
"""


def echo(address):
    with Socket(address) as ws:
        ws.text("here")
        ws.expect("here")
        ws.bye()


def test_ipv4(serve):
    server = serve(ECHO)
    assert server.url == f"http://127.0.0.1:{server.port}" and server.port > 0
    echo(server.address)
    assert fetch(server.address).json() == {"ip": "127.0.0.1"}


def test_ipv6(serve):
    server = serve(ECHO, listen=("[::1]:0",))
    assert server.url == f"http://[::1]:{server.port}"
    echo(("::1", server.port))
    assert fetch(("::1", server.port)).json() == {"ip": "::1"}
    with pytest.raises(OSError):
        Wire(("127.0.0.1", server.port))


def test_unix_socket(serve, tmp_path):
    path = tmp_path / "tide.sock"
    server = serve(ECHO, listen=(f"unix:{path}",))
    assert server.urls == [f"unix:{path}"]
    echo(str(path))
    assert fetch(str(path)).json() == {"ip": "unix"}
    assert stat.S_ISSOCK(path.stat().st_mode)
    server.__exit__(None, None, None)
    assert not path.exists()


def test_unix_socket_left_behind_is_replaced_but_no_other_file(serve, tmp_path, apps):
    path = tmp_path / "tide.sock"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    serve(ECHO, listen=(f"unix:{path}",))
    echo(str(path))
    _, text = refuses("run", apps / "echo.lua", "--listen", f"unix:{path}")  # a server lives there
    assert "tide.sock" in text
    echo(str(path))
    plain = tmp_path / "precious.txt"
    plain.write_text("keep me")
    refuses("run", apps / "echo.lua", "--listen", f"unix:{plain}")
    assert plain.read_text() == "keep me"


def test_several_at_once(serve, tmp_path):
    path = tmp_path / "s"
    server = serve(ECHO, listen=("127.0.0.1:0", "[::1]:0", "127.0.0.1:0", f"unix:{path}"))
    assert len(server.urls) == 4
    for url in server.urls[:3]:
        host, port = url.removeprefix("http://").rsplit(":", 1)
        echo((host.strip("[]"), int(port)))
    echo(str(path))


def test_localhost_means_both(serve):
    server = serve(ECHO, listen=("localhost:0",))
    ports = {int(u.rsplit(":", 1)[1]) for u in server.urls}
    assert len(server.urls) == 2 and len(ports) == 1
    echo(("127.0.0.1", server.port))
    echo(("::1", server.port))


def test_port_in_use(serve, apps):
    server = serve(ECHO)
    code, text = refuses("run", apps / "echo.lua", "--listen", f"127.0.0.1:{server.port}")
    assert str(server.port) in text and "in use" in text
    echo(server.address)


@pytest.mark.parametrize("address", ["127.0.0.1:99999", "127.0.0.1:http", "300.1.1.1:80", "[::1:80", "unix:", "192.0.2.1:0",
                                     "unix:/no/such/folder/s", "unix:/" + "x" * 200])
def test_bad_addresses(apps, address):
    _, text = refuses("run", apps / "echo.lua", "--listen", address)
    assert address.removeprefix("unix:")[:60] in text, text


@pytest.mark.one_worker
def test_out_of_descriptors_pauses_accepting(serve, until):
    """Past RLIMIT_NOFILE accepting pauses without spinning; those who are in are served, those who wait come in later."""
    server = serve(ECHO, wrap=("prlimit", "--nofile=64:64"))
    wires = [Wire(server.address) for _ in range(100)]
    for wire in wires:
        wire.send(upgrade_head())
    server.log.wait("accepting pauses")
    count = until(lambda: server.sockets() > 20 and server.sockets(), what="as many clients as fit") - 1  # one listens
    inside, waiting = wires[:count - 2], wires[count + 2:]  # accepted in the order of their coming
    for wire in inside:
        assert Response(wire).status == 101
    assert waiting
    used, begin = server.cpu(), time.monotonic()
    for _ in range(50):  # half a second or so in which the server has nothing to do but to wait
        inside[0].send(b"\x81\x81\0\0\0\0x")
        assert inside[0].take(3) == b"\x81\x01x"
        time.sleep(0.01)
    if not sanitized():
        assert server.cpu() - used < 0.5 * (time.monotonic() - begin), "it spins"
    for wire in wires[1:count + 2]:
        wire.close_socket()
    for wire in waiting:
        assert Response(wire).status == 101
        wire.close_socket()
    inside[0].close_socket()


def test_connection_limit(serve):
    server = serve(ECHO, settings={"limits.connections": 5})
    inside = [Socket(server.address) for _ in range(5)]
    sixth = Wire(server.address)
    sixth.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    inside[0].fence()
    assert not sixth.pending
    inside.pop().bye()
    assert sixth.take_until(b"\r\n").startswith(b"HTTP/1.1 200")
    for ws in inside:
        ws.close_socket()


@pytest.mark.one_worker  # each has its own listeners: clients do not come in in the order of their coming
def test_pauses_at_the_connection_limit_are_logged_once(serve):
    """Every connection that ends at the limit makes room for one and a pause behind it: not a line for each."""
    server = serve(ECHO, settings={"limits.connections": 2, "limits.waiting": 0})
    first, second = Socket(server.address), Socket(server.address)
    waiting = [Wire(server.address) for _ in range(30)]
    for wire in waiting:
        wire.send(head("/", {"Connection": "close"}))
    server.log.wait("accepting pauses")
    first.close_socket()
    for wire in waiting:  # one after the other comes in and goes
        assert Response(wire).status == 200
        wire.close_socket()
    second.close_socket()
    assert sum("accepting pauses" in line for line in server.log.lines) == 1


def test_many_connections_at_once(serve):
    server = serve(ECHO)
    sockets = []
    for _ in range(400):
        sockets.append(Socket(server.address))
    for n, ws in enumerate(sockets):
        ws.text(str(n))
    for n, ws in enumerate(sockets):
        ws.expect(str(n))
        ws.close_socket()
