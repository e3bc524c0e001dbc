"""The opening handshake (RFC 6455 section 4.2): what is accepted, what is refused and with which words."""
from support.wire import KEY, TEXT, UPGRADE, Response, accept_of, frame, head

from .core import Mismatch, case, short


def upgrade(changes=(), drop=(), extra=(), target="/", **how):
    """A handshake with some headers changed, dropped or added."""
    headers = {**UPGRADE, **dict(changes)}
    pairs = [(n, v) for n, v in headers.items() if n not in drop] + list(extra)
    return head(target, pairs, **how)


def accepted(name, request, protocol=None, server="plain", chop=None):
    @case(f"4.2 accepted: {name}", server)
    def _(bench):
        with bench.raw() as wire:
            wire.send_chopped(request, chop or len(request))
            got = Response(wire)
            key = [line.split(b":")[1].strip().decode() for line in request.split(b"\r\n")
                   if line.lower().startswith(b"sec-websocket-key")]
            wanted = {"upgrade": "websocket", "connection": "upgrade", "sec-websocket-accept": accept_of(key[0])}
            have = {n: got.headers.get(n, "") if "accept" in n else got.headers.get(n, "").lower() for n in wanted}
            if got.status != 101 or have != wanted or got.headers.get("sec-websocket-protocol") != protocol:
                raise Mismatch(short(request, 400), f"101, protocol {protocol}", got.raw)
            assert "content-length" not in got.headers and "transfer-encoding" not in got.headers, got.raw
            assert "sec-websocket-extensions" not in got.headers, got.raw
            wire.send(frame(TEXT, "x"))
            assert wire.take(3) == b"\x81\x01x"


def refused(name, request, *status, words=None, then=None, server="plain"):
    """An answer with one of these statuses and a body that says why, and the connection ends."""
    @case(f"4.2 refused: {name}", server)
    def _(bench):
        with bench.raw() as wire:
            wire.send(request)
            got = Response(wire)
            if got.status not in status:
                raise Mismatch(short(request, 400), " or ".join(map(str, status)), got)
            assert len(got.body) > 3, f"{got!r}: no reason in the body"
            assert words is None or words in got.body.decode().lower(), f"{got!r} does not say {words!r}"
            if then:
                then(got)


accepted("plain", upgrade())
accepted("over TLS", upgrade(), server="tls")
accepted("the sample key of the RFC", upgrade({"Sec-WebSocket-Key": KEY}))
accepted("another key", upgrade({"Sec-WebSocket-Key": "x3JJHMbDL1EzLkh9GBhXDw=="}))
accepted("names in lower case", upgrade().replace(b"Upgrade:", b"upgrade:").replace(b"Connection:",
    b"connection:").replace(b"Sec-WebSocket", b"sec-websocket"))
accepted("names in capitals", upgrade().replace(b"Sec-WebSocket-", b"SEC-WEBSOCKET-").replace(b"Host:", b"HOST:"))
accepted("Upgrade: WebSocket", upgrade({"Upgrade": "WebSocket"}))
accepted("Upgrade among others", upgrade({"Upgrade": "foo, websocket"}))
accepted("Connection: keep-alive, Upgrade", upgrade({"Connection": "keep-alive, Upgrade"}))
accepted("Connection: upgrade,keep-alive", upgrade({"Connection": "upgrade,keep-alive"}))
accepted("Connection: UPGRADE", upgrade({"Connection": "UPGRADE"}))
accepted("Connection in two lines", upgrade({"Connection": "keep-alive"}, extra=[("Connection", "Upgrade")]))
accepted("no blank behind the colons", upgrade().replace(b": ", b":"))
accepted("blanks around values", upgrade().replace(b": ", b": \t ").replace(b"\r\nUpgrade: \t websocket",
    b"\r\nUpgrade: \t websocket \t"))
accepted("path and query", upgrade(target="/a/b%20c?x=1&y=%C3%A9"))
accepted("absolute target", upgrade(target="http://localhost/"))
accepted("a cookie of 8000 bytes", upgrade(extra=[("Cookie", "c=" + "x" * 8000)]))
accepted("eighty headers", upgrade(extra=[(f"X-{i}", str(i)) for i in range(80)]))
accepted("as a browser sends it", upgrade({"Connection": "Upgrade"},
                                          extra=[("Pragma", "no-cache"), ("Cache-Control", "no-cache"), (
    "User-Agent", "Mozilla/5.0"), ("Accept-Encoding", "gzip, deflate, br"), ("Accept-Language", "en-US,en;q=0.9")]))
for size in (1, 2, 3, 50):
    accepted(f"sent {size} bytes at a time", upgrade(), chop=size)
accepted("sent a byte at a time over TLS", upgrade(), server="tls", chop=1)


def protocols(*lines):
    return upgrade(extra=[("Sec-WebSocket-Protocol", line) for line in lines])


