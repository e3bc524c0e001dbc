"""All waiting calls mixed at random over connections that come and go, reloads, and servers behind it that are killed: when it is
over, tasks, sockets, statements and bytes are where they began. Ten minutes when MOONTIDE_SLOW=1, else some seconds."""
import asyncio
import json
import os
import random
import signal
import sys
from pathlib import Path

import pytest
import websockets
from support.control import status as status_of
from support.http_app import Backend
from support.redis import Redis
from support.server import sanitized

APP = Path(__file__).parent / "apps" / "mixture.lua"
OPS = ("sleep spawn own timeout queue ask person drain memory store store store sql sql transaction endless http http stream "
       "stream refused file file verify hash cancel cancel cut cut leave").split()


class Load:
    def __init__(self, server, seconds, seed):
        self.server, self.seconds, self.random = server, seconds, random.Random(seed)
        self.answers, self.errors, self.ids = {}, {}, 0

    def over(self):
        return asyncio.get_running_loop().time() >= self.until

    async def client(self):
        """Connections one after the other, each with some messages at once; most end well, some in the middle of it all."""
        while not self.over():
            try:
                url = f"{self.server.ws_url}/?n={self.random.randrange(1, 1000)}"
                async with websockets.connect(url, max_size=None, ping_interval=None) as ws:
                    await self.talk(ws)
                    if self.random.random() < 0.3:
                        ws.transport.abort()
            except (websockets.ConnectionClosed, OSError, asyncio.TimeoutError, websockets.InvalidMessage, websockets.InvalidStatusCode):
                pass

    async def visitor(self):
        """HTTP requests one after the other; some break off before the answer, some in the middle of it."""
        while not self.over():
            try:
                reader, writer = await asyncio.open_connection(*self.server.address)
                n, path = self.random.randrange(1000), self.random.choice(("/wait", "/stream"))
                writer.write(f"GET {path}?n={n} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
                if n % 5 == 0:
                    writer.transport.abort()
                    continue
                got = await asyncio.wait_for(reader.read(20 if n % 5 == 1 else -1), 30)
                assert got.startswith(b"HTTP/1.1 200") or not got, got[:200]
                self.answers["http"] = self.answers.get("http", 0) + 1
                writer.transport.abort()
            except (OSError, asyncio.TimeoutError):
                pass

    async def talk(self, ws):
        waiting = set()
        for _ in range(self.random.randrange(1, 40)):
            if self.over():
                break
            self.ids += 1
            op = self.random.choice(OPS)
            waiting.add(self.ids)
            await ws.send(json.dumps({"type": op, "n": self.random.randrange(100000), "id": self.ids}))
            if self.random.random() < 0.02:
                return  # leaves with all of it under way
            while len(waiting) > self.random.randrange(12):
                await self.hear(ws, waiting)
        while waiting:
            await self.hear(ws, waiting)

    async def hear(self, ws, waiting):
        m = json.loads(await asyncio.wait_for(ws.recv(), 30))
        if m["type"] == "please":
            if m["n"] % 3:
                await ws.send(json.dumps({"type": "reply", "id": m["id"], "data": m["n"]}))
        elif m["type"] == "reply":
            waiting.discard(m["id"])
            self.answers["all"] = self.answers.get("all", 0) + 1
        elif m["type"] == "error":
            waiting.discard(m["id"])
            self.errors[m["code"]] = self.errors.get(m["code"], 0) + 1

    async def reload(self):
        text = self.server.script.read_text()
        n = 0
        while not self.over():
            await asyncio.sleep(self.random.uniform(0.2, 0.6))  # the pace of the mixture, not a wait for something
            n += 1
            self.server.script.write_text(text + f"-- {n}\n")
            self.server.signal(signal.SIGHUP)

    async def kill(self, backend):
        while not self.over():
            await asyncio.sleep(self.random.uniform(0.5, 1.5))
            await asyncio.to_thread(backend.restart)

    async def run(self, behind, clients):
        self.until = asyncio.get_running_loop().time() + self.seconds
        await asyncio.gather(self.reload(), *map(self.kill, behind), *(self.client() for _ in range(clients)),
                             *(self.visitor() for _ in range(clients // 6)))


async def collected(server):
    """Bytes that Lua keeps in the worker that happens to answer."""
    async with websockets.connect(server.ws_url) as ws:
        await ws.send('{"type": "collect", "id": 1}')
        got = json.loads(await ws.recv())
        assert got["type"] == "reply", f"{got}\n{server.log.text()}"
        return got["data"]


def rest(server, until, quiet, sockets):
    """What is there when nothing is at work, and no more sockets than these are open."""
    status = {}

    def settled():
        status.update(status_of(server))
        under_way = [status["open"][n] for n in ("store", "sql", "http", "files", "passwords")]
        return status["handlers"]["tasks"] == 0 and status["now"]["connections"] == 0 and not any(under_way)
    try:
        until(settled, timeout=quiet)
    except AssertionError:
        pytest.fail(f"this is left: {status}")
    until(lambda: server.sockets() <= sockets, timeout=quiet, what=f"{sockets} sockets")
    return status


class Where:
    """Where the store is: its settings, and what can be killed."""

    def __init__(self, name, folder):
        self.redis = Redis(folder).start() if name == "redis" else None
        self.settings = {"store.url": self.redis.url} if self.redis else {"store.file": folder / "store.db"}
        self.env = {"STORE_FAILS": "1"} if self.redis else {}
        self.servers = [self.redis] if self.redis else []

    def close(self):
        if self.redis:
            self.redis.kill()


@pytest.fixture(params=["file", "redis"])
def where(request, tmp_path):
    it = Where(request.param, tmp_path)
    yield it
    it.close()


@pytest.mark.parametrize("seconds", [pytest.param(600, marks=pytest.mark.slow), 8])
def test_nothing_is_left_behind(serve, until, tmp_path, where, seconds):
    (tmp_path / "files").mkdir()
    seed = int(os.environ.get("MOONTIDE_SEED", random.randrange(1 << 30)))
    with Backend() as backend:
        server = serve(APP.read_text(), env={"BACKEND": backend.url, **where.env}, settings={
            "sql.folder": tmp_path, "files.folder": tmp_path / "files", "script.time": "10s", "reload.probation": "0s", "reload.age": "2s",
            "http.private": "true", "http.idle": "500ms", **where.settings})

        few = server.sockets() + len(where.servers)  # the store has one to Redis

        def mixture(duration, number):
            load = Load(server, duration, seed + number)
            asyncio.run(load.run([backend, *where.servers], 24))
            assert "internal" not in load.errors, f"seed {seed}: {load.errors}\n{server.log.text()}"
            assert load.answers.get("all", 0) > 50, f"seed {seed}"
            status = rest(server, until, 20, few)
            return status, asyncio.run(collected(server)), server.sockets(), server.rss()

        mixture(seconds / 4, 0)  # pools, caches and keep-alive connections have grown to their size
        first, lua, sockets, rss = mixture(seconds / 4, 1)
        last, lua_after, sockets_after, rss_after = mixture(seconds / 2, 2)
        print(f"seed {seed}: {first['handlers']} {first['open']} -> {last['handlers']} {last['open']}; Lua {lua:.0f} -> {lua_after:.0f} KiB; sockets {sockets} -> {sockets_after}; "
              f"RSS {rss >> 20} -> {rss_after >> 20} MiB", file=sys.stderr)
        assert last["open"] == first["open"] and first["open"]["databases"] == 1
        assert lua_after < lua * 1.3 + 512, "Lua grows"
        if not sanitized():
            assert rss_after - rss < 24 << 20, "the process grows"
