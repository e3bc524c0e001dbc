"""UTF-8 in text messages (Autobahn 6): whole, in fragments, in every split, and refused as early as it is certain."""
from support.wire import CONT, TEXT, frame

from .core import case, fails, talk

GOOD = {
    "greek": "κόσμε", "mixed": "Hello-µ@ßöäüàá-UTF-8!!", "nul": "\0", "last 1": "\x7f", "first 2": "\x80", "last 2": "߿",
    "first 3": "ࠀ", "before surrogates": "퟿", "after surrogates": "\ue000", "replacement": "�", "nonchar": "￾￿",
    "first 4": "\U00010000", "emoji": "a\U0001f600b", "last 4": "\U0010ffff", "bom": "﻿x", "combining": "é̂",
    "all lengths": "aé€\U0001d11e" * 9, "long ascii, then not": "x" * 70 + "é" + "y" * 70 + "\U0001f30a",
}
BAD = {
    "lone continuation 80": b"\x80", "lone continuation bf": b"\xbf", "continuations": b"\x80\xbf\x80",
    "c0": b"\xc0", "c1": b"\xc1", "f5": b"\xf5", "f8": b"\xf8", "fc": b"\xfc", "fe": b"\xfe", "ff": b"\xff",
    "overlong slash 2": b"\xc0\xaf", "overlong slash 3": b"\xe0\x80\xaf", "overlong slash 4": b"\xf0\x80\x80\xaf",
    "overlong last 2": b"\xc1\xbf", "overlong last 3": b"\xe0\x9f\xbf", "overlong last 4": b"\xf0\x8f\xbf\xbf",
    "five bytes": b"\xf8\x88\x80\x80\x80", "six bytes": b"\xfc\x84\x80\x80\x80\x80",
    "first surrogate": b"\xed\xa0\x80", "last surrogate": b"\xed\xbf\xbf", "surrogate pair": b"\xed\xa0\x80\xed\xb0\x80",
    "past the end": b"\xf4\x90\x80\x80", "2 cut by ascii": b"\xc3x", "3 cut by ascii": b"\xe2\x82x",
    "4 cut by ascii": b"\xf0\x9f\x98x",
    "3 cut by 2": b"\xe2\x82\xc3\xa9", "4 cut by 4": b"\xf0\x9f\x98\xf0\x9f\x98\x80",
    "autobahn": b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
    "behind long ascii": b"x" * 70 + b"\xff" + b"y" * 10,
    "in the middle of a long text": "é".encode() * 40 + b"\x80" + "é".encode() * 40,
}
CUT = {"2 at the end": b"\xc3", "3 at the end": b"x\xe2\x82", "4 at the end": b"\xf0\x9f\x98"}


def certain(data):
    """Number of bytes after which no continuation can make `data` valid."""
    for n in range(1, len(data) + 1):
        if not any(valid(data[:n] + tail) for tail in tails(data[:n])):
            return n
    raise ValueError(data)


def tails(data):
    """What might complete a sequence that is cut: second bytes differ by the first byte, the rest are alike."""
    yield b""
    for second in (b"\x80", b"\x90", b"\x9f", b"\xa0", b"\x8f", b"\xbf"):
        for rest in (b"", b"\x80", b"\x80\x80"):
            yield second + rest


def valid(data):
    try:
        data.decode("utf-8")
        return True
    except UnicodeDecodeError:
        return False


def fragments(pieces):
    return [frame(TEXT if i == 0 else CONT, p, fin=i == len(pieces) - 1) for i, p in enumerate(pieces)]


def byte_by_byte(data):
    return [data[i:i + 1] for i in range(len(data))]


for name, text in GOOD.items():
    data = text.encode()
    talk(f"6.2 {name}", [frame(TEXT, data)], [(TEXT, data)], tls=name == "emoji")
    talk(f"6.2 {name}, a byte a fragment", fragments(byte_by_byte(data)), [(TEXT, data)])
    splits = [fragments([data[:i], data[i:]]) for i in range(len(data) + 1)]
    talk(f"6.2 {name}, every split in two", sum(splits, []), [(TEXT, data)] * len(splits), chops=["whole", "sevens"])
talk("6.1 empty, then empty fragments", [frame(TEXT), *fragments([b"", b"", b""])], [(TEXT, b""), (TEXT, b"")])

for name, data in BAD.items():
    talk(f"6.3 {name}", [frame(TEXT, data)], [], fails(1007), tls=name == "ff")
    talk(f"6.3 {name}, a byte a fragment", fragments(byte_by_byte(data)), [], fails(1007))
    at = certain(data)
    talk(f"6.4 {name}: known after byte {at} of an unfinished frame", [frame(TEXT, data[:at], length=len(data) + 100)], [],
         fails(1007))
    talk(f"6.4 {name}: known in an unfinished message", [frame(TEXT, data[:at], fin=False)], [], fails(1007))
for name, data in CUT.items():
    talk(f"6.3 cut: {name}", [frame(TEXT, data)], [], fails(1007))
    talk(f"6.3 cut: {name}, empty last fragment", fragments([data, b""]), [], fails(1007))


@case("6.4 every split of a bad text, each piece a fragment")
def _(bench):
    data = "aé€".encode() + b"\xed\xa0\x80"
    for i in range(len(data) + 1):
        with bench.connect() as ws:
            ws.send(b"".join(fragments([data[:i], data[i:]])))
            ws.expect_close(1007)


@case("6.5 a cut sequence goes on in the next fragment only")
def _(bench):
    with bench.connect() as ws:
        ws.send(frame(TEXT, b"\xe2\x82", fin=False))
        ws.expect_nothing()
        ws.send(frame(CONT, b"\xac"))
        ws.expect("€")
        ws.send(frame(TEXT, b"\xe2\x82"))
        ws.expect_close(1007)


talk("6.6 any bytes in binary", [frame(2, bytes(range(256)))], [(2, bytes(range(256)))])
