"""tide.store in a file: workers see each other's writes, nothing is lost between them, and what goes wrong says what it is."""
import json
import os
import random
import signal
import sqlite3
import subprocess
import threading
import time

import pytest
from support.server import BIN, WORKERS, clean_environment, refuses, sanitized

APP = """
local tide = require "moontide"
local app = { on = {} }
local function store_of(m) return m.store and tide.store:open(m.store) or tide.store end
local function done(value, why, name) return { value = value, why = why, name = name } end

function app.on.get(_, m) return done(store_of(m):get(m.key)) end
function app.on.set(_, m) return done(store_of(m):set(m.key, m.value, { ttl = m.ttl })) end
function app.on.delete(_, m) return done(store_of(m):delete(m.key)) end
function app.on.incr(_, m) return done(store_of(m):incr(m.key, m.by, { ttl = m.ttl })) end
function app.on.add(_, m) return done(store_of(m):update(m.key, function(n) return (n or 0) + m.by end)) end
function app.on.scan(_, m)
  local found = tide.json.array {}
  for k, v in store_of(m):scan(m.prefix, { limit = m.limit }) do found[#found + 1] = { k, v } end
  return found
end
function app.on.worker() return tide.worker end
function app.on_stop() tide.store:set("stopped", true) end
return app
"""


@pytest.fixture
def file(tmp_path):
    return tmp_path / "store.db"


@pytest.fixture
def start(serve, file):
    def make(script=APP, **settings):
        return serve(script, settings={"store.file": file, "limits.message": "2m", "limits.outbox": "16m", **settings})

    return make


def call(ws, kind, **fields):
    ws.text({"type": kind, "id": 1, **fields})
    return reply(ws)


def reply(ws):
    got = ws.json()
    assert got["type"] == "reply", got
    return got["data"]


def value(ws, kind, **fields):
    got = call(ws, kind, **fields)
    assert "why" not in got, got
    return got.get("value")


def connect_all(server, connect, count=1):
    """`count` connections to each worker."""
    found = {}
    while len(found) < WORKERS or any(len(c) < count for c in found.values()):
        ws = connect(server)
        found.setdefault(call(ws, "worker"), []).append(ws)
    return [ws for c in found.values() for ws in c[:count]]


# ---- what it keeps ----


def test_it_is_there_after_a_restart(start, connect, file):
    server = start()
    ws = connect(server)
    values = ["text", "", 5, -(2**63), 2**63 - 1, 1.5, True, False, {"a": [1, {"b": "c"}]}, [], "x" * (1 << 20)]
    for n, v in enumerate(values):
        assert value(ws, "set", key=f"k{n}", value=v) is True
    value(ws, "set", key="k0", value="mine", store="other")
    ws.bye()
    server.signal(signal.SIGTERM)
    server.wait()
    assert sorted(p.name for p in file.parent.glob("store.db*")) == ["store.db", "store.db.lock"]  # all of it is in one file
    assert file.stat().st_mode & 0o777 == 0o600
    ws = connect(start())
    for n, v in enumerate(values):
        got = value(ws, "get", key=f"k{n}")
        assert got == v and type(got) is type(v)
    assert value(ws, "get", key="k0", store="other") == "mine"
    assert value(ws, "get", key="stopped") is True  # what on_stop wrote


def test_without_a_file_it_lives_in_memory(serve, connect):
    server = serve(APP)
    ws = connect(server)
    assert value(ws, "set", key="k", value="v") is True
    assert value(ws, "set", key="k", value="w", store="other") is True
    assert value(connect(server), "get", key="k") == "v"
    assert call(connect(serve(APP)), "get", key="k") == {}


def test_workers_see_at_once_what_others_have_written(start, connect):
    server = start()
    sockets = connect_all(server, connect)
    for n in range(50):
        writer = sockets[n % len(sockets)]
        for ws in sockets:  # all of them know the old value
            assert value(ws, "get", key="k") == (n - 1 if n else None)
        value(writer, "set", key="k", value=n)
        for ws in sockets:
            assert value(ws, "get", key="k") == n


