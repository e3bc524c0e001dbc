"""tide.http: whole answers. A real nginx for what is right, servers that say any bytes for what is wrong."""
import gzip
import json
import os
import time
import zlib

import pytest
from support.backend import answering
from support.server import sanitized

@pytest.fixture
def nginx(start_nginx):
    return start_nginx()


def saying(text):
    """A server that reads a request, says these bytes and closes."""
    def handle(peer):
        peer.request()
        peer.send(text)
    return handle


# ---- what is right ----

def test_methods(client, nginx):
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"):
        got = client(nginx.url + "/method", method=method)
        assert got["status"] == 200 and got["body"] == method, got
    got = client(nginx.url + "/method", method="HEAD")
    assert got["status"] == 200 and got["body"] == "" and got["headers"]["content-length"] == "4"
    assert client(nginx.url + "/agent")["body"] == "moontide/0.1.0"
    assert client(nginx.url + "/status/404") | {"headers": 0, "took": 0} == {
        "status": 404, "body": "nothing here", "size": 12, "headers": 0, "took": 0}
    got = client(nginx.url + "/empty")
    assert got["status"] == 204 and got["body"] == ""


def test_what_is_sent(client, backend):
    """Bodies, forms, JSON, lengths and headers, as the other side sees them."""
    server = backend(answering(lambda peer, line, headers, body: peer.answer(
        json.dumps({"line": line, "headers": headers, "body": body.decode()}))))

    def sent(method="GET", path="/", **opts):
        got = client(server.url + path, method=method, opts=opts, decode=True)
        return got["value"]

    got = sent(path="/a%20b?x=%C3%A4&y=1#part")
    assert got["line"] == "GET /a%20b?x=%C3%A4&y=1 HTTP/1.1" and got["body"] == ""
    assert got["headers"] == {"host": [f"127.0.0.1:{server.port}"], "accept": ["*/*"], "accept-encoding": ["gzip, deflate"],
                              "user-agent": ["moontide/0.1.0"]}
    assert sent(path="/ä")["line"] == "GET /%c3%a4 HTTP/1.1"
    got = sent("POST", json={"a": [1, 2.5, "ä"], "b": {}})
    assert json.loads(got["body"]) == {"a": [1, 2.5, "ä"], "b": {}} and got["headers"]["content-type"] == ["application/json"]
    got = sent("POST", form={"name": "a b&c=ä+", "n": 5})
    assert sorted(got["body"].split("&")) == ["n=5", "name=a+b%26c%3D%C3%A4%2B"]
    assert got["headers"]["content-type"] == ["application/x-www-form-urlencoded"]
    got = sent("PUT", body="plain\r\n", headers={"content-TYPE": "text/x", "X-Number": 5, "X-List": ["a", "b"], "X-Empty": ""})
    assert got["body"] == "plain\r\n" and got["headers"]["content-type"] == ["text/x"]
    assert got["headers"]["x-number"] == ["5"] and got["headers"]["x-list"] == ["a", "b"] and got["headers"]["x-empty"] == [""]
    got = sent(headers={"X-Blank": " \t ", "User-Agent": " "})
    assert got["headers"]["x-blank"] == [""] and got["headers"]["user-agent"] == [""]
    got = sent("POST")
    assert got["headers"]["content-length"] == ["0"] and "content-type" not in got["headers"]
    got = sent("POST", body="x")
    assert got["headers"]["content-length"] == ["1"] and "content-type" not in got["headers"]
    assert "content-length" not in sent("DELETE")["headers"]
    assert sent("DELETE", body="x")["body"] == "x" and sent("GET", body="x")["body"] == "x"
    assert sent(headers={"user-agent": "me", "Host": "other"})["headers"]["host"] == ["other"]
    big = "x" * (3 << 20)
    got = sent("POST", body=big[:60000])
    assert len(got["body"]) == 60000 and "expect" not in got["headers"]
    assert server.accepted == 1


