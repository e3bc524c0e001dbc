"""Behind a real nginx and a real HAProxy, with TLS on either side: everything works, and the client is who the proxy says. And what
comes to a listener for proxies without being one is closed."""
import os
import signal
import struct
import threading
from urllib.parse import urlsplit

import pytest
from support import front
from support.backend import free_port
from support.control import status
from support.server import refuses
from support.wire import CLOSE, PING, PONG, Closed, Refused, Response, Socket, Wire, fetch, frame, head

APP = """
local tide = require "moontide"
local app = { on = {} }
function app.on_connect(req) return { user = req.query.name } end
function app.on_open(conn)
  conn:join "room"
  conn:send { type = "you", ip = conn.ip }
end
function app.on.say(conn, msg) tide.room("room"):send { type = "said", from = conn.user, text = msg.text } end
function app.on.leave(conn, msg) conn:close(msg.code, msg.reason) end
function app.on.version() return VERSION end
function app.on_message(conn, text) conn:send(text) end
function app.on_binary(conn, bytes) conn:send_binary(bytes) end
function app.on_close(conn, code, reason) tide.log.info("over", { code = code, reason = reason }) end
function app.on_http(req)
  if req.path == "/hidden" then tide.log.info("asked for what is hidden", { ip = req.ip }) end
  return 200, { ip = req.ip, tls = req.tls and true or false, body = #req.body }
end
return app
"""
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
ANN, BOB = "127.0.0.7", "127.0.0.8"  # where clients connect from
NAMED = b"PROXY TCP4 203.0.113.9 192.0.2.1 56324 443\r\n"


def app(version=1):
    return APP.replace("VERSION", str(version))


def v2(command, family, rest=b""):
    return SIGNATURE + bytes([0x20 | command, family]) + struct.pack(">H", len(rest)) + rest


@pytest.fixture(scope="module")
def pair(authority):
    """(chain, key) for the names that the tests use."""
    return authority.issue("behind", "localhost", "127.0.0.1")


@pytest.fixture
def behind(serve, pair, tmp_path):
    """behind(proxied=False, tls=False, unix=False, **options) -> Server whose last listener is for a proxy, which is 127.0.0.1 or
    comes by a unix socket; in front of it one for all, so that the control socket has a port in its name."""
    def start(proxied=False, tls=False, unix=False, **options):
        last = f"unix:{tmp_path}/sock" if unix else f"{'https' if tls else 'http'}://127.0.0.1:0"
        flags = ["--tls", f"{pair[0]},{pair[1]}"] if tls else []
        settings = {"proxies": "unix" if unix else "127.0.0.1", "limits.message": "4m", "limits.outbox": "16m", **options.pop("settings", {})}
        settings = {key: value for key, value in settings.items() if value is not None}
        listen = ["http://127.0.0.1:0", ("proxy+" if proxied else "") + last]
        return serve(app(), *flags, *options.pop("flags", []), listen=listen, settings=settings, **options)
    return start


def inner(server):
    """(host, port) of the last listener."""
    parts = urlsplit(server.urls[-1].removeprefix("proxy+"))
    return parts.hostname, parts.port


@pytest.fixture
def fronts(tmp_path):
    """fronts(make, text, *ports) -> Front, stopped at the end."""
    running = []

    def start(make, text, *ports):
        running.append(make(tmp_path / f"front{len(running)}", text, ports))
        return running[-1].start()

    yield start
    for one in running:
        one.stop()


# ---- the ways to put a proxy in front ----

def nginx_site(port, server, client_tls, server_tls, pair):
    tls = f"ssl_certificate {pair[0]}; ssl_certificate_key {pair[1]};" if client_tls else ""
    target = f"unix:{urlsplit(server.urls[-1]).path}" if server.urls[-1].startswith("unix:") else "%s:%d" % inner(server)
    return f"""
    map $http_upgrade $connection_upgrade {{ default upgrade; "" ""; }}
    upstream moontide {{ server {target}; keepalive 8; }}
    server {{
      listen 127.0.0.1:{port} {'ssl' if client_tls else ''}; {tls}
      location / {{
        proxy_pass {'https' if server_tls else 'http'}://moontide;
        proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade; proxy_set_header Host $http_host;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Real-IP $remote_addr;
        proxy_set_header X-Forwarded-Proto $scheme;
        client_max_body_size 8m;
      }}
    }}"""