def test_counting_and_updating_loses_nothing(start, connect):
    """Many connections count up one key by incr and another by update, all at the same time."""
    server = start()
    sockets = [connect(server) for _ in range(20)]
    rounds = 10 if sanitized() else 25

    def count(ws):
        for _ in range(rounds):
            value(ws, "incr", key="incr")
            value(ws, "add", key="update", by=1)

    threads = [threading.Thread(target=count, args=(ws,)) for ws in sockets]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert value(sockets[0], "get", key="incr") == len(sockets) * rounds
    assert value(sockets[0], "get", key="update") == len(sockets) * rounds


def test_what_has_expired_is_gone_at_once_and_leaves_the_file(start, connect, until, file):
    server = start()
    ws = connect(server)
    value(ws, "set", key="keeps", value=1)
    for n in range(100):
        value(ws, "set", key=f"short{n}", value=1, ttl=1 + n % 2)
    value(ws, "incr", key="count", by=1, ttl=1)
    until(lambda: value(ws, "get", key="short0") is None, what="the end of a ttl")
    until(lambda: value(ws, "get", key="count") is None, what="the end of a counter's ttl")
    assert value(ws, "incr", key="count", by=5) == 5
    assert "short0" not in dict(call(ws, "scan"))
    assert value(ws, "delete", key="short0") is False
    with sqlite3.connect(file) as db:
        until(lambda: db.execute("SELECT count(*) FROM store").fetchone() == (2,), 15, "the removal of expired rows")


def test_copies_while_it_runs(start, connect, serve, file, tmp_path):
    """Both ways that the docs name, in the middle of writes; each copy is a store that holds what was acknowledged before."""
    server = start()
    ws, writer = connect(server), connect(server)
    for n in range(200):
        value(ws, "set", key=f"k{n}", value="x" * 500)
    for n in range(2000):  # they go on while the copies are made
        writer.text({"type": "set", "key": "busy", "value": n})
    for way in "backup", "vacuum":
        copy = tmp_path / f"{way}.db"
        with sqlite3.connect(file) as db:
            if way == "backup":
                db.backup(sqlite3.connect(copy))
            else:
                db.execute("VACUUM INTO ?", (str(copy),))
        other = connect(serve(APP, settings={"store.file": copy}))
        for n in range(0, 200, 20):
            assert value(other, "get", key=f"k{n}") == "x" * 500


class Model:
    """tide.store as a dict."""

    def __init__(self):
        self.values = {}

    def get(self, key):
        return self.values.get(key)

    def set(self, key, value, ttl=None):
        if ttl == 0:
            self.values.pop(key, None)  # over already
        else:
            self.values[key] = value
        return True

    def delete(self, key):
        return self.values.pop(key, None) is not None

    def incr(self, key, by):
        old = self.values.get(key, 0)
        if type(old) is not int:
            return "invalid"
        self.values[key] = old + by
        return old + by

    def scan(self, prefix, limit):
        keys = sorted((k for k in self.values if k.startswith(prefix)), key=str.encode)[:limit]
        return [[k, self.values[k]] for k in keys]


def random_order(rng):
    kind = rng.choice(["get"] * 8 + ["set"] * 4 + ["delete", "incr", "incr", "scan"])
    key = rng.choice("ab") + str(rng.randrange(30))
    if kind == "set":
        new = rng.choice([rng.randrange(100), "x" * rng.randrange(3000), {"list": [1, rng.random()]}])
        return kind, {"key": key, "value": new, "ttl": rng.choice([None, None, 1000, 0])}
    if kind == "incr":
        return kind, {"key": key, "by": rng.randrange(-5, 6)}
    return kind, {"prefix": rng.choice(["", "a", "b1"]), "limit": rng.choice([1, 5, 1000])} if kind == "scan" else {"key": key}


