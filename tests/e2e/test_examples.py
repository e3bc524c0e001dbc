"""The examples, each started as its README says and used as its page uses it."""
import base64
import filecmp
import hashlib
import hmac
import json
import re
import subprocess
import time
import uuid
from pathlib import Path

import pytest
from support import front
from support.backend import Backend, answering, free_port
from support.server import REPO
from support.wire import CLOSE, Refused, Socket, fetch

EXAMPLES = REPO / "examples"
OURS = ["history", "webhook", "ticker", "login", "tokens", "behind-nginx"]
KEEPS = {"history": ["sql.folder"], "webhook": ["store.file"], "login": ["sql.folder", "store.file"]}
SECRET = "whsec_" + base64.b64encode(b"a key of the tests").decode()


@pytest.fixture
def example(serve, tmp_path):
    """example(name, script="app.lua", more=flags, **options) -> Server, with its pages; what it keeps is in the test's own folder."""
    def start(name, script="app.lua", env=None, more=(), **options):
        folder = EXAMPLES / name
        flags = ["--static", folder / "public"] if script == "app.lua" else []
        where = {"sql.folder": tmp_path, "store.file": tmp_path / "store.db"}
        settings = {key: where[key] for key in KEEPS.get(name, [])}
        return serve(folder / script, *flags, *more, env={"WEBHOOK_SECRET": SECRET, **(env or {})}, settings=settings, **options)
    return start


def kill(server):
    """kill -9."""
    server.codes.add(-9)
    server.kill()


def answer_to(ws, kind, fields):
    """The reply or error reply to a message; what else comes meanwhile is passed over."""
    ws.text({"type": kind, "id": kind, **fields})
    while (got := ws.json()).get("id") != kind:
        pass
    return got


def ask(ws, kind, **fields):
    """The data of the reply."""
    got = answer_to(ws, kind, fields)
    assert got["type"] == "reply", got
    return got.get("data")


def refused(ws, kind, **fields):
    """The code of the error reply."""
    got = answer_to(ws, kind, fields)
    assert got["type"] == "error", got
    return got["code"]


def until_type(ws, kind, **fields):
    """The next message of this type with these fields; others are passed over, for ten seconds."""
    end = time.monotonic() + 10
    while True:
        got = ws.json()
        assert time.monotonic() < end, f"no {kind} with {fields}; the last message is {got}"
        if got["type"] == kind and all(got.get(k) == v for k, v in fields.items()):
            return got


# ---- all of them ----

@pytest.mark.parametrize("name", OURS)
def test_each_starts_and_is_whole(example, name):
    server = example(name)
    page = fetch(server.address, "/").body.decode()
    for file in set(re.findall(r'(?:href|src)="([^"]+)"', page)):
        got = fetch(server.address, "/" + file)
        assert got.status == 200 and got.body == (EXAMPLES / name / "public" / file).read_bytes()
    assert fetch(server.address, "/app.lua").status == 404, "only the folder public is"
    readme = (EXAMPLES / name / "README.md").read_text()
    assert f"build/moontide run examples/{name}/app.lua --static examples/{name}/public" in readme
    for picture in re.findall(r"!\[[^]]+\]\(([^)]+)\)", readme):
        assert (EXAMPLES / name / picture).resolve().is_file()
    server.log.wait("serving")
    assert "ERROR" not in server.log.text()


@pytest.mark.parametrize("file", ["live.js", "look.css", "moon.svg"])
def test_what_the_pages_share_is_the_same_in_all(file):
    """Each folder can be copied away, so each has its own copy: a change goes into all of them."""
    for name in OURS[1:]:
        assert filecmp.cmp(EXAMPLES / OURS[0] / "public" / file, EXAMPLES / name / "public" / file, shallow=False)


# ---- history ----