def test_large_bodies(client, nginx, backend):
    """5 MiB both ways; what is sent does not wait for a 100."""
    (nginx.www / "big").write_bytes(os.urandom(5 << 20))
    got = client(nginx.url + "/big", count=True)
    assert got["size"] == 5 << 20
    sizes = backend(answering(lambda peer, line, headers, body: peer.answer(str(len(body)))))
    assert client(sizes.url, method="POST", opts={"form": {"x": "y" * 60000}})["body"] == "60002"


def test_json_answers(client, backend):
    server = backend(answering(lambda peer, line, headers, body: peer.answer(
        {"/fine": '{"n": 1, "s": "x"}', "/bad": "{", "/none": ""}[line.split(" ")[1]])))
    assert client(server.url + "/fine", decode=True)["value"] == {"n": 1, "s": "x"}
    assert client(server.url + "/fine", decode=True, shape={"n": "integer"})["value"] == {"n": 1}
    got = client(server.url + "/fine", decode=True, shape={"n": "string"})
    assert got["name"] == "invalid" and "n: string expected" in got["message"]
    assert client(server.url + "/bad", decode=True)["name"] == "json"
    assert client(server.url + "/none", decode=True)["name"] == "json"


def test_answer_headers(client, backend):
    server = backend(saying("HTTP/1.1 200 fine\r\nX-A: 1\r\nx-a: 2\r\nX-None:\r\nX-Blank: \r\nSet-Cookie: a=1; Expires=Thu, 01 Jan\r\nset-cookie: b=2\r\n"
                            "Content-Length: 2\r\n\r\nok"))
    got = client(server.url)
    assert got["headers"]["x-none"] == got["headers"]["x-blank"] == ""
    assert got["headers"]["x-a"] == "1, 2" and got["headers"]["set-cookie"] == "a=1; Expires=Thu, 01 Jan\nb=2" and got["body"] == "ok"


def test_keep_alive(client, nginx, backend):
    """One connection for many requests; a server that closed it in between is asked on another one."""
    first = client(nginx.url + "/hello")["headers"]["x-connection"]
    for path in ("/hello", "/empty", "/status/404", "/method"):
        assert client(nginx.url + path)["headers"].get("x-connection", first) == first
    once = backend(lambda peer: (peer.request(), peer.answer("once")))
    for n in range(1, 4):
        assert client(once.url)["body"] == "once" and once.accepted == n
        once.wait_idle()


def test_many_at_once(http_caller, nginx):
    """500 requests over 16 connections; all are answered."""
    client = http_caller(settings={"http.per_host": 16})
    before = client.server.sockets()
    assert client(nginx.url + "/hello", type="many", count=500) == {"200": 500}
    assert client.server.sockets() - before <= 16 + 2  # libcurl has a pair for itself


def test_the_line_is_bounded(http_caller, backend):
    """One connection, 4096 that wait for it, and the rest is told so at once."""
    holder = backend(lambda peer: peer.wait_closed())
    client = http_caller(settings={"http.connections": 1, "script.time": "60s"})
    client.ws.set_timeout(60)  # the answer comes after the longest timeout of them
    got = client(holder.url, type="many", count=4200, opts={"timeout": 10 if sanitized() else 1})
    assert got == {"timeout": 4097, "full": 103}


def test_interim_and_old_answers(client, backend):
    for text, status, body in (
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\nX: y\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, "ok"),
            ("HTTP/1.0 200 OK\r\n\r\nuntil the end", 200, "until the end"),
            ("HTTP/1.1 200 OK\r\n\r\nuntil the end", 200, "until the end"),
            ("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", 200, ""),
            ("HTTP/1.1 204 No\r\n\r\n", 204, ""), ("HTTP/1.1 304 Not\r\nContent-Length: 500000000\r\n\r\n", 304, ""),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\noktrailing garbage", 200, "ok"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nok\r\n0\r\nX-Trailer: 1\r\n\r\n", 200, "ok"),
            ("HTTP/1.1 300 Choose\r\nContent-Length: 1\r\n\r\nx", 300, "x"), ("HTTP/1.1 302 Nowhere\r\nContent-Length: 1\r\n\r\nx", 302, "x"),
            ("HTTP/1.1 999 What\r\nContent-Length: 0\r\n\r\n", 999, "")):
        server = backend(saying(text))
        got = client(server.url)
        assert (got.get("status"), got.get("body")) == (status, body), (text, got)
        assert "x-trailer" not in got["headers"]


