"""tide.http: streamed answers, and what becomes of requests whose task, connection, version or server ends."""
import gzip
import signal
import threading
import time

import pytest
from support.backend import answering
from support.server import sanitized

STREAM = {"stream": True, "timeout": 10}


def chunked(peer, *pieces):
    for piece in pieces:
        piece = piece if isinstance(piece, bytes) else piece.encode()
        peer.send(b"%x\r\n%s\r\n" % (len(piece), piece))


def head(peer, headers="Transfer-Encoding: chunked\r\n", status="200 OK"):
    peer.request()
    peer.send(f"HTTP/1.1 {status}\r\n{headers}\r\n")


def test_lines(client, backend):
    """However they are cut into packets: LF, CRLF, empty ones, and the last one without a line break."""
    text = "one\ntwo\r\n\n\r\nthree\rfour\n" + "x" * 100000 + "\nlast"
    lines = ["one", "two", "", "", "three\rfour", "x" * 100000, "last"]

    def handle(size):
        def run(peer):
            head(peer)
            for at in range(0, len(text), size):
                chunked(peer, text[at:at + size])
                if size > 1 and at < 100:
                    time.sleep(0.001)  # so that most of them come alone
                elif size == 1 and at > 40:
                    chunked(peer, text[at + 1:])
                    break
            peer.send("0\r\n\r\n")
        return run

    for size in (1, 3, 7, 1000000):
        got = client(backend(handle(size)).url, read="lines", opts=STREAM)
        assert got["pieces"] == lines and "error" not in got and "body" not in got, size
    got = client(backend(handle(1000000)).url, read="lines")  # not a stream
    assert got["pieces"] == lines and got["body"] == text
    for body, want in (("", []), ("\n", [""]), ("\r\n", [""]), ("\r", ["\r"]), ("a\n\n", ["a", ""])):
        for opts in (STREAM, {}):
            server = backend(lambda peer, b=body: (peer.request(), peer.answer(b)))
            assert client(server.url, read="lines", opts=opts)["pieces"] == want, (body, opts)


def test_chunks(client, backend):
    server = backend(lambda peer: (peer.request(), peer.answer("a\nb\n" * 30000)))
    for opts in (STREAM, {}):
        got = client(server.url, read="chunks", opts=opts)
        assert "".join(got["pieces"]) == "a\nb\n" * 30000 and "error" not in got
    server = backend(lambda peer: (peer.request(), peer.answer("")))
    assert client(server.url, read="chunks", opts=STREAM)["pieces"] == []


def test_pieces_come_as_they_are_sent(client, backend):
    """Each piece only after the one before has arrived: nothing is held back."""
    arrived = threading.Semaphore(0)

    def handle(peer):
        head(peer)
        for n in range(5):
            chunked(peer, f"piece {n}\n")
            assert arrived.acquire(timeout=10)
        peer.send("0\r\n\r\n")

    server = backend(handle)
    for way, ending in (("lines", ""), ("chunks", "\n")):
        client.ws.text({"type": "fetch", "id": 1, "url": server.url, "read": way, "tell": True, "opts": STREAM})
        for n in range(5):
            client.ws.expect(type="piece", piece=f"piece {n}{ending}")
            arrived.release()
        assert client.ws.expect(type="reply")["data"].get("error") is None


def test_streams_that_break_off(client, backend):
    """What came is given out, then the loop ends and the error is there."""
    def breaking(headers, send, then=None):
        def run(peer):
            head(peer, headers)
            peer.send(send)
            if then:
                then(peer)
        return run

    for handle in (breaking("Transfer-Encoding: chunked\r\n", "6\r\none\ntw\r\n"), breaking("Transfer-Encoding: chunked\r\n", "100\r\none\ntw"),
                   breaking("Content-Length: 100\r\n", "one\ntw"), breaking("Content-Length: 100\r\n", "one\ntw", lambda peer: peer.reset()),
                   breaking("Transfer-Encoding: chunked\r\n", "6\r\none\ntw\r\nzzz\r\n", lambda peer: peer.wait_closed())):
        got = client(backend(handle).url, read="lines", opts=STREAM)
        assert got["status"] == 200 and got["error"], got
        assert got["pieces"] in (["one", "tw"], []) if "reset" in got["error"] else got["pieces"] == ["one", "tw"], got
    broken = gzip.compress(b"a line\n" * 1000)[:50] + b"\0" * 50
    got = client(backend(breaking(f"Content-Encoding: gzip\r\nContent-Length: {len(broken)}\r\n", broken)).url, read="lines", opts=STREAM)
    assert got["error"]


