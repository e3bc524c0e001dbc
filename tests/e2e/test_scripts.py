"""The handlers that ship with the server, each used as its opening comment says."""
import hashlib
import json
import os
import signal
import time
from pathlib import Path

import pytest
from support import jose
from support.wire import Refused, fetch

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def call(ws, kind, **fields):
    """The data of the reply to a command with an id."""
    ws.text({"type": kind, "id": f"id-{kind}", **fields})
    while True:
        got = ws.json()
        if got.get("id") == f"id-{kind}":
            assert got["type"] == "reply", got
            return got.get("data")


@pytest.mark.parametrize("path", sorted(SCRIPTS.glob("*.lua")), ids=lambda p: p.name)
def test_each_is_short_and_starts(serve, path):
    assert len(path.read_text().splitlines()) < 100
    serve(path)


# ---- echo ----

def test_echo(serve, connect):
    ws = connect(serve(SCRIPTS / "echo.lua"))
    ws.text({"message": "hi"})
    got = ws.expect(type="echo", message="Received: hi")
    assert abs(got["timestamp"] - time.time()) < 60
    ws.text("{not json")
    assert ws.json() == {"error": "Invalid JSON"}
    ws.text({"message": "the connection stays"})
    ws.expect(type="echo", message="Received: the connection stays")
    ws.binary(b"\0\xff\x80")
    ws.expect(b"\0\xff\x80")
    for strange in ('{"message":5}', '{"message":null}', "{}", "[]", '{"message":{"a":[1]}}', "5", "null", ""):
        ws.text(strange)
        assert {"echo": 1, None: 1}[ws.json().get("type")]


# ---- chat ----

def join(ws, room):
    return call(ws, "join", room=room)


def come(ws, name, room, tab=False):
    """Join, and hear of it too, unless this is one more tab of somebody who is there: the data of the reply."""
    ws.text({"type": "join", "room": room, "id": 1})
    got = {m["type"]: m for m in (ws.json() for _ in range(1 if tab else 2))}  # which comes first is not promised
    assert tab or got["user_joined"]["user_id"] == name
    return got["reply"]["data"]


def enter(connect, server, name, room="lobby", tab=False):
    ws = connect(server, f"/?name={name}")
    ws.expect(type="system", message="Welcome to the chat!", you=name)
    ws.members = [m["user"] for m in come(ws, name, room, tab)["members"]]
    return ws


def test_chat_rooms_names_and_history(serve, connect):
    server = serve(SCRIPTS / "chat.lua")
    ann = enter(connect, server, "ann")
    assert ann.members == ["ann"]
    ann.text({"type": "chat", "room": "lobby", "text": "first"})
    ann.expect(type="chat", room="lobby", text="first", **{"from": "ann"})
    bob = connect(server, "/?name=bob")
    bob.expect(type="system", you="bob")
    data = come(bob, "bob", "lobby")
    assert sorted(m["user"] for m in data["members"]) == ["ann", "bob"]
    assert [(m["from"], m["text"]) for m in data["history"]] == [("ann", "first")]
    ann.expect(type="user_joined", user_id="bob", room="lobby")

    come(bob, "bob", "second")
    bob.text({"type": "chat", "room": "second", "text": "only here"})
    bob.fence()
    ann.expect_nothing()
    assert {r["name"]: r["count"] for r in call(ann, "rooms")["rooms"]} == {"lobby": 2, "second": 1}
    assert [m["user"] for m in call(ann, "who", room="second")["members"]] == ["bob"]
    bob.text({"type": "leave", "room": "lobby"})
    ann.expect(type="user_left", user_id="bob", room="lobby")
    bob.text({"type": "chat", "room": "lobby", "text": "not in it", "id": 9})
    bob.expect(type="error", id=9, code="denied")


def test_chat_private_and_guests(serve, connect):
    server = serve(SCRIPTS / "chat.lua")
    ann, tab, bob = (enter(connect, server, n, tab=t) for n, t in (("ann", False), ("ann", True), ("bob", False)))
    for ws in (ann, tab):
        ws.expect(type="user_joined", user_id="bob")
    bob.text({"type": "private", "to": "ann", "text": "psst"})
    for ws in (ann, tab):
        ws.expect(type="private", text="psst", **{"from": "bob"})
    bob.expect_nothing()
    bob.text({"type": "private", "to": "nobody", "text": "x", "id": 1})
    bob.expect(type="error", id=1, code="offline")
    guests = [connect(server, "/").expect(type="system")["you"] for _ in range(3)]
    assert len(set(guests)) == 3 and all(g.startswith("guest") for g in guests)
    assert connect(server, "/?name=" + "x" * 65).expect(type="system")["you"].startswith("guest")


def test_chat_history_is_bounded(serve, connect):
    server = serve(SCRIPTS / "chat.lua")
    ann = enter(connect, server, "ann")
    for n in range(60):
        ann.text({"type": "chat", "room": "lobby", "text": str(n)})
        ann.expect(type="chat", text=str(n))
    history = join(ann, "lobby")["history"]
    assert [m["text"] for m in history] == [str(n) for n in range(10, 60)]