HAPROXY = """
global
  maxconn 4000
defaults
  mode {mode}
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout tunnel 60s
frontend f
  bind 127.0.0.1:{port} {bind}
  {rules}
  default_backend b
backend b
  server s {target} {options}
"""


def haproxy_text(port, server, mode, options, client_tls=None, server_tls=False, rules=""):
    return HAPROXY.format(mode=mode, port=port, bind=f"ssl crt {client_tls}" if client_tls else "", rules=rules,
                          target="%s:%d" % inner(server), options=options + (" ssl verify none" if server_tls else ""))


def both(pair, folder):
    """One file with certificate and key, as HAProxy wants them."""
    path = folder / "both.pem"
    path.write_text(pair[0].read_text() + pair[1].read_text())
    return path


FORWARDED = "option forwardfor\n  http-request del-header X-Real-IP\n  http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]"
WAYS = {  # how HAProxy tells who the client is: mode, options of the server line, rules of the frontend
    "haproxy-http": ("http", "", FORWARDED),
    "haproxy-v1": ("http", "send-proxy", ""),
    "haproxy-v2": ("http", "send-proxy-v2", ""),
    "haproxy-v2-ssl": ("http", "send-proxy-v2-ssl proxy-v2-options crc32c,unique-id", "unique-id-format %[uuid()]"),
    "haproxy-tcp-v1": ("tcp", "send-proxy", ""),
    "haproxy-tcp-v2": ("tcp", "send-proxy-v2 check inter 100ms", ""),
}


class Place:
    """Where clients connect: in front of a server."""

    def __init__(self, server, port, tls):
        self.server, self.address, self.tls = server, ("127.0.0.1", port), tls
        self.host = f"localhost:{port}"
        self.origin = f"{'https' if tls else 'http'}://{self.host}"

    def connect(self, target="/", source=ANN, **options):
        return Socket(self.address, target, host=self.host, tls=self.tls, source=source, **options)

    def fetch(self, target="/", source=ANN, headers=None, **options):
        return fetch(self.address, target, headers={"Host": self.host, **(headers or {})}, tls=self.tls, source=source, **options)


@pytest.fixture
def place(behind, fronts, pair, authority, tmp_path):
    """place(way, client_tls, server_tls, **options of behind) -> Place."""
    def make(way, client_tls=False, server_tls=False, **options):
        port = free_port()
        proxied = way not in ("nginx", "haproxy-http")
        passes = way == "passthrough"  # TLS of the client ends at the server
        server = behind(proxied, server_tls or passes, **options)
        if way == "nginx":
            fronts(front.nginx, nginx_site(port, server, client_tls, server_tls, pair), port)
        else:
            mode, words, rules = WAYS["haproxy-tcp-v2" if passes else way]
            crt = both(pair, tmp_path) if client_tls and not passes else None
            fronts(front.haproxy, haproxy_text(port, server, mode, words, crt, server_tls and not passes, rules), port)
        return Place(server, port, authority.client() if client_tls else None)
    return make


# ---- everything works, and the client is who it is ----

def check_requests(there):
    assert there.fetch("/").json()["ip"] == ANN
    assert there.fetch("/", source=BOB).json()["ip"] == BOB
    body = os.urandom(500000)
    assert there.fetch("/", method="POST", body=body).json() == {"ip": ANN, "tls": there.fetch("/").json()["tls"], "body": len(body)}
    with Wire(there.address, tls=there.tls, source=ANN) as wire:  # several requests on one connection
        for _ in range(3):
            wire.send(head("/", host=there.host))
            assert Response(wire).json()["ip"] == ANN


def check_chat(there):
    with there.connect("/?name=ann") as ann, there.connect("/?name=bob", source=BOB) as bob:
        ann.expect(type="you", ip=ANN)
        bob.expect(type="you", ip=BOB)
        for name, ws in (("ann", ann), ("bob", bob)):
            ws.text({"type": "say", "text": f"hello from {name} ✓"})
            for each in (ann, bob):
                each.expect(type="said", **{"from": name, "text": f"hello from {name} ✓"})
        ann.bye()
        bob.bye()