def test_a_stream_of_a_server_that_is_killed(client, start_nginx):
    nginx = start_nginx(extra="location /slow { gzip off; limit_rate 20k; alias www/; }")
    (nginx.www / "file").write_text("a line\n" * 30000)
    client.ws.text({"type": "fetch", "id": 1, "url": nginx.url + "/slow/file", "read": "lines", "stop": 1, "opts": STREAM})
    assert client.ws.expect(type="reply")["data"]["pieces"] == ["a line"]
    client.ws.text({"type": "start", "url": nginx.url + "/slow/file", "read": "lines", "tell": True, "opts": STREAM})
    client.ws.expect(type="piece", piece="a line")
    nginx.stop()
    got = {}
    while got.get("type") != "done":
        got = client.ws.json()
    assert got["result"]["error"] and got["result"]["status"] == 200
    nginx.start()
    assert client(nginx.url + "/file", read="lines", count=True, opts=STREAM)["size"] == 180000


def test_status_and_redirects(client, backend):
    def respond(peer, line, headers, body):
        if " /old " in line:
            peer.answer("moved", "302 Found", "Location: /new\r\n")
        else:
            peer.answer("no such thing\n", "404 Not Found")

    got = client(backend(answering(respond)).url + "/old", read="lines", opts=STREAM)
    assert got["status"] == 404 and got["pieces"] == ["no such thing"]
    assert client("http://127.0.0.1:1/", read="lines", opts=STREAM)["failed"] == "refused"


def test_connections_of_streams_are_kept(client, start_nginx):
    nginx = start_nginx()
    (nginx.www / "file").write_text("a line\n" * 1000)
    first = client(nginx.url + "/file", read="lines", opts=STREAM)["headers"]["x-connection"]
    assert client(nginx.url + "/file", read="chunks", opts=STREAM)["headers"]["x-connection"] == first
    assert client(nginx.url + "/hello")["headers"]["x-connection"] == first


def test_json_of_a_stream_raises(client, backend):
    server = backend(lambda peer: (peer.request(), peer.answer("{}")))
    client.ws.text({"type": "fetch", "id": 1, "url": server.url, "decode": True, "opts": STREAM})
    client.ws.expect(type="error", id=1, code="internal")
    server.wait_idle()  # <close> has ended it
    client.server.log.wait("a stream is read with res:lines")


def test_lines_are_bounded(client, backend):
    def endless(peer):
        head(peer)
        chunked(peer, "short\n")
        while True:
            chunked(peer, "x" * 10000)

    server = backend(endless)
    for size in (1000, 200000, 1 << 20):
        got = client(server.url, read="lines", opts={**STREAM, "max_body": size})
        assert got["pieces"] == ["short"] and "longer than max_body" in got["error"], got
    server.wait_idle()
    exact = backend(lambda peer: (peer.request(), peer.answer("x" * 300000 + "\n" + "y" * 300000)))
    assert client(exact.url, read="lines", count=True, opts={**STREAM, "max_body": 300000}) | {"headers": 0, "took": 0} == {
        "status": 200, "pieces": [], "size": 600000, "headers": 0, "took": 0}


# ---- backpressure ----

def stable(value, until):
    """The value when it has not grown for a while."""
    last = [value(), time.monotonic()]

    def still():
        if value() != last[0]:
            last[:] = [value(), time.monotonic()]
        return time.monotonic() - last[1] > 0.3

    until(still, timeout=20, what="a value that stays")
    return last[0]


