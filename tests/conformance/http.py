"""HTTP/1.1 (RFC 9110, 9112): what is served, in which order, and everything that must not be understood in two ways."""
from support.wire import Closed, Response, head

from .core import Mismatch, case, short

CRLF = b"\r\n"
LATER = head("/smuggled")


def request(target="/", *lines, method="GET", body=b"", version="HTTP/1.1", host="Host: x"):
    return CRLF.join([f"{method} {target} {version}".encode("latin-1"), *([host.encode()] if host else []), *[
        line if isinstance(line, bytes) else line.encode("latin-1") for line in lines]]) + CRLF * 2 + body


def served(name, data, *, method="GET", status=200, chop=None, server="plain", **fields):
    """One answer with this status whose JSON body has these fields; the connection stays open for another request."""
    @case(f"http served: {name}", server)
    def _(bench):
        with bench.raw() as wire:
            wire.send_chopped(data, chop or len(data))
            got = Response(wire, method)
            have = {k: got.json().get(k) for k in fields} if got.body else {}
            if got.status != status or have != fields:
                raise Mismatch(short(data, 400), f"{status} {fields}", got)
            if got.headers.get("connection", "").lower() == "close":
                wire.expect_eof()
            else:
                wire.send(head("/again"))
                assert Response(wire).json()["path"] == "/again"


def refused(name, data, *status, server="plain"):
    """One answer with one of these statuses and a reason, then the end: nothing that came behind it is answered."""
    @case(f"http refused: {name}", server)
    def _(bench):
        with bench.raw() as wire:
            try:
                wire.send(data)
            except OSError:
                pass
            try:
                got = Response(wire)
            except Closed as why:
                raise Mismatch(short(data, 400), status, why) from None
            if got.status not in status:
                raise Mismatch(short(data, 400), " or ".join(map(str, status)), got)
            assert got.body, f"{got!r} has no reason in its body"
            assert got.headers.get("connection", "").lower() == "close", got.raw
            wire.expect_eof()


def chunks(*parts, trailer=b""):
    return b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in parts) + b"0\r\n" + trailer + CRLF


CHUNKED = "Transfer-Encoding: chunked"

served("GET", request(), path="/", method="GET")
served("GET over TLS", request(), server="tls")
served("query", request("/a?x=1&y=two"), path="/a", x="1", y="two")
served("GET a byte at a time", request("/a"), chop=1)
served("GET with Content-Length: 0", request("/", "Content-Length: 0"), length=0)
served("GET with a body", request("/", "Content-Length: 2", body=b"ab"), length=2)
served("absolute target", request("http://x/abs?q=1"), path="/abs")
served("OPTIONS", request("/", method="OPTIONS"))
served("OPTIONS *", request("*", method="OPTIONS"), status=200)
served("DELETE", request("/", method="DELETE"))
served("a method of one's own", request("/", method="BREW"))
served("header values keep their inner blanks", request("/", "X-A:   a  b\t ",), path="/")
served("Host with a port", request(host="Host: localhost:8080"))
served("empty line before the request", CRLF + request("/a"), path="/a")
for method in ("POST", "PUT", "PATCH"):
    served(f"{method} with Content-Length", request("/", "Content-Length: 5", method=method, body=b"hello"), body="hello")
    served(f"{method} chunked", request("/", CHUNKED, method=method, body=chunks(b"hel", b"lo")), body="hello")
    served(f"{method} without any length has no body", request("/", method=method), length=0)
for size in (1, 2, 5):
    served(f"chunks cut into pieces of {size}", request("/", CHUNKED, method="POST", body=chunks(b"a" * 20, b"b", b"c" * 300)),
           chop=size, length=321)
served("chunked, empty", request("/", CHUNKED, method="POST", body=chunks()), length=0)
served("chunked in capitals", request("/", "Transfer-Encoding: CHUNKED", method="POST", body=chunks(b"x")), length=1)
served("chunk size in capitals and leading zeros", request("/", CHUNKED, method="POST", body=b"000A\r\n0123456789\r\n0\r\n\r\n"),
       length=10)
