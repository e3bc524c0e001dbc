"""RFC 6455 section 5: lengths, pings, reserved bits and opcodes, fragmentation. Numbers are those of the Autobahn suite."""
from support.wire import BINARY, CONT, PING, PONG, RSV1, RSV2, RSV3, TEXT, frame

from .core import OPEN, case, fails, pings, pongs, talk

MIB = 1024 * 1024
PLAIN_LENGTHS = (0, 1, 124, 125, 126, 127, 128, 255, 256, 4095, 4096, 16384, 65535, 65536)
BIG_LENGTHS = (65537, 131072, 262144, MIB - 1, MIB, MIB + 1, 4 * MIB, 8 * MIB, 16 * MIB)


def pattern(n):
    """n bytes of ASCII that do not repeat with the period of a mask or a buffer."""
    line = b"".join(b"%d," % i for i in range(1789))
    return (line * (n // len(line) + 1))[:n]


for n in PLAIN_LENGTHS:
    talk(f"1.1 text of {n}", [frame(TEXT, pattern(n))], [(TEXT, pattern(n))], tls=n in (0, 125, 65536))
    talk(f"1.2 binary of {n}", [frame(BINARY, bytes(n))], [(BINARY, bytes(n))])
for n in BIG_LENGTHS:
    talk(f"1.1 text of {n}", [frame(TEXT, pattern(n))], [(TEXT, pattern(n))], server="big", chops=["whole"])
    talk(f"1.2 binary of {n}", [frame(BINARY, b"\xfe" * n)], [(BINARY, b"\xfe" * n)], server="big", chops=["whole"])
for size in (64, 997, 65536):
    @case(f"1.1.8 text of 65536 sent {size} bytes at a time")
    def _(bench, size=size):
        with bench.connect() as ws:
            ws.send_chopped(frame(TEXT, pattern(65536)), size)
            ws.expect(pattern(65536).decode())
            ws.bye()

for mask in (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x01\0\0\0", b"\0\0\0\x80"):
    talk(f"1.3 mask {mask.hex()}", [frame(TEXT, pattern(300), mask=mask)], [(TEXT, pattern(300))])

talk("2.1 ping without payload", pings(b""), pongs(b""), tls=True)
talk("2.2 ping with text", pings(b"Hello, world!"), pongs(b"Hello, world!"))
talk("2.3 ping with binary", pings(bytes([0, 255, 254, 253, 252, 251, 0, 255])),
     pongs(bytes([0, 255, 254, 253, 252, 251, 0, 255])))
talk("2.4 ping of 125 bytes", pings(b"\xfe" * 125), pongs(b"\xfe" * 125))
talk("2.5 ping of 126 bytes", pings(b"\xfe" * 126), [], fails(1002), tls=True)
talk("2.6 ping of 125 bytes behind text", [frame(TEXT, "x"), *pings(b"\xfe" * 125)], [(TEXT, b"x"), *pongs(b"\xfe" * 125)])
talk("2.7 unsolicited pong without payload", [frame(PONG), *pings(b"after")], pongs(b"after"))
talk("2.8 unsolicited pong with payload", [frame(PONG, "unasked"), *pings(b"after")], pongs(b"after"))
talk("2.9 unsolicited pong, then ping", [frame(PONG, "unasked"), *pings(b"a"), frame(PONG, "more"), *pings(b"b")],
     pongs(b"a", b"b"))
TEN = [b"ping %d" % i for i in range(10)]
talk("2.10 ten pings at once, ten pongs in order", pings(*TEN), pongs(*TEN), tls=True)
HUNDRED = [b"%d" % i * 20 for i in range(100)]
talk("2.11 a hundred pings at once", pings(*HUNDRED), pongs(*HUNDRED), chops=["whole", "frames", "sevens"])
talk("2.12 pong of 126 bytes", [frame(PONG, bytes(126))], [], fails(1002))
talk("2.13 ping of every length to 125", pings(*[b"p" * n for n in range(126)]), pongs(*[b"p" * n for n in range(126)]),
     chops=["whole", "997"])

for bits in range(1, 8):
    rsv = bits << 4
    talk(f"3.{bits} text with rsv {bits}", [frame(TEXT, "x", rsv=rsv)], [], fails(1002))
    talk(f"3.{bits} text, then text with rsv {bits}, then ping", [frame(TEXT, "x"), frame(TEXT, "y", rsv=rsv), *pings(b"")],
         [(TEXT, b"x")], fails(1002))
talk("3.8 binary with rsv 1", [frame(BINARY, "x", rsv=RSV1)], [], fails(1002), tls=True)
talk("3.9 ping with rsv 2", [frame(PING, "x", rsv=RSV2)], [], fails(1002))
talk("3.10 close with rsv 3", [frame(8, b"\x03\xe8", rsv=RSV3)], [], fails(1002))

for op in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
    talk(f"4.1 opcode {op}", [frame(op)], [], fails(1002), tls=op == 3)
    talk(f"4.2 opcode {op} with payload", [frame(op, "reserved")], [], fails(1002))
    talk(f"4.3 text, then opcode {op}, then ping", [frame(TEXT, "x"), frame(op, "y"), *pings(b"")], [(TEXT, b"x")], fails(1002))


def part(op, data, fin=False):
    return frame(op, data, fin=fin)


HELLO = [part(TEXT, "fragment1"), part(CONT, "fragment2", True)]
WHOLE = (TEXT, b"fragment1fragment2")
talk("5.1 ping in two fragments", [part(PING, "a"), part(CONT, "b", True)], [], fails(1002))
talk("5.2 pong in two fragments", [part(PONG, "a"), part(CONT, "b", True)], [], fails(1002))
talk("5.3 text in two fragments", HELLO, [WHOLE], tls=True)
talk("5.4 binary in two fragments", [part(BINARY, b"\xff\0"), part(CONT, b"\0\xff", True)], [(BINARY, b"\xff\0\0\xff")])
talk("5.6 ping between two fragments", [HELLO[0], *pings(b"in between"), HELLO[1]], [*pongs(b"in between"), WHOLE], tls=True)
talk("5.7 pong between two fragments", [HELLO[0], frame(PONG, "x"), HELLO[1]], [WHOLE])
talk("5.8 two pings between fragments", [HELLO[0], *pings(b"1", b"2"), HELLO[1]], [*pongs(b"1", b"2"), WHOLE])
talk("5.9 continuation with nothing to continue", [part(CONT, "x", True), frame(TEXT, "y")], [], fails(1002))
talk("5.10 the same, empty", [part(CONT, "", True)], [], fails(1002))
talk("5.11 unfinished continuation with nothing to continue", [part(CONT, "x"), frame(TEXT, "y")], [], fails(1002))
talk("5.12 continuation after a finished message", [frame(TEXT, "x"), part(CONT, "y", True)], [(TEXT, b"x")], fails(1002))
talk("5.13 unfinished continuation after a finished message", [frame(TEXT, "x"), part(CONT, "y")], [(TEXT, b"x")], fails(1002))
talk("5.15 text in fragments, then continuation, then text", [*HELLO, part(CONT, "fragment3"), frame(TEXT, "z")], [WHOLE],
     fails(1002))
talk("5.16 continuation first, again and again", [part(CONT, "a"), part(TEXT, "b"), part(CONT, "c", True)] * 2, [], fails(1002))
talk("5.17 finished continuation first", [part(CONT, "a", True), part(TEXT, "b"), part(CONT, "c", True)] * 2, [], fails(1002))
talk("5.18 text fragment, then text", [part(TEXT, "a"), frame(TEXT, "b")], [], fails(1002), tls=True)
talk("5.18 text fragment, then binary", [part(TEXT, "a"), frame(BINARY, "b")], [], fails(1002))
talk("5.18 binary fragment, then binary fragment", [part(BINARY, "a"), part(BINARY, "b")], [], fails(1002))
FIVE = [part(TEXT, "fragment1"), part(CONT, "fragment2"), *pings(b"pongme 1"), part(CONT, "fragment3"), part(CONT, "fragment4"),
        *pings(b"pongme 2"), part(CONT, "fragment5", True)]
FIVE_WHOLE = (TEXT, b"".join(b"fragment%d" % i for i in range(1, 6)))
talk("5.19 five fragments, two pings", FIVE, [*pongs(b"pongme 1", b"pongme 2"), FIVE_WHOLE],
     chops=["whole", "frames", "sevens", "bytes"])
talk("5.20 empty fragments", [part(TEXT, ""), part(CONT, ""), part(CONT, "", True)], [(TEXT, b"")])
talk("5.21 empty fragments around text", [part(TEXT, ""), part(CONT, "x"), part(CONT, "", True)], [(TEXT, b"x")])
talk("5.22 a thousand fragments of a byte", [part(TEXT, "x"), *[part(CONT, "x")] * 998, part(CONT, "x", True)],
     [(TEXT, b"x" * 1000)],
     chops=["whole", "sevens"])
talk("5.23 fragments of 65536 in all", [part(BINARY, bytes(1))] + [part(CONT, bytes(5041))] * 12 + [part(CONT, bytes(5043),
    True)],
     [(BINARY, bytes(1 + 12 * 5041 + 5043))])
talk("5.24 messages behind a fragmented one", [*HELLO, frame(TEXT, "a"), frame(BINARY, "b"), *HELLO],
     [WHOLE, (TEXT, b"a"), (BINARY, b"b"), WHOLE])

for n, width in ((0, 2), (1, 2), (125, 2), (0, 8), (125, 8), (126, 8), (65535, 8)):
    talk(f"5.2 length {n} in {width} bytes", [frame(BINARY, bytes(n), width=width)], [], fails(1002), chops=["whole"])
talk("5.2 length with the highest bit", [frame(BINARY, length=1 << 63, width=8)], [], fails(1002))
talk("5.2 ping with a 16-bit length", [frame(PING, "x", width=2)], [], fails(1002))
talk("5.1 unmasked text", [frame(TEXT, "x", mask=None)], [], fails(1002), tls=True)
talk("5.1 unmasked ping", [frame(PING, "x", mask=None)], [], fails(1002))
talk("5.1 unmasked empty binary", [frame(BINARY, mask=None)], [], fails(1002))
talk("5.1 unmasked close", [frame(8, b"\x03\xe8", mask=None)], [], fails(1002))
talk("5.1 masked text, then unmasked", [frame(TEXT, "x"), frame(TEXT, "y", mask=None)], [(TEXT, b"x")], fails(1002))

for size in (0, 16, 64, 256, 1024, 2048):
    many = [frame(TEXT, pattern(size))] * 300
    talk(f"9.7 300 messages of {size} at once", many, [(TEXT, pattern(size))] * 300, OPEN, chops=["whole"], tls=size == 64)


@case("9.8 5000 messages of 32, sixteen in flight")
def _(bench):
    with bench.connect() as ws:
        message, got = frame(TEXT, pattern(32)), 0
        ws.send(message * 16)
        for sent in range(16, 5016):
            ws.expect(pattern(32).decode())
            if sent < 5000:
                ws.send(message)
            got += 1
            if got == 5000:
                break
        ws.bye()


for count in (64, 256, 4096):
    @case(f"9.3 4 MiB in fragments of {4 * MIB // count}", server="big")
    def _(bench, size=4 * MIB // count, count=count):
        data = pattern(4 * MIB)
        with bench.connect() as ws:
            for i in range(count):
                ws.send(frame(TEXT if i == 0 else CONT, data[i * size:(i + 1) * size], fin=i == count - 1))
            ws.expect(data.decode())
            ws.bye()