def test_chat_survives_a_reload(serve, connect, tmp_path, until):
    """A copy is edited while two people talk: both stay, the history stays, the change shows."""
    script = tmp_path / "chat.lua"
    text = (SCRIPTS / "chat.lua").read_text()
    script.write_text(text)
    server = serve(script, watch=True)
    ann, bob = enter(connect, server, "ann"), enter(connect, server, "bob")
    ann.expect(type="user_joined", user_id="bob")
    ann.text({"type": "chat", "room": "lobby", "text": "before"})
    bob.expect(type="chat", text="before")
    assert "text = msg.text, at" in text
    script.write_text(text.replace("text = msg.text, at", "text = msg.text:upper(), at"))

    def changed():
        ann.text({"type": "chat", "room": "lobby", "text": "now"})
        return bob.json()["text"] == "NOW"
    until(changed, what="the edited script")
    assert join(bob, "lobby")["history"][0]["text"] == "before"
    assert [m["user"] for m in call(bob, "who", room="lobby")["members"]] == ["ann", "bob"]


# ---- rooms ----

def test_rooms(serve, connect):
    server = serve(SCRIPTS / "rooms.lua")
    a, b = connect(server, "/?name=ann"), connect(server)
    assert join(a, "r") == {"room": "r", "count": 1}
    assert join(b, "r") == {"room": "r", "count": 2}
    assert join(b, "s") == {"room": "s", "count": 1}
    assert call(a, "publish", room="r", data={"x": [1, 2, {}]}) == {"room": "r", "count": 2}
    b.expect(type="message", room="r", data={"x": [1, 2, {}]}, **{"from": "ann"})
    got = call(b, "list")
    assert {r["name"]: r["count"] for r in got["rooms"]} == {"r": 2, "s": 1} and sorted(got["joined"]) == ["r", "s"]
    assert [r["name"] for r in call(b, "list", prefix="s")["rooms"]] == ["s"]
    assert call(b, "leave", room="s") == {"room": "s"}
    for command, code in (({"type": "leave", "room": "s"}, "not_found"), ({"type": "publish", "room": "s", "data": 1}, "denied"),
                          ({"type": "join"}, "invalid"), ({"type": "join", "room": "x" * 101}, "invalid"),
                          ({"type": "dance"}, "unknown_type")):
        b.text({**command, "id": 5})
        b.expect(type="error", id=5, code=code)


# ---- live ----

def test_live(serve, connect):
    server = serve(SCRIPTS / "live.lua")
    a, b = connect(server), connect(server)
    b.text({"type": "subscribe", "topic": "price"})
    b.expect_nothing()
    a.text({"type": "publish", "topic": "price", "data": 42})
    got = b.expect(type="update", topic="price", data=42)
    assert abs(got["timestamp"] - time.time()) < 60
    a.text({"type": "subscribe", "topic": "price"})
    assert a.json() == {"type": "current_data", "topic": "price", "data": 42}
    b.text({"type": "unsubscribe", "topic": "price"})
    b.fence()
    a.text({"type": "publish", "topic": "price", "data": None})
    a.json()
    b.expect_nothing()


# ---- auth ----

@pytest.mark.parametrize("how", [
    {"headers": {"Authorization": "Bearer token123"}}, {"headers": {"authorization": "bearer token123"}},
    {"target": "/?token=token123"},
    {"protocols": ["bearer", "token123"]}])
def test_auth_good_tokens(serve, connect, how):
    ws = connect(serve(SCRIPTS / "auth.lua"), **how)
    ws.expect(type="welcome", user="demo")
    ws.text("hello")
    ws.expect(type="echo", message="hello", **{"from": "demo"})
    assert call(ws, "whoami") == {"user": "demo"}
    assert ws.protocol in (None, "bearer")


@pytest.mark.parametrize("how,status", [
    ({}, 401), ({"headers": {"Authorization": "Bearer wrong"}}, 401), ({"headers": {"Authorization": "Basic token123"}}, 401),
    ({"target": "/?token="}, 401),
    ({"target": "/?token=token1234"}, 401), ({"headers": {"Authorization": "Bearer token123", "Origin": "https://evil.example"}},
                                             403),
    ({"headers": {"Authorization": "Bearer token123", "Origin": "null"}}, 403)])
def test_auth_refusals(serve, connect, how, status):
    server = serve(SCRIPTS / "auth.lua")
    with pytest.raises(Refused) as why:
        connect(server, **how)
    assert why.value.status == status and why.value.response.body
    if status == 401:
        assert why.value.response.headers["www-authenticate"].startswith("Bearer")


def test_auth_settings_and_origins(serve, connect):
    server = serve(SCRIPTS / "auth.lua", env={"AUTH_TOKENS": "s1=ann s2=bob"},
                   settings={"origins": "https://app.example https://other.example"})
    for origin in ("https://app.example", "https://other.example", "http://localhost"):
        connect(server, headers={"Authorization": "Bearer s2", "Origin": origin}).expect(type="welcome", user="bob")
    with pytest.raises(Refused) as why:
        connect(server, headers={"Authorization": "Bearer token123"})
    assert why.value.status == 401
    assert "s2" not in server.log.text().replace("ms2", "")