@pytest.mark.parametrize("cache", ["0", "16k", "32m"])
def test_random_orders_do_what_a_dict_does(start, connect, until, cache):
    """Through all workers, one after the other, with caches that forget and those that do not."""
    server = start(**{"store.cache": cache})
    sockets, model, rng = connect_all(server, connect), Model(), random.Random(7)
    for n in range(500 if sanitized() else 1500):
        kind, fields = random_order(rng)
        got = call(rng.choice(sockets), kind, **fields)
        want = getattr(model, kind)(**fields)
        if kind != "scan":
            got = got.get("name") or got.get("value")
        assert got == want, f"order {n}: {kind} {fields}"
        if fields.get("ttl") == 0:
            until(lambda: value(rng.choice(sockets), "get", key=fields["key"]) is None)


# ---- what goes wrong ----


def refused(file, part, tmp_path, command="run"):
    script = tmp_path / "app.lua"
    script.write_text(APP)
    code, text = refuses(command, script, "--listen", "127.0.0.1:0", "--set", f"store.file={file}")
    assert code == 1 and part in text and str(file) in text, text
    assert text.count("\n") == 1, text  # one sentence


def test_files_that_are_none_of_ours(file, tmp_path):
    file.write_bytes(b"this is no store" * 1000)
    for command in "run", "check":
        refused(file, "is no store, or damaged", tmp_path, command)
    file.unlink()
    with sqlite3.connect(file) as db:
        db.execute("CREATE TABLE users (id INTEGER)")
    for command in "run", "check":
        refused(file, "is a database of another program", tmp_path, command)
    refused(tmp_path / "missing" / "store.db", "No such file or directory", tmp_path)
    refused(tmp_path, "is not a file", tmp_path)
    code, text = refuses("check", tmp_path / "app.lua", "--set", f"store.file={file}", "--set", "store.url=redis://localhost")
    assert code == 2 and "store.file and store.url are both set" in text


def test_a_damaged_file(start, connect, file, tmp_path):
    server = start()
    ws = connect(server)
    for n in range(50):
        value(ws, "set", key=f"k{n}", value="x" * 2000)
    ws.bye()
    server.signal(signal.SIGTERM)
    server.wait()
    with open(file, "r+b") as f:
        f.seek(8 * 4096)
        f.write(b"\xa5" * 4096)
    for command in "run", "check":
        refused(file, ".recover", tmp_path, command)


