"""The apps of the API's contract, run as they are written. Their scenarios, against the real program."""
import time
from pathlib import Path

import pytest
from support import jose
from support.wire import Refused, Response, Wire, head

HERE = Path(__file__).resolve()
APPS, SCRIPTS = HERE.parent / "apps", HERE.parents[2] / "scripts"


def person(connect, server, name):
    ws = connect(server, f"/?name={name}")
    ws.expect(type="system", message="Welcome to the chat!")
    return ws


def test_echo(serve, connect, apps):
    server = serve(apps / "echo.lua")
    ws = connect(server)
    ws.text("Test message")
    ws.expect("Test message")
    ws.binary(b"\xff")  # no on_binary
    ws.expect_close(1003)


def test_chat(serve, connect, apps):
    server = serve(apps / "chat.lua")
    ann, bob = person(connect, server, "ann"), person(connect, server, "bob")
    ann.text({"type": "join", "room": "lobby", "id": 1})
    first = [ann.json(), ann.json()]  # the reply and the notice; which comes first is not promised
    assert {"type": "user_joined", "room": "lobby", "user_id": "ann"} in first
    reply = next(m for m in first if m["type"] == "reply")
    assert reply["id"] == 1 and [m["user"] for m in reply["data"]["members"]] == ["ann"]
    bob.text({"type": "join", "room": "lobby"})
    bob.expect(type="user_joined", user_id="bob")
    ann.expect(type="user_joined", user_id="bob")

    tab = person(connect, server, "ann")  # a second tab is not a second person
    tab.text({"type": "join", "room": "lobby"})
    tab.fence()
    bob.expect_nothing()
    bob.text({"type": "chat", "room": "lobby", "text": "hi"})
    for ws in (ann, bob, tab):
        ws.expect(type="chat", **{"from": "bob", "text": "hi"})

    bob.text({"type": "private", "to": "ann", "text": "psst"})
    ann.expect(type="private", **{"from": "bob"})
    tab.expect(type="private")
    bob.text({"type": "private", "to": "nobody", "text": "x"})
    bob.expect(type="error", code="offline")
    bob.text({"type": "chat", "room": "other", "text": "x", "id": 7})
    bob.expect(type="error", id=7, code="denied")


def test_chat_what_the_client_does_wrong(serve, connect, apps):
    server = serve(apps / "chat.lua")
    bob = person(connect, server, "bob")
    bob.text({"type": "join", "room": "lobby"})
    bob.expect(type="user_joined")
    for message, code in (({"type": "chat", "room": "lobby"}, "invalid"), ({"type": "chat", "room": None, "text": 5}, "invalid"),
                          ({"type": "chat", "room": "x" * 65, "text": "x"}, "invalid"), ({"type": "join", "room": ""}, "invalid"),
                          ("{nope", "bad_json"), ({"type": "jion"}, "unknown_type"), ({"text": "no type"}, "unknown_type")):
        bob.text(message)
        bob.expect(type="error", code=code)
    bob.text({"type": "chat", "room": "lobby", "text": "still here"})
    bob.expect(type="chat", text="still here")


def test_chat_grace(serve, connect, apps):
    """A second tab that goes is nothing; the last one is told after the grace of 5 s, a quick return is neither."""
    server = serve(apps / "chat.lua")
    ann, bob, tab = (person(connect, server, name) for name in ("ann", "bob", "ann"))
    ann.text({"type": "join", "room": "lobby"})
    ann.expect(type="user_joined", user_id="ann")
    tab.text({"type": "join", "room": "lobby"})
    tab.fence()
    bob.text({"type": "join", "room": "lobby"})
    for ws in (ann, tab, bob):
        ws.expect(type="user_joined", user_id="bob")
    tab.bye()
    bob.bye()
    again = person(connect, server, "bob")
    again.text({"type": "join", "room": "lobby"})
    again.expect_nothing()
    ann.expect_nothing()
    begin = time.monotonic()
    again.bye()
    ann.expect(type="user_left", user_id="bob", room="lobby")
    assert time.monotonic() - begin > 4.5
    ann.expect_nothing()


def test_live(serve, connect, apps):
    server = serve(apps / "live.lua")
    a, b = connect(server), connect(server)
    a.text({"type": "publish", "topic": "news", "data": {"n": 1}})
    a.expect_nothing()
    b.text({"type": "subscribe", "topic": "news"})
    b.expect(type="current_data", topic="news", data={"n": 1})
    a.text({"type": "publish", "topic": "news", "data": {"n": 2}})
    update = b.expect(type="update", topic="news", data={"n": 2})
    assert abs(update["timestamp"] - time.time()) < 60
    a.expect_nothing()
    a.text({"type": "publish", "topic": "news"})
    a.expect(type="error", code="invalid")


@pytest.mark.parametrize("folder", [APPS, SCRIPTS], ids=["apps", "scripts"])
def test_live_slow_reader_gets_the_newest(serve, connect, folder):
    """A subscriber that does not read for a while gets a few updates that were on their way, and then the last."""
    server = serve(folder / "live.lua")
    a, slow = connect(server), connect(server, rcvbuf=4096)
    slow.text({"type": "subscribe", "topic": "news"})
    slow.fence()
    count, filler = 2000, "x" * 8000  # 16 MB: far more than the sockets hold
    for n in range(1, count + 1):
        a.text({"type": "publish", "topic": "news", "data": {"n": n, "filler": filler}})
        if n % 20 == 0:
            a.expect_nothing()
    seen = [slow.json()["data"]["n"]]
    while seen[-1] != count:
        seen.append(slow.json()["data"]["n"])
    assert seen == sorted(seen)
    assert len(seen) < count * 0.9, f"{len(seen)} of {count} updates reached a reader that slept"
    slow.expect_nothing()