def test_history_is_read_back_page_by_page(example, connect):
    server = example("history")
    ann = connect(server, "/?name=ann")
    first = ask(ann, "join", room="lobby")
    assert first["messages"] == [] and first["more"] is False and first["you"] == "ann"
    for n in range(70):
        assert ask(ann, "chat", room="lobby", text=f"message {n}")["id"] == n + 1
    bob = connect(server, "/?name=bob")
    latest = ask(bob, "join", room="lobby")
    assert [m["text"] for m in latest["messages"]] == [f"message {n}" for n in range(40, 70)] and latest["more"] is True
    second = ask(bob, "earlier", room="lobby", before=latest["messages"][0]["id"])
    assert [m["text"] for m in second["messages"]] == [f"message {n}" for n in range(10, 40)] and second["more"] is True
    third = ask(bob, "earlier", room="lobby", before=second["messages"][0]["id"])
    assert [m["text"] for m in third["messages"]] == [f"message {n}" for n in range(10)] and third["more"] is False
    ask(ann, "chat", room="lobby", text="are you there?")
    got = until_type(bob, "chat")
    assert (got["id"], got["author"], got["text"]) == (71, "ann", "are you there?") and abs(got["at"] - time.time()) < 60
    assert refused(bob, "chat", room="elsewhere", text="x") == "denied"
    assert refused(bob, "earlier", room="elsewhere", before=9) == "denied"


def test_history_survives_a_kill(example, connect):
    port = free_port()
    server = example("history", listen=[f"127.0.0.1:{port}"])
    ann = connect(server, "/?name=ann")
    ask(ann, "join", room="lobby")
    said = []
    for n in range(25):
        ask(ann, "chat", room="lobby", text=f"kept {n}")
        said.append(f"kept {n}")
    kill(server)
    server = example("history", listen=[f"127.0.0.1:{port}"])
    ann = connect(server, "/?name=ann")
    assert [m["text"] for m in ask(ann, "join", room="lobby")["messages"]] == said
    assert ask(ann, "chat", room="lobby", text="after")["id"] == 26
    assert [m["text"] for m in ask(ann, "search", room="lobby", text="after")["messages"]] == ["after"]


def test_history_search(example, connect):
    ann = connect(example("history"), "/?name=ann")
    ask(ann, "join", room="lobby")
    ask(ann, "join", room="other")
    for room, text in [("lobby", "The tide is high"), ("lobby", "tea in the Café"), ("other", "tide there"), ("lobby", "TIDES and tea")]:
        ask(ann, "chat", room=room, text=text)

    def found(text):
        return [m["text"] for m in ask(ann, "search", room="lobby", text=text)["messages"]]

    assert found("tid") == ["TIDES and tea", "The tide is high"]
    assert found("tea tide") == ["TIDES and tea"]
    assert found("cafe") == ["tea in the Café"]
    assert found("nothing") == []
    for text in ['"', '""', "tide OR tea", "tide*", "NEAR(tide tea)", "-", "text:tide", "^tide", "' OR 1=1 --", "(", "%"]:
        assert isinstance(found(text), list), text  # words, not operators: never an error
    assert refused(ann, "search", room="lobby", text="   ") == "invalid"


# ---- webhook ----

def deliver(server, body, room="lobby", id=None, at=None, secret=SECRET, **headers):
    """A signed delivery, as a service sends it."""
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    id, at = id or f"msg_{uuid.uuid4().hex}", str(int(at if at is not None else time.time()))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signature = base64.b64encode(hmac.new(key, f"{id}.{at}.".encode() + body, hashlib.sha256).digest()).decode()
    headers = {"webhook-id": id, "webhook-timestamp": at, "webhook-signature": f"v1,{signature}",
               **{name.replace("_", "-"): value for name, value in headers.items()}}
    return fetch(server.address, f"/hooks/{room}", "POST", {k: v for k, v in headers.items() if v is not None}, body)


def test_webhook_signature_is_that_of_the_standard():
    """The example of https://github.com/standard-webhooks/standard-webhooks, so that `deliver` is right."""
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    got = hmac.new(key, b'msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{"test": 2432232314}', hashlib.sha256).digest()
    assert base64.b64encode(got) == b"g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_webhook_pushes_to_the_room_and_keeps_the_latest(example, connect):
    server = example("webhook")
    ann, bob = connect(server), connect(server)
    assert ask(ann, "watch", room="lobby") == {"recent": []}
    ask(bob, "watch", room="orders")
    got = deliver(server, {"type": "order.paid", "data": {"order": 17, "lines": []}}, "orders", id="msg_1")
    assert got.status == 202 and got.json() == {"watched_by": 1}
    pushed = bob.expect(type="delivery", room="orders", id="msg_1", event={"type": "order.paid", "data": {"order": 17, "lines": []}})
    ann.expect_nothing()
    assert ask(ann, "watch", room="orders") == {"recent": [pushed]}
    for n in range(25):
        assert deliver(server, {"type": "n", "data": n}, "orders").status == 202
        assert ann.expect(type="delivery")["event"]["data"] == n
    late = ask(connect(server), "watch", room="orders")
    assert [d["event"]["data"] for d in late["recent"]] == list(range(24, 4, -1))


