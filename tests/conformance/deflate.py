"""permessage-deflate (RFC 7692, Autobahn 12 and 13): what is negotiated, windows, fragments, what is refused, bombs."""
import os
import zlib

from support.wire import BINARY, CLOSE, CONT, PING, RSV1, RSV2, TEXT, Refused, close_payload, frame

from .core import OPEN, Mismatch, case, fails, pings, pongs, talk

PMD = "permessage-deflate"
TAIL = b"\0\0\xff\xff"
BOTH = {"server_no_context_takeover": None, "client_no_context_takeover": None}


def packed(data, bits=15, level=6, finish=False, memory=8):
    """A message compressed from fresh state. finish: with BFINAL, and the empty block that RFC 7692 7.2.3.4 wants behind it.
    memory: zlib's memLevel; with little of it, what does not compress grows by four percent."""
    if isinstance(data, str):
        data = data.encode()
    z = zlib.compressobj(level, zlib.DEFLATED, -bits, memory)
    out = z.compress(data)
    if finish:
        return out + z.flush(zlib.Z_FINISH) + b"\0"
    out += z.flush(zlib.Z_SYNC_FLUSH)
    return out[:-4] if out.endswith(TAIL) else out


def parse(header):
    """One extension: (name, {parameter: value or None}); AssertionError when there are several."""
    assert "," not in header, f"more than one extension in {header!r}"
    name, *parts = [p.strip() for p in header.split(";")]
    params = {}
    for part in parts:
        key, equals, value = part.partition("=")
        assert key not in params, f"{key} twice in {header!r}"
        params[key] = value if equals else None
    return name, params


def negotiates(name, offer, answer):
    """answer: None (declined) or what must be in it besides both no_context_takeover; a value may be a set of allowed ones."""
    @case(f"12.0 {name}")
    def _(bench):
        with bench.connect(extensions=offer) as ws:
            got = ws.extensions
            if answer is None or got is None:
                if got != answer:
                    raise Mismatch(offer, answer, got)
            else:
                token, params = parse(got)
                wanted = {**BOTH, **answer}
                if token != PMD or params != wanted:
                    raise Mismatch(offer, wanted, got)
            exchange(bench, ws, offer, got)
            ws.bye()


def exchange(bench, ws, offer, got):
    """Messages go both ways under what was agreed."""
    data = b"".join(b"line %d of a text that compresses well\n" % i for i in range(120))
    if got is None:
        ws.send(frame(TEXT, data))
        reply = ws.frame()
        assert reply.rsv == 0 and reply.payload == data, reply
        return
    bits = int(parse(got)[1].get("client_max_window_bits") or 15)
    for _ in range(2):
        ws.send(frame(TEXT, packed(data, max(bits, 9)), rsv=RSV1))
        reply = ws.frame()
        assert reply.rsv == RSV1, f"{reply!r} is not compressed"
        assert bench.payload(ws, reply) == data


negotiates("no parameters", PMD, {})
negotiates("behind an unknown one", "x-unknown, " + PMD, {})
negotiates("client_no_context_takeover", PMD + "; client_no_context_takeover", {})
negotiates("server_no_context_takeover", PMD + "; server_no_context_takeover", {})
negotiates("both no_context_takeover", PMD + ";client_no_context_takeover;server_no_context_takeover", {})
negotiates("as Chromium offers it", PMD + "; client_max_window_bits", {})
negotiates("as Firefox offers it", PMD, {})
negotiates("blanks everywhere", " \t" + PMD + " ;  server_max_window_bits = 10 ; client_no_context_takeover ",
           {"server_max_window_bits": "10"})
for bits in range(9, 16):
    negotiates(f"server_max_window_bits={bits}", f"{PMD}; server_max_window_bits={bits}", {"server_max_window_bits": str(bits)})
for bits in range(8, 16):
    @case(f"12.0 client_max_window_bits={bits}")
    def _(bench, bits=bits):
        offer = f"{PMD}; client_max_window_bits={bits}"
        with bench.connect(extensions=offer) as ws:
            token, params = parse(ws.extensions or "none")
            ours = int(params.pop("client_max_window_bits", None) or bits)
            if token != PMD or params != BOTH or ours > bits:
                raise Mismatch(offer, f"{BOTH} and at most {bits}", ws.extensions)
            exchange(bench, ws, offer, ws.extensions)
            ws.bye()
