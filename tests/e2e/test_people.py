"""Connections, people, rooms and broadcasts as scripts see them, over the wire."""

APP = """
local tide = require "moontide"
local app = { on = {} }
app.rooms = {
  ["*"] = { grace = 0,
    on_join = function(room, who) room:send { joined = who.user or who.id } end,
    on_leave = function(room, who) room:send { left = who.user or who.id } end },
  ["quiet*"] = {},
  ["current"] = { current = true },
}
function app.on_connect(req) return { user = req.query.user, data = { tag = req.query.tag } } end
function app.on.join(conn, msg)
  assert(conn:join(msg.room, msg.info))
  return { members = tide.room(msg.room):members(), count = tide.room(msg.room):count() }
end
function app.on.leave(conn, msg) return { left = conn:leave(msg.room) } end
function app.on.say(conn, msg)
  local except = msg.except == "me" and conn or msg.tab and tide.conn(msg.tab) or msg.except
  if except == "both" then except = { "ann", tide.conn(msg.bob) } end
  tide.room(msg.room):send({ text = msg.text }, { except = except, key = msg.key })
end
function app.on.all(conn, msg) tide.broadcast({ all = msg.text }, { except = conn }) end
function app.on.user(conn, msg)
  local ok, why, name = tide.user(msg.user):send { direct = msg.text }
  return { ok = ok or false, name = name, count = tide.user(msg.user):count() }
end
function app.on.conn(conn, msg)
  local ok, why, name = tide.conn(msg.conn):send { direct = msg.text }
  return { ok = ok or false, name = name }
end
function app.on.kick(conn, msg) tide.user(msg.user):close(4403, "kicked") end
function app.on.login(conn, msg) conn.user = msg.user end
function app.on.me(conn)
  return { worker = tide.worker, id = conn.id, ip = conn.ip, user = conn.user, tag = conn.data.tag, rooms = conn:rooms(), path = conn.path, q = conn.query.tag }
end
function app.on.rooms(conn, msg) return { rooms = tide.rooms(msg.prefix or "") } end
function app.on.conns(conn) local n = 0 for c in tide.conns() do n = n + 1 end return { n = n } end
function app.on.has(conn, msg) return { conn = tide.room(msg.room):has(conn), user = tide.room(msg.room):has(msg.user) } end
function app.on.close_all(conn, msg) tide.room(msg.room):close_all(4001, "over") end
function app.on.binary(conn, msg) tide.room(msg.room):send_binary "\\0\\255" end
function app.on_binary(conn, bytes) conn:send_binary(bytes:reverse()) end
return app
"""


def call(ws, kind, **fields):
    ws.text({"type": kind, "id": 1, **fields})
    while True:
        got = ws.json()
        if got.get("type") == "reply":
            return got.get("data")


def test_identity(serve, connect):
    server = serve(APP)
    a, b = connect(server, "/x?user=ann&tag=t"), connect(server)
    me, other = call(a, "me"), call(b, "me")
    assert me["user"] == "ann" and me["tag"] == "t" and me["q"] == "t" and me["ip"] == "127.0.0.1" and me["path"] == "/x"
    assert "user" not in other and other["id"] != me["id"]
    assert sum({call(ws, "me")["worker"]: call(ws, "conns")["n"] for ws in (a, b)}.values()) == 2


