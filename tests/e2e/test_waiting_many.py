"""Many handlers that wait at the same time, each on a connection of its own: what they cost, and that each ends as it should."""
import resource
import socket
import threading

import pytest
from support.control import status
from support.server import WORKERS, sanitized
from support.wire import frame, upgrade_head

COUNT = 2000 if sanitized() else 10000
LUA_MAX = 20 * 1000 * 1000  # bytes of Lua memory with 10,000 handlers that wait

APP = """
local tide = require "moontide"
local app = { on = {} }
function app.on.wait(conn, msg)
  local began = tide.now()
  tide.sleep(msg.seconds)
  return { waited = tide.now() - began }
end
return app
"""


@pytest.fixture
def files():
    """As many descriptors as are needed here and in the server, which inherits the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, COUNT + 1000), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def open_all(server, count):
    sockets = []
    for _ in range(count):
        sock = socket.create_connection(server.address)
        sock.settimeout(60)
        sock.sendall(upgrade_head("/"))
        sockets.append(sock)
    for sock in sockets:
        assert sock.recv(4096).startswith(b"HTTP/1.1 101")
    return sockets


def test_ten_thousand_handlers_wait_at_once(serve, connect, until, files):
    server = serve(APP)
    sockets = open_all(server, COUNT)
    idle = status(server)["handlers"]
    ask = frame(1, b'{"type":"wait","id":1,"seconds":4000}')
    for sock in sockets:
        sock.sendall(ask)
    until(lambda: status(server)["handlers"]["waiting"] == COUNT, timeout=60, what="the wait of all")
    at_work = status(server)["handlers"]
    print(f"{COUNT} handlers wait, {WORKERS} workers: {at_work['memory']} bytes of Lua memory, {idle['memory']} before, "
          f"{(at_work['memory'] - idle['memory']) / COUNT:.0f} for each; {server.rss() >> 20} MiB resident")
    assert at_work["memory"] < LUA_MAX
    quick = connect(server)
    quick.text({"type": "wait", "id": "quick", "seconds": 0})
    quick.expect(type="reply", id="quick")
    for sock in sockets:
        sock.close()
    until(lambda: status(server)["now"]["sessions"] == 1, timeout=60, what="the end of their sockets")
    assert status(server)["handlers"]["waiting"] == COUNT  # handlers run to their end


def test_all_go_on_when_their_time_comes(serve, until, files):
    server = serve(APP)
    sockets = open_all(server, COUNT)
    ask = frame(1, b'{"type":"wait","id":1,"seconds":3}')

    def send():
        for sock in sockets:
            sock.sendall(ask)
    sender = threading.Thread(target=send)
    sender.start()
    for sock in sockets:
        got = b""
        while not got.endswith(b"}}"):
            piece = sock.recv(4096)
            assert piece, got
            got += piece
        assert b'"type":"reply"' in got and b'"waited":' in got
        sock.close()
    sender.join()
    until(lambda: status(server)["handlers"]["tasks"] == 0, timeout=60, what="the end of all handlers")
    done = status(server)["handlers"]
    assert done["waiting"] == 0 and done["errors"] == 0
