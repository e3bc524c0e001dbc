"""tide.limit over the wire: one bucket per key in all workers, that outlives reloads, and gives out exactly what it holds."""
import threading

from support.control import status

APP = """
local tide = require "moontide"
local app, name = { on = {} }, "%s"
local pace = tide.limit("chat", %s, %s)
function app.on.take(conn, msg)
  local n = 0
  for _ = 1, msg.times or 1 do
    if pace:take(msg.key) then n = n + 1 end
  end
  return { n = n, by = name, worker = tide.worker }
end
return app
"""
NEVER = 0.0001  # a second: what is taken stays taken for the time of a test


def take(ws, key, times=1):
    ws.text({"type": "take", "id": 1, "key": key, "times": times})
    return ws.expect(type="reply", id=1)["data"]


def from_each_worker(serve, connect, **options):
    """A server and a connection to each of its workers."""
    server = serve(APP % ("one", NEVER, 50), **options)
    workers = status(server)["workers"]
    found = {}
    for n in range(1000):
        if len(found) == workers:
            return server, list(found.values())
        ws = connect(server)
        found.setdefault(take(ws, f"who are you {n}")["worker"], ws)
    raise AssertionError(f"only the workers {sorted(found)} of {workers} have answered")


def test_workers_share_the_buckets(serve, connect):
    _, sockets = from_each_worker(serve, connect)
    got = sum(take(ws, "ann", times=20)["n"] for ws in sockets * 3)
    assert got == min(50, 20 * len(sockets) * 3)
    assert all(take(ws, "ann")["n"] == 0 for ws in sockets)
    assert take(sockets[0], "bob")["n"] == 1


def test_a_reload_keeps_what_was_taken(serve, connect, until):
    server, sockets = from_each_worker(serve, connect, watch=True)
    assert take(sockets[0], "ann", times=60)["n"] == 50
    server.script.write_text(APP % ("two", NEVER, 50))
    until(lambda: all(take(ws, "ann")["by"] == "two" for ws in sockets), what="the reload")
    assert all(take(ws, "ann")["n"] == 0 for ws in sockets)
    assert take(sockets[0], "bob", times=60)["n"] == 50
    server.script.write_text(APP % ("no", 1000, 1000) + "\nerror 'no'")  # refused: its rate is nobody's
    server.log.wait("was not reloaded")
    assert all(take(ws, "ann")["n"] == 0 for ws in sockets)
    server.script.write_text(APP % ("three", 1000, 1000))  # another rate counts at once
    until(lambda: all(take(ws, "x")["by"] == "three" for ws in sockets), what="the next one")
    until(lambda: take(sockets[0], "ann")["n"] == 1, what="a refill")


def test_a_storm_gets_what_there_is(serve, connect, until):
    """All at once, with a reload in the middle."""
    server, sockets = from_each_worker(serve, connect, watch=True)
    sockets += [connect(server) for _ in range(12)]
    got, lock = {}, threading.Lock()

    def storm(ws):
        for n in range(300):
            key = f"key{n % 7}"
            taken = take(ws, key)["n"]
            with lock:
                got[key] = got.get(key, 0) + taken

    threads = [threading.Thread(target=storm, args=(ws,)) for ws in sockets]
    for t in threads:
        t.start()
    server.script.write_text(APP % ("two", NEVER, 50))
    for t in threads:
        t.join()
    until(lambda: take(sockets[0], "x")["by"] == "two", what="the reload")
    assert got == {f"key{n}": 50 for n in range(7)}