# ---- files ----

def upload(ws, name, data, piece=60000):
    call(ws, "begin", name=name, size=len(data))
    for at in range(0, len(data), piece):
        ws.binary(data[at:at + piece])
    seen = []
    while True:
        got = ws.json()
        if got["type"] == "complete":
            assert got["sha256"] == hashlib.sha256(data).hexdigest() and got["size"] == len(data)
            return seen
        assert got["type"] == "progress" and got["name"] == name and got["size"] == len(data)
        seen.append(got["received"])


def download(ws, name):
    ws.text({"type": "get", "name": name})
    data = b""
    while True:
        got = ws.data()
        if isinstance(got, bytes):
            data += got
            continue
        end = json.loads(got)
        assert end["type"] == "sent" and end["sha256"] == hashlib.sha256(data).hexdigest()
        return data


def test_files(serve, connect):
    server = serve(SCRIPTS / "files.lua")
    ws = connect(server)
    data = os.urandom(300000)
    seen = upload(ws, "a.bin", data)
    assert seen == sorted(seen) and seen[-1] == len(data)
    assert upload(ws, "one", b"x")[-1] == 1
    other = connect(server)
    assert download(other, "a.bin") == data
    assert [(f["name"], f["size"]) for f in call(other, "list")["files"]] == [("a.bin", 300000), ("one", 1)]


def test_files_wrong_use(serve, connect):
    ws = connect(serve(SCRIPTS / "files.lua"))
    ws.binary(b"unannounced")
    ws.expect(type="error", code="denied")
    for fields in ({"name": "", "size": 5}, {"name": "x", "size": 0}, {"name": "x", "size": 1 << 40}, {"name": "x", "size": "5"},
                   {"size": 5}):
        ws.text({"type": "begin", "id": 1, **fields})
        ws.expect(type="error", id=1, code="invalid")
    call(ws, "begin", name="x", size=3)
    ws.binary(b"four")
    ws.expect(type="error", code="too_large")
    ws.text({"type": "get", "name": "nothing", "id": 2})
    ws.expect(type="error", id=2, code="not_found")
    call(ws, "begin", name="x", size=3)
    call(ws, "cancel")
    ws.binary(b"abc")
    ws.expect(type="error", code="denied")


def test_files_slow_reader_gets_it_all(serve, connect):
    server = serve(SCRIPTS / "files.lua")
    data = os.urandom(8 << 20)
    upload(connect(server), "big", data)
    assert download(connect(server, rcvbuf=4096), "big") == data


def test_files_only_the_newest_stay(serve, connect):
    server = serve(SCRIPTS / "files.lua")
    ws = connect(server)
    for i in range(7):
        upload(ws, f"f{i}", bytes([i]) * 70000)
    upload(ws, "f3", b"newer")
    seen = len(server.log)
    server.signal(signal.SIGHUP)
    server.log.wait("reloaded", since=seen)
    names = [f["name"] for f in call(ws, "list")["files"]]
    assert names == ["f1", "f2", "f4", "f5", "f6", "f3"]
    assert download(ws, "f3") == b"newer" and download(ws, "f1") == b"\1" * 70000
    ws.text({"type": "get", "name": "f0", "id": 1})
    ws.expect(type="error", id=1, code="not_found")


# ---- examples ----

def test_dashboard(serve, connect):
    folder = SCRIPTS.parent / "examples" / "dashboard"
    server = serve(folder / "dashboard.lua", "--static", folder)
    ws = connect(server)
    ws.text({"type": "subscribe"})
    ws.expect(type="series")
    names = {ws.expect(type="point")["series"] for _ in range(6)}
    assert len(names) == 3
    ws.text({"type": "publish", "series": "mine", "value": 21.5})
    while True:
        got = ws.json()
        if got["series"] == "mine":
            break
    assert got["value"] == 21.5
    page = fetch(server.address, "/")
    assert page.status == 200 and b"dashboard.js" in page.body


@pytest.mark.parametrize("name", ["JWT_KEY", "JWT_JWKS"])
def test_auth_by_signed_tokens(serve, connect, tmp_path, name):
    key = jose.Key("ES256", "k")
    path = tmp_path / "keys.json"
    path.write_text(jose.key_set(key))
    server = serve(SCRIPTS / "auth.lua", env={name: key.public if name == "JWT_KEY" else str(path), "JWT_ISSUER": "me"})
    ws = connect(server, protocols=["bearer", key.token(sub="ann", iss="me")])
    ws.expect(type="welcome", user="ann")
    for token in ("token123", key.token(sub="ann", iss="you"), key.token(iss="me"), key.token(-5, sub="ann", iss="me")):
        with pytest.raises(Refused) as why:
            connect(server, f"/?token={token}")
        assert why.value.status == 401
