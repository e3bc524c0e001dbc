"""Long runs: nothing grows and nobody is lost over many reloads, many short connections and many long ones."""
import resource
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.server import sanitized
from support.wire import Socket, fetch

pytestmark = pytest.mark.slow

APP = """
local tide = require "moontide"
local app = { rooms = { ["*"] = { grace = 0 } } }
local ballast = {}
for n = 1, 10000 do ballast[n] = "version %d line " .. n end
function app.on_open(conn) conn:join "all" end
function app.on_message(conn, text)
  if text == "all" then tide.room "all":send "to all" else conn:send("%d " .. text) end
end
function app.on_http(req) return 200, { n = #ballast } end
return app
"""


def grew(server, before, allowed):
    if not sanitized():
        assert server.rss() - before < allowed, f"{(server.rss() - before) >> 20} MiB more than before"


def test_five_hundred_reloads(serve, connect, until):
    server = serve(APP % (0, 0))
    ws = connect(server)
    before = None
    for n in range(1, 501):
        server.script.write_text(APP % (n, n))
        server.signal(signal.SIGHUP)

        def live():
            ws.text("?")
            return ws.data() == f"{n} ?"
        until(live, what=f"version {n}")
        if n == 50:
            before = server.rss()
    grew(server, before, 30 << 20)


def test_many_short_connections(serve):
    server = serve(APP % (0, 0))

    def visit(n):
        for _ in range(50):
            ws = Socket(server.address, f"/{n}")
            ws.text("hello")
            while ws.data() != "0 hello":
                pass
            if n % 3 == 0:
                ws.reset()
            elif n % 3 == 1:
                ws.close_socket()
            else:
                ws.bye()
            fetch(server.address, "/page")

    def round_of_visits():
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(visit, range(100)))

    round_of_visits()
    before = server.rss()
    for _ in range(3):
        round_of_visits()
    grew(server, before, 16 << 20)


def test_many_long_connections(serve):
    """3000 at once: each hears a message to all, and each hears 1001 at the end."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 3000
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, wanted + 200), hard), hard))
    server = serve(APP % (0, 0))
    sockets = [Socket(server.address) for _ in range(wanted)]
    sockets[0].text("all")
    for ws in sockets:
        ws.expect("to all")
    server.signal(signal.SIGTERM)
    for ws in sockets:
        got = ws.frame()
        assert got.code == 1001
        ws.close_socket()
    assert server.wait() == 0
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
