"""tide.store in Redis: two servers share one, and a Redis that goes away is told by name and found again."""
import signal
import threading

import pytest
from support.redis import Redis
from support.server import refuses

APP = """
local tide = require "moontide"
local app = { on = {} }
local function done(value, why, name) return { value = value, why = why, name = name } end
local function store_of(m) return m.store and tide.store:open(m.store) or tide.store end

function app.on.get(_, m) return done(store_of(m):get(m.key)) end
function app.on.set(_, m) return done(store_of(m):set(m.key, m.value, { ttl = m.ttl })) end
function app.on.delete(_, m) return done(store_of(m):delete(m.key)) end
function app.on.incr(_, m) return done(store_of(m):incr(m.key, m.by)) end
function app.on.add(_, m) return done(store_of(m):update(m.key, function(n) return (n or 0) + m.by end)) end
function app.on.scan(_, m)
  local found = tide.json.array {}
  for k, v in tide.store:scan(m.prefix) do found[#found + 1] = { k, v } end
  return found
end
function app.on.own(conn, m)                           -- ends with the connection
  conn:spawn(function() tide.store:get(m.key) end)
end
return app
"""


@pytest.fixture
def redis(tmp_path):
    with Redis(tmp_path) as r:
        yield r


@pytest.fixture
def start(serve, redis):
    return lambda script=APP, url=None, **settings: serve(script, settings={"store.url": url or redis.url, **settings})


def call(ws, kind, **fields):
    ws.text({"type": kind, "id": 1, **fields})
    got = ws.json()
    assert got["type"] == "reply", got
    return got["data"]


def value(ws, kind, **fields):
    got = call(ws, kind, **fields)
    assert "why" not in got, got
    return got.get("value")


def test_two_servers_share_one_redis(start, connect):
    one, two = connect(start()), connect(start())
    values = ["text", "", "12", 5, -(2**63), 2**63 - 1, 1.5, True, False, {"a": [1, {"b": "c"}]}, []]
    for n, v in enumerate(values):
        assert value(one, "set", key=f"k{n}", value=v) is True
    for n, v in enumerate(values):
        got = value(two, "get", key=f"k{n}")
        assert got == v and type(got) is type(v)
    assert value(two, "incr", key="n", by=3) == 3
    assert value(one, "incr", key="n", by=4) == 7
    assert value(one, "delete", key="n") is True
    assert value(two, "get", key="n") is None
    value(one, "set", key="k", value="mine", store="a:b")
    assert value(two, "get", key="k", store="a:b") == "mine"
    assert value(two, "get", key="b:k", store="a") is None
    assert [k for k, _ in call(two, "scan", prefix="k")] == sorted(f"k{n}" for n in range(len(values)))


def test_it_outlives_the_server_and_redis(start, connect, redis):
    server = start()
    value(connect(server), "set", key="k", value="kept")
    server.signal(signal.SIGTERM)
    server.wait()
    redis.kill()
    redis.start()
    assert value(connect(start()), "get", key="k") == "kept"


def test_updating_from_two_servers_loses_nothing(start, connect):
    sockets = [connect(s) for s in (start(), start()) for _ in range(4)]

    def count(ws):
        for _ in range(40):
            got = call(ws, "add", key="n", by=1)
            while got.get("name") == "busy":
                got = call(ws, "add", key="n", by=1)
            assert "why" not in got, got

    threads = [threading.Thread(target=count, args=(ws,)) for ws in sockets]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert value(sockets[0], "get", key="n") == len(sockets) * 40


def test_redis_is_killed_and_comes_back(start, connect, redis, until):
    server = start()
    ws, other = connect(server), connect(server)
    value(ws, "set", key="k", value=1)
    redis.signal(signal.SIGSTOP)
    ws.text({"type": "get", "id": 1, "key": "k"})
    other.text({"type": "set", "id": 1, "key": "k", "value": 2})
    redis.kill()
    for waiting in (ws, other):
        assert waiting.json()["data"]["name"] in ("closed", "refused")
    got = call(ws, "get", key="k")
    assert got["name"] in ("refused", "closed") and "Redis" in got["why"]
    redis.start()
    until(lambda: "why" not in call(ws, "get", key="k"), what="the way back to Redis")
    assert value(other, "get", key="k") in (1, 2)
    assert value(other, "add", key="n", by=5) == 5  # by a script, which the new Redis has never seen
    text = server.log.text()
    assert text.count("trying again") == 1 and text.count("is there again") == 1, text