# ---- redirects ----

def recorder():
    seen = []

    def respond(peer, line, headers, body):
        seen.append((line, headers, body))
        parts = line.split(" ")[1].lstrip("/").split("/", 1)
        if parts[0] in ("301", "302", "303", "307", "308"):
            peer.answer("moved" * 100, f"{parts[0]} Moved", f"Location: {parts[1].replace('_', ' ') if len(parts) > 1 else ''}\r\n")
        else:
            peer.answer("arrived")

    return seen, answering(respond)


def test_redirects_change_methods_as_browsers_do(client, backend):
    seen, handle = recorder()
    server = backend(handle)
    for method, status, then in (("POST", 301, "GET"), ("POST", 302, "GET"), ("POST", 303, "GET"), ("POST", 307, "POST"), ("POST", 308, "POST"),
                                 ("PUT", 301, "PUT"), ("PUT", 302, "PUT"), ("PUT", 303, "GET"), ("PUT", 307, "PUT"), ("GET", 303, "GET"),
                                 ("DELETE", 303, "GET"), ("HEAD", 303, "HEAD"), ("HEAD", 302, "HEAD")):
        seen.clear()
        opts = {"headers": {"X-Kept": "yes"}}
        if method in ("POST", "PUT"):
            opts["json"] = [1]
        got = client(f"{server.url}/{status}//there", method=method, opts=opts)
        assert got["status"] == 200 and got["body"] == ("" if method == "HEAD" else "arrived"), got
        line, headers, body = seen[1]
        kept = method == then and method in ("POST", "PUT")
        assert line == f"{then} /there HTTP/1.1" and headers["x-kept"] == ["yes"], (method, status, seen)
        assert body == (b"[1]" if kept else b"") and ("content-type" in headers) == kept and ("content-length" in headers) == kept
    assert server.accepted == 1


def test_redirects_give_no_credentials_away(client, backend):
    seen, handle = recorder()
    first, second = backend(handle), backend(handle)
    secret = {"authorization": "Bearer s", "Cookie": "c=s", "X-Plain": "p"}
    assert client(f"{first.url}/302//same", opts={"headers": secret})["status"] == 200
    assert "authorization" in seen[1][1] and "cookie" in seen[1][1]
    seen.clear()
    assert client(f"{first.url}/302/{second.url}/307/{first.url}/back", opts={"headers": {**secret, "Host": "h"}})["status"] == 200
    assert seen[0][1]["host"] == ["h"] and "authorization" in seen[0][1]
    for line, headers, _ in seen[1:]:
        assert "authorization" not in headers and "cookie" not in headers and headers["x-plain"] == ["p"], line
        assert headers["host"] != ["h"]
    assert seen[2][0] == "GET /back HTTP/1.1"


