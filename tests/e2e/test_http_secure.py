"""tide.http: TLS as it should be and not, proxies of the environment, the AI app of the contract."""
import json
import select
import ssl
import threading

import pytest
from support.backend import Proxy, answering, server_context
from support.server import refuses

hello = answering(lambda peer, line, headers, body: peer.answer("hello"))


@pytest.fixture(scope="module")
def pairs(authority):
    """Server certificates by what is right or wrong with them."""
    return {"right": authority.issue("right", "localhost", "127.0.0.1", "llm.example"), "other": authority.issue("other", "other.example"),
            "expired": authority.issue("expired", "localhost", "127.0.0.1", days=-1)}


@pytest.fixture
def trusting(http_caller, authority):
    """A client that trusts the authority of the tests."""
    return http_caller(settings={"http.ca": authority.root[0]})


# ---- TLS ----

def test_https(trusting, backend, pairs):
    server = backend(hello, tls=server_context(pairs["right"]))
    for host in ("127.0.0.1", "localhost"):
        assert trusting(f"https://{host}:{server.port}/")["body"] == "hello"
    assert trusting(f"https://localhost:{server.port}/", read="lines", opts={"stream": True})["pieces"] == ["hello"]
    accepted = server.accepted
    for _ in range(3):
        assert trusting(f"https://localhost:{server.port}/")["body"] == "hello"
    assert server.accepted == accepted


def test_http2_and_streams_beside_it(trusting, start_nginx, pairs):
    """HTTP/2 where the server has it; a stream does not share such a connection."""
    nginx = start_nginx(tls=pairs["right"])
    (nginx.www / "file").write_text("a line\n" * 1000)
    got = trusting(nginx.tls_url + "/hello")
    assert got["headers"]["x-protocol"] == "HTTP/2.0" and got["body"] == "hello"
    again = trusting(nginx.tls_url + "/file")
    assert again["headers"]["x-connection"] == got["headers"]["x-connection"] and again["body"] == "a line\n" * 1000
    stream = trusting(nginx.tls_url + "/file", read="lines", opts={"stream": True})
    assert stream["headers"]["x-protocol"] == "HTTP/1.1" and len(stream["pieces"]) == 1000
    assert trusting(nginx.tls_url + "/method", method="POST", opts={"body": "x" * 60000})["status"] == 200
    assert trusting(nginx.tls_url + "/hello", type="many", count=200) == {"200": 200}
    assert trusting(nginx.tls_url + "/same")["body"] == "hello"