def test_a_redis_that_is_stuck(start, connect, redis, until):
    server = start()
    ws, other = connect(server), connect(server)
    value(ws, "set", key="k", value=1)
    redis.signal(signal.SIGSTOP)
    ws.text({"type": "get", "id": 1, "key": "k"})
    other.text({"type": "own", "key": "k", "id": 1})
    other.bye()  # leaves with a task that waits
    assert ws.json()["data"]["name"] == "timeout"
    redis.signal(signal.SIGCONT)
    until(lambda: "why" not in call(ws, "get", key="k"), what="the way back to Redis")
    assert value(ws, "set", key="k", value=2) is True
    assert value(ws, "get", key="k") == 2  # and not the late answer


def test_it_is_not_there_at_the_start(serve, connect, redis, until):
    redis.kill()
    server = serve(APP, settings={"store.url": redis.url})
    ws = connect(server)
    assert call(ws, "get", key="k")["name"] == "refused"
    redis.start()
    until(lambda: "why" not in call(ws, "set", key="k", value=1), what="the way to Redis")


def test_a_name_that_nobody_knows(serve, connect):
    got = call(connect(serve(APP, settings={"store.url": "redis://redis.invalid"})), "get", key="k")
    assert got["name"] == "dns" and "Redis" in got["why"], got


def test_a_reload_and_the_end_while_a_handler_waits(start, connect, redis):
    server = start()
    ws = connect(server)
    value(ws, "set", key="k", value="v")
    redis.signal(signal.SIGSTOP)
    ws.text({"type": "get", "id": 7, "key": "k"})
    server.script.write_text(APP + "-- another version\n")
    server.signal(signal.SIGHUP)
    server.log.wait("reload")
    redis.signal(signal.SIGCONT)
    assert ws.json() == {"type": "reply", "id": 7, "data": {"value": "v"}}
    redis.signal(signal.SIGSTOP)
    ws.text({"type": "get", "id": 8, "key": "k"})
    server.signal(signal.SIGTERM)
    assert server.wait() == 0


def test_passwords(start, connect, redis):
    redis.command("ACL", "SETUSER", "ann", "on", ">p@ss:word/", "~moontide:*", "+@all")
    redis.command("CONFIG", "SET", "requirepass", "secret")
    port = redis.port
    server = start(url=f"redis://ann:p%40ss%3Aword%2F@localhost:{port}")
    assert value(connect(server), "set", key="k", value=1) is True
    assert value(connect(start(url=f"redis://:secret@127.0.0.1:{port}/2")), "get", key="k") is None  # another database
    wrong = start(url=f"redis://ann:nope@127.0.0.1:{port}")
    got = call(connect(wrong), "get", key="k")
    assert got["name"] == "denied" and "WRONGPASS" in got["why"]
    for s in (server, wrong):
        assert "nope" not in s.log.text() and "ss:word" not in s.log.text() and "p%40ss" not in s.log.text()


def test_a_redis_without_room(start, connect, redis):
    ws = connect(start())
    redis.command("CONFIG", "SET", "maxmemory", "1")
    assert call(ws, "set", key="k", value=1)["name"] == "full"
    redis.command("CONFIG", "SET", "maxmemory", "0")
    assert value(ws, "set", key="k", value=1) is True


def test_settings_that_cannot_be(tmp_path):
    script = tmp_path / "app.lua"
    script.write_text("return {}")
    for url, why in (("rediss://x", "stunnel"), ("redis://x:y", "port"), ("http://x", "redis://HOST"), ("redis://x?nope=1", "prefix")):
        _, text = refuses("run", script, "--listen", "127.0.0.1:0", "--set", f"store.url={url}")
        assert "store.url" in text and why in text, text