negotiates("server_max_window_bits=8 cannot be kept", PMD + "; server_max_window_bits=8", None)
negotiates("quoted value", PMD + '; server_max_window_bits="10"', {"server_max_window_bits": "10"})
negotiates("second offer is taken", PMD + "; server_max_window_bits=8, " + PMD, {})
negotiates("first good offer wins", f"{PMD}; server_max_window_bits=11, {PMD}; server_max_window_bits=12",
           {"server_max_window_bits": "11"})
for why, params in {
    "server_max_window_bits without value": "server_max_window_bits", "server_max_window_bits=7": "server_max_window_bits=7",
    "server_max_window_bits=16": "server_max_window_bits=16", "server_max_window_bits=0": "server_max_window_bits=0",
    "leading zero": "server_max_window_bits=09", "not a number": "server_max_window_bits=ten",
    "negative": "server_max_window_bits=-9",
    "a huge number": "server_max_window_bits=4294967305", "client_max_window_bits=7": "client_max_window_bits=7",
    "client_max_window_bits=16": "client_max_window_bits=16", "client_max_window_bits=08": "client_max_window_bits=08",
    "value where none belongs": "server_no_context_takeover=1", "client value where none belongs": "client_no_context_takeover=x",
    "repeated parameter": "server_no_context_takeover; server_no_context_takeover",
    "repeated bits": "server_max_window_bits=10; server_max_window_bits=11", "unknown parameter": "mux",
}.items():
    negotiates(f"declined: {why}", f"{PMD}; {params}", None)
    negotiates(f"declined, then a good one: {why}", f"{PMD}; {params}, {PMD}", {})
negotiates("only other extensions", "x-webkit-deflate-frame, permessage-bzip2; level=9, permessage-deflat", None)


for offer in (PMD + "; server_max_window_bits=", PMD + "; =10", ";", PMD + ' ; server_max_window_bits="10', "perm essage"):
    @case(f"12.0 no list of extensions at all: {offer}")
    def _(bench, offer=offer):
        try:
            with bench.connect(extensions=offer) as ws:
                assert ws.extensions is None, ws.extensions
        except Refused as why:
            assert why.status == 400, why


@case("12.0 offers in two header lines")
def _(bench):
    offers = [("Sec-WebSocket-Extensions", "x-foo"), ("Sec-WebSocket-Extensions", PMD)]
    with bench.connect_raw(bench.upgrade(offers)) as ws:
        assert ws.extensions and ws.extensions.startswith(PMD), ws.extensions
        ws.bye()


@case("12.0 not asked for, not used")
def _(bench):
    with bench.connect() as ws:
        assert ws.extensions is None
        ws.send(frame(TEXT, b"a" * 20000))
        assert ws.frame() == (TEXT, b"a" * 20000, True, 0)
        ws.bye()