def test_webhook_refuses_what_is_not_signed(example, connect):
    server = example("webhook")
    ann = connect(server)
    ask(ann, "watch", room="lobby")
    event = {"type": "order.paid", "data": 1}
    other = "whsec_" + base64.b64encode(b"another key").decode()
    assert deliver(server, event, secret=other).status == 401
    assert deliver(server, event, webhook_signature=None).status == 401
    assert deliver(server, event, webhook_signature="").status == 401
    assert deliver(server, event, webhook_signature="v1,").status == 401
    assert deliver(server, event, at=time.time() - 400).status == 401, "an old one"
    assert deliver(server, event, at=time.time() + 400).status == 401
    assert deliver(server, event, webhook_timestamp=str(int(time.time()) - 1)).status == 401, "it is signed too"
    assert deliver(server, event, webhook_id="another").status == 401
    assert deliver(server, event, webhook_id=None).status == 400
    assert deliver(server, event, webhook_timestamp="now").status == 400
    assert deliver(server, b"{no json").status == 400
    assert deliver(server, {"data": "x" * 65536}).status == 413
    assert fetch(server.address, "/hooks/lobby").status == 405
    ann.expect_nothing()
    good = deliver(server, event, id="msg_x", at=(now := int(time.time())))
    assert good.status == 202
    wrong = f"v1,AAAA {signature_of('msg_y', now, event)}"
    assert deliver(server, event, id="msg_y", at=now, webhook_signature=wrong).status == 202, "the second of two keys"


def signature_of(id, at, event):
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    return "v1," + base64.b64encode(hmac.new(key, f"{id}.{at}.{json.dumps(event)}".encode(), hashlib.sha256).digest()).decode()


def test_webhook_replay_is_answered_and_not_pushed(example, connect):
    port = free_port()
    server = example("webhook", listen=[f"127.0.0.1:{port}"])
    ann = connect(server)
    ask(ann, "watch", room="lobby")
    again = {"id": "msg_again", "at": time.time()}
    assert deliver(server, {"data": 1}, **again).status == 202
    ann.expect(type="delivery", id="msg_again")
    for room in ["lobby", "lobby", "elsewhere"]:
        got = deliver(server, {"data": 1}, room, **again)
        assert got.status == 200 and got.json() == {"duplicate": True}
    ann.expect_nothing()
    kill(server)
    server = example("webhook", listen=[f"127.0.0.1:{port}"])
    assert deliver(server, {"data": 1}, **again).json() == {"duplicate": True}, "remembered over kill -9"
    assert [d["id"] for d in ask(connect(server), "watch", room="lobby")["recent"]] == ["msg_again"]


def test_webhook_script_that_sends(example, connect):
    server = example("webhook")
    ann = connect(server)
    ask(ann, "watch", room="lobby")
    done = subprocess.run([EXAMPLES / "webhook/send.sh", "lobby", '{"type": "from.shell", "data": "it\'s"}'], check=True, timeout=30,
                          stdout=subprocess.PIPE, env={"PATH": "/usr/bin:/bin", "WEBHOOK_SECRET": SECRET, "URL": server.url})
    assert done.stdout.decode().strip() == '{"watched_by":1} 202'
    ann.expect(type="delivery", event={"type": "from.shell", "data": "it's"})


# ---- ticker ----

def ticker(example, url):
    return example("ticker", env={"PRICES_URL": url, "POLL_SECONDS": "0.1"})


def test_ticker_fans_out_and_survives_its_backend(example, connect):
    port = free_port()
    api = example("ticker", script="api.lua", listen=[f"127.0.0.1:{port}"])
    server = ticker(example, f"http://127.0.0.1:{port}/prices")
    ann = connect(server)
    symbols = until_type(ann, "feed", ok=True)["symbols"]
    assert len(symbols) == 8 and "COD" in symbols
    ann.text({"type": "watch", "symbols": ["COD", "EEL"]})
    seen = {}
    while len(seen.setdefault("COD", set())) < 3 or not seen.get("EEL"):
        got = until_type(ann, "price")
        seen.setdefault(got["symbol"], set()).add(got["price"])
    assert set(seen) == {"COD", "EEL"}
    ann.text({"type": "watch", "symbols": ["CRAB"]})
    ann.fence()
    for _ in range(3):
        last = until_type(ann, "price")
        assert last["symbol"] == "CRAB"
    kill(api)
    while (down := ann.json())["type"] == "price" or down["ok"]:
        last = down if down["type"] == "price" else last
    assert down["reason"] in ("refused", "closed") and down["symbols"] == symbols
    assert until_type(ann, "feed", ok=False)["pause"] == 2 * down["pause"]
    late = connect(server)
    late.expect(type="feed", ok=False)
    late.text({"type": "watch", "symbols": ["CRAB"]})
    assert until_type(late, "price") == last, "who comes late gets the newest there was"
    example("ticker", script="api.lua", listen=[f"127.0.0.1:{port}"])
    assert until_type(ann, "feed", ok=True)["symbols"] == symbols
    until_type(ann, "price", symbol="CRAB")


