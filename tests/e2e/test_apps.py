"""The apps of the API's contract, run as they are written. Their scenarios, against the real program."""
import shutil
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
    server = serve(apps / "i_api.lua")
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
    assert "boom" not in str(a.expect(error={"code": -32603, "message": "Internal error"}))
    a.text("{")
    a.expect(error={"code": -32700}, id=None)
    a.text([{"jsonrpc": "2.0", "method": "add", "params": {"a": 1, "b": 1}},
            {"jsonrpc": "2.0", "id": 1, "method": "add", "params": {"a": 1, "b": 1}}])
    assert a.json() == [{"jsonrpc": "2.0", "id": 1, "result": 2}]
    call(method="add", params={"a": 1, "b": 1})  # a notification has no answer
    a.expect_nothing()
    for _ in range(60):
        call(id=5, method="whoami")
    results = [a.json() for _ in range(60)]
    limited = [m for m in results if m.get("error", {}).get("code") == -32029]
    assert limited and len(results) - len(limited) >= 30, results  # 20 a second, bursts of 40, of which some were used above


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


# ---- (a) Slack-like chat ----

KEY = "a key of thirty-two bytes or more"
token = signer(KEY)


@pytest.fixture(name="slack")
def slack_fixture(serve, apps, tmp_path):
    """The app in a folder of its own, with the migration that it names."""
    shutil.copy(apps / "a_chat.lua", tmp_path / "app.lua")
    (tmp_path / "migrations").mkdir()
    (tmp_path / "migrations" / "1_messages.sql").write_text(
        "CREATE TABLE messages (room TEXT, user TEXT, text TEXT, at REAL);\nCREATE INDEX by_room ON messages (room, at);\n")

    def start():
        return serve(tmp_path / "app.lua", env={"JWT_KEY": KEY})
    return start


def login(connect, server, name, **claims):
    ws = connect(server, "/?token=" + token(name, **claims))
    ws.expect(type="system", message="Welcome to the chat!")
    return ws


def ask(ws, kind, **fields):
    """The reply or error; what else comes meanwhile is passed over."""
    ws.text({"type": kind, "id": 77, **fields})
    while True:
        got = ws.json()
        if got.get("id") == 77:
            return got


def see(ws, **fields):
    """The next message that has these fields."""
    while True:
        got = ws.json()
        if all(got.get(k) == v for k, v in fields.items()):
            return got


def test_slack_lets_in_who_has_a_token(slack, connect):
    server = slack()
    other = signer("another key that is as long as it is")
    for bad in ("", "?token=nonsense", "?token=" + other("ann"), "?token=" + token("ann", seconds=-60)):
        assert refused(connect, server, "/" + bad) == 401, bad
    ws = connect(server, headers={"Authorization": "Bearer " + token("bob")})
    ws.expect(type="system")


def test_slack(slack, connect):
    server = slack()
    ann, bob = login(connect, server, "ann", role="moderator"), login(connect, server, "bob")
    assert ask(bob, "chat", room="general", text="hello")["code"] == "denied"  # not in the room
    first = ask(ann, "join", room="general")["data"]
    assert [m["user"] for m in first["members"]] == ["ann"] and first["history"] == []
    ask(bob, "join", room="general")
    see(ann, type="user_joined", user="bob")
    bob.text({"type": "chat", "room": "general", "text": "hello"})
    for ws in (ann, bob):
        see(ws, type="chat", **{"from": "bob", "text": "hello"})
    bob.text({"type": "typing", "room": "general"})
    see(ann, type="typing", user="bob")
    bob.expect_nothing()

    tab = login(connect, server, "ann")
    bob.text({"type": "private", "to": "ann", "text": "psst"})
    for ws in (ann, tab):
        see(ws, type="private", text="psst", **{"from": "bob"})

    assert ask(bob, "kick", room="general", user="ann")["code"] == "denied"
    assert ask(ann, "mute", room="general", user="bob", seconds=1)["type"] == "reply"
    assert ask(bob, "chat", room="general", text="hello?")["message"] == "you are muted"
    while ask(bob, "chat", room="general", text="back")["type"] == "error":
        time.sleep(0.25)  # it takes one from the pace each time
    see(ann, type="chat", text="back")
    history = ask(tab, "join", room="general")["data"]["history"]
    assert [m["text"] for m in history] == ["back", "hello"]

    ask(ann, "kick", room="general", user="bob")
    see(ann, type="user_left", user="bob")
    assert ask(bob, "chat", room="general", text="still?")["code"] == "denied"
    ask(ann, "ban", user="bob", seconds=60)
    bob.expect_close(4403, "banned")
    assert refused(connect, server, "/?token=" + token("bob")) == 403


def test_slack_keeps_the_last_words(slack, connect):
    """Sent, and gone at once: it is kept and told. Also after a restart."""
    server = slack()
    ann, zoe = login(connect, server, "ann"), login(connect, server, "zoe")
    for ws in (ann, zoe):
        ask(ws, "join", room="general")
    zoe.text({"type": "chat", "room": "general", "text": "last words"})
    zoe.bye(1001)
    see(ann, type="chat", text="last words", **{"from": "zoe"})
    ann.bye()
    server.__exit__(None, None, None)
    ann = login(connect, slack(), "ann")
    assert [m["text"] for m in ask(ann, "join", room="general")["data"]["history"]] == ["last words"]


def test_slack_paces_a_user(slack, connect):
    """Over all tabs: five a second, bursts of ten."""
    server = slack()
    tabs = [login(connect, server, "ann") for _ in range(3)]
    for ws in tabs:
        ask(ws, "join", room="general")
    began = time.monotonic()
    answers = [ask(tabs[n % 3], "chat", room="general", text="x") for n in range(60)]
    most = 10 + 5 * (time.monotonic() - began) + 1
    errors = [a for a in answers if a["type"] == "error"]
    assert all((a["code"], a["message"]) == ("limited", "slow down") for a in errors)
    assert 10 <= 60 - len(errors) <= most


def test_slack_tokens_expire(slack, connect):
    server = slack()
    refreshed, expired = login(connect, server, "ann", seconds=3), login(connect, server, "bob", seconds=3)
    assert ask(refreshed, "refresh", token=token("ann"))["type"] == "reply"
    assert ask(refreshed, "refresh", token="nonsense")["code"] == 401
    expired.expect_close(4401, "expired")
    assert ask(refreshed, "join", room="general")["type"] == "reply"