served("chunk extensions", request("/", CHUNKED, method="POST", body=b'5;a=b;c="d"\r\nhello\r\n0;end\r\n\r\n'), body="hello")
served("trailers", request("/", CHUNKED, method="POST", body=chunks(b"hi", trailer=b"X-Sum: 1\r\nX-More: 2\r\n")), body="hi")
served("a body of 1 MiB", request("/", "Content-Length: 1048576", method="POST", body=b"x" * 1048576), length=1048576)
served("a chunked body of 1 MiB", request("/", CHUNKED, method="POST", body=chunks(*[b"x" * 65536] * 16)), length=1048576)
served("nothing there", request("/none"), status=404)

refused("garbage", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 3 + CRLF * 2, 400)
refused("a line of words", b"hello this is not http\r\n\r\n", 400)
refused("no version", b"GET /\r\n\r\n", 400, 505)
refused("HTTP/2.0", request(version="HTTP/2.0"), 505)
refused("HTTP/3.0", request(version="HTTP/3.0"), 505)
refused("HTTP/0.9", request(version="HTTP/0.9"), 505, 400)
refused("the HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, 400)
refused("version in lower case", request(version="http/1.1"), 400, 505)
refused("version with more digits", request(version="HTTP/1.10"), 400, 505)
refused("no minor version", request(version="HTTP/1"), 400, 505)
refused("two blanks in the request line", request(" /"), 400)
refused("a tab in the request line", b"GET\t/ HTTP/1.1\r\nHost: x\r\n\r\n", 400)
refused("a blank behind the version", request(version="HTTP/1.1 "), 400, 505)
refused("a blank in the target", request("/a b"), 400, 505)
refused("a control character in the target", request("/a\x01"), 400)
refused("a NUL in the target", request("/a\0b"), 400)
refused("a target that is no path", request("a/b"), 400)
refused("an asterisk for GET", request("*"), 400)
refused("CONNECT", request("x:443", method="CONNECT"), 400, 405, 501)
refused("a method with a bracket", request(method="GE(T"), 400)
refused("no method", b" / HTTP/1.1\r\nHost: x\r\n\r\n", 400)
refused("no Host", request(host=None), 400)
refused("two Hosts", request("/", "Host: y"), 400)
refused("two equal Hosts", request("/", "Host: x"), 400)
refused("line feeds alone", b"GET / HTTP/1.1\nHost: x\n\n", 400)
refused("one line feed alone", b"GET / HTTP/1.1\r\nHost: x\nX: y\r\n\r\n", 400)
refused("a carriage return alone", request("/", "X: a\rb"), 400)
refused("a header without colon", request("/", "Header"), 400)
refused("an empty header name", request("/", ": value"), 400)
refused("a blank before the colon", request("/", "X : y"), 400)
refused("a blank in a name", request("/", "X Y: z"), 400)
refused("a name with a bracket", request("/", "X(Y): z"), 400)
refused("a folded header", request("/", "X: a", " b"), 400)
refused("a folded first header", b"GET / HTTP/1.1\r\n Host: x\r\n\r\n", 400)
refused("a NUL in a value", request("/", "X: a\0b"), 400)
refused("a control character in a value", request("/", "X: a\x07b"), 400)
refused("a DEL in a value", request("/", "X: a\x7fb"), 400)
refused("target of 9000 bytes", request("/" + "x" * 9000), 414)
refused("head of 17 KiB", request("/", "X: " + "x" * 17000), 431)
refused("an endless head", b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: " + b"x" * 200000, 431)
refused("an endless request line", b"GET /" + b"x" * 200000, 414, 431, 400)
refused("101 headers", request("/", *[f"X-{i}: y" for i in range(101)]), 431)
for value in ("abc", "-1", "+1", "1.0", "0x10", "1 1", "1,1", "1, 2", "", "18446744073709551616", "99999999999999999999",
              "1\x0b", "٣".encode().decode("latin-1")):
    refused(f"Content-Length: {value!a}", request("/", f"Content-Length: {value}", method="POST", body=b"x"), 400,
            *([413] if value.isdigit() and len(value) > 5 else []))
refused("two Content-Lengths that differ", request("/", "Content-Length: 1", "Content-Length: 2", method="POST", body=b"xx"), 400)
refused("two equal Content-Lengths", request("/", "Content-Length: 1", "Content-Length: 1", method="POST", body=b"x"), 400)
refused("body announced over 1 MiB", request("/", "Content-Length: 1048577", method="POST"), 413)
refused("body announced of 2^63", request("/", "Content-Length: 9223372036854775808", method="POST"), 413, 400)
refused("chunked body over 1 MiB", request("/", CHUNKED, method="POST", body=chunks(*[b"x" * 65536] * 17)), 413)
refused("one chunk over 1 MiB", request("/", CHUNKED, method="POST", body=b"200000\r\n"), 413)
refused("Transfer-Encoding: gzip", request("/", "Transfer-Encoding: gzip", method="POST"), 501)
refused("Transfer-Encoding: gzip, chunked", request("/", "Transfer-Encoding: gzip, chunked", method="POST", body=chunks(b"x")),
        501)
refused("Transfer-Encoding: identity", request("/", "Transfer-Encoding: identity", method="POST"), 501, 400)

# Requests that two servers in a row could cut differently. LATER must never be answered.
for why, lines in {
    "Content-Length and chunked": ["Content-Length: 4", CHUNKED], "chunked and Content-Length": [CHUNKED, "Content-Length: 4"],
    "chunked, gzip": ["Transfer-Encoding: chunked, gzip"], "chunked twice": ["Transfer-Encoding: chunked, chunked"],
    "chunked in two lines": [CHUNKED, CHUNKED], "chunked, identity in two lines": [CHUNKED, "Transfer-Encoding: identity"],
    "xchunked": ["Transfer-Encoding: xchunked"], "vertical tab before chunked": ["Transfer-Encoding: \x0bchunked"],
    "chunked in quotes": ['Transfer-Encoding: "chunked"'], "blank before the colon": ["Transfer-Encoding : chunked"],
    "chunked; q=1": ["Transfer-Encoding: chunked; q=1"], "empty Transfer-Encoding": ["Transfer-Encoding: "],
    "blank before Content-Length's colon": ["Content-Length : 4"], "folded Transfer-Encoding": ["Transfer-Encoding:", " chunked"],
}.items():
    refused(f"smuggling: {why}", request("/", *lines, method="POST", body=b"0\r\n\r\n" + LATER), 400, 501)
refused("smuggling: chunked in HTTP/1.0", request("/", CHUNKED, method="POST", version="HTTP/1.0", body=b"0\r\n\r\n" + LATER),
        400, 501)
for why, body in {
    "size is no number": b"xyz\r\n", "negative size": b"-1\r\n", "0x in the size": b"0x5\r\nhello\r\n",
    "blank before the size": b" 5\r\nhello\r\n",
    "size too large for 64 bits": b"10000000000000000\r\n", "no line end behind the data": b"5\r\nhelloXX0\r\n\r\n",
    "line feed alone behind the size": b"5\nhello\r\n0\r\n\r\n",
    "line feed alone behind the data": b"5\r\nhello\n0\r\n\r\n",
    "carriage return alone in an extension": b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    "NUL in an extension": b"5;a\0b\r\nhello\r\n0\r\n\r\n", "endless extension": b"5;" + b"x" * 20000,
    "endless size": b"0" * 20000, "empty size": b"\r\n\r\n", "endless trailers": b"0\r\n" + b"X-T: yyyyyyyyyyyyyyyy\r\n" * 2000,
}.items():
    refused(f"chunks: {why}", request("/", CHUNKED, method="POST", body=body) + LATER, 400, 413, 431)


@case("http HEAD has the length of GET and no body")
def _(bench):
    with bench.raw() as wire:
        wire.send(request("/x") + request("/x", method="HEAD") + request("/last"))
        get = Response(wire)
        got = Response(wire, "HEAD")
        assert got.status == 200 and abs(int(got.headers["content-length"]) - int(get.headers["content-length"])) <= 1, got.raw
        assert Response(wire).json()["path"] == "/last"


@case("http every answer has a date")
def _(bench):
    with bench.raw() as wire:
        wire.send(request())
        assert Response(wire).headers["date"].endswith(" GMT")


for count in (2, 10, 100):
    @case(f"http {count} requests at once are answered in order")
    def _(bench, count=count):
        with bench.raw() as wire:
            wire.send(b"".join(request(f"/{i}", f"Content-Length: {i}", method="POST", body=b"x" * i) for i in range(count)))
            for i in range(count):
                got = Response(wire).json()
                assert (got["path"], got["length"]) == (f"/{i}", i), got


@case("http requests at once, cut into pieces of 7")
def _(bench):
    with bench.raw() as wire:
        wire.send_chopped(b"".join(request(f"/{i}", CHUNKED, method="POST", body=chunks(b"ab", b"c" * i)) for i in range(1, 21)),
                          7)
        for i in range(1, 21):
            got = Response(wire).json()
            assert (got["path"], got["length"]) == (f"/{i}", i + 2), got


@case("http a bad request behind good ones: they are answered, then 400, then the end")
def _(bench):
    with bench.raw() as wire:
        wire.send(request("/1") + request("/2") + b"BAD\r\n\r\n" + LATER)
        assert [Response(wire).status for _ in range(3)] == [200, 200, 400]
        wire.expect_eof()


@case("http Connection: close ends after the answer")
def _(bench):
    with bench.raw() as wire:
        wire.send(request("/1", "Connection: close") + LATER)
        got = Response(wire)
        assert got.status == 200 and got.headers["connection"].lower() == "close", got.raw
        wire.expect_eof()


@case("http/1.0 ends after the answer")
def _(bench):
    with bench.raw() as wire:
        wire.send(request("/1", version="HTTP/1.0", host=None))
        got = Response(wire)
        assert got.status == 200, got
        wire.expect_eof()


@case("http/1.0 with keep-alive goes on")
def _(bench):
    with bench.raw() as wire:
        for i in range(2):
            wire.send(request(f"/{i}", "Connection: keep-alive", version="HTTP/1.0", host=None))
            got = Response(wire)
            assert got.status == 200 and got.headers["connection"].lower() == "keep-alive", got.raw


@case("http Expect: 100-continue, then the body")
def _(bench):
    with bench.raw() as wire:
        wire.send(request("/", "Expect: 100-continue", "Content-Length: 5", method="POST"))
        assert Response(wire).status == 100
        wire.send(b"hello")
        assert Response(wire).json()["body"] == "hello"


@case("http Expect: 100-continue with a body that is too large is refused before it is sent")
def _(bench):
    with bench.raw() as wire:
        wire.send(request("/", "Expect: 100-continue", "Content-Length: 99999999", method="POST"))
        assert Response(wire).status == 413
        wire.expect_eof()


@case("http Expect of something else is refused or passed over")
def _(bench):
    with bench.raw() as wire:
        wire.send(request("/", "Expect: tea", "Content-Length: 1", method="POST", body=b"x"))
        assert Response(wire).status in (200, 417)


@case("http a streamed answer comes in chunks and the connection goes on")
def _(bench):
    with bench.raw() as wire:
        wire.send(request("/stream") + request("/after"))
        got = Response(wire)
        assert got.headers.get("transfer-encoding") == "chunked" and got.body == b"piece 1\npiece 2\npiece 3\n", got
        assert Response(wire).json()["path"] == "/after"


@case("http/1.0 gets a streamed answer that ends with the connection")
def _(bench):
    with bench.raw() as wire:
        wire.send(request("/stream", version="HTTP/1.0", host=None))
        got = Response(wire)
        assert "transfer-encoding" not in got.headers and got.body == b"piece 1\npiece 2\npiece 3\n", got


@case("http HEAD of a streamed answer has no body")
def _(bench):
    with bench.raw() as wire:
        wire.send(request("/stream", method="HEAD") + request("/after"))
        assert Response(wire, "HEAD").status == 200
        assert Response(wire).json()["path"] == "/after"


for size in (1, 20, 60):
    @case(f"http client goes after {size} bytes of a request")
    def _(bench, size=size):
        with bench.raw() as wire:
            wire.send(request("/", "Content-Length: 50", method="POST", body=b"x" * 20)[:size])
        bench.still_serves()


@case("http client goes before it reads the answer")
def _(bench):
    with bench.raw() as wire:
        wire.send(request() * 50)
        wire.reset()
    bench.still_serves()


@case("http TLS client hello on a plain port")
def _(bench):
    with bench.raw() as wire:
        wire.send(bytes.fromhex("160301020001000001fc0303") + bytes(500))
        try:
            wire.take_eof()
        except OSError:
            pass
    bench.still_serves()


@case("http plain request on a TLS port", server="tls")
def _(bench):
    with bench.raw(tls=False) as wire:
        wire.send(request())
        try:
            wire.take_eof()
        except OSError:
            pass
    bench.still_serves()