@pytest.mark.parametrize("body,status", [("no json", "200 OK"), ('{"prices": [{"symbol": "A", "price": "dear"}]}', "200 OK"),
                                         ('{"prices": {"A": 1.5}}', "200 OK"), ("sorry", "500 Internal Server Error")])
def test_ticker_tells_of_an_api_that_answers_nonsense(example, connect, body, status):
    good = ('{"prices": [{"symbol": "A", "price": 1.5, "more": true}]}', "200 OK")
    says = [good]
    api = Backend(answering(lambda peer, *_: peer.answer(*says[0])))
    ann = connect(ticker(example, api.url))
    until_type(ann, "feed", ok=True)
    says[0] = (body, status)
    assert until_type(ann, "feed", ok=False)["reason"] in ("invalid", "json")
    says[0] = good
    until_type(ann, "feed", ok=True, symbols=["A"])
    ann.text({"type": "watch", "symbols": ["A"]})
    assert until_type(ann, "price")["price"] == 1.5
    api.close()


# ---- tokens ----

def event(text):
    return f"data: {json.dumps({'text': text})}\n\n".encode()


STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


def tokens(example, url):
    return example("tokens", env={"ANSWERS_URL": url})


def test_tokens_go_out_as_they_come(example, connect):
    prompts, go = [], []

    def handle(peer):
        prompts.append(json.loads(peer.request()[2]))
        peer.send(STREAM + event("one "))
        for text in ["two ", "three"]:
            wait_until(lambda: go.pop() if go else None)   # not before the client has the one before
            peer.send(event(text)[:9])
            peer.send(event(text)[9:] + b": a comment\nretry: 5\n\n")
        peer.send(b"data: [DONE]\n\n")

    backend = Backend(handle)
    ann = connect(tokens(example, backend.url))
    ann.text({"type": "ask", "ask": 7, "text": "count"})
    for text in ["one ", "two ", "three"]:
        assert ann.json() == {"type": "piece", "ask": 7, "text": text}
        go.append(True)
    assert ann.json() == {"type": "end", "ask": 7, "how": "done"}
    assert prompts == [{"prompt": "count"}]
    backend.close()


def wait_until(check, timeout=10):
    end = time.monotonic() + timeout
    while not (got := check()):
        assert time.monotonic() < end
        time.sleep(0.002)
    return got


@pytest.mark.parametrize("how", ["stop", "another question", "leave"])
def test_tokens_stop_ends_the_request(example, connect, how):
    def handle(peer):
        peer.request()
        peer.send(STREAM + event("first"))
        peer.wait_closed()

    backend = Backend(handle)
    server = tokens(example, backend.url)
    ann = connect(server)
    ann.text({"type": "ask", "ask": 1, "text": "?"})
    ann.expect(type="piece", ask=1)
    if how == "stop":
        ann.text({"type": "stop"})
        ann.expect(type="end", ask=1, how="stopped")
        ann.text({"type": "stop"})
        ann.expect_nothing()
    elif how == "leave":
        ann.bye()
    else:
        ann.text({"type": "ask", "ask": 2, "text": "?"})
        ann.expect(type="end", ask=1, how="stopped")
        ann.expect(type="piece", ask=2)
        ann.bye()
    backend.wait_idle()
    backend.close()


