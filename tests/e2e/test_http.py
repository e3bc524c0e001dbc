"""on_http and routes: what a request has, what an answer may be, and who gets which path."""
import socket
import time

import pytest
from support.wire import Refused, Response, Wire, fetch, head

APP = """
local tide = require "moontide"
local app = {}
function app.on_http(req)
  local p = req.path
  if p == "/text" then return 200, "plain"
  elseif p == "/table" then return 201, { a = { 1, 2 }, empty = tide.json.array {} }, { ["X-One"] = "1" }
  elseif p == "/type" then return 200, "<p>", { ["Content-Type"] = "text/html" }
  elseif p == "/empty" then return 204
  elseif p == "/error" then error "broken"
  elseif p == "/reject" then tide.reject(418, "teapot", { ["X-Why"] = "tea" })
  elseif p == "/pcall" then pcall(tide.reject, 409, "sticks") return 200, "not this"
  elseif p == "/json" then return 200, req:json { name = "string 1..10", age = "integer?" }
  elseif p == "/wait" then tide.sleep(0.05) return 200, "waited"
  elseif p == "/header" then return 200, "x", { ["X-Bad"] = "a\\r\\nInjected: yes" }
  elseif p == "/twice" then return 200, "x", { [req.query.name] = "5" }
  elseif p == "/twice-reject" then tide.reject(403, "x", { [req.query.name] = "5" })
  elseif p == "/big" then return 200, ("x"):rep(15 << 20)
  elseif p == "/blocked-then-quiet" then
    local n = 0
    return 200, function() n = n + 1 if n <= 8 then return ("x"):rep(1 << 20) elseif n == 9 then tide.sleep(2) return "the end" end end
  elseif p == "/stream" then
    local n = 0
    return 200, function() n = n + 1 tide.sleep(0.01) if n <= 3 then return "part" .. n .. ";" end end
  elseif p == "/broken" then
    return 200, function() error "broken in the stream" end
  elseif p == "/show" then
    return 200, { method = req.method, path = req.path, q = req.query.q,
      agent = req.headers["user-agent"], AGENT = req.headers["User-Agent"],
      cookie = req.cookies.c, ip = req.ip, origin = req.origin, tls = req.tls and true or false,
      token = req:token(), key = req:token "key", body = req.body }
  elseif p == "/bad1" then return "not a status"
  elseif p == "/bad2" then return 99, "x"
  end
end
return app
"""


@pytest.fixture
def site(serve):
    return serve(APP)


def get(server, target, method="GET", body=None, **headers):
    return fetch(server.address, target, method, {k.replace("_", "-"): v for k, v in headers.items()}, body)


def test_answers(site):
    assert (get(site, "/text").status, get(site, "/text").body) == (200, b"plain")
    assert get(site, "/text").headers["content-type"].startswith("text/plain")
    table = get(site, "/table")
    assert table.status == 201 and table.json() == {"a": [1, 2], "empty": []} and table.headers["x-one"] == "1"
    assert table.headers["content-type"].startswith("application/json")
    assert get(site, "/type").headers["content-type"] == "text/html"
    assert len([n for n, _ in get(site, "/type").list if n.lower() == "content-type"]) == 1
    assert get(site, "/empty").status == 204
    assert get(site, "/nothing").status == 404
    assert get(site, "/wait").body == b"waited"


def test_failures(site):
    broken = get(site, "/error")
    assert broken.status == 500 and b"broken" not in broken.body and b"app.lua" not in broken.body
    site.log.wait(r"app\.lua:\d+: broken")
    rejected = get(site, "/reject")
    assert rejected.status == 418 and b"teapot" in rejected.body and rejected.headers["x-why"] == "tea"
    assert get(site, "/pcall").status == 409
    for target in ("/bad1", "/bad2"):
        assert get(site, target).status == 500
    split = get(site, "/header")
    assert "injected" not in split.headers and split.status == 500


def test_request_fields(site):
    got = get(site, "/show?q=a%20b+c&x=1", "POST", b"body", User_Agent="test", Cookie='a=1; c="two"', Origin="http://localhost",
              Authorization="Bearer t1").json()
    assert got.pop("key") == "t1" and got == {"method": "POST", "path": "/show", "q": "a b c", "agent": "test", "AGENT": "test",
                                              "cookie": "two", "ip": "127.0.0.1", "origin": "http://localhost",
                   "tls": False, "token": "t1", "body": "body"}
    assert get(site, "/show?key=k1").json()["key"] == "k1" and get(site, "/show", Cookie="key=k2").json()["key"] == "k2"


def test_json_bodies(site):
    assert get(site, "/json", "POST", b'{"name":"ann","age":7,"extra":1}').json() == {"name": "ann", "age": 7}
    for body in (b'{"name":5}', b'{"name":"ann","age":"x"}', b"{", b"", b"[]", b'{"name":"' + b"x" * 11 + b'"}'):
        got = get(site, "/json", "POST", body)
        assert got.status == 400 and got.body, body