def test_redirects_that_are_not_followed(client, nginx, backend):
    seen, handle = recorder()
    server = backend(handle)
    got = client(nginx.url + "/loop")
    assert got["failed"] == "limited" and "5 redirects" in got["message"]
    assert client(nginx.url + "/same")["body"] == "hello"
    for where, name in (("file:///etc/passwd", "denied"), ("ftp://127.0.0.1/x", "denied"), ("gopher://127.0.0.1/", "denied"),
                        ("http://", "malformed"), ("http://a_b/", "malformed")):
        got = client(f"{server.url}/302/{where}")
        assert got.get("failed") == name, (where, got)
    odd = backend(saying(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: http://\xff\xfe.invalid/\r\n\r\n"))
    assert client(odd.url)["failed"] == "malformed"  # not "invalid": the URL that the script gave was fine
    got = client(f"{server.url}/302/")  # an empty Location is none
    assert got.get("status") == 302, got
    assert client(f"{server.url}/302//with_blank")["status"] == 200 and seen[-1][0] == "GET /with%20blank HTTP/1.1"


def test_long_bodies_of_redirects_are_not_read(client, backend):
    target = backend(answering(lambda peer, line, headers, body: peer.answer("arrived")))

    def endless(peer):
        peer.request()
        peer.send(f"HTTP/1.1 302 Moved\r\nLocation: {target.url}/\r\n\r\n")
        while True:
            peer.send(b"x" * 65536)

    assert client(backend(endless).url)["body"] == "arrived"


# ---- limits ----

def test_gzip(client, nginx, backend):
    text = "the same again and again\n" * 1000
    (nginx.www / "text").write_text(text)
    got = client(nginx.url + "/text")
    assert got["headers"]["content-encoding"] == "gzip" and got["body"] == text
    for coding, data in (("deflate", zlib.compress(text.encode())), ("x-gzip", gzip.compress(text.encode())), ("identity", text.encode())):
        server = backend(lambda peer, c=coding, d=data: (peer.request(), peer.answer(d, headers=f"Content-Encoding: {c}\r\n")))
        assert client(server.url)["body"] == text, coding
    broken = backend(lambda peer: (peer.request(), peer.answer(b"this is not gzip", headers="Content-Encoding: gzip\r\n")))
    assert client(broken.url)["failed"] == "malformed"


def test_too_large(client, nginx, backend):
    """Told by its length, found while it comes, and only after inflating."""
    (nginx.www / "big").write_bytes(b"x" * 100001)
    got = client(nginx.url + "/big", opts={"max_body": 100000, "headers": {"accept-encoding": "identity"}})
    assert got["failed"] == "too_large" and "more than 100000 bytes" in got["message"]
    assert client(nginx.url + "/big", opts={"max_body": 100001})["size"] == 100001
    assert client(nginx.url + "/big", opts={"max_body": 10}, method="HEAD")["status"] == 200

    def endless(peer):
        peer.request()
        peer.send("HTTP/1.1 200 OK\r\n\r\n")
        while True:
            peer.send(b"x" * 65536)

    server = backend(endless)
    assert client(server.url, opts={"max_body": 1 << 20})["failed"] == "too_large"
    server.wait_idle()
    bomb = gzip.compress(b"\0" * (64 << 20))
    server = backend(lambda peer: (peer.request(), peer.answer(bomb, headers="Content-Encoding: gzip\r\n")))
    assert client(server.url)["failed"] == "too_large"  # http.body: 8 MiB
    assert client(server.url, opts={"max_body": 0})["failed"] == "too_large"
    assert client(nginx.url + "/empty", opts={"max_body": 0})["status"] == 204


def test_bombs_in_the_head(client, backend):
    def lines(peer):
        peer.request()
        peer.send("HTTP/1.1 200 OK\r\n")
        n = 0
        while True:
            peer.send("".join(f"X-{n}-{i}: y\r\n" for i in range(100)))
            n += 1

    def one_line(peer):
        peer.request()
        peer.send("HTTP/1.1 200 OK\r\nX: ")
        while True:
            peer.send(b"y" * 4096)

    def interim(peer):
        peer.request()
        while True:
            peer.send("HTTP/1.1 100 Continue\r\nX: y\r\n\r\n" * 20)

    def like_a_status(peer):
        peer.request()
        peer.send("HTTP/1.1 200 OK\r\n" + "HTTP/x: y\r\n" * 300 + "Content-Length: 0\r\n\r\n")

    assert client(backend(lines).url)["failed"] == "too_large"
    assert client(backend(one_line).url)["failed"] == "too_large"
    assert client(backend(interim).url)["failed"] == "too_large"
    assert client(backend(like_a_status).url).get("failed") == "too_large"


# ---- what goes wrong ----

def test_no_answer(client, backend):
    got = client("http://127.0.0.1:1/")
    assert got["failed"] == "refused" and "127.0.0.1 port 1" in got["message"]
    got = client("http://name.invalid/")
    assert got["failed"] == "dns" and "name.invalid" in got["message"]
    for url in ("", "x", "/path", "http://", "http://a b/", "http://a\nb/", "http://h/\r\nX: y", "gopher://h/", "file:///etc/passwd",
                "ftp://h/", "javascript:1", "http://[::1", "http://h:99999/", "http://h\0/", "http://" + "x" * 20000):
        got = client(url)
        assert got.get("failed") == "invalid", (url[:40], got)


def test_timeouts(client, backend):
    """Nobody accepts, nobody answers, the body stops: each within its time, and each says what it was doing."""
    mute = backend(lambda peer: (peer.request(), peer.wait_closed()))
    got = client(mute.url, opts={"timeout": 0.3})
    assert got["failed"] == "timeout" and 0.29 <= got["took"] < 5 and "waiting for the answer" in got["message"], got
    mute.wait_idle()

    def stalls(peer):
        peer.request()
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        peer.wait_closed()

    stalling = backend(stalls)
    got = client(stalling.url, opts={"timeout": 0.3})
    assert got["failed"] == "timeout" and got["took"] >= 0.29 and "reading the answer" in got["message"], got
    stalling.wait_idle()

    def drips(peer):
        peer.request()
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:
            peer.send("x")
            time.sleep(0.01)

    dripping = backend(drips)  # the time is for all of it
    assert client(dripping.url, opts={"timeout": 0.3})["failed"] == "timeout"
    dripping.wait_idle()
    assert client(mute.url, opts={"timeout": 0})["failed"] == "timeout"


def test_nobody_accepts(client):
    """A full queue of a listener: the system drops the handshake."""
    import socket
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fill = [socket.socket() for _ in range(4)]
        for s in fill:
            s.setblocking(False)
            s.connect_ex(("127.0.0.1", port))
        got = client(f"http://127.0.0.1:{port}/", opts={"timeout": 0.3})
        assert got["failed"] == "timeout" and "connecting" in got["message"], got
        for s in fill:
            s.close()


def test_answers_that_break_off(client, backend):
    for text in ("", "HTTP/1.1 200 OK\r\nContent-Le", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345",
                 "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12"):
        got = client(backend(saying(text)).url)
        assert got.get("failed") == "closed", (text, got)

    def resets(peer):
        peer.request()
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")
        peer.reset()

    assert client(backend(resets).url)["failed"] == "closed"
    assert client(backend(lambda peer: (peer.request(), peer.reset())).url)["failed"] == "closed"


def test_answers_that_are_none(client, backend):
    for text in ("\0\1\2\3\r\n\r\n", "SSH-2.0-OpenSSH_9\r\n", "220 mail ready\r\n\r\n", "HTTP/9.9 200 OK\r\n\r\n", "HTTP/1.1 xyz OK\r\n\r\nx",
                 "HTTP/1.1 200 OK\r\nContent-Length: abc\r\n\r\nx", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
                 "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nx", "HTTP/1.1 200 OK\r\nX\0Y: z\r\n\r\n",
                 "HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\nhi"):
        got = client(backend(saying(text)).url)
        assert got.get("failed") == "malformed", (text, got)


def test_a_server_that_is_killed_and_started_again(client, nginx):
    assert client(nginx.url + "/hello")["body"] == "hello"
    nginx.stop()
    assert client(nginx.url + "/hello")["failed"] == "refused"
    nginx.start()
    assert client(nginx.url + "/hello")["body"] == "hello"