def test_certificates_that_are_not_right(http_caller, authority, backend, pairs):
    strict, trusting = http_caller(), http_caller(settings={"http.ca": authority.root[0]})

    def seen(client, pair, **opts):
        server = backend(hello, tls=server_context(pairs[pair]))
        got = client(server.url, opts=opts)
        assert got.get("failed") == "tls", got
        return got["message"]

    assert "certificate" in seen(strict, "right")  # an authority that the system does not know
    why = seen(trusting, "other")
    assert "127.0.0.1" in why, why
    assert "expired" in seen(trusting, "expired")
    assert "certificate" in seen(strict, "right", stream=True)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_no_tls_there(trusting, backend, pairs):
    plain = backend(lambda peer: (peer.fill(), peer.send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")))
    assert trusting(f"https://127.0.0.1:{plain.port}/")["failed"] == "tls"
    closing = backend(lambda peer: peer.sock.recv(5))
    assert trusting(f"https://127.0.0.1:{closing.port}/")["failed"] == "tls"
    mute = backend(lambda peer: peer.wait_closed())
    got = trusting(f"https://127.0.0.1:{mute.port}/", opts={"timeout": 0.3})
    assert got["failed"] == "timeout" and "connecting" in got["message"]
    mute.wait_idle()
    secure = backend(hello, tls=server_context(pairs["right"]))
    assert trusting(f"http://127.0.0.1:{secure.port}/")["failed"] in ("closed", "malformed")
    old = server_context(pairs["right"])
    old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    assert trusting(backend(hello, tls=old).url)["failed"] == "tls"


def test_a_body_that_is_cut_under_tls(trusting, backend, pairs):
    """A length is kept to, whether TLS was ended properly or not."""
    def cut(headers, unwrap=False):
        def handle(peer):
            peer.request()
            peer.send(f"HTTP/1.1 200 OK\r\n{headers}\r\nhalf")
            if unwrap:
                peer.sock.unwrap()
        return backend(handle, tls=server_context(pairs["right"])).url

    for unwrap in (False, True):
        assert trusting(cut("Content-Length: 100\r\n", unwrap))["failed"] == "closed"
        got = trusting(cut("Transfer-Encoding: chunked\r\n\r\n4\r\n", unwrap), read="chunks", opts={"stream": True})
        assert got["error"], got
    assert trusting(cut("", True))["body"] == "half"


def test_a_file_of_authorities_that_is_not_there(tmp_path):
    script = tmp_path / "app.lua"
    script.write_text("return {}")
    code, text = refuses("check", script, "--set", "http.ca=/nowhere/ca.pem")
    assert code == 1 and "http.ca" in text and "cannot be read" in text


# ---- proxies ----

def test_proxies_of_the_environment(http_caller, authority, backend, pairs):
    secure, plain = backend(hello, tls=server_context(pairs["right"])), backend(hello)
    proxy = backend({"llm.example:443": ("127.0.0.1", secure.port)}, kind=Proxy)
    url = f"http://127.0.0.1:{proxy.port}"
    client = http_caller(settings={"http.ca": authority.root[0]}, env={"http_proxy": url, "HTTPS_PROXY": url, "no_proxy": "localhost"})
    assert client("https://llm.example/x")["body"] == "hello"
    assert client("http://plain.example/a?b=c")["body"] == "by proxy: http://plain.example/a?b=c"
    got = client("https://denied.example/")
    assert got["failed"] == "refused" and "403" in got["message"], got
    assert client(f"http://localhost:{plain.port}/")["body"] == "hello"
    assert [line.split(" ")[:2] for line in proxy.seen] == [
        ["CONNECT", "llm.example:443"], ["GET", "http://plain.example/a?b=c"], ["CONNECT", "denied.example:443"]]
    # the guard: a proxy would look the name up, so none is used
    got = client("http://plain.example/", opts={"private": False})
    assert got["failed"] == "dns" and len(proxy.seen) == 3, got


def test_a_proxy_that_is_not_there(http_caller):
    client = http_caller(env={"https_proxy": "http://127.0.0.1:1", "http_proxy": "http://proxy.invalid:1"})
    assert client("https://llm.example/x")["failed"] == "refused"
    assert client("http://llm.example/x")["failed"] == "dns"


# ---- an app of the contract ----

class Model:
    """The other side of h_ai.lua: answers with events, and goes on when the test says so."""

    def __init__(self):
        self.go, self.requests, self.cut = threading.Semaphore(0), [], False

    def __call__(self, peer):
        while True:
            got = peer.request()
            if got is None:
                return
            self.requests.append(got)
            peer.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
            for word in ("Hello", ", ", "world"):
                event = f"data: {json.dumps({'text': word})}\n\n".encode()
                peer.send(b"%x\r\n%s\r\n" % (len(event), event))
                if not self.may_go_on(peer):
                    return
            peer.send("9\r\n: end\r\n\r\n\r\n0\r\n\r\n")


    def may_go_on(self, peer):
        while not self.go.acquire(timeout=0.02):
            if select.select([peer.sock], [], [], 0)[0]:  # the other side has closed
                return False
        return not self.cut


@pytest.fixture
def ai(serve, apps, authority, backend, pairs):
    """(server, model, the model's server)"""
    model = Model()
    secure = backend(model, tls=server_context(pairs["right"]))
    proxy = backend({"llm.example:443": ("127.0.0.1", secure.port)}, kind=Proxy)
    server = serve(apps / "h_ai.lua", settings={"http.ca": authority.root[0]},
                   env={"https_proxy": f"http://127.0.0.1:{proxy.port}", "LLM_KEY": "k1"})
    return server, model, secure


def test_ai(connect, ai):
    server, model, secure = ai
    ws = connect(server)
    ws.text({"type": "ask", "id": 7, "text": "greet"})
    ws.expect(type="reply", id=7)
    for word in ("Hello", ", ", "world"):
        ws.expect(type="token", ask=7, text=word)
        model.go.release()
    ws.expect(type="done", ask=7)
    line, headers, body = model.requests[0]
    assert line == "POST /v1/chat HTTP/1.1" and headers["authorization"] == ["Bearer k1"] and headers["host"] == ["llm.example"]
    assert json.loads(body) == {"prompt": "greet", "stream": True}

    ws.text({"type": "ask", "id": 8, "text": "again"})
    ws.expect(type="reply", id=8)
    ws.expect(type="token", ask=8, text="Hello")
    ws.text({"type": "cancel", "id": 9})
    ws.expect(type="reply", id=9)
    secure.wait_idle()
    ws.expect_nothing()

    ws.text({"type": "ask", "id": 10, "text": "cut"})
    ws.expect(type="reply", id=10)
    ws.expect(type="token", ask=10, text="Hello")
    model.cut = True
    model.go.release()
    assert ws.expect(type="failed", ask=10)["message"]
    secure.close()
    ws.text({"type": "ask", "id": 11, "text": "nobody there"})
    ws.expect(type="reply", id=11)
    assert ws.expect(type="failed", ask=11)["message"]


def test_ai_ends_with_its_connection(connect, ai):
    server, model, secure = ai
    ws = connect(server)
    ws.text({"type": "ask", "id": 7, "text": "greet"})
    ws.expect(type="reply", id=7)
    ws.expect(type="token", ask=7, text="Hello")
    ws.bye()
    secure.wait_idle()
    assert server.alive() and " ERROR " not in server.log.text()
