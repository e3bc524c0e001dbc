"""Message sizes: 1009 as soon as it is certain, over fragments, at the very byte."""
from support.wire import BINARY, CONT, TEXT, frame

from .core import OPEN, case, fails, pings, pongs, talk

LIMIT = 65536


def binary(n, fin=True, **how):
    return frame(BINARY, bytes(n), fin=fin, **how)


def more(n, fin=True, **how):
    return frame(CONT, bytes(n), fin=fin, **how)


talk("10.1 at the limit", [binary(LIMIT)], [(BINARY, bytes(LIMIT))], OPEN, tls=True)
talk("10.2 one byte over the limit", [binary(LIMIT + 1)], [], fails(1009), tls=True)
talk("10.3 over the limit, only the first byte sent", [frame(BINARY, b"x", length=LIMIT + 1)], [], fails(1009))
talk("10.4 a gigabyte announced", [frame(BINARY, b"x", length=1 << 30)], [], fails(1009))
talk("10.5 the largest length announced", [frame(TEXT, b"x", length=(1 << 63) - 1, width=8)], [], fails(1009))
talk("10.6 over the limit by fragments", [binary(30000, False), more(30000, False), more(30000)], [], fails(1009))
talk("10.7 at the limit by fragments", [binary(30000, False), more(30000, False), more(5536)], [(BINARY, bytes(LIMIT))])
talk("10.8 the first byte of the last fragment goes over", [binary(LIMIT, False), frame(CONT, b"x", length=2)], [], fails(1009))
talk("10.9 the limit counts anew for each message", [binary(40000)] * 4, [(BINARY, bytes(40000))] * 4, chops=["whole", "frames"])
talk("10.10 empty fragments at the limit", [binary(LIMIT, False), more(0, False), more(0)], [(BINARY, bytes(LIMIT))])
talk("10.11 pings do not count", [binary(LIMIT - 1, False), *pings(b"p" * 125), more(1)],
     [*pongs(b"p" * 125), (BINARY, bytes(LIMIT))])


@case("10.12 an endless fragmented message")
def _(bench):
    with bench.connect() as ws:
        try:
            ws.send(binary(1000, False))
            for _ in range(100000):
                ws.send(more(1000, False))
        except OSError:
            pass
        bench.still_serves()
        got = bench.close_of(ws)
        assert got.code == 1009, got


@case("10.13 endless empty fragments do not grow")
def _(bench):
    with bench.connect() as ws:
        ws.send(binary(1, False) + more(0, False) * 100000)
        ws.expect_nothing()
        ws.send(more(1))
        ws.expect(bytes(2))
        ws.bye()
