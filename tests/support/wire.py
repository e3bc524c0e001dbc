"""A WebSocket and HTTP client that hides nothing: bytes out, frames in. It can do everything that RFC 6455 forbids.

Blocking sockets with a deadline on every read. Suites that want many connections at once use threads.
"""
import base64
import hashlib
import json
import os
import socket
import ssl
import struct
import time
from collections import namedtuple

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
NAMES = {CONT: "continuation", TEXT: "text", BINARY: "binary", CLOSE: "close", PING: "ping", PONG: "pong"}
KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # the sample of RFC 6455 section 1.3
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
RSV1, RSV2, RSV3 = 0x40, 0x20, 0x10
TIMEOUT = float(os.environ.get("SUITE_TIMEOUT", "10"))


def accept_of(key):
    return base64.b64encode(hashlib.sha1((key + GUID).encode()).digest()).decode()


def masked(data, mask):
    """XOR with the repeated mask, as one big number: fast enough for 16 MiB."""
    n = len(data)
    if n == 0 or mask == b"\0\0\0\0":
        return bytes(data)
    stream = (mask * (n // 4 + 1))[:n]
    return (int.from_bytes(data, "big") ^ int.from_bytes(stream, "big")).to_bytes(n, "big")


def frame(op, payload=b"", fin=True, rsv=0, mask=b"\x12\x34\x56\x78", length=None, width=None):
    """One frame as a client sends it. `length` announces another length, `width` (1, 2, 8) forces the form of the length,
    mask None sends it unmasked."""
    if isinstance(payload, str):
        payload = payload.encode()
    n = len(payload) if length is None else length
    width = width or (1 if n < 126 else 2 if n < 65536 else 8)
    bit = 0x80 if mask is not None else 0
    head = bytes([(0x80 if fin else 0) | rsv | op])
    head += bytes([bit | n]) if width == 1 else bytes([bit | 126]) + struct.pack(">H",
        n) if width == 2 else bytes([bit | 127]) + struct.pack(">Q", n)
    return head + (mask + masked(payload, mask) if mask is not None else payload)


def close_payload(code, reason=b""):
    if isinstance(reason, str):
        reason = reason.encode()
    return struct.pack(">H", code) + reason


class Frame(namedtuple("Frame", "op payload fin rsv")):
    """A frame from the server."""

    @property
    def code(self):
        """Close code; 1005 when there is none, as RFC 6455 section 7.1.5 names it."""
        return struct.unpack(">H", self.payload[:2])[0] if len(self.payload) >= 2 else 1005

    @property
    def reason(self):
        return self.payload[2:].decode("utf-8", "replace")

    def __repr__(self):
        if self.op == CLOSE:
            return f"close({self.code}, {self.reason!r})"
        body = self.payload if len(self.payload) <= 40 else self.payload[:40] + b"..."
        flags = ("" if self.fin else " fin=0") + (f" rsv={self.rsv:#x}" if self.rsv else "")
        return f"{NAMES.get(self.op, self.op)}[{len(self.payload)}]{flags}({body!r})"


class Closed(Exception):
    """The other end closed or reset the socket. `reset` tells which."""

    def __init__(self, reset=False):
        super().__init__("connection reset" if reset else "connection closed")
        self.reset = reset


class Wire:
    """A TCP, TLS or unix connection as bytes."""

    def __init__(self, address, tls=None, name=None, timeout=TIMEOUT, rcvbuf=None, source=None, preface=b""):
        """address: (host, port) or a path. tls: an SSLContext; name: the server name to send and check. source: the address to
        connect from. preface: sent at once, in front of TLS."""
        if isinstance(address, str):
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(timeout)
            self.sock.connect(address)
        else:
            self.sock = self._connect(address, timeout, rcvbuf, source)
        self.sock.sendall(preface)
        self.timeout, self.pending = timeout, bytearray()
        if tls:
            self.sock = tls.wrap_socket(self.sock, server_hostname=name
                                        or (address[0] if isinstance(address, tuple) else "localhost"))

    @staticmethod
    def _connect(address, timeout, rcvbuf, source):
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.settimeout(timeout)
        if rcvbuf:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        if source:
            sock.bind((source, 0))
        sock.connect(address)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def send(self, data):
        self.sock.sendall(data)

    def send_chopped(self, data, size):
        """Send in pieces of `size` bytes, with a breath between them so that the server reads most of them one by one."""
        for at in range(0, len(data), size):
            self.sock.sendall(data[at:at + size])
            time.sleep(0.0001)

    def fill(self):
        """Read once into the buffer. Closed at the end of the stream; TimeoutError when nothing comes."""
        try:
            got = self.sock.recv(262144)
        except (ConnectionResetError, BrokenPipeError, ssl.SSLEOFError, ssl.SSLZeroReturnError) as why:
            raise Closed(reset=isinstance(why, ConnectionResetError)) from None
        if not got:
            raise Closed()
        self.pending += got

    def take(self, n):
        while len(self.pending) < n:
            self.fill()
        got = bytes(self.pending[:n])
        del self.pending[:n]
        return got

    def take_until(self, mark):
        at = self.pending.find(mark)
        while at < 0:
            seen = max(0, len(self.pending) - len(mark))
            self.fill()
            at = self.pending.find(mark, seen)
        return self.take(at + len(mark))

    def take_eof(self):
        """Everything up to the end of the stream."""
        try:
            while True:
                self.fill()
        except Closed:
            return self.take(len(self.pending))

    def expect_eof(self):
        rest = self.take_eof()
        assert not rest, f"{len(rest)} bytes before the end: {rest[:80]!r}"

    def fileno(self):
        """For select; what is in `pending` it does not know of."""
        return self.sock.fileno()

    def set_timeout(self, seconds):
        self.timeout = seconds
        self.sock.settimeout(seconds)

    def reset(self):
        """Break off with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close_socket(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()


class Response:
    """An HTTP answer. `headers` has lower-case names; `raw` the lines as they came."""

    def __init__(self, wire, method="GET"):
        head = wire.take_until(b"\r\n\r\n")
        self.raw = head.decode("latin-1")
        first, *lines = self.raw[:-4].split("\r\n")
        self.version, status, self.reason = (first.split(" ", 2) + [""])[:3]
        self.status = int(status)
        self.list = [tuple(part.strip() for part in line.split(":", 1)) for line in lines]
        self.headers = {name.lower(): value for name, value in self.list}
        self.body = b"" if method == "HEAD" or self.status in (204, 304) or self.status < 200 else self._body(wire)

    def _body(self, wire):
        if "chunked" in self.headers.get("transfer-encoding", ""):
            body = b""
            while True:
                size = int(wire.take_until(b"\r\n").split(b";")[0], 16)
                if size == 0:
                    while wire.take_until(b"\r\n") != b"\r\n":
                        pass
                    return body
                body += wire.take(size)
                assert wire.take(2) == b"\r\n", "a chunk without its line end"
        if "content-length" in self.headers:
            return wire.take(int(self.headers["content-length"]))
        return wire.take_eof()

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"{self.status} {self.reason} {self.body[:120]!r}"


def head(target="/", headers=None, method="GET", version="HTTP/1.1", host="localhost"):
    """A request head as bytes. headers: dict or list of pairs; a value None leaves that default out."""
    pairs = headers.items() if isinstance(headers, dict) else headers or []
    lines = [f"{method} {target} {version}"]
    if host is not None and not any(n.lower() == "host" for n, _ in pairs):
        lines.append(f"Host: {host}")
    lines += [f"{n}: {v}" for n, v in pairs if v is not None]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


UPGRADE = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": KEY}


def upgrade_head(target="/", headers=None, protocols=None, extensions=None, host="localhost", **changes):
    """A handshake as bytes."""
    extra = dict(headers or {})
    if protocols:
        extra["Sec-WebSocket-Protocol"] = ", ".join(protocols)
    if extensions:
        extra["Sec-WebSocket-Extensions"] = extensions
    return head(target, {**UPGRADE, **extra}, host=host, **changes)


class Refused(Exception):
    """The server answered the handshake with something else than 101."""

    def __init__(self, response):
        super().__init__(repr(response))
        self.response, self.status = response, response.status


class Socket(Wire):
    """A WebSocket connection. The handshake is done when the constructor returns."""

    def __init__(self, address, target="/", headers=None, protocols=None, extensions=None, host="localhost", **options):
        super().__init__(address, **options)
        self.send(upgrade_head(target, headers, protocols, extensions, host))
        self.response = Response(self)
        if self.response.status != 101:
            self.close_socket()
            raise Refused(self.response)
        assert self.response.headers["sec-websocket-accept"] == accept_of(KEY)
        self.protocol = self.response.headers.get("sec-websocket-protocol")
        self.extensions = self.response.headers.get("sec-websocket-extensions")

    # ---- out ----
    def text(self, value):
        """Send text, or anything else as JSON."""
        self.send(frame(TEXT, value if isinstance(value, (str, bytes)) else json.dumps(value)))

    def binary(self, data):
        self.send(frame(BINARY, data))

    def ping(self, data=b""):
        self.send(frame(PING, data))

    def close(self, code=1000, reason=b""):
        self.send(frame(CLOSE, close_payload(code, reason)))

    # ---- in ----
    def frame(self):
        """The next frame. What a server may not send is an AssertionError."""
        first, second = self.take(2)
        assert not second & 0x80, "the server masked a frame"
        n = second & 0x7F
        if n == 126:
            n = struct.unpack(">H", self.take(2))[0]
            assert n > 125, f"length {n} in the 16-bit form"
        elif n == 127:
            n = struct.unpack(">Q", self.take(8))[0]
            assert n > 65535, f"length {n} in the 64-bit form"
        op = first & 0x0F
        assert op in NAMES, f"opcode {op} from the server"
        assert op < 8 or (n <= 125 and first & 0x80), f"a control frame of {n} bytes, first byte {first:#x}"
        return Frame(op, self.take(n), bool(first & 0x80), first & 0x70)

    def data(self):
        """The next text or binary frame: str or bytes. Pings are answered on the way, pongs are passed over."""
        while True:
            got = self.frame()
            if got.op == PING:
                self.send(frame(PONG, got.payload))
            elif got.op == TEXT:
                return got.payload.decode()
            elif got.op == BINARY:
                return got.payload
            elif got.op == CLOSE:
                raise AssertionError(f"{got!r} instead of a message")

    def json(self):
        return json.loads(self.data())

    def expect(self, *exact, **fields):
        """The next message: equal to the one value given, or an object that has at least these fields (nested too)."""
        got = self.data()
        if exact:
            assert got == exact[0], f"expected {exact[0]!r}, got {got!r}"
            return got
        value = json.loads(got)
        assert contains(value, fields), f"expected {fields!r} in {value!r}"
        return value

    def fence(self, token=b"fence"):
        """Everything that this connection was sent before the server reads our ping: the frames up to its pong."""
        self.ping(token)
        frames = []
        while True:
            got = self.frame()
            if got.op == PONG and got.payload == token:
                return frames
            frames.append(got)

    def expect_nothing(self):
        frames = self.fence()
        assert not frames, f"expected nothing, got {frames!r}"

    def expect_close(self, code=None, reason=None):
        """The next frame is a close with this code; it is answered, and the server then ends the stream."""
        got = self.frame()
        while got.op == PONG:
            got = self.frame()
        assert got.op == CLOSE, f"expected close({code}), got {got!r}"
        assert code is None or got.code == code, f"expected close({code}), got {got!r}"
        assert reason is None or got.reason == reason, f"expected reason {reason!r}, got {got!r}"
        self.finish(got)
        return got

    def finish(self, got):
        """Answer a close frame and wait for the end of the stream."""
        try:
            self.send(frame(CLOSE, got.payload[:2]))
        except OSError:
            pass
        self.expect_eof()
        self.close_socket()

    def bye(self, code=1000):
        """Close as a good client does: our close, its echo, the end."""
        self.close(code)
        while True:
            got = self.frame()
            if got.op == CLOSE:
                break
        assert got.code == code, f"closed with {code}, answered with {got!r}"
        self.expect_eof()
        self.close_socket()


def contains(value, part):
    """Whether `value` has everything that `part` has: fields of objects, items of lists in order."""
    if isinstance(part, dict):
        return isinstance(value, dict) and all(k in value and contains(value[k], v) for k, v in part.items())
    if isinstance(part, list):
        return isinstance(value, list) and len(value) == len(part) and all(map(contains, value, part))
    return value == part and isinstance(value, bool) == isinstance(part, bool)


def fetch(address, target="/", method="GET", headers=None, body=None, tls=None, **options):
    """One HTTP request on a connection of its own."""
    extra = {"Connection": "close", **(headers or {})}
    if body is not None:
        extra["Content-Length"] = str(len(body))
    with Wire(address, tls=tls, **options) as wire:
        wire.send(head(target, extra, method) + (body or b""))
        return Response(wire, method)