def test_seed(serve, connect, apps):
    server = serve(apps / "j_seed.lua")
    a, b = connect(server), connect(server)
    a.expect(type="system", message="Welcome to the chat!")
    b.expect(type="system")
    a.text({"type": "join_room", "room": "r"})
    joined = a.expect(type="user_joined")
    assert joined["message"] == f"User {joined['user_id']} joined the room"
    b.text({"type": "publish", "topic": "t", "data": [1, 2]})
    b.fence()
    a.text({"type": "subscribe", "topic": "t"})
    a.expect(type="current_data", topic="t", data=[1, 2])
    b.text({"type": "publish", "topic": "t", "data": []})
    a.expect(type="update", topic="t", data=[])


def test_jsonrpc(serve, connect, apps):
    server = serve(apps / "rpc.lua")
    a = connect(server)

    def call(**fields):
        a.text({"jsonrpc": "2.0", **fields})

    call(id=9007199254740993, method="add", params={"a": 1, "b": 2})
    assert a.data().count("9007199254740993") == 1
    call(id="x", method="add", params={"a": 1})
    a.expect(id="x", error={"code": -32602})
    call(id=2, method="nope")
    a.expect(error={"code": -32601})
    call(id=3, method="crash")
    assert "secret" not in str(a.expect(error={"code": -32603, "message": "Internal error"}))
    a.text("{")
    a.expect(error={"code": -32700}, id=None)
    a.text([{"jsonrpc": "2.0", "method": "add", "params": {"a": 1, "b": 1}},
            {"jsonrpc": "2.0", "id": 1, "method": "add", "params": {"a": 1, "b": 1}}])
    assert a.json() == [{"jsonrpc": "2.0", "id": 1, "result": 2}]
    call(method="add", params={"a": 1, "b": 1})  # a notification has no answer
    a.expect_nothing()


# ---- with tokens ----

def signer(secret):
    """Tokens for the apps' JWT_KEY."""
    key = jose.Key("HS256")
    key.private = key.public = secret
    return lambda user, **claims: key.token(sub=user, **claims)


def refused(connect, server, target):
    with pytest.raises(Refused) as why:
        connect(server, target)
    return why.value.status


def test_board(serve, connect, apps, tmp_path):
    """Only with whom it was shared; binary updates are kept and replayed, cursors are not."""
    store = {"store.file": tmp_path / "board.db"}
    share = serve("""local tide, app = require "moontide", { on = {} }
    function app.on.share(_, msg) assert(tide.store:set(("may:%s:%s"):format(msg.user, msg.board), true)) return true end
    return app""", settings=store)
    ws = connect(share)
    for user in ("ann", "bob"):
        ws.text({"type": "share", "user": user, "board": "7", "id": 1})
        ws.expect(type="reply")
    ws.bye()
    share.__exit__(None, None, None)

    token = signer("k" * 32)
    server = serve(apps / "d_board.lua", env={"JWT_KEY": "k" * 32}, settings=store)
    assert refused(connect, server, f"/board/8?token={token('ann')}") == 403
    assert refused(connect, server, f"/board/7?token={token('eve')}") == 403
    assert refused(connect, server, f"/nowhere?token={token('ann')}") == 404
    assert refused(connect, server, "/board/7") == 401
    assert refused(connect, server, f"/board/7?token={token('ann', seconds=-5)}") == 401
    a, b = (connect(server, f"/board/7?token={token(user)}") for user in ("ann", "bob"))
    a.fence()
    b.fence()
    a.binary(b"\1\2\xff")
    assert b.data() == b"\1\2\xff"
    a.expect_nothing()
    late = connect(server, f"/board/7?token={token('bob')}")
    assert late.data() == b"\1\2\xff"
    a.text({"type": "cursor", "x": 1, "y": 2.5})
    b.expect(type="cursor", user="ann", x=1, y=2.5)
    a.expect_nothing()


def test_hub(serve, connect, apps):
    """What is posted reaches every device, and is kept until one of them has acknowledged it."""
    token = signer("k")  # as short as in the scenarios of the contract: told in the log, not refused
    server = serve(apps / "g_hub.lua", env={"PUSH_KEY": "p", "JWT_KEY": "k"})

    def post(body, key="p"):
        with Wire(server.address) as wire:
            headers = {"Authorization": f"Bearer {key}", "Content-Length": str(len(body)), "Connection": "close"}
            wire.send(head("/notify/ann", headers, method="POST") + body)
            return Response(wire)

    def device():
        return connect(server, f"/?token={token('ann')}")

    assert post(b'{"title":"hi"}', "wrong").status == 401
    assert post(b'{"title":"hi"}').status == 202
    ann = device()
    note = ann.expect(type="note", title="hi")
    ann.text({"type": "reply", "id": note["id"]})
    ann.fence()
    tab = device()
    tab.expect_nothing()  # acknowledged: it is gone
    assert post(b'{"title":"two"}').status == 202
    ann.expect(title="two")
    tab.expect(title="two")
    ann.bye()
    tab.bye()
    device().expect(title="two")  # nobody had acknowledged it
    answer = post(b'{"titel":"two"}')
    assert answer.status == 400 and b"title" in answer.body
    assert refused(connect, server, "/") == 401
    server.log.wait("a secret of 1 bytes")