def kinds(n):
    line = b"".join(b'{"line":%d,"text":"what a message may look like"}\n' % i for i in range(n // 40 + 1))[:n]
    return {"text": line, "zeros": b"\0" * n, "random": os.urandom(n)}


for size in (0, 1, 16, 64, 256, 1024, 4096, 16384, 65535, 65536):
    for kind, data in kinds(size).items():
        op = BINARY if kind == "random" else TEXT
        talk(f"12.1 {kind} of {size}", [frame(op, packed(data), rsv=RSV1)], [(op, data)], extensions=PMD, chops=["whole"],
             tls=size == 4096)
for bits in range(9, 16):
    data = os.urandom(500) * 3 + b"x" * 400 + os.urandom(2000)  # repeats further away than a small window reaches
    talk(f"12.2 both windows of {bits}", [frame(BINARY, packed(data, bits), rsv=RSV1)] * 3, [(BINARY, data)] * 3, chops=["whole"],
         extensions=f"{PMD}; server_max_window_bits={bits}; client_max_window_bits={bits}")
for level in (0, 1, 9):
    data = kinds(5000)["text"]
    talk(f"12.3 compressed at level {level}", [frame(TEXT, packed(data, level=level), rsv=RSV1)], [(TEXT, data)], extensions=PMD)
TEXT_1K = kinds(1500)["text"]
PACKED = packed(TEXT_1K)


def split(data, size, rsv=RSV1, op=TEXT):
    parts = [data[i:i + size] for i in range(0, len(data), size)] or [b""]
    return [frame(op if i == 0 else CONT, p, fin=i == len(parts) - 1, rsv=rsv if i == 0 else 0) for i, p in enumerate(parts)]


for size in (1, 2, 3, 10, 64):
    talk(f"12.4 fragments of {size}", split(PACKED, size), [(TEXT, TEXT_1K)], extensions=PMD)


@case("12.4 every split in two")
def _(bench):
    with bench.connect(extensions=PMD) as ws:
        for i in range(len(PACKED) + 1):
            ws.send(frame(TEXT, PACKED[:i], fin=False, rsv=RSV1) + frame(CONT, PACKED[i:]))
            assert bench.payload(ws, ws.frame()) == TEXT_1K, f"split at {i}"
        ws.bye()


talk("12.5 compressed in every way to cut the bytes", [frame(TEXT, PACKED, rsv=RSV1)], [(TEXT, TEXT_1K)], extensions=PMD,
     chops=["whole", "bytes", "sevens", "997"], tls=True)
talk("12.5 compressed and plain messages mixed", [frame(TEXT, PACKED, rsv=RSV1), frame(TEXT, "plain"),
                                                  frame(TEXT, packed("x"), rsv=RSV1)],
     [(TEXT, TEXT_1K), (TEXT, b"plain"), (TEXT, b"x")], extensions=PMD)
talk("12.5 ping between compressed fragments", [split(PACKED, 50)[0], *pings(b"p"), *split(PACKED, 50)[1:]],
     [*pongs(b"p"), (TEXT, TEXT_1K)], extensions=PMD)
talk("12.5 empty fragments around", [frame(TEXT, b"", fin=False, rsv=RSV1), frame(CONT, PACKED, fin=False), frame(CONT, b"")],
     [(TEXT, TEXT_1K)], extensions=PMD)
talk("12.6 RFC 7692 example: Hello", [frame(TEXT, bytes.fromhex("f248cdc9c90700"), rsv=RSV1)], [(TEXT, b"Hello")], extensions=PMD)
talk("12.6 RFC 7692 example: block without compression", [frame(TEXT, bytes.fromhex("000500faff48656c6c6f00"), rsv=RSV1)],
     [(TEXT, b"Hello")],
     extensions=PMD)
talk("12.6 RFC 7692 example: block with BFINAL", [frame(TEXT, bytes.fromhex("f348cdc9c9070000"), rsv=RSV1)], [(TEXT, b"Hello")],
     extensions=PMD)
talk("12.6 RFC 7692 example: two blocks", [frame(TEXT, bytes.fromhex("f24805000000ffffcac9c90700"), rsv=RSV1)],
     [(TEXT, b"Hello")], extensions=PMD)
talk("12.6 RFC 7692 example: empty message", [frame(TEXT, b"\0", rsv=RSV1)], [(TEXT, b"")], extensions=PMD)
talk("12.6 BFINAL, large", [frame(TEXT, packed(TEXT_1K, finish=True), rsv=RSV1)] * 2, [(TEXT, TEXT_1K)] * 2, extensions=PMD)
talk("12.7 300 compressed messages at once", [frame(TEXT, packed(kinds(200)["text"]), rsv=RSV1)] * 300,
     [(TEXT, kinds(200)["text"])] * 300,
     extensions=PMD, chops=["whole"])
talk("12.8 close among compressed messages", [frame(TEXT, PACKED, rsv=RSV1), frame(CLOSE, close_payload(1000))],
     [(TEXT, TEXT_1K)],
     fails(1000), extensions=PMD)

talk("13.1 rsv1 on a continuation", [frame(TEXT, PACKED[:20], fin=False, rsv=RSV1), frame(CONT, PACKED[20:], rsv=RSV1)], [],
     fails(1002), extensions=PMD)
talk("13.1 rsv1 on a continuation only", [frame(TEXT, "a", fin=False), frame(CONT, packed("b"), rsv=RSV1)], [], fails(1002),
     extensions=PMD)
talk("13.2 compressed ping", [frame(PING, packed("x"), rsv=RSV1)], [], fails(1002), extensions=PMD)
talk("13.2 compressed close", [frame(CLOSE, packed(close_payload(1000)), rsv=RSV1)], [], fails(1002), extensions=PMD)
talk("13.3 rsv1 and rsv2", [frame(TEXT, PACKED, rsv=RSV1 | RSV2)], [], fails(1002), extensions=PMD)
talk("13.3 rsv2 alone", [frame(TEXT, "x", rsv=RSV2)], [], fails(1002), extensions=PMD)
talk("13.4 not negotiated", [frame(TEXT, PACKED, rsv=RSV1)], [], fails(1002))
for why, data in {"garbage": b"\xff" * 20, "block type 3": b"\x07", "bad stored length": b"\x01\x05\x00\x00\x00hello",
                  "distance too far": b"\x4b\x04\x42\x00"}.items():
    talk(f"13.5 {why}", [frame(BINARY, data, rsv=RSV1)], [], fails(1002, 1007), extensions=PMD)
talk("13.6 text is not UTF-8 after inflating", [frame(TEXT, packed(b"caf\xe9 " * 20), rsv=RSV1)], [], fails(1007), extensions=PMD)
talk("13.6 text is cut after inflating", [frame(TEXT, packed(b"x\xe2\x82"), rsv=RSV1)], [], fails(1007), extensions=PMD)
talk("13.7 one byte over the limit after inflating", [frame(BINARY, packed(bytes(65537)), rsv=RSV1)], [], fails(1009),
     extensions=PMD)
talk("13.7 a bomb of 16 MiB", [frame(BINARY, packed(bytes(1 << 24), level=9), rsv=RSV1)], [], fails(1009), extensions=PMD,
     tls=True)
talk("13.7 a bomb of 16 MiB in fragments", split(packed(bytes(1 << 24), level=9), 100, op=BINARY), [], fails(1009),
     extensions=PMD, chops=["whole"])
talk("13.8 stays up after a bomb and serves the next", [frame(BINARY, packed(bytes(65536)), rsv=RSV1)], [(BINARY, bytes(65536))],
     OPEN, extensions=PMD)
talk("13.9 12 MiB", [frame(BINARY, packed(bytes(12 << 20)), rsv=RSV1)], [(BINARY, bytes(12 << 20))], server="big",
     extensions=PMD, chops=["whole"])


def takes_random(name, server, size, memory, parts=1):
    """At the limit, of bytes that do not compress: more bytes on the wire than the limit says, and legal."""
    @case(f"13.9 random bytes, {name}, memLevel {memory}{', fragments' if parts > 1 else ''}", server)
    def _(bench):
        data = os.urandom(size)
        sent = packed(data, level=1, memory=memory)
        assert len(sent) > size
        with bench.connect(extensions=PMD) as ws:
            ws.send(b"".join(split(sent, len(sent) // parts + 1, op=BINARY)))
            got = ws.frame()
            assert got.op == BINARY, got
            assert bench.payload(ws, got) == data
            ws.bye()


for memory in (1, 5, 8):
    takes_random("64 KiB", "plain", 1 << 16, memory)
    takes_random("64 KiB", "plain", 1 << 16, memory, parts=7)
    takes_random("1 MiB", "middle", 1 << 20, memory)
    takes_random("16 MiB", "big", 1 << 24, memory)
talk("13.9 random bytes, one over the limit", [frame(BINARY, packed(os.urandom(65537)), rsv=RSV1)], [], fails(1009),
     extensions=PMD, chops=["whole"])
talk("13.9 more compressed bytes announced than the limit can need", [frame(BINARY, b"x", length=1 << 17, rsv=RSV1)], [],
     fails(1009), extensions=PMD)


@case("13.10 a small message is sent as it is")
def _(bench):
    with bench.connect(extensions=PMD) as ws:
        ws.send(frame(TEXT, b"a" * 100))
        assert ws.frame() == (TEXT, b"a" * 100, True, 0)
        ws.bye()


@case("13.11 what does not compress is sent as it is")
def _(bench):
    data = os.urandom(8000)
    with bench.connect(extensions=PMD) as ws:
        ws.send(frame(BINARY, data))
        assert ws.frame() == (BINARY, data, True, 0)
        ws.bye()