def test_one_server_at_a_time(start, connect, file, tmp_path):
    server = start()
    refused(file, f"another process has it, with pid {server.process.pid}", tmp_path)
    checked = subprocess.run([BIN, "check", str(tmp_path / "app.lua"), "--set", f"store.file={file}"], check=False,
                             env=clean_environment(), capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr  # a check asks for nothing that the server has
    assert value(connect(server), "set", key="k", value="fine") is True
    server.codes = {-9}
    server.kill()
    assert value(connect(start()), "get", key="k") == "fine"  # a server that was killed leaves no lock


def can_mount():
    return subprocess.run(["unshare", "-rm", "true"], check=False, capture_output=True).returncode == 0


MOUNT = 'mount -t tmpfs -o size=2m none "$0" && head -c 1m /dev/zero > "$0/filler" && exec "$@"'


@pytest.mark.skipif(not can_mount(), reason="no user namespaces here")
def test_a_full_disk(serve, connect, tmp_path):
    """Errors that say so, nothing in part, nothing lost; and it goes on when there is room again."""
    folder = tmp_path / "small"
    folder.mkdir()
    server = serve(APP, settings={"store.file": folder / "store.db"}, wrap=("unshare", "-rm", "sh", "-c", MOUNT, str(folder)))
    ws = connect(server)
    kept, got = 0, {"value": True}
    while got == {"value": True}:
        got = call(ws, "set", key=f"k{kept}", value="x" * 30000)
        kept += got == {"value": True}
        assert kept < 100
    assert got["name"] == "full" and got["why"] == "database or disk is full"
    assert value(ws, "get", key=f"k{kept}") is None
    server.log.wait("writes fail: database or disk is full")
    os.unlink(f"/proc/{server.process.pid}/root{folder}/filler")
    assert value(ws, "set", key=f"k{kept}", value="x" * 30000) is True
    server.log.wait("writes go well again")
    assert len(call(ws, "scan")) == kept + 1


@pytest.mark.skipif(not can_mount(), reason="no user namespaces here")
def test_a_folder_that_cannot_be_written(tmp_path):
    script, folder = tmp_path / "app.lua", tmp_path / "fixed"
    script.write_text(APP)
    folder.mkdir()
    mount = 'mount -t tmpfs -o ro none "$0" && exec "$@"'
    for command in "run", "check":
        done = subprocess.run(["unshare", "-rm", "sh", "-c", mount, str(folder), BIN, command, str(script),
                               "--set", f"store.file={folder}/store.db"], check=False, env=clean_environment(),
                              capture_output=True, text=True)
        assert done.returncode == 1 and "Read-only file system" in done.stderr, done.stderr


def test_a_file_that_was_deleted_while_it_runs(start, connect, file):
    ws = connect(start())
    value(ws, "set", key="k", value=1)
    file.unlink()
    got = call(ws, "set", key="k", value=2)
    assert got["name"] == "io" and "moved or deleted" in got["why"]


# ---- while a call waits: another program holds the file, so that it does as long as we like ----


@pytest.fixture
def hold(file):
    """hold() -> release()"""
    held = []

    def make():
        db = sqlite3.connect(file, isolation_level=None)
        db.execute("BEGIN IMMEDIATE")
        held.append(db)
        return db.close

    yield make
    for db in held:
        db.close()


def send(ws, kind, **fields):
    ws.text({"type": kind, "id": 1, **fields})
    ws.fence()  # the server has read it


def test_nobody_else_waits(start, connect, hold):
    server = start()
    waiting, other = connect(server), connect(server)
    value(other, "set", key="known", value=1)
    release = hold()
    send(waiting, "set", key="k", value="v")
    for n in range(10):
        assert call(other, "worker") > 0
        assert value(other, "get", key=f"unknown{n}") is None  # reads do not wait for writes
        assert value(other, "get", key="known") == 1
    release()
    assert reply(waiting) == {"value": True}


def test_the_client_goes_while_it_waits(start, connect, hold, until):
    server = start()
    waiting, other = connect(server), connect(server)
    release = hold()
    send(waiting, "set", key="k", value="v")
    waiting.close_socket()
    release()
    until(lambda: value(other, "get", key="k") == "v", what="the write")


def test_a_reload_while_it_waits(start, connect, hold):
    server = start()
    waiting = connect(server)
    release = hold()
    send(waiting, "set", key="k", value="v")
    server.script.write_text(APP + "-- another version")
    mark = len(server.log)
    server.signal(signal.SIGHUP)
    server.log.wait("reloaded", since=mark)
    release()
    assert reply(waiting) == {"value": True}


def test_the_server_stops_while_it_waits(start, connect, hold):
    """The handler is ended; what it sent is done all the same."""
    server = start(**{"shutdown.timeout": "1s"})
    waiting = connect(server)
    release = hold()
    send(waiting, "set", key="k", value="v")
    server.signal(signal.SIGTERM)
    server.log.wait("stopped")
    release()
    assert server.wait() == 0
    assert value(connect(start()), "get", key="k") == "v"


def test_another_program_writes_for_too_long(start, connect, hold):
    server = start()
    ws = connect(server)
    value(ws, "set", key="k", value=1)
    release = hold()
    started = time.monotonic()
    got = call(ws, "set", key="k", value=2)
    assert got["name"] == "busy" and "locked" in got["why"] and 4 < time.monotonic() - started < 9
    release()
    assert value(ws, "get", key="k") == 1
    assert value(ws, "set", key="k", value=json.loads("3")) is True
