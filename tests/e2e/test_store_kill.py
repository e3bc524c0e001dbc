"""What tide.store has acknowledged survives kill -9, whenever that comes: the server is killed in the middle of writes, again and
again, and everything that a client was told is done must be there when it has started again, and nothing in half.

Each client writes keys of its own, and all of them one counter and one list. What a client has sent and not heard of may have been
done or not, but only as a whole.
"""
import json
import random
import sqlite3
import threading
import time

import pytest
from support.server import sanitized
from support.wire import Closed, Socket

APP = """
local tide = require "moontide"
local app, store = { on = {} }, tide.store

function app.on.set(_, m) return assert(store:set(m.key, m.value)) end
function app.on.delete(_, m) return assert(store:delete(m.key) ~= nil) end
function app.on.incr(_, m) return assert(store:incr(m.key)) end
function app.on.add(_, m)
  return #assert(store:update(m.key, function(list)
    list = list or tide.json.array {}
    list[#list + 1] = m.value
    return list
  end))
end
function app.on.all()
  local found = {}
  for k, v in store:scan() do found[k] = v end
  return found
end
return app
"""
CLIENTS = 6


def random_value(rng):
    size = rng.choice([0, 1, 10, 100, 1000, 30000])
    if rng.random() < 0.5:
        return "%x" % rng.getrandbits(max(1, 4 * size))
    return {"n": rng.getrandbits(60), "text": "x" * size}


class Client(threading.Thread):
    """Writes and remembers until the server is gone."""

    def __init__(self, server, number, own, rng, round_number):
        super().__init__(daemon=True)
        self.number, self.own, self.rng, self.round = number, own, rng, round_number
        self.socket = Socket(server.address)
        self.flight, self.total, self.added, self.wrong = None, 0, [], None

    def next_order(self):
        kind = self.rng.choice(["set", "set", "delete", "incr", "add"])
        if kind == "incr":
            return {"type": kind, "key": "total"}
        if kind == "add":
            return {"type": kind, "key": f"list:{self.round}", "value": f"{self.number}.{len(self.added)}"}
        order = {"type": kind, "key": f"own:{self.number}:{self.rng.randrange(4)}"}
        return {**order, "value": random_value(self.rng)} if kind == "set" else order

    def done(self, order):
        if order["type"] == "incr":
            self.total += 1
        elif order["type"] == "add":
            self.added.append(order["value"])
        else:
            self.own[order["key"]] = order.get("value")

    def run(self):
        try:
            while True:
                self.flight = self.next_order()
                self.socket.text(json.dumps({**self.flight, "id": 1}))
                reply = self.socket.json()
                if reply["type"] != "reply":
                    self.wrong = reply
                    return
                self.done(self.flight)
        except (Closed, OSError):
            pass  # the kill
        finally:
            self.socket.close_socket()


def check_own(client, found):
    for key, value in client.own.items():
        got = found.get(key)
        allowed = [value]
        if client.flight and client.flight["key"] == key:
            allowed.append(client.flight.get("value"))
        assert got in allowed, f"{key}: {str(got)[:200]} is none of {str(allowed)[:200]}"
        client.own[key] = got


def check_round(clients, found, total):
    """The new total."""
    for client in clients:
        assert client.wrong is None, client.wrong
        if client.flight["key"].startswith("own:"):
            client.own.setdefault(client.flight["key"], None)
        check_own(client, found)
    sure = total + sum(c.total for c in clients)
    maybe = sum(c.flight["type"] == "incr" for c in clients)
    got = found.get("total", 0)
    assert sure <= got <= sure + maybe, f"{got} counted, {sure} acknowledged, {maybe} under way"
    items = found.get(f"list:{clients[0].round}", [])
    for client in clients:
        mine = [item for item in items if item.startswith(f"{client.number}.")]
        under_way = [client.flight["value"]] if client.flight["type"] == "add" else []
        assert mine in (client.added, client.added + under_way), f"{mine} instead of {client.added} and maybe {under_way}"
    return got


def ask_all(server):
    with Socket(server.address) as ws:
        ws.text('{"type":"all","id":1}')
        return ws.json()["data"]


def kill_often(serve, tmp_path, kills, seed):
    rng = random.Random(seed)
    path = tmp_path / "store.db"
    settings = {"store.file": path, "limits.message": "1m", "limits.outbox": "64m"}
    own, total, acknowledged = [{} for _ in range(CLIENTS)], 0, 0
    server = serve(APP, settings=settings)
    for number in range(kills):
        clients = [Client(server, i, own[i], random.Random(rng.random()), number) for i in range(CLIENTS)]
        for client in clients:
            client.start()
        time.sleep(rng.uniform(0.002, 0.12))  # at any moment
        server.codes = {-9}
        server.kill()
        for client in clients:
            client.join()
        server = serve(APP, settings=settings)
        before = total
        total = check_round(clients, ask_all(server), total)
        acknowledged += total - before + sum(len(c.added) for c in clients)
    assert acknowledged > kills * (1 if sanitized() else 5)  # else nothing was shown
    server.signal(15)
    server.wait()
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_killed_forty_times(serve, tmp_path):
    kill_often(serve, tmp_path, 10 if sanitized() else 40, seed=1)


@pytest.mark.slow
def test_killed_hundreds_of_times(serve, tmp_path):
    kill_often(serve, tmp_path, 500, seed=time.time_ns())