def check_messages(there):
    with there.connect() as ws:
        ws.expect(type="you")
        for size in (0, 1, 125, 126, 65535, 65536, 1 << 20, 3 << 20):
            data = os.urandom(size)
            ws.binary(data)
            assert ws.data() == data
        text = "äöü" * 300000
        ws.text(text)
        assert ws.data() == text
        for n in range(1000):  # many at once keep their order
            ws.text(str(n))
        for n in range(1000):
            ws.expect(str(n))
        ws.ping(b"are you there")
        assert ws.frame()[:2] == (PONG, b"are you there")
        ws.bye()


def check_closes(there):
    with there.connect() as ws:
        ws.expect(type="you")
        ws.text({"type": "leave", "code": 4002, "reason": "enough"})
        ws.expect_close(4002, "enough")
    with there.connect() as ws:
        ws.expect(type="you")
        since = len(there.server.log)
        ws.close(4003, "bye now")
        got = ws.frame()
        assert got.op == CLOSE and got.code == 4003
        there.server.log.wait(r"over.*code=4003.*reason=.?bye now", since=since)
    since = len(there.server.log)
    with there.connect() as ws:
        ws.expect(type="you")
        ws.reset()
    there.server.log.wait(r"over.*code=1006", since=since)


def check_origins(there):
    with there.connect(headers={"Origin": there.origin}) as ws:
        ws.expect(type="you", ip=ANN)
    refuse_origins(there)


def refuse_origins(there, *more):
    foreign = [*more, "https://evil.example", f"https://{there.host}.evil.example", f"{there.origin}0", "null"]
    for origin in foreign:
        with pytest.raises(Refused) as why:
            there.connect(headers={"Origin": origin})
        assert why.value.status == 403


def check_lies(there):
    """What a client writes about itself is not believed."""
    assert there.fetch("/", headers={"X-Forwarded-For": "198.51.100.1"}).json()["ip"] == ANN
    assert there.fetch("/", headers={"X-Forwarded-For": "198.51.100.1, 127.0.0.1"}).json()["ip"] == ANN
    lies = {"X-Forwarded-For": "198.51.100.1", "X-Real-IP": "198.51.100.1", "Forwarded": "for=198.51.100.1"}
    with there.connect(headers=lies) as ws:
        ws.expect(type="you", ip=ANN)


# ---- where a request ends: the proxy and the server have to agree ----

HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKED = b"0\r\n\r\n" + HIDDEN
LAST = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def smuggle(lines, body, line=b"POST / HTTP/1.1"):
    """`lines` with {} for the length of the body; {-} leaves the hidden request out of it."""
    lines = lines.replace(b"{}", b"%d" % len(body)).replace(b"{-}", b"%d" % (len(body) - len(HIDDEN)))
    return line + b"\r\nHost: a\r\n" + lines + b"\r\n\r\n" + body


CODED = [b"Transfer-Encoding: chunked", b"Transfer-Encoding:\tchunked", b"Transfer-Encoding : chunked", b"Transfer-Encoding:\x0bchunked",
         b" Transfer-Encoding: chunked", b"X: y\r\n Transfer-Encoding: chunked", b"X: y\nTransfer-Encoding: chunked",
         b"X: y\rTransfer-Encoding: chunked", b"Transfer-Encoding: xchunked", b"Transfer-Encoding: chunked, identity",
         b"Transfer-Encoding: identity, chunked", b"Transfer-Encoding: ,chunked", b"Transfer-Encoding: \"chunked\"",
         b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x", b"Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
         b"Transfer-Encoding: CHUNKED", b"Transfer_Encoding: chunked", b"Transfer-Encoding: chunked;a=b", b"TE: chunked\r\nConnection: TE"]
