"""What the tables are made of: cases, conversations over a WebSocket, and how a mismatch is told.

A table is a module that calls talk() and case() while it is imported. A case has a name that starts with the number of the
Autobahn case or the section it belongs to, and the name of the server it runs against: plain, middle (1 MiB messages), big
(16 MiB) or tls.
"""
from support.wire import CLOSE, PING, PONG, Closed, Frame, frame

CASES = []
OPEN = "open"


class Case:
    def __init__(self, name, run, server):
        self.name, self.run, self.server = name, run, server


class Mismatch(Exception):
    """What was sent, expected and got: one line."""

    def __init__(self, sent, expected, got):
        super().__init__(" ".join(f"sent {sent}; expected {expected}; got {got}".split("\r\n")))


class Closes:
    """The server closes with one of these codes; `ours` tells that our close came first and is not sent again."""

    def __init__(self, codes, ours=False):
        self.codes, self.ours = codes, ours

    def __repr__(self):
        return "close(" + " or ".join(map(str, sorted(self.codes))) + ")"


def fails(*codes):
    """The server fails the connection: its close has one of these codes."""
    return Closes(set(codes))


def echoes(*codes):
    """The server answers the close that is the last thing we send."""
    return Closes(set(codes), ours=True)


def case(name, server="plain"):
    """Decorator: a case that is a function of the bench (see run.py)."""
    def add(run):
        CASES.append(Case(name, run, server))
        return run
    return add


def short(data, most=48):
    if isinstance(data, (list, tuple)):
        return "[" + ", ".join(short(d) for d in data[:8]) + (", ..." if len(data) > 8 else "") + "]"
    if isinstance(data, bytes):
        if b"HTTP/" in data or b"\r\n" in data:
            return repr(data[:most])
        return data.hex() if len(data) <= most else f"{data[:most].hex()}... ({len(data)} bytes)"
    return repr(data) if not isinstance(data, Frame) else str(data)


# How the bytes of a conversation are cut: name -> function(frames) -> pieces.
CHOPS = {
    "whole": lambda frames: [b"".join(frames)],
    "frames": lambda frames: frames,
    "sevens": lambda frames: pieces(b"".join(frames), 7),
    "bytes": lambda frames: pieces(b"".join(frames), 1),
    "997": lambda frames: pieces(b"".join(frames), 997),
}


def pieces(data, size):
    return [data[at:at + size] for at in range(0, len(data), size)]


def chops_for(frames):
    size = sum(map(len, frames))
    names = ["whole"]
    if len(frames) > 1:
        names.append("frames")
    if size <= 20000:
        names.append("sevens" if size > 300 else "bytes")
    elif size <= 300000:
        names.append("997")
    return names


def talk(name, send, expect, end=OPEN, server="plain", tls=False, chops=None, **connect):
    """Send frames, expect frames, then `end`. One case for each way to cut the bytes. expect: list of (opcode, payload).
    tls: runs over TLS too. Further arguments go to the handshake."""
    def make(chop):
        return lambda bench: converse(bench, send, expect, end, chop, connect)
    for chop in chops or chops_for(send):
        CASES.append(Case(f"{name} [{chop}]", make(chop), server))
    if tls:
        CASES.append(Case(f"{name} [tls]", make("whole"), "tls"))


def converse(bench, send, expect, end, chop, connect):
    ws = bench.connect(**connect)
    with ws:
        cut = CHOPS[chop](send)
        try:
            if len(cut) == 1:
                ws.send(cut[0])
            else:
                send_slowly(ws, cut)
        except OSError:
            pass  # the server has given up already: what it said is read below
        got = []
        try:
            for op, payload in expect:
                got.append(ws.frame())
                if (got[-1].op, bench.payload(ws, got[-1])) != (op, payload) or not got[-1].fin:
                    raise Mismatch(short(send), short((op, payload)), got[-1])
            check_end(ws, send, end, got)
        except (Closed, TimeoutError, AssertionError) as why:
            raise Mismatch(short(send), f"{len(expect)} frames, then {end!r}", f"{short(got)}, then {why}") from None


def send_slowly(ws, cut):
    size = len(cut[0])
    if all(len(piece) == size for piece in cut[:-1]):
        ws.send_chopped(b"".join(cut), size)
    else:
        for piece in cut:
            ws.send_chopped(piece, max(1, len(piece)))


def check_end(ws, send, end, got):
    if end == OPEN:
        ws.bye()
        return
    got.append(ws.frame())
    if got[-1].op != CLOSE or got[-1].code not in end.codes:
        raise Mismatch(short(send), end, got[-1])
    if end.ours:
        ws.expect_eof()
    else:
        ws.finish(got[-1])


def pings(*payloads):
    return [frame(PING, p) for p in payloads]


def pongs(*payloads):
    return [(PONG, p) for p in payloads]
