"""A chat of well-behaved people: `python3 -m support.crowd URL URL... [--ca FILE]` joins rooms, talks at an even pace, and tells at the
end, as JSON, how long messages took, which were lost, and how many connections were cut before the answer (`again`). The clients are those of the
`websockets` package, over all URLs in turn.
"""
import argparse
import asyncio
import json
import ssl
import time

import websockets

AT_ONCE = 8    # open connections side by side: one after the other, a busy machine needs a minute for a hundred
PATIENCE = 45  # seconds in which each has to be in


class Person:
    """One of them: says `count` numbered messages, hears everybody in the room."""

    def __init__(self, number, room, options):
        self.name, self.room, self.options, self.number = f"person-{number}", f"room-{room}", options, number
        self.heard, self.times, self.trouble, self.complete, self.again = {}, [], [], asyncio.Event(), 0

    async def connect(self, url, tls):
        """Where the machine is so busy that a handshake outlasts handshake.timeout, as people do: once more. It is counted. A server
        that answers no is never asked twice."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                return await websockets.connect(f"{url}/?name={self.name}", ssl=tls if url.startswith("wss") else None,
                                                open_timeout=PATIENCE, compression=None)
            except (OSError, websockets.InvalidMessage):
                if time.monotonic() > end:
                    raise
                self.again += 1

    async def open(self, urls, tls):
        self.ws = await self.connect(urls[self.number % len(urls)], tls)
        await self.ws.send(json.dumps({"type": "join", "room": self.room, "id": 1}))
        while json.loads(await self.ws.recv()).get("type") != "reply":
            pass

    async def listen(self, everybody):
        """Until all that the room says has come; in order from each, or it counts as trouble."""
        missing = len(everybody) * self.options.count
        try:
            while missing:
                message = json.loads(await self.ws.recv())
                if message["type"] != "chat":
                    continue
                number, said_at = message["text"].split()
                self.times.append(time.monotonic() - float(said_at))
                expected = self.heard.get(message["from"], 0)
                if int(number) != expected:
                    self.trouble.append(f"{message['from']}: {number} instead of {expected}")
                self.heard[message["from"]] = int(number) + 1
                missing -= 1
        except websockets.ConnectionClosed as why:
            self.trouble.append(f"closed: {why}")
        self.complete.set()

    async def talk(self, start):
        """The pace is kept from the start, so that a late message does not make the next one late."""
        pause = 1 / self.options.rate
        for n in range(self.options.count):
            due = start + (n + self.number / self.options.people) * pause
            await asyncio.sleep(max(0, due - time.monotonic()))
            await self.ws.send(json.dumps({"type": "chat", "room": self.room, "text": f"{n} {time.monotonic():.6f}"}))


async def run(options):
    tls = ssl.create_default_context(cafile=options.ca) if options.ca else None
    people = [Person(n, n % options.rooms, options) for n in range(options.people)]
    turns = asyncio.Semaphore(AT_ONCE)

    async def come(person):
        async with turns:
            await person.open(options.urls, tls)
    await asyncio.gather(*map(come, people))
    print("ready", flush=True)
    begin = time.monotonic()
    rooms = {person.room: [p for p in people if p.room == person.room] for person in people}
    listeners = [asyncio.create_task(p.listen(rooms[p.room])) for p in people]
    talkers = asyncio.gather(*(p.talk(begin) for p in people), return_exceptions=True)
    failures = [str(f) for f in await talkers if f]
    await asyncio.wait(listeners, timeout=options.patience)
    times = sorted(t for p in people for t in p.times)
    expected = sum(len(rooms[p.room]) * options.count for p in people)
    print(json.dumps({"again": sum(p.again for p in people), "sent": len(people) * options.count, "delivered": len(times),
                      "lost": expected - len(times), "trouble": failures + [t for p in people for t in p.trouble], **{
                          name: times[int((len(times) - 1) * part)] * 1000 if times else None
                          for name, part in (("p50", 0.5), ("p99", 0.99), ("max", 1))}}))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("urls", nargs="+")
    parser.add_argument("--ca")
    parser.add_argument("--people", type=int, default=100)
    parser.add_argument("--rooms", type=int, default=10)
    parser.add_argument("--rate", type=float, default=2, help="messages a second of each")
    parser.add_argument("--count", type=int, default=12, help="messages of each")
    parser.add_argument("--patience", type=float, default=30, help="seconds to wait for the last ones")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