LENGTHS = [b"Content-Length: 0\r\nContent-Length: {}", b"Content-Length: {}\r\nContent-Length: 0", b"Content-Length: 0, {}",
           b"Content-Length: +{}", b"Content-Length: 0{}", b"Content-Length: {} ", b"Content-Length: 0x1", b"Content-Length: -1",
           b"Content-Length: 18446744073709551616", b"Content_Length: {}", b"Content-Length : {}", b"Content-Length:\x0b{}"]
CHUNKS = [b"0;a\nb\r\n\r\n", b"0 \r\n\r\n", b"0\n\r\n", b"0\r\r\n\r\n", b"00000000000000000\r\n\r\n", b"10000000000000000\r\n\r\n",
          b"0x0\r\n\r\n", b"-0\r\n\r\n", b"1\r\nxx\r\n0\r\n\r\n", b"1\r\nx\n0\r\n\r\n", b"0\r\nTransfer-Encoding: x\r\n\r\n",
          b"0\r\nX: y\n\r\n", b"2;\nxx\r\n45\r\n0\r\n\r\n"]
UPGRADE = b"Connection: Upgrade\r\nUpgrade: %s\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: %s"
SMUGGLED = [
    *(smuggle(coding + b"\r\nContent-Length: {}", CHUNKED) for coding in CODED),
    *(smuggle(b"Content-Length: {-}\r\n" + coding, CHUNKED) for coding in CODED),
    *(smuggle(coding, CHUNKED, b"POST / HTTP/1.0") for coding in CODED[:2]),
    *(smuggle(length, HIDDEN) for length in LENGTHS), *(smuggle(b"Transfer-Encoding: chunked", chunks + HIDDEN) for chunks in CHUNKS),
    *(smuggle(UPGRADE % how, HIDDEN, b"GET / HTTP/1.1") for how in ((b"websocket", b"12"), (b"h2c", b"13"), (b"WebSocket, h2c", b"13"))),
    smuggle(UPGRADE % (b"websocket", b"13") + b"\r\nContent-Length: {}", HIDDEN), smuggle(b"Expect: 100-continue\r\nContent-Length: {}", HIDDEN),
]


@pytest.mark.parametrize("way", ["nginx", "haproxy-http"])
def test_no_request_hides_in_another(place, way):
    """Whatever a client sends, no request reaches the server that the proxy has not seen as one: it would have no client's address."""
    there = place(way)
    for data in SMUGGLED:
        with Wire(there.address, source=ANN) as wire:
            wire.send(data + LAST)
            try:
                wire.take_eof()
            except ConnectionResetError:
                pass
        for _ in range(2):  # and the connections that the proxy has kept carry what they should
            assert there.fetch("/", source=BOB).json() == {"ip": BOB, "tls": False, "body": 0}, data
    asked = [line for line in there.server.log.lines if "asked for what is hidden" in line]
    assert asked and all(f"ip={ANN}" in line for line in asked), asked  # some proxies take them for the next request, which is fine