def test_streams(site):
    assert get(site, "/stream").body == b"part1;part2;part3;"
    with Wire(site.address) as wire:
        wire.send(head("/stream") + head("/text"))
        assert Response(wire).body == b"part1;part2;part3;"
        assert Response(wire).body == b"plain"
    with Wire(site.address) as wire:
        wire.send(head("/broken"))
        rest = wire.take_eof()
        assert not rest.endswith(b"0\r\n\r\n"), "a stream that broke must not look complete"
    site.log.wait("broken in the stream")


def test_client_that_leaves_a_waiting_request(site):
    for _ in range(10):
        wire = Wire(site.address)
        wire.send(head("/wait"))
        wire.reset()
        wire = Wire(site.address)
        wire.send(head("/stream"))
        wire.take(20)
        wire.reset()
    assert get(site, "/text").status == 200


def test_pipelined_requests_that_wait_stay_in_order(site):
    with Wire(site.address) as wire:
        begin = time.monotonic()
        wire.send(head("/wait") + head("/text") + head("/wait"))
        assert [Response(wire).body for _ in range(3)] == [b"waited", b"plain", b"waited"]
        assert time.monotonic() - begin >= 0.09


ROUTES = """
local tide = require "moontide"
local app = { routes = {} }
function app.on_connect(req) if req.query.ban then return nil, "banned" end return { user = req.query.name or "guest" } end
app.routes["/rooms/:room"] = {
  on_connect = function(req)
    if req.params.room == "closed" then tide.reject(410, "gone") end
    return { user = req.user .. "@" .. req.params.room }
  end,
  on_open = function(conn) conn:send { room = conn.params.room, user = conn.user, path = conn.path } end,
  on_message = function(conn, text) conn:send("room " .. text) end,
}
app.routes["/files/*"] = { on_http = function(req) return 200, { path = req.path, user = req.user } end }
app.routes["/rooms/special"] = { on_open = function(conn) conn:send { special = true, user = conn.user } end }
app.routes["/limited"] = { limits = { message_bytes = 10 }, on_message = function(conn, text) conn:send(text) end }
return app
"""


def test_routes(serve, connect):
    server = serve(ROUTES)
    ws = connect(server, "/rooms/a%20b?name=ann")
    ws.expect(room="a b", user="ann@a b")
    ws.text("x")
    ws.expect("room x")
    connect(server, "/rooms/special").expect(special=True, user="guest")
    for target, status in (("/", 404), ("/rooms", 404), ("/rooms/a/b", 404), ("/other", 404), ("/rooms/a?ban=1", 403),
                           ("/rooms/closed", 410)):
        with pytest.raises(Refused) as why:
            connect(server, target)
        assert why.value.status == status, target
    assert fetch(server.address, "/files/a/b.txt").json()["path"] == "/files/a/b.txt"
    assert fetch(server.address, "/other").status == 404


def test_message_limit_of_a_route(serve, connect):
    ws = connect(serve(ROUTES), "/limited")
    ws.text("0123456789")
    ws.expect("0123456789")
    ws.text("0123456789x")
    ws.expect_close(1009)


@pytest.mark.parametrize("name", ["Content-Length", "transfer-encoding", "Connection", "Date"])
def test_script_cannot_write_a_line_of_the_server_a_second_time(site, name):
    for path in ("/twice", "/twice-reject"):
        assert get(site, f"{path}?name={name}").status == 500
    site.log.wait(f"header {name}: the server writes it")


@pytest.mark.parametrize("headers", [{}, {"Connection": "close"}])
def test_client_that_shuts_its_side_down_gets_the_whole_answer(site, headers):
    with Wire(site.address, rcvbuf=65536) as wire:
        wire.send(head("/big", headers))
        wire.sock.shutdown(socket.SHUT_WR)
        assert len(Response(wire).body) == 15 << 20


def test_slow_reader_of_a_last_answer_is_not_cut(serve):
    site = serve(APP, settings={"idle.timeout": "1"})
    with Wire(site.address, rcvbuf=65536) as wire:
        wire.send(head("/big", {"Connection": "close"}))
        slow_until, got = time.monotonic() + 2.5, 0
        while True:
            piece = wire.sock.recv(65536)
            if not piece:
                break
            got += len(piece)
            if time.monotonic() < slow_until:
                time.sleep(0.02)  # reads all the time, only slowly
        assert got > 15 << 20


def test_stream_may_be_quiet_after_its_reader_was_slow(serve):
    site = serve(APP, settings={"idle.timeout": "1"})
    with Wire(site.address, rcvbuf=65536) as wire:
        wire.send(head("/blocked-then-quiet"))
        assert Response(wire).body.endswith(b"the end")