@pytest.mark.parametrize("way", ["lines", "chunks"])
def test_a_stream_that_is_not_read_is_not_received(client, backend, until, way):
    """64 MiB from a fast server: while nobody reads, they stay there."""
    total, sent = 64 << 20, [0]

    def handle(peer):
        head(peer, f"Content-Length: {total}\r\n")
        piece = (b"x" * 99 + b"\n") * 655
        while sent[0] < total:
            piece = piece[:total - sent[0]]
            peer.send(piece)
            sent[0] += len(piece)

    server = backend(handle)
    assert client(server.url, type="hold") == "held"
    before = client.server.rss()
    assert stable(lambda: sent[0], until) < 16 << 20
    assert client.server.rss() - before < 4 << 20 or sanitized()
    got = client(server.url, type="drain", read=way)
    assert got["size"] == total - (-(-total // 100) - 1 if way == "lines" else 0) and "error" not in got
    assert client.server.rss() - before < 24 << 20 or sanitized()
    server.wait_idle()


def test_a_compressed_stream_that_is_not_read(client, backend, until):
    """64 MiB that are 64 KiB on their way. What was inflated before the pause is bounded."""
    packed = gzip.compress((b"x" * 99 + b"\n") * 671088, 9)
    server = backend(lambda peer: (peer.request(), peer.answer(packed, headers="Content-Encoding: gzip\r\n")))
    before = client.server.rss()
    assert client(server.url, type="hold") == "held"
    assert stable(client.server.rss, until) - before < 32 << 20 or sanitized()
    got = client(server.url, type="drain", read="chunks")
    assert got["size"] == 67108800 and "error" not in got
    for coding in ("br", "gzip, gzip", "zstd"):
        server = backend(lambda peer, c=coding: (peer.request(), peer.answer(packed, headers=f"Content-Encoding: {c}\r\n")))
        assert client(server.url, read="chunks", opts=STREAM)["failed"] == "malformed"


# ---- ends ----

def test_idle_streams_time_out(client, backend):
    def stalls(peer):
        head(peer)
        chunked(peer, "one\ntw")
        peer.wait_closed()

    server = backend(stalls)
    for way, pieces in (("lines", ["one"]), ("chunks", ["one\ntw"])):
        got = client(server.url, read=way, opts={"stream": True, "timeout": 0.3})
        assert got["pieces"] == pieces and got["error"] == "timeout: nothing came for 0.3 s", got
    server.wait_idle()

    def lasts(peer):
        head(peer)
        for _ in range(60):
            chunked(peer, "x")
            time.sleep(0.02)
        peer.send("0\r\n\r\n")

    # 1.2 s in all, and one line: the time counts for each piece
    got = client(backend(lasts).url, read="lines", opts={"stream": True, "timeout": 0.9})
    assert got["pieces"] == ["x" * 60] and "error" not in got, got


def test_left_early(client, backend):
    """break and <close>: the connection is closed, also where nothing was read."""
    def endless(peer):
        head(peer)
        while True:
            chunked(peer, "a line\n" * 100)

    server = backend(endless)
    for stop in (0, 1, 50):
        got = client(server.url, read="lines", stop=stop, opts=STREAM)
        assert len(got["pieces"]) == stop
        server.wait_idle()


def test_one_reader_at_a_time(client, backend):
    server = backend(lambda peer: (head(peer), peer.wait_closed()))
    got = client(server.url, type="share")
    assert got["ok"] is False and "another task is reading" in got["why"] and got["error"] == "closed by the script"
    server.wait_idle()


WAITS = [("for its answer", lambda peer: (peer.request(), peer.wait_closed())),
         ("for a piece", lambda peer: (head(peer), chunked(peer, "one\n"), peer.wait_closed()))]


@pytest.mark.parametrize("what,handle", WAITS, ids=["answer", "piece"])
def test_a_task_that_is_cancelled(client, backend, what, handle):
    server = backend(handle)
    client.ws.text({"type": "start", "url": server.url, "read": "lines", "tell": True, "opts": STREAM})
    if what == "for a piece":
        client.ws.expect(type="piece", piece="one")
    server.wait(lambda b: b.accepted == 1)
    client.ws.text({"type": "cancel"})
    server.wait_idle()
    client.ws.expect_nothing()
    assert " ERROR " not in client.server.log.text()


@pytest.mark.parametrize("what,handle", WAITS, ids=["answer", "piece"])
def test_a_connection_that_goes(http_caller, backend, what, handle):
    client = http_caller()
    server = backend(handle)
    client.ws.text({"type": "start", "url": server.url, "read": "lines", "tell": True, "opts": STREAM})
    if what == "for a piece":
        client.ws.expect(type="piece", piece="one")
    server.wait(lambda b: b.accepted == 1)
    client.ws.bye()
    server.wait_idle()
    assert client.server.alive()


def test_a_stream_that_nobody_holds_is_closed(client, backend, serve, connect):
    """Dropped without a close: the collector ends it."""
    server = backend(lambda peer: (head(peer), peer.wait_closed()))
    dropper = connect(serve("""
    local tide = require "moontide"
    local app = { on = {} }
    function app.on.drop(conn, msg) assert(tide.http.get(msg.url, { stream = true })) end
    function app.on.fill() local t = {} for i = 1, 100000 do t = { t } end end
    return app""", settings={"script.time": "60s"}))
    dropper.text({"type": "drop", "url": server.url})
    server.wait(lambda b: b.accepted == 1)
    dropper.fence()
    dropper.text({"type": "fill", "id": 1})
    dropper.expect(type="reply")
    server.wait_idle()


@pytest.mark.one_worker
def test_reload_while_waiting(http_caller, connect, backend, until, tmp_path, apps):
    """The handler ends in its version, and so does its stream."""
    go = threading.Event()

    def handle(peer):
        head(peer)
        chunked(peer, "before\n")
        assert go.wait(10)
        chunked(peer, "after\n")
        peer.send("0\r\n\r\n")

    script = tmp_path / "app.lua"
    script.write_text((apps / "http.lua").read_text())
    client = http_caller(script=script, watch=True)
    server = backend(handle)
    mute = backend(lambda peer: (peer.request(), go.wait(10), peer.answer("late")))
    client.ws.text({"type": "start", "url": server.url, "read": "lines", "tell": True, "opts": STREAM})
    client.ws.expect(type="piece", piece="before")
    waiting = connect(client.server)
    waiting.text({"type": "fetch", "id": 1, "url": mute.url})
    mute.wait(lambda b: b.accepted == 1)
    script.write_text(script.read_text().replace('"v1"', '"v2"').replace('type = "done"', 'type = "changed"'))
    client.server.log.wait("reloaded .*app.lua")
    go.set()
    client.ws.expect(type="piece", piece="after")
    assert client.ws.expect(type="done")["result"]["pieces"] == ["before", "after"]
    assert waiting.expect(type="reply")["data"]["body"] == "late"


@pytest.mark.parametrize("what,handle", WAITS, ids=["answer", "piece"])
def test_shutdown_while_waiting(http_caller, backend, what, handle):
    client = http_caller(settings={"shutdown.timeout": "500ms"})
    server = backend(handle)
    client.ws.text({"type": "fetch", "id": 1, "url": server.url, "read": "lines", "tell": True, "opts": {"stream": True, "timeout": 60}})
    if what == "for a piece":
        client.ws.expect(type="piece", piece="one")
    server.wait(lambda b: b.accepted == 1)
    client.server.signal(signal.SIGTERM)
    assert client.server.wait(10) == 0
    server.wait_idle()


def test_a_mixture_leaves_nothing(http_caller, connect, backend, until):
    """Requests of every kind, ended in every way, by clients that come and go: sockets and tasks return to where they began."""
    def handle(peer):
        while got := peer.request():
            path = got[0].split(" ")[1]
            if path == "/mute":
                peer.wait_closed()
            if path == "/half":
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
                return
            if path == "/stream":
                peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                for _ in range(50):
                    chunked(peer, "a line\n" * 1000)
                peer.send("0\r\n\r\n")
            else:
                peer.answer("fine")

    server = backend(handle)
    client = http_caller(settings={"http.idle": "100ms", "http.per_host": 8})
    first = client.server.sockets()
    kinds = [("/", {}), ("/mute", {"opts": {"timeout": 0.05}}), ("/half", {}), ("/stream", {"read": "lines", "count": True, "opts": STREAM}),
             ("/stream", {"read": "chunks", "stop": 1, "opts": STREAM}), ("/stream", {"opts": {"max_body": 1000}})]
    for turn in range(10):
        ws = connect(client.server)
        for path, how in kinds * 5:
            ws.text({"type": "start", "url": server.url + path, **how})
        ws.text({"type": "start", "url": server.url + "/mute"})
        if turn % 2:
            ws.text({"type": "cancel"})
            for _ in range(30):
                ws.expect(type="done")
        ws.bye()
    assert client(server.url + "/")["body"] == "fine"
    until(lambda: client.server.sockets() <= first, timeout=10, what=f"{first} sockets")
    server.wait_idle()
    assert " ERROR " not in client.server.log.text()
