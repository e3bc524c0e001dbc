"""One message for many readers: plain and TLS, compressed with every window and not at all, quick and slow. Every reader gets
every message, unharmed and in order."""
import json
import re
import threading
import zlib

import pytest
from support.wire import RSV1, TEXT, Socket, frame

APP = """
local tide = require "moontide"
local app = { on = {} }
function app.on_open(conn) conn:join "all" end
function app.on.publish(conn, msg)
  tide.room "all":send { by = msg.by, n = msg.n, fill = ("%d;"):format(msg.n):rep(msg.size // 4) }
  if msg.n % 7 == 0 then conn:send { mine = msg.n } end
end
return app
"""
OFFERS = [None, "permessage-deflate",
          "permessage-deflate; client_max_window_bits"] + [f"permessage-deflate; server_max_window_bits={b}"
                                                           for b in range(9, 16)]


class Reader:
    """A member that reads everything on a thread of its own."""

    def __init__(self, address, offer, slow, **how):
        self.ws = Socket(address, extensions=offer, rcvbuf=4096 if slow else None, **how)
        bits = re.search(r"server_max_window_bits=(\d+)", self.ws.extensions or "")
        self.bits = int(bits.group(1)) if bits else 15
        self.got, self.mine, self.packed, self.problem = {}, [], 0, None
        self.thread = threading.Thread(target=self._read)

    def start(self, publishers, count):
        self.wanted = publishers * count
        self.thread.start()

    def _read(self):
        try:
            while sum(map(len, self.got.values())) < self.wanted:
                self._take(self.ws.frame())
        except Exception as why:  # told by the test's thread
            self.problem = repr(why)

    def _take(self, got):
        assert got.op == TEXT and got.rsv in (0, RSV1), got
        text = got.payload
        if got.rsv:
            self.packed += 1
            text = zlib.decompressobj(-self.bits).decompress(text + b"\0\0\xff\xff")
        message = json.loads(text)
        if "mine" in message:
            self.mine.append(message["mine"])
            return
        assert message["fill"] == f"{message['n']};" * (len(message["fill"]) // len(f"{message['n']};")), "mixed up bytes"
        self.got.setdefault(message["by"], []).append(message["n"])


@pytest.mark.parametrize("size", [8, 3000, 40000])
def test_everybody_gets_everything(serve, authority, size):
    chain, key = authority.issue("fan", "localhost", "127.0.0.1")
    server = serve(APP, "--tls", f"{chain},{key}", listen=("http://127.0.0.1:0", "https://127.0.0.1:0"),
                   settings={"limits.outbox": "64m"})
    plain, secure = (("127.0.0.1", int(url.rsplit(":", 1)[1])) for url in server.urls)
    readers = [Reader(plain, offer, slow) for offer in OFFERS for slow in (False, True)]
    readers += [Reader(secure, offer, slow, tls=authority.client()) for offer in OFFERS[:3] for slow in (False, True)]
    count, publishers = 120, 4
    for reader in readers:
        reader.start(publishers, count)

    def publish(by):
        ws = readers[by].ws  # publishers are members too: they hear themselves
        for n in range(count):
            ws.send(frame(TEXT, json.dumps({"type": "publish", "by": by, "n": n, "size": size})))

    threads = [threading.Thread(target=publish, args=(by,)) for by in range(publishers)]
    for t in threads:
        t.start()
    for t in threads + [r.thread for r in readers]:
        t.join(60)
    for n, reader in enumerate(readers):
        assert reader.problem is None, f"reader {n} ({reader.ws.extensions}): {reader.problem}"
        assert reader.got == {by: list(range(count)) for by in range(publishers)}, f"reader {n} ({reader.ws.extensions})"
        if size > 1024 and reader.ws.extensions:
            assert reader.packed > 0, f"reader {n} got nothing compressed"
        reader.ws.close_socket()


def test_large_messages_to_a_slow_reader_over_tls(serve, authority):
    """Partial TLS writes: what SSL_write could not send must go out again as it was."""
    chain, key = authority.issue("large", "localhost", "127.0.0.1")
    server = serve("""
    local app = {}
    function app.on_message(conn, text)
      for n = 1, 12 do conn:send_binary(("%s%d,"):format(text, n):rep(100000)) conn:send("after " .. n) end
    end
    return app""", "--tls", f"{chain},{key}", settings={"limits.outbox": "64m"})
    with Socket(server.address, tls=authority.client(), rcvbuf=4096) as ws:
        ws.text("x")
        ws.text("y")
        for letter in "xy":
            for n in range(1, 13):
                ws.expect(f"{letter}{n},".encode() * 100000)
                ws.expect(f"after {n}")
        ws.bye()
