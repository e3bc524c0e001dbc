"""The closing handshake (Autobahn 7): codes, reasons, order, what comes after, and what is still queued."""
from support.wire import BINARY, CLOSE, CONT, PING, TEXT, close_payload, frame

from .core import case, echoes, fails, pings, talk

VALID = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3001, 3999, 4000, 4001, 4999)
INVALID = (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 1999, 2000, 2999, 5000, 9999, 65535)


def closing(code, reason=b""):
    return frame(CLOSE, close_payload(code, reason))


talk("7.1.1 message, then close", [frame(TEXT, "bye"), closing(1000)], [(TEXT, b"bye")], echoes(1000), tls=True)
talk("7.1.2 close twice", [closing(1000), closing(1000)], [], echoes(1000))
talk("7.1.3 ping after close", [closing(1000), *pings(b"late")], [], echoes(1000))
talk("7.1.4 text after close", [closing(1000), frame(TEXT, "late")], [], echoes(1000))
talk("7.1.5 close between fragments", [frame(TEXT, "a", fin=False), closing(1000), frame(CONT, "b")], [], echoes(1000))
talk("7.1.6 garbage after close", [closing(1000), b"\xff" * 64], [], echoes(1000))
talk("7.1.7 a large message, then close and ping", [frame(BINARY, bytes(65536)), closing(1000), *pings(b"late")],
     [(BINARY, bytes(65536))], echoes(1000))
talk("7.3.1 close without payload", [frame(CLOSE)], [], echoes(1005, 1000))
talk("7.3.2 close with one byte", [frame(CLOSE, b"\x03")], [], fails(1002))
talk("7.3.4 close with a reason", [closing(1000, "Hello World!")], [], echoes(1000))
talk("7.3.5 close with the longest reason", [closing(1000, "*" * 123)], [], echoes(1000))
talk("7.3.6 close with 126 bytes", [closing(1000, "*" * 124)], [], fails(1002))
talk("7.3.7 unfinished close frame", [frame(CLOSE, close_payload(1000), fin=False)], [], fails(1002))
talk("7.5.1 reason is not UTF-8", [closing(1000, b"\xce\xba\xed\xa0\x80")], [], fails(1007))
talk("7.5.2 reason cut in a sequence", [closing(1000, b"ok \xe2\x82")], [], fails(1007))
talk("7.5.3 reason in UTF-8", [closing(1000, "κόσμε \U0001f30a")], [], echoes(1000))
for code in VALID:
    talk(f"7.7 close with {code}", [closing(code)], [], echoes(code))
    talk(f"7.7 close with {code} and a reason", [closing(code, "reason")], [], echoes(code), chops=["whole"])
for code in INVALID:
    talk(f"7.9 close with {code}", [closing(code)], [], fails(1002))
    talk(f"7.13 close with {code} and a reason", [closing(code, "reason")], [], fails(1002), chops=["whole"])


@case("7.14 close comes behind what was queued")
def _(bench):
    with bench.connect() as ws:
        count, data = 12, bytes(60000)
        ws.send(frame(BINARY, data) * count + closing(1000, "done"))
        for _ in range(count):
            ws.expect(data)
        got = ws.frame()
        assert (got.op, got.code) == (CLOSE, 1000), got
        ws.expect_eof()


@case("7.15 the end of the stream without a close")
def _(bench):
    ws = bench.connect()
    ws.text("x")
    ws.expect("x")
    ws.close_socket()
    bench.still_serves()


@case("7.16 a reset in the middle of a frame")
def _(bench):
    ws = bench.connect()
    ws.send(frame(TEXT, "0123456789")[:9])
    ws.reset()
    bench.still_serves()


@case("7.17 half closed by the client, its messages are still answered")
def _(bench):
    with bench.connect() as ws:
        ws.send(frame(TEXT, "last") + closing(1000))
        ws.sock.shutdown(1)
        ws.expect("last")
        got = ws.frame()
        assert (got.op, got.code) == (CLOSE, 1000), got
        ws.expect_eof()


@case("7.18 a violation is answered once, what follows is not read as frames")
def _(bench):
    with bench.connect() as ws:
        ws.send(frame(TEXT, "x", rsv=0x40) + frame(PING, "y") + frame(TEXT, "z") * 50)
        ws.expect_close(1002)


@case("7.19 the client never answers the server's close")
def _(bench):
    with bench.connect() as ws:
        ws.send(frame(3))
        got = ws.frame()
        assert (got.op, got.code) == (CLOSE, 1002), got
        ws.expect_eof()