@pytest.mark.parametrize("server_tls", [False, True], ids=["plain-inside", "tls-inside"])
@pytest.mark.parametrize("client_tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("way", ["nginx", *WAYS])
def test_everything_works(place, way, client_tls, server_tls):
    there = place(way, client_tls, server_tls)
    check_requests(there)
    check_chat(there)
    check_messages(there)
    check_closes(there)
    if server_tls and not client_tls and way not in ("nginx", "haproxy-http"):
        refuse_origins(there, there.origin)  # TLS shows here, and no PROXY header can say that there was none in front of it
    else:
        check_origins(there)
    check_lies(there)
    assert status(there.server)["net"]["proxy_refused"] == 0, there.server.log.text()


def test_tls_passes_through_to_the_server(place):
    there = place("passthrough", client_tls=True)
    assert there.fetch("/").json() == {"ip": ANN, "tls": True, "body": 0}
    check_chat(there)
    check_messages(there)
    check_closes(there)
    check_origins(there)
    check_lies(there)


def test_nginx_over_a_unix_socket(place):
    there = place("nginx", client_tls=True, unix=True)
    check_requests(there)
    check_chat(there)
    check_origins(there)
    check_lies(there)


@pytest.mark.parametrize("way", ["nginx", "haproxy-v2-ssl"])
def test_a_page_of_http_may_not_use_a_site_of_https(place, way):
    """TLS has ended at the proxy, which says so: in X-Forwarded-Proto, or in its PROXY header."""
    there = place(way, client_tls=True)
    with pytest.raises(Refused) as why:
        there.connect(headers={"Origin": there.origin.replace("https", "http")})
    assert why.value.status == 403


@pytest.mark.parametrize("way", ["nginx", "haproxy-v2"])
def test_pings_of_the_server_pass(place, way):
    there = place(way, client_tls=True, settings={"ping.interval": "0.2s", "ping.timeout": "1s"})
    with there.connect() as ws:
        ws.expect(type="you")
        for _ in range(3):
            got = ws.frame()
            assert got.op == PING
            ws.send(frame(PONG, got.payload))
        ws.text("still here")
        ws.expect("still here")
    since = len(there.server.log)
    with there.connect() as ws:  # does not answer: the server ends it, and the client hears the end through the proxy
        ws.expect(type="you")
        there.server.log.wait(r"over.*code=1006", since=since)
        with pytest.raises(Closed):
            while True:
                ws.frame()


# ---- many, and a reload among them ----

@pytest.mark.parametrize("way", ["nginx", "haproxy-v2"])
def test_many_connections_and_a_reload_of_the_script(place, way, until):
    there = place(way, client_tls=True)
    sources = [f"127.0.0.{n}" for n in range(10, 20)]
    many = [there.connect(f"/?name=n{n}", source=sources[n % 10]) for n in range(150)]
    try:
        for n, ws in enumerate(many):
            ws.expect(type="you", ip=sources[n % 10])
        many[0].text({"type": "say", "text": "before"})
        for ws in many:
            ws.expect(type="said", text="before", **{"from": "n0"})
        there.server.script.write_text(app(2))
        there.server.signal(signal.SIGHUP)

        def live():
            many[0].text({"type": "version", "id": 1})
            return many[0].json()["data"] == 2
        until(live, what="the new version")
        many[1].text({"type": "say", "text": "after"})
        for ws in many:
            ws.expect(type="said", text="after", **{"from": "n1"})
        for ws in many:
            ws.close(1000)
        for ws in many:
            got = ws.frame()
            assert got.op == CLOSE and got.code == 1000
    finally:
        for ws in many:
            ws.close_socket()


def test_proxies_change_at_a_reload(behind, tmp_path, until):
    conf = tmp_path / "moontide.conf.lua"

    def say(proxies):
        conf.write_text("return { proxies = { %s } }" % ", ".join(f'"{p}"' for p in proxies))
    say(["127.0.0.5"])
    server = behind(True, settings={"proxies": None}, flags=["--config", conf])
    old = Socket(inner(server), source="127.0.0.5", preface=NAMED)
    old.expect(type="you", ip="203.0.113.9")
    assert_closed(inner(server), NAMED, source="127.0.0.6")
    say(["127.0.0.6"])
    server.signal(signal.SIGHUP)
    until(lambda: is_served(inner(server), "127.0.0.6"), what="the new proxy")
    assert_closed(inner(server), NAMED, source="127.0.0.5")
    old.text("still open")
    old.expect("still open")
    old.bye()
    since = len(server.log)
    say([])
    server.signal(signal.SIGHUP)
    server.log.wait("for proxies only", since=since)
    assert is_served(inner(server), "127.0.0.6"), "what it had goes on"


# ---- without a proxy: what is refused ----

def assert_closed(address, data, **options):
    """The server closes without a word."""
    with Wire(address, preface=data, **options) as wire:
        try:
            assert wire.take_eof() == b""
        except ConnectionResetError:
            pass


def is_served(address, source):
    with Wire(address, source=source, preface=NAMED) as wire:
        try:
            wire.send(head("/"))
            return Response(wire).json()["ip"] == "203.0.113.9"
        except (Closed, ConnectionResetError, BrokenPipeError):
            return False


WRONG = {
    "no header": head("/"), "a line that is none": b"PROXY TCP4 1.2.3.4\r\n" + head("/"), "no CR": b"PROXY UNKNOWN\n" + head("/"),
    "a hidden second one": b"PROXY UNKNOWN " + b"x" * 200 + b"\r\n", "version 3": SIGNATURE + b"\x31\x11\0\0",
    "cut addresses": v2(1, 0x11, b"12345678"), "a wrong checksum": v2(1, 0x11, bytes(12) + b"\3\0\4\1\2\3\4"),
    "TLS at once": b"\x16\x03\x01\x02\0\1\0", "far too long": SIGNATURE + b"\x21\x11\xff\xff",
}


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_what_begins_with_no_header_is_closed(behind, tls):
    server = behind(True, tls)
    for name, data in WRONG.items():
        assert_closed(inner(server), data), name
    server.log.wait("proxy\\+ listener closed a connection.*begins with no PROXY header.*peer=127.0.0.1")
    assert status(server)["net"]["proxy_refused"] == len(WRONG)
    assert status(server)["now"]["connections"] == 0


def test_who_is_no_proxy_is_closed(behind):
    server = behind(True)
    assert_closed(inner(server), NAMED + head("/"), source="127.0.0.9")
    server.log.wait("comes from no address in `proxies`.*peer=127.0.0.9")
    assert status(server)["net"]["proxy_refused"] == 1
    assert is_served(inner(server), "127.0.0.1")


def test_a_header_counts_once_and_only_where_it_is_wanted(behind):
    server = behind(True)
    with Wire(inner(server), preface=NAMED + NAMED) as wire:
        wire.send(head("/"))
        assert Response(wire).status == 400
    with Wire(server.address, preface=NAMED) as wire:  # the other listener
        wire.send(head("/"))
        assert Response(wire).status == 400


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("header,ip", [
    (NAMED, "203.0.113.9"), (b"PROXY TCP6 2001:db8::7 ::1 1 2\r\n", "2001:db8::7"), (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
    (v2(1, 0x21, bytes.fromhex("20010db8000000000000000000000007") + bytes(20)), "2001:db8::7"), (v2(0, 0), "127.0.0.1"),
    (v2(1, 0x31, bytes(216)), "127.0.0.1")], ids=["v1", "v1-6", "unknown", "v2-6", "local", "unix"])
def test_headers_in_front_of_all(behind, authority, tls, header, ip):
    server = behind(True, tls)
    context = authority.client() if tls else None
    assert fetch(inner(server), preface=header, tls=context).json() == {"ip": ip, "tls": tls, "body": 0}
    with Socket(inner(server), preface=header, tls=context) as ws:
        ws.expect(type="you", ip=ip)
        ws.bye()


def test_headers_of_a_request_count_behind_a_local_one_only(behind):
    """A proxy that does not say who its client is hands on what that client wrote. With LOCAL it speaks for itself."""
    server = behind(True)
    said = {"X-Forwarded-For": "198.51.100.1"}
    for header, ip in ((v2(0, 0), "198.51.100.1"), (b"PROXY UNKNOWN\r\n", "127.0.0.1"), (v2(1, 0), "127.0.0.1"),
                       (v2(1, 0x31, bytes(216)), "127.0.0.1"), (NAMED, "203.0.113.9")):
        assert fetch(inner(server), preface=header, headers=said).json()["ip"] == ip
    chain = b"PROXY TCP4 127.0.0.1 192.0.2.1 1 2\r\n"  # its client is a proxy too
    assert fetch(inner(server), preface=chain, headers=said).json()["ip"] == "198.51.100.1"


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", v2(1, 0), v2(1, 0x31, bytes(216))], ids=["v1", "v2", "unix"])
@pytest.mark.parametrize("unix", [False, True], ids=["tcp", "unix"])
def test_a_client_that_the_proxy_does_not_tell_has_limits(behind, unix, header):
    """The address that is left is of this machine, and the client need not be."""
    server = behind(True, unix=unix, settings={"limits.rate.handshakes": "4/h burst 2"})
    address = urlsplit(server.urls[-1].removeprefix("proxy+unix:")).path if unix else inner(server)
    for _ in range(2):
        with Socket(address, preface=header) as ws:
            ws.expect(type="you", ip="unix" if unix else "127.0.0.1")
            ws.bye()
    with pytest.raises(Refused) as why:
        Socket(address, preface=header)
    assert why.value.status == 429
    with Socket(address, preface=v2(0, 0)) as ws:  # the proxy itself
        ws.bye()


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_full_server_says_so_behind_a_header(behind, authority, tls, until):
    """What waits in line is not read. When its time is over, the header is, and then the request is answered."""
    server = behind(True, tls, settings={"limits.connections": 1, "limits.wait": "0.2s"})
    context = authority.client() if tls else None
    with Socket(inner(server), preface=NAMED, tls=context) as ws:
        ws.expect(type="you", ip="203.0.113.9")
        for _ in range(3):
            got = fetch(inner(server), preface=NAMED, tls=context)
            assert got.status == 503 and got.headers["retry-after"] == "1", got
            with pytest.raises(Refused) as why:
                Socket(inner(server), preface=v2(1, 0x11, bytes(12)), tls=context)
            assert why.value.status == 503
        assert_closed(inner(server), head("/"))  # no header, no answer
        assert_closed(inner(server), NAMED + head("/"), source="127.0.0.9")
        net = status(server)["net"]
        assert net["unserved"] == 8 and net["proxy_refused"] == 2, net
        ws.bye()
    until(lambda: status(server)["now"]["connections"] == 0, what="the end of all")
    with Socket(inner(server), preface=NAMED, tls=context) as ws:  # whoever was refused has taken no place along
        ws.bye()


@pytest.mark.parametrize("way", ["nginx", "haproxy-v2"])
def test_a_full_server_says_so_through_a_proxy(place, way):
    there = place(way, settings={"limits.connections": 1, "limits.wait": "0.2s"})
    with there.connect() as ws:
        ws.expect(type="you", ip=ANN)
        got = there.fetch("/", source=BOB)
        assert got.status == 503 and got.headers["retry-after"] == "1", got
        ws.bye()


def test_the_client_behind_the_header_is_allowed_or_not(behind):
    server = behind(True, settings={"deny": "203.0.113.0/24"})
    assert_closed(inner(server), NAMED)
    assert fetch(inner(server), preface=NAMED.replace(b"113", b"112")).json()["ip"] == "203.0.112.9"
    server = behind(True, settings={"allow": "203.0.113.0/24"})  # the proxy need not be allowed, but where it is the client
    assert fetch(inner(server), preface=NAMED).json()["ip"] == "203.0.113.9"
    assert fetch(inner(server), preface=v2(0, 0)).status == 403
    assert_closed(inner(server), NAMED.replace(b"113", b"112"))


def test_slow_headers_are_cut_off(behind, until):
    """Slowloris: a byte at a time, and nothing at all. Others are served meanwhile."""
    server = behind(True, settings={"handshake.timeout": "1s"})
    slow = [Wire(inner(server)) for _ in range(50)]
    stop = threading.Event()

    def drip():
        for byte in v2(1, 0x11, bytes(12) + b"\4\0\xff" + bytes(255)):
            for wire in slow[:25]:
                try:
                    wire.send(bytes([byte]))
                except OSError:
                    pass
            if stop.wait(0.05):
                return
    thread = threading.Thread(target=drip)
    thread.start()
    assert is_served(inner(server), "127.0.0.1")
    for wire in slow:
        try:
            assert wire.take_eof() == b""
        except ConnectionResetError:
            pass
        wire.close_socket()
    stop.set()
    thread.join()
    until(lambda: status(server)["net"]["proxy_refused"] == 50, what="all are counted")
    server.log.wait("took longer than handshake.timeout")
    assert is_served(inner(server), "127.0.0.1")


@pytest.mark.parametrize("listen,proxies", [("proxy+127.0.0.1:0", ""), ("proxy+127.0.0.1:0", "unix"), ("proxy+unix:/tmp/x", "127.0.0.1")])
def test_a_listener_for_proxies_needs_one(tmp_path, listen, proxies):
    script = tmp_path / "app.lua"
    script.write_text(app())
    for command in ("check", "run"):
        _, text = refuses(command, script, "--listen", listen, "--set", f"proxies={proxies}")
        assert f'listen = "{listen}" is for proxies only' in text and "set proxies to" in text