accepted("subprotocol", protocols("v1.echo"), "v1.echo")
accepted("subprotocols in the server's order", protocols("v1.echo, v2.echo"), "v2.echo")
accepted("subprotocols without blanks", protocols("v1.echo,v2.echo"), "v2.echo")
accepted("subprotocols in two lines", protocols("v1.echo", "v2.echo"), "v2.echo")
accepted("subprotocol among strangers", protocols("soap, wamp, v1.echo, mqtt"), "v1.echo")
accepted("no subprotocol in common", protocols("soap, wamp"))
accepted("subprotocols differ by case", protocols("V1.ECHO"))
accepted("part of a subprotocol's name", protocols("v1.ech, v1.echoo, echo"))
accepted("forty subprotocols", protocols(", ".join(f"p{i}" for i in range(40)) + ", v1.echo"), "v1.echo")

refused("POST", upgrade(method="POST"), 400, 405)
refused("PUT with body", upgrade(method="PUT", extra=[("Content-Length", "1")]) + b"x", 400, 405)
refused("HTTP/1.0", upgrade(version="HTTP/1.0"), 400, 426, 505)
refused("body announced", upgrade(extra=[("Content-Length", "5")]) + b"hello", 400)
refused("chunked body announced", upgrade(extra=[("Transfer-Encoding", "chunked")]) + b"0\r\n\r\n", 400)


def names_version(got):
    assert got.headers.get("sec-websocket-version") == "13", got.raw


for version in ("0", "7", "8", "12", "14", "25", "113", "-13", "13.0", "abc"):
    refused(f"version {version}", upgrade({"Sec-WebSocket-Version": version}), 426, then=names_version)
refused("no version", upgrade(drop=["Sec-WebSocket-Version"]), 426, then=names_version)
refused("no key", upgrade(drop=["Sec-WebSocket-Key"]), 400, words="key")
for why, key in {"empty": "", "short": "c2hvcnQ=", "15 bytes": "MTIzNDU2Nzg5MDEyMzQ1", "17 bytes": "MTIzNDU2Nzg5MDEyMzQ1Njc=",
                 "not base64": "!" * 22 + "==",
                 "24 letters": "A" * 24, "padding first": "==" + "A" * 22, "two keys in one": f"{KEY}, {KEY}"}.items():
    refused(f"key: {why}", upgrade({"Sec-WebSocket-Key": key}), 400, words="key")
refused("two keys", upgrade(extra=[("Sec-WebSocket-Key", KEY)]), 400, words="key")
refused("Connection: close", upgrade({"Connection": "close"}), 400, words="connection")
refused("no Connection", upgrade(drop=["Connection"]), 400, words="connection")
refused("Connection: upgraded", upgrade({"Connection": "upgraded"}), 400, words="connection")
refused("a frame right behind the head", upgrade() + frame(TEXT, "too early"), 400)
refused("a byte right behind the head", upgrade() + b"\x81", 400)
refused("a frame right behind the head over TLS", upgrade() + frame(TEXT, "too early"), 400, server="tls")
refused("no Host", upgrade(host=None), 400)
refused("two Hosts", upgrade(extra=[("Host", "a"), ("Host", "b")]), 400)
refused("head of 17 KiB", upgrade(extra=[("X-Long", "x" * 17000)]), 431)
refused("head of 17 KiB in small headers", upgrade(extra=[(f"X-{i}", "y" * 170) for i in range(95)]), 431)
refused("two hundred headers", upgrade(extra=[(f"X-{i}", "y") for i in range(200)]), 431)
refused("target of 9000 bytes", upgrade(target="/" + "x" * 9000), 414, 431)
refused("blank before a colon", upgrade().replace(b"Sec-WebSocket-Key:", b"Sec-WebSocket-Key :"), 400)
refused("folded header", upgrade(extra=[("X-Fold", "a\r\n b")]), 400)
refused("NUL in a header", upgrade(extra=[("X-Nul", "a\0b")]), 400)


@case("4.2 an ordinary request may follow a refused handshake on a new connection, and the log stays calm")
def _(bench):
    for _ in range(20):
        with bench.raw() as wire:
            wire.send(upgrade(drop=["Sec-WebSocket-Key"]))
            assert Response(wire).status == 400
    bench.still_serves()


@case("4.2 a key without Upgrade is an ordinary request")
def _(bench):
    with bench.raw() as wire:
        wire.send(upgrade(drop=["Upgrade"]))
        got = Response(wire)
        assert got.status in (200, 400, 426), got


@case("4.2 Upgrade: h2c is an ordinary request")
def _(bench):
    with bench.raw() as wire:
        wire.send(head("/", {"Upgrade": "h2c", "Connection": "Upgrade, HTTP2-Settings",
                             "HTTP2-Settings": "AAMAAABkAAQCAAAAAAIAAAAA"}))
        got = Response(wire)
        assert got.status == 200, got


@case("4.2 a handshake after an ordinary request on the same connection")
def _(bench):
    with bench.raw() as wire:
        wire.send(head("/first"))
        assert Response(wire).status == 200
        wire.send(upgrade())
        assert Response(wire).status == 101
        wire.send(frame(TEXT, "x"))
        assert wire.take(3) == b"\x81\x01x"


@case("4.2 a request pipelined with a handshake behind it")
def _(bench):
    with bench.raw() as wire:
        wire.send(head("/first") + upgrade())
        assert Response(wire).status == 200
        assert Response(wire).status == 101