def test_tokens_failures_are_told(example, connect):
    answers = {
        "refuse": lambda peer: peer.answer("busy", "503 Service Unavailable"),
        "cut": lambda peer: peer.send(STREAM.replace(b"Connection: close", b"Content-Length: 9999") + event("part")),
        "endless": lambda peer: peer.send(STREAM + event("part")),
        "nonsense": lambda peer: peer.send(STREAM + b"data: 5\n\ndata: {\n\ndata: [DONE]\n\n"),
    }

    def handle(peer):
        answers[json.loads(peer.request()[2])["prompt"]](peer)

    backend = Backend(handle)
    ann = connect(tokens(example, backend.url))
    for n, (text, pieces, how, why) in enumerate([
            ("refuse", [], "failed", "the backend refuses to answer"), ("cut", ["part"], "failed", "the answer broke off"),
            ("endless", ["part"], "failed", "the answer broke off"), ("nonsense", [], "done", None)]):
        ann.text({"type": "ask", "ask": n, "text": text})
        for piece in pieces:
            ann.expect(type="piece", ask=n, text=piece)
        assert ann.expect(type="end", ask=n, how=how).get("message") == why
    backend.close()
    ann.text({"type": "ask", "ask": 9, "text": "anybody?"})
    ann.expect(type="end", ask=9, how="failed", message="the backend cannot be reached")


def test_tokens_with_its_backend(example, connect):
    backend = example("tokens", script="backend.lua", env={"WORDS_PER_SECOND": "100"})
    ann = connect(tokens(example, backend.url + "/answer"))

    def answer(n, text):
        ann.text({"type": "ask", "ask": n, "text": text})
        pieces = []
        while (got := ann.json())["type"] == "piece":
            pieces.append(got["text"])
        return pieces, got

    pieces, end = answer(1, "What is the Tide?")
    assert end == {"type": "end", "ask": 1, "how": "done"} and len(pieces) > 30 and "".join(pieces).startswith("The sea rises")
    pieces, end = answer(2, "Break, moon")
    assert end["how"] == "failed" and len(pieces) == 11 and "".join(pieces).startswith("The moon goes")
    ann.text({"type": "ask", "ask": 3, "text": "tide"})
    ann.expect(type="piece", ask=3)
    kill(backend)
    assert until_type(ann, "end")["how"] == "failed"


# ---- login ----