def test_rooms_and_except(serve, connect):
    server = serve(APP)
    ann, tab, bob, cyd = (connect(server, f"/?user={u}") for u in ("ann", "ann", "bob", "cyd"))
    assert call(ann, "join", room="quiet", info={"n": 1})["members"] == [{"user": "ann", "id": call(ann, "me")["id"],
        "info": {"n": 1}}]
    for ws in (tab, bob, cyd):
        call(ws, "join", room="quiet")
    assert call(ann, "join", room="quiet")["count"] == 3
    for text, fields, hear in (("all", {}, "ann tab bob cyd"), ("me", {"except": "me"}, "tab bob cyd"),
                               ("user", {"except": "ann"}, "bob cyd"), ("conn", {"tab": call(tab, "me")["id"]}, "ann bob cyd"),
                               ("list", {"except": "both", "bob": call(bob, "me")["id"]}, "cyd")):
        ann.text({"type": "say", "room": "quiet", "text": text, **fields})
        for name, ws in (("ann", ann), ("tab", tab), ("bob", bob), ("cyd", cyd)):
            if name in hear.split():
                ws.expect(text=text)
            else:
                ws.expect_nothing()
    assert {r["name"]: r["count"] for r in call(ann, "rooms", prefix="qu")["rooms"]} == {"quiet": 3}
    assert call(ann, "has", room="quiet", user="bob") == {"conn": True, "user": True}
    assert call(cyd, "leave", room="quiet") == {"left": True} and call(cyd, "leave", room="quiet") == {"left": False}
    assert call(cyd, "has", room="quiet", user="cyd") == {"conn": False, "user": False}
    assert call(cyd, "me")["rooms"] == []


def test_join_and_leave_once_per_person(serve, connect):
    server = serve(APP)
    watcher, ann, tab = connect(server, "/?user=w"), connect(server, "/?user=ann"), connect(server, "/?user=ann")
    watcher.text({"type": "join", "room": "r"})
    watcher.expect(joined="w")
    for ws in (ann, tab):
        ws.text({"type": "join", "room": "r"})
        ws.fence()
    watcher.expect(joined="ann")
    ann.bye()
    watcher.expect_nothing()
    tab.bye()
    watcher.expect(left="ann")
    watcher.expect_nothing()


def test_login_moves_memberships(serve, connect):
    server = serve(APP)
    watcher, guest = connect(server, "/?user=w"), connect(server)
    watcher.text({"type": "join", "room": "r"})
    watcher.expect(joined="w")
    guest_id = call(guest, "me")["id"]
    guest.text({"type": "join", "room": "r"})
    watcher.expect(joined=guest_id)
    guest.text({"type": "login", "user": "ann"})
    assert {tuple(watcher.json().items())[0] for _ in range(2)} == {("left", guest_id), ("joined", "ann")}


def test_users_connections_and_broadcast(serve, connect):
    server = serve(APP)
    ann, tab, bob = (connect(server, f"/?user={u}") for u in ("ann", "ann", "bob"))
    assert call(bob, "user", user="ann", text="hi") == {"ok": True, "count": 2}
    for ws in (ann, tab):
        ws.expect(direct="hi")
    assert call(bob, "user", user="nobody", text="hi") == {"ok": False, "name": "offline", "count": 0}
    one = call(ann, "me")["id"]
    assert call(bob, "conn", conn=one, text="you") == {"ok": True}
    ann.expect(direct="you")
    tab.expect_nothing()
    for strange in ("c0", "nonsense", "c" + "z" * 40):
        assert call(bob, "conn", conn=strange, text="x")["name"] == "offline"
    call(bob, "all", text="news")
    for ws in (ann, tab):
        ws.expect(all="news")
    bob.expect_nothing()
    call(bob, "kick", user="ann")
    for ws in (ann, tab):
        ws.expect_close(4403, "kicked")
    assert call(bob, "conn", conn=one, text="gone")["name"] == "offline"


def test_current_value_comes_first(serve, connect):
    server = serve(APP)
    a, b = connect(server), connect(server)
    for key, text in (("x", "old"), ("y", "other"), ("x", "new")):
        call(a, "say", room="current", text=text, key=key)
    b.text({"type": "join", "room": "current", "id": 1})
    got = [b.json() for _ in range(3)]
    assert sorted(m["text"] for m in got[:2]) == ["new", "other"] and got[2]["type"] == "reply"


def test_binary_and_close_all(serve, connect):
    server = serve(APP)
    a, b = connect(server), connect(server)
    for ws in (a, b):
        call(ws, "join", room="quiet")
    a.text({"type": "binary", "room": "quiet"})
    for ws in (a, b):
        ws.expect(b"\0\xff")
    a.binary(b"abc")
    a.expect(b"cba")
    b.text({"type": "close_all", "room": "quiet"})
    for ws in (a, b):
        ws.expect_close(4001, "over")
