"""Clients who mean harm: `python3 -m support.hostile PLAIN_PORT TLS_PORT` keeps 200 of them at work against a chat on 127.0.0.1 until its
standard input ends, then tells as JSON what they did. Says "ready" when each of them has begun.

Every kind is a coroutine that runs for ever; what the server does to it (closes, resets, refuses) makes it start again.
"""
import asyncio
import collections
import json
import os
import random
import ssl
import sys
import zlib

from support.wire import BINARY, CONT, PING, RSV1, TEXT, frame, head, upgrade_head

HOST = "127.0.0.1"
DONE = collections.Counter()  # what each kind has done, by its name
TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
TLS.check_hostname, TLS.verify_mode = False, ssl.CERT_NONE


class Client:
    """A connection of streams, closed at the end of `async with`."""

    def __init__(self, port, tls=None):
        self.port, self.tls = port, tls

    async def __aenter__(self):
        self.reader, self.writer = await asyncio.open_connection(HOST, self.port, ssl=self.tls)
        return self

    async def __aexit__(self, *_):
        self.writer.transport.abort()

    async def send(self, data):
        self.writer.write(data)
        await self.writer.drain()

    async def upgrade(self, name, extensions=None):
        await self.send(upgrade_head(f"/?name={name}", extensions=extensions))
        await self.reader.readuntil(b"\r\n\r\n")

    async def dribble(self, data, pause=0.1):
        for byte in data:
            await self.send(bytes([byte]))
            await asyncio.sleep(pause)

    async def drink(self):
        while await self.reader.read(65536):
            pass


def say(**message):
    return frame(TEXT, json.dumps(message))


def deflated(data):
    c = zlib.compressobj(wbits=-15)
    return (c.compress(data) + c.flush(zlib.Z_SYNC_FLUSH))[:-4]


async def slow_head(ports, name):
    """A request head, byte by byte."""
    async with Client(ports[0]) as c:
        await c.dribble(head("/", {f"X-{n}": "y" * 50 for n in range(40)}))


async def slow_body(ports, name):
    async with Client(ports[0]) as c:
        await c.send(head("/", {"Content-Length": "100000"}, "POST"))
        await c.dribble(b"x" * 100000)


async def slow_tls(ports, name):
    """A TLS record that never ends."""
    async with Client(ports[1]) as c:
        await c.dribble(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500))


async def slow_message(ports, name):
    """A message of fragments that never ends."""
    async with Client(ports[0]) as c:
        await c.upgrade(name)
        await c.send(frame(TEXT, b"x", fin=False))
        while True:
            await c.send(frame(CONT, b"x", fin=False))
            await asyncio.sleep(0.05)


async def flood(ports, name):
    """As many messages as go through: legal ones, wrong ones, pings."""
    async with Client(ports[0]) as c:
        await c.upgrade(name)
        asyncio.create_task(c.drink())
        await c.send(say(type="join", room="flood"))
        while True:
            await c.send(FLOOD)
            DONE["flood messages"] += 60
            await asyncio.sleep(0)


BOMBS = (frame(BINARY, deflated(bytes(10_000_000)), rsv=RSV1), frame(BINARY, length=1 << 40), frame(TEXT, "[" * 10000),
         frame(TEXT, '{"type":' * 1000), b"".join(frame(TEXT if n == 0 else CONT, b"x" * 1000, fin=False) for n in range(100)))
FLOOD = b"".join(say(type="chat", room="flood", text="x" * 100) + frame(TEXT, "{}") + frame(PING, b"x" * 100) for _ in range(20))


async def bombs(ports, name):
    """Small on the wire and large behind it."""
    for attack in BOMBS:
        async with Client(ports[0]) as c:
            await c.upgrade(name, "permessage-deflate")
            await c.send(attack)
            await asyncio.wait_for(c.reader.read(), 0.5)


async def never_reads(ports, name):
    """Asks for more and more, and reads nothing."""
    async with Client(ports[0]) as c:
        c.writer.transport.pause_reading()
        await c.send(upgrade_head(f"/?name={name}") + say(type="join", room="flood"))
        while True:
            await c.send(say(type="who", room="flood", id=1) + say(type="rooms", id=2) + say(type="join", room="flood", id=3))
            DONE["questions of those who do not read"] += 3
            await asyncio.sleep(0.01)


async def garbage(ports, name):
    async with Client(random.choice(ports)) as c:
        await c.send(random.choice((b"", upgrade_head("/"))) + random.randbytes(random.choice((10, 1000, 100000))))
        await asyncio.wait_for(c.reader.read(), 0.5)


async def storm(ports, name):
    """Connects, is let in, goes away, comes again at once; by TLS every other time."""
    secure = random.random() < 0.5
    async with Client(ports[secure], TLS if secure else None) as c:
        await c.upgrade(name)
        await c.send(say(type="join", room="storm"))


KINDS = (slow_head, slow_body, slow_tls, slow_message, flood, bombs, never_reads, garbage, storm, storm)
PER_KIND = 20


async def repeat(kind, ports, number, begun):
    while True:
        begun.set()
        DONE[kind.__name__] += 1
        try:
            await kind(ports, f"{kind.__name__}-{number}")
        except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError, ssl.SSLError):
            pass  # the server defends itself
        await asyncio.sleep(0.01)


async def run(ports):
    loop, end = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(sys.stdin, end.set)
    begun, tasks = [], []
    for number in range(PER_KIND):
        for kind in KINDS:
            begun.append(asyncio.Event())
            tasks.append(asyncio.create_task(repeat(kind, ports, number, begun[-1])))
    for event in begun:
        await event.wait()
    print("ready", flush=True)
    await end.wait()
    print(json.dumps({"clients": len(tasks), "done": DONE}), flush=True)
    os._exit(0)  # in the middle of whatever they do


if __name__ == "__main__":
    os.nice(10)  # on one machine with the server, they shall not win by taking its processor away
    asyncio.run(run([int(port) for port in sys.argv[1:3]]))