class Browser:
    """Keeps the cookie."""

    def __init__(self, server):
        self.server, self.cookie, self.set_cookie = server, None, None

    def call(self, method, path, body=None, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.cookie:
            headers["Cookie"] = f"theme=dark; {self.cookie}"
        body = json.dumps(body).encode() if body is not None else b"" if method == "POST" else None
        got = fetch(self.server.address, path, method, headers, body)
        if "set-cookie" in got.headers:
            self.set_cookie = got.headers["set-cookie"]
            self.cookie = self.set_cookie.split(";")[0]
        return got

    def enter(self, path, name, password="correct horse", **headers):
        return self.call("POST", path, {"name": name, "password": password}, **headers)

    def me(self):
        return self.call("GET", "/me").json().get("user")

    def socket(self, connect, **headers):
        return connect(self.server, headers={**({"Cookie": self.cookie} if self.cookie else {}), **headers})


def refused_socket(browser, connect, **headers):
    with pytest.raises(Refused) as why:
        browser.socket(connect, **headers)
    return why.value.status


def test_login_register_in_and_out(example, connect):
    server = example("login")
    ann, stranger = Browser(server), Browser(server)
    assert ann.me() is None and refused_socket(ann, connect) == 401
    got = ann.enter("/register", "Ann")
    assert got.status == 200 and got.json() == {"user": "Ann"} and ann.me() == "Ann"
    attributes = ann.set_cookie.split("; ")[1:]
    assert set(attributes) == {"Path=/", "Max-Age=2592000", "HttpOnly", "SameSite=Strict"}, "Secure only by TLS"
    assert stranger.enter("/register", "ann").status == 409, "the same name to people"
    assert stranger.enter("/register", "a b").status == 400 and stranger.enter("/register", "bob", "short").status == 400
    tab, other_tab = ann.socket(connect), ann.socket(connect)
    for ws in (tab, other_tab):
        assert abs(ws.expect(type="hello", user="Ann")["expires"] - time.time() - 2592000) < 60
    phone = Browser(server)
    assert phone.enter("/login", "ANN").json() == {"user": "Ann"} and phone.cookie != ann.cookie
    elsewhere = phone.socket(connect)
    elsewhere.expect(type="hello")
    assert until_type(elsewhere, "online")["names"] == ["Ann"]
    old = ann.cookie
    assert ann.call("POST", "/logout").status == 200 and ann.cookie == "session=" and "Max-Age=0" in ann.set_cookie
    for ws in (tab, other_tab):
        until_close(ws, 4401, "logged out")
    elsewhere.fence()
    assert phone.me() == "Ann", "another session goes on"
    ann.cookie = old
    assert ann.me() is None and refused_socket(ann, connect) == 401, "the old cookie is worth nothing"
    assert ann.call("POST", "/logout").status == 200, "once more does no harm"
    assert ann.enter("/login", "ann").status == 200 and ann.me() == "Ann"


def until_close(ws, code, reason):
    while (got := ws.frame()).op != CLOSE:
        pass
    assert (got.code, got.reason) == (code, reason)


def test_login_wrong_password_is_refused_and_limited(example, connect):
    server = example("login")
    ann, thief = Browser(server), Browser(server)
    ann.enter("/register", "ann")
    for _ in range(5):
        got = thief.enter("/login", "ann", "wrong horse")
        assert got.status == 401 and thief.cookie is None
        said = got.body
    got = thief.enter("/login", "ANN")
    assert got.status == 429 and int(got.headers["retry-after"]) > 0, "now the right one does not help either"
    got = thief.enter("/login", "nobody", "wrong horse")
    assert got.status == 401 and got.body == said, "a name that is not there sounds the same"
    assert ann.me() == "ann", "who is logged in stays so"
    for headers in [{"Origin": "https://elsewhere.example"}, {"Origin": "null"}]:
        assert ann.enter("/login", "ann", **headers).status == 403
        assert ann.call("POST", "/logout", **headers).status == 403
        assert refused_socket(ann, connect, **headers) == 403
    ann.socket(connect, Origin="http://localhost").expect(type="hello")
    assert ann.call("GET", "/login").status == 405 and ann.call("POST", "/login", {"name": "ann"}).status == 400


def test_login_takes_as_long_without_a_person(example):
    """A hash takes some 100 ms here; without one the answer would come in a few. Medians, on a machine that others use too."""
    server = example("login")
    Browser(server).enter("/register", "ann")

    def median(names):
        took = []
        for name in names:
            begin = time.monotonic()
            assert Browser(server).enter("/login", name, "wrong horse").status == 401
            took.append(time.monotonic() - begin)
        return sorted(took)[len(took) // 2]

    there, missing = median(["ann"] * 5), median(["bob", "cyd", "dan", "eve", "fay"])
    assert missing > there / 3, f"{missing} s for a name that is not there, {there} s for one that is"


def test_login_session_expires(example, connect):
    server = example("login", env={"SESSION_SECONDS": "2"})
    ann = Browser(server)
    ann.enter("/register", "ann")
    ws = ann.socket(connect)
    ws.expect(type="hello")
    until_close(ws, 4401, "expired")
    assert ann.me() is None and refused_socket(ann, connect) == 401


def test_login_survives_a_kill_and_keeps_no_secrets(example, connect, tmp_path):
    port = free_port()
    server = example("login", listen=[f"127.0.0.1:{port}"])
    ann = Browser(server)
    ann.enter("/register", "ann", "a password in the clear")
    kill(server)
    token = ann.cookie.removeprefix("session=").encode()
    kept = b"".join(file.read_bytes() for file in tmp_path.glob("*.db*"))
    assert b"$scrypt$" in kept and b"session:" in kept and b"a password in the clear" not in kept and token not in kept
    example("login", listen=[f"127.0.0.1:{port}"])
    assert ann.me() == "ann"
    ann.socket(connect).expect(type="hello", user="ann")
    assert Browser(server).enter("/login", "ann", "a password in the clear").status == 200


# ---- behind-nginx ----

@pytest.fixture
def behind(example, authority, tmp_path):
    """behind("nginx" or "haproxy") -> (server, port of HTTP, port of HTTPS, Front): the example's own files, with other ports and paths."""
    running = []

    def start(kind):
        folder, chain, key = EXAMPLES / "behind-nginx", *authority.issue("example", "chat.example", "localhost")
        server = example("behind-nginx", more=["--config", folder / "moontide.conf.lua"], listen=["127.0.0.1:0", "proxy+127.0.0.1:0"])
        plain, secure = free_port(), free_port()
        changes = [("127.0.0.1:8765", f"127.0.0.1:{server.port}"), ("127.0.0.1:8766", server.urls[1].removeprefix("proxy+http://")),
                   ("/etc/letsencrypt/live/chat.example/fullchain.pem", str(chain)), ("/etc/letsencrypt/live/chat.example/privkey.pem", str(key)),
                   ("/etc/haproxy/chat.example.pem", str(tmp_path / "both.pem")), ("listen 80;", f"listen 127.0.0.1:{plain};"),
                   ("listen 443 ssl;", f"listen 127.0.0.1:{secure} ssl;"), ("listen [::]:80;", f"listen [::1]:{plain};"),
                   ("listen [::]:443 ssl;", f"listen [::1]:{secure} ssl;"), ("bind :80", f"bind 127.0.0.1:{plain}"),
                   ("bind :443", f"bind 127.0.0.1:{secure}"), ("https://$host$", f"https://$host:{secure}$")]
        (tmp_path / "both.pem").write_text(chain.read_text() + key.read_text())
        text = (folder / {"nginx": "nginx.conf", "haproxy": "haproxy.cfg"}[kind]).read_text()
        made = 0
        for old, new in changes:
            made += old in text
            text = text.replace(old, new)
        assert made == {"nginx": 8, "haproxy": 4}[kind], "a change is for nothing"
        running.append(getattr(front, kind)(tmp_path / kind, text, [plain, secure]).start())
        return server, plain, secure

    yield start
    for one in running:
        one.stop()


@pytest.mark.parametrize("kind", ["nginx", "haproxy"])
def test_behind_nginx_as_its_files_say(behind, authority, kind):
    _, plain, secure = behind(kind)
    tls, host = authority.client(), f"localhost:{secure}"
    where = {"address": ("127.0.0.1", secure), "tls": tls, "name": "localhost"}
    got = fetch(("127.0.0.1", plain), "/x?y", headers={"Host": "localhost"})
    assert got.status in (301, 302) and got.headers["location"] in (f"https://localhost:{secure}/x?y", "https://localhost/x?y")
    page = EXAMPLES / "behind-nginx/public/index.html"
    for source in ("127.0.0.7", "127.0.0.8"):
        assert fetch(target="/", headers={"Host": host}, source=source, **where).body == page.read_bytes()
        assert fetch(target="/ip", headers={"Host": host}, source=source, **where).json() == {"ip": source}
        lie = {"Host": host, "X-Forwarded-For": "198.51.100.1", "X-Real-IP": "198.51.100.2", "Forwarded": "for=198.51.100.3"}
        assert fetch(target="/ip", headers=lie, source=source, **where).json() == {"ip": source}
    page_of = {"Origin": f"https://{host}"}
    with Socket(host=host, source="127.0.0.7", headers=page_of, **where) as ann, Socket(host=host, source="127.0.0.8", headers=page_of, **where) as bob:
        me = until_type(ann, "you", ip="127.0.0.7")["name"]
        until_type(bob, "you", ip="127.0.0.8")
        ann.text({"type": "say", "text": "hello"})
        until_type(bob, "said", name=me, text="hello")
        ann.bye()
        assert len(until_type(bob, "here")["people"]) in (1, 2)
    for origin in ("https://evil.example", f"http://{host}"):
        with pytest.raises(Refused) as why:
            Socket(host=host, headers={"Origin": origin}, **where)
        assert why.value.status == 403


def seconds_of(text, *names):
    return [int(re.search(rf"{name}\s*(\d+)s", text).group(1)) for name in names]


def test_behind_nginx_has_timeouts_that_fit_the_servers():
    """And the README says what the files say."""
    folder = EXAMPLES / "behind-nginx"
    settings, readme = (REPO / "docs/configuration.md").read_text(), (folder / "README.md").read_text()
    took = sum(seconds_of(settings, r"`ping.interval` \| seconds \| `", r"`ping.timeout` \| seconds \| `"))
    for seconds in seconds_of((folder / "nginx.conf").read_text(), "proxy_read_timeout", "proxy_send_timeout") \
            + seconds_of((folder / "haproxy.cfg").read_text(), "timeout tunnel"):
        assert seconds > took
    assert "| `idle.timeout` | seconds | `1min` |" in settings
    for seconds in seconds_of((folder / "nginx.conf").read_text(), " keepalive_timeout") \
            + seconds_of((folder / "haproxy.cfg").read_text(), "timeout http-keep-alive"):
        assert seconds < 60  # the proxy ends connections without requests, not the server
    for file in ("nginx.conf", "haproxy.cfg", "moontide.conf.lua"):
        assert f"({file})" in readme
