"""on_connect decides before the 101 is sent: everything that it may return, and every way in which it can go wrong, on plain and on
TLS, at once and after a wait. What is not clearly a yes is a no."""
import signal
import socket
import threading

import pytest
from support import control
from support.wire import Closed, Refused, Response, Socket, Wire, frame, head, upgrade_head

EVIL = "Evil"  # a header that only an injection can make
CLOSE = "setmetatable({}, { __close = function() %s end })"

# name: (body of on_connect, status, what the answer has: a header, {header: value}, or text of the body; None for nothing special)
RETURNS = {
    "nothing": ("", 101, None),
    "nil": ("return nil", 101, None),
    "an empty table": ("return {}", 101, None),
    "nil and nil": ("return nil, nil", 101, None),
    "more than a table": ("return {}, 'ignored', 5", 101, None),
    "user": ("return { user = 'ann' }", 101, None),
    "the longest user": ("return { user = ('x'):rep(256) }", 101, None),
    "user of zero bytes": ("return { user = '' }", 500, None),
    "user too long": ("return { user = ('x'):rep(257) }", 500, None),
    "user a number": ("return { user = 5 }", 500, None),
    "user false": ("return { user = false }", 500, None),
    "user a table": ("return { user = {} }", 500, None),
    "data": ("return { data = { a = 1 } }", 101, None),
    "data a text": ("return { data = 'x' }", 500, None),
    "data false": ("return { data = false }", 500, None),
    "expires": ("return { expires = tide.now() + 100 }", 101, None),
    "expires never": ("return { expires = math.huge }", 101, None),
    "expires a text": ("return { expires = '4000000000' }", 500, None),
    "expires negative": ("return { expires = -1 }", 500, None),
    "expires zero": ("return { expires = 0 }", 500, None),
    "expires not a number": ("return { expires = 0 / 0 }", 500, None),
    "protocol": ("return { protocol = 'chat' }", 101, {"sec-websocket-protocol": "chat"}),
    "protocol that nobody asked for": ("return { protocol = 'other' }", 500, None),
    "protocol that begins alike": ("return { protocol = 'cha' }", 500, None),
    "protocol of zero bytes": ("return { protocol = '' }", 500, None),
    "protocol with a line in it": (f"return {{ protocol = 'chat\\r\\n{EVIL}: 1' }}", 500, None),
    "protocol with a zero byte": ("return { protocol = 'chat\\0x' }", 500, None),
    "protocol a number": ("return { protocol = 5 }", 500, None),
    "headers": ("return { headers = { ['X-A'] = 'b', ['x-b'] = '' } }", 101, {"x-a": "b", "x-b": ""}),
    "headers a text": ("return { headers = 'X-A: b' }", 500, None),
    "headers a list": ("return { headers = { 'X-A: b' } }", 500, None),
    "header value a number": ("return { headers = { ['X-A'] = 5 } }", 500, None),
    "header value a table": ("return { headers = { ['X-A'] = {} } }", 500, None),
    "header value with CR LF": (f"return {{ headers = {{ ['X-A'] = 'b\\r\\n{EVIL}: 1' }} }}", 500, None),
    "header value with LF": (f"return {{ headers = {{ ['X-A'] = 'b\\n{EVIL}: 1' }} }}", 500, None),
    "header value with CR": (f"return {{ headers = {{ ['X-A'] = 'b\\r{EVIL}: 1' }} }}", 500, None),
    "header value with a zero byte": ("return { headers = { ['X-A'] = 'b\\0c' } }", 500, None),
    "header name with CR LF": (f"return {{ headers = {{ ['X-A: 1\\r\\n{EVIL}'] = 'b' }} }}", 500, None),
    "header name with a blank": ("return { headers = { ['X A'] = 'b' } }", 500, None),
    "header name of zero bytes": ("return { headers = { [''] = 'b' } }", 500, None),
    "header of the server": ("return { headers = { ['Sec-WebSocket-Accept'] = 'b' } }", 500, None),
    "header Connection": ("return { headers = { connection = 'close' } }", 500, None),
    "header Content-Length": ("return { headers = { ['Content-Length'] = '5' } }", 500, None),
    "an unknown key": ("return { usr = 'ann' }", 500, None),
    "a list": ("return { 'ann' }", 500, None),
    "a key that is a table": ("return { [{}] = 1 }", 500, None),
    "true": ("return true", 500, None),
    "false": ("return false", 500, None),
    "a text": ("return 'ann'", 500, None),
    "a number": ("return 101", 500, None),
    "a function": ("return function() end", 500, None),
    "a request": ("return req", 500, None),
    "false and a message": ("return false, 'no'", 500, None),
    "nil and a message": ("return nil, 'go away'", 403, "go away"),
    "nil and a message in lines": (f"return nil, 'go\\r\\n{EVIL}: 1\\r\\n\\r\\nx'", 403, "go"),
    "nil and a number": ("return nil, 42", 403, "42"),
    "nil and a table": ("return nil, {}", 500, None),
    "nil and false": ("return nil, false", 500, None),
    "a table that pretends": ("return setmetatable({}, { __index = function() return 'admin' end })", 101, None),
    "a table that cannot be walked": ("return setmetatable({}, { __pairs = function() error 'x' end })", 101, None),
}
FAILURES = {
    "error text": ("error 'secret'", 500, None),
    "error table": ("error { user = 'admin' }", 500, None),
    "error nil": ("error(nil)", 500, None),
    "error userdata": ("error(req)", 500, None),
    "error with a hostile text": ("error(setmetatable({}, { __tostring = function() error 'again' end }))", 500, None),
    "a call of nil": ("local x = req.data.x.y", 500, None),
    "an unknown field": ("return { user = req.usr }", 500, None),
    "a write to the request": ("req.user = 'admin'", 500, None),
    "an endless loop": ("while true do end", 500, None),
    "an endless loop in pcall": ("while true do pcall(function() while true do end end) end", 500, None),
    "a loop, then a table": ("pcall(function() while true do end end) return { user = 'admin' }", 500, None),
    "a coroutine that never ends": ("coroutine.wrap(function() while true do end end)() return {}", 500, None),
    "too much memory": ("local t = {} while true do t[#t + 1] = ('x'):rep(1 << 20) end", 500, None),
    "too deep": ("local function f() return 1 + f() end f()", 500, None),
    "a yield": ("coroutine.yield() return {}", 500, None),
    "error in <close>": (f"local c <close> = {CLOSE % 'error(1)'} return {{}}", 500, None),
}
REJECTS = {
    "reject": ("tide.reject(401, 'who?', { ['WWW-Authenticate'] = 'Bearer', ['X-N'] = 5 })", 401, {"www-authenticate": "Bearer", "x-n": "5"}),
    "reject without a message": ("tide.reject(404)", 404, "Not Found"),
    "reject with a large message": ("tide.reject(403, ('x'):rep(1000000))", 403, "x" * 1000000),
    "reject with any bytes": ("tide.reject(403, 'a\\0b')", 403, "a\0b"),
    "reject 399": ("tide.reject(399)", 500, None),
    "reject 200": ("tide.reject(200)", 500, None),
    "reject 101": ("tide.reject(101)", 500, None),
    "reject 600": ("tide.reject(600)", 500, None),
    "reject a fraction": ("tide.reject(403.5)", 500, None),
    "reject a text": ("tide.reject('no')", 500, None),
    "reject nothing": ("tide.reject()", 500, None),
    "reject with a table as message": ("tide.reject(403, {})", 500, None),
    "reject with headers that are text": ("tide.reject(403, 'a', 'X: y')", 500, None),
    "reject with a header in lines": (f"tide.reject(403, 'a', {{ ['X-A'] = 'b\\r\\n{EVIL}: 1' }})", 500, None),
    "reject with a header name in lines": (f"tide.reject(403, 'a', {{ ['X-A: b\\r\\n{EVIL}'] = '1' }})", 500, None),
    "reject with a header name with a zero byte": ("tide.reject(403, 'a', { ['X\\0A'] = '1' })", 500, None),
    "reject with a header of the server": ("tide.reject(403, 'a', { ['Content-Length'] = '0' })", 500, None),
    "reject in pcall": ("pcall(tide.reject, 403, 'stuck') return { user = 'admin' }", 403, "stuck"),
    "a bad reject in pcall, then a table": ("pcall(tide.reject, 200) return { user = 'ann' }", 101, None),
    "reject in xpcall": ("xpcall(tide.reject, function() return {} end, 403, 'stuck') return {}", 403, "stuck"),
    "reject twice": ("pcall(tide.reject, 403, 'first') tide.reject(404, 'second')", 403, "first"),
    "reject in a coroutine": ("pcall(coroutine.wrap(function() tide.reject(403, 'deep') end)) return {}", 403, "deep"),
    "reject in a resumed coroutine": ("coroutine.resume(coroutine.create(function() tide.reject(403, 'deep') end)) return {}", 403, "deep"),
    "reject in <close>": (f"do local c <close> = {CLOSE % 'tide.reject(403, [[closed]])'} end return {{ user = 'admin' }}", 403, "closed"),
    "reject in <close> at the end": (f"local c <close> = {CLOSE % 'tide.reject(403, [[closed]])'} return {{ user = 'admin' }}", 403, "closed"),
    "reject in __index": ("local _ = setmetatable({}, { __index = function() tide.reject(403, 'looked') end }).x return {}", 403, "looked"),
    "reject in a comparison": ("table.sort({ 3, 2, 1 }, function() tide.reject(403, 'sorted') end) return {}", 403, "sorted"),
    "reject in a replacement": ("(('x'):gsub('x', function() tide.reject(403, 'replaced') end)) return {}", 403, "replaced"),
    "reject in tide.timeout": ("tide.timeout(5, function() tide.reject(402, 'timed') end) return {}", 402, "timed"),
    "reject in another task": ("tide.spawn(function() tide.reject(403) end):join() return { user = 'ann' }", 101, None),
}
CASES = {**RETURNS, **FAILURES, **REJECTS}
CASES["reject in a replacement"] = ("local _ = ('x'):gsub('x', function() tide.reject(403, 'replaced') end) return {}", 403, "replaced")


def script():
    """Every case as a function, called at once, or behind a wait, of the app or of a route."""
    functions = "\n".join(f"cases[{i}] = function(req) {body} end" for i, (body, _, _) in enumerate(CASES.values()))
    return f"""
local tide = require "moontide"
local app, cases = {{}}, {{}}
{functions}
local function decide(req)
  if req.query.wait then tide.sleep(0.001) end
  return cases[tonumber(req.query.case)](req)
end
local function opened(conn) conn:send {{ user = conn.user, data = conn.data }} end
function app.on_connect(req) if req.path == "/" then return decide(req) end return {{ user = "of the app", data = {{}} }} end
app.on_open = opened
app.routes = {{ ["/"] = app, ["/route"] = {{ on_connect = decide, on_open = opened }} }}
return app
"""


@pytest.fixture(params=["plain", "tls"])
def transport(request, authority):
    """(flags of the server, options of the client) for each transport."""
    if request.param == "plain":
        return (), {}
    chain, key = authority.issue("connect-" + request.param, "127.0.0.1")
    return ("--tls", f"{chain},{key}"), {"tls": authority.client()}


def ask(server, target, how, **more):
    """What the server answers to a handshake, and the connection (None where it refused)."""
    try:
        ws = Socket(server.address, target, **how, **more)
    except Refused as why:
        return why.response, None
    return ws.response, ws


@pytest.mark.parametrize("way", ["/?", "/?wait=1&", "/route?", "/route?wait=1&"])
def test_every_outcome(serve, transport, way):
    flags, how = transport
    wrong = []
    server = serve(script(), *flags, settings={"script.time": "100ms", "script.memory": "96m", "reload.errors": 0})
    for i, (name, (_, status, has)) in enumerate(CASES.items()):
        got, ws = ask(server, f"{way}case={i}", how, protocols=["nothing", "chat"])
        fits = got.status == status and EVIL.lower() not in got.headers
        if isinstance(has, dict):
            fits = fits and has.items() <= got.headers.items()
        elif has:
            fits = fits and has in got.body.decode()
        if status == 500:
            fits = fits and got.body == b"internal error"
        if ws:
            fits = fits and ws.json().get("user") != "admin"
            ws.bye()
        else:
            fits = fits and got.headers["connection"] == "close" and "upgrade" not in got.headers
        if not fits:
            wrong.append((name, got, got.headers))
    assert not wrong, server.log.text() + str([(name, got.status, got.body[:100]) for name, got, _ in wrong])
    assert server.alive()


def test_expired_already(serve, transport):
    flags, how = transport
    server = serve("local app = {} function app.on_connect() return { expires = 1 } end return app", *flags)
    with Socket(server.address, **how) as ws:
        ws.expect_close(4401)


def test_what_the_log_says(serve, transport):
    """Where, what and who; the client hears none of it."""
    flags, how = transport
    server = serve(script(), *flags, settings={"script.time": "100ms", "reload.errors": 0})
    for name, says in (("error text", "secret"), ("an unknown key", "usr.*user"), ("header value with CR LF", "X-A|header"),
                       ("an endless loop", "script.time|too long|budget"), ("nil and a table", "message expected")):
        seen = len(server.log)
        got, _ = ask(server, f"/?case={list(CASES).index(name)}", how)
        assert got.status == 500
        server.log.wait(says, since=seen)
        assert "peer=127.0.0.1" in server.log.text(seen) and "on_connect" in server.log.text(seen)


WAITS = """
local tide = require "moontide"
local app = {}
function app.on_connect(req)
  local mark = req.query.mark
  if mark then
    local over <close> = setmetatable({}, { __close = function() tide.state[mark] = "over" end })
    tide.state[mark] = "waits"
    while not tide.state["go " .. mark] do tide.sleep(0.005) end
    if req.query.no then return nil, "no" end
  end
  return { user = "ann" }
end
function app.on_open(conn) conn:send { user = conn.user, version = VERSION } end
function app.on_message(conn, text)
  local word, mark = text:match "(%w+) (%w+)"
  if word == "go" then tide.state[text] = true end
  conn:send { state = tide.state[mark or text] or "none", handled = text }
end
return app
"""


@pytest.fixture
def waiting(serve, transport, until):
    """A server with handshakes that wait, and a connection that tells of them."""
    class Waiting:
        def __init__(self, **settings):
            flags, self.how = transport
            self.server = serve(WAITS.replace("VERSION", "1"), *flags, settings={"workers": 1, **settings}, watch=True)
            self.ws = Socket(self.server.address, **self.how)
            self.ws.expect(user="ann")

        def shake(self, mark, extra="", behind=b""):
            wire = Wire(self.server.address, **self.how)
            wire.send(upgrade_head(f"/?mark={mark}{extra}") + behind)
            if not behind:
                self.until(mark, "waits")
            return wire

        def state(self, mark):
            self.ws.text(mark)
            return self.ws.json()["state"]

        def until(self, mark, state):
            until(lambda: self.state(mark) == state, what=f"{mark}: {state}")

        def go(self, mark):
            self.ws.text(f"go {mark}")
            self.ws.json()

    made = []

    def make(**settings):
        made.append(Waiting(**settings))
        return made[-1]

    yield make
    for w in made:
        w.ws.close_socket()


def test_bytes_before_the_answer_are_never_handled(waiting):
    """RFC 6455 4.1: a client waits for the answer. One that does not is refused, whether its bytes came with the request or later, and
    whatever on_connect says."""
    w = waiting()
    early = frame(1, "go b") + frame(1, "go c")
    with w.shake("a", behind=early) as wire:
        assert Response(wire).status == 400
    for mark, extra, status in (("d", "", 400), ("e", "&no=1", 403)):
        with w.shake(mark, extra) as wire:
            wire.send(early)
            w.go(mark)
            assert Response(wire).status == status
            try:
                assert wire.take_eof() == b""
            except Closed:
                pass
    assert (w.state("b"), w.state("c")) == ("none", "none")


def test_client_that_goes_while_it_waits(waiting):
    """on_connect runs to its end, nothing is opened, and nothing is left."""
    w = waiting(**{"close.timeout": 0.2})
    for i, leave in enumerate((Wire.reset, Wire.close_socket, lambda wire: wire.sock.shutdown(socket.SHUT_WR))):
        wire = w.shake(f"m{i}")
        leave(wire)
        assert w.state(f"m{i}") == "waits"
        w.go(f"m{i}")
        w.until(f"m{i}", "over")
        wire.close_socket()
    status = control.status(w.server)
    assert status["net"]["upgraded"] == 1 and status["now"]["sessions"] == 1 and status["handlers"]["waiting"] == 0


def test_no_decision_in_time(waiting):
    """connect.timeout: 503, the handler is unwound, the log says so, and others go on."""
    w = waiting(**{"connect.timeout": 0.2, "reload.errors": 0})
    with Wire(w.server.address, **w.how) as wire:
        wire.send(upgrade_head("/?mark=late"))
        got = Response(wire)
        assert got.status == 503 and got.body == b"no decision in time"
        wire.expect_eof()
    w.server.log.wait("on_connect: it has not decided within connect.timeout.*peer=127.0.0.1")
    w.until("late", "over")
    gone = Wire(w.server.address, **w.how)
    gone.send(upgrade_head("/?mark=gone"))
    gone.reset()
    w.until("gone", "over")
    assert control.status(w.server)["handlers"]["waiting"] == 0


def test_reload_while_it_waits(waiting, until):
    """It ends in its own version; the connection is the new one's."""
    w = waiting()
    wire = w.shake("r")
    w.server.script.write_text(WAITS.replace("VERSION", "2"))

    def live():
        ws = Socket(w.server.address, **w.how)
        version = ws.json()["version"]
        ws.bye()
        return version == 2
    until(live, what="the new version")
    w.go("r")
    assert Response(wire).status == 101
    wire.take(2)
    assert b'"version":2' in wire.take_until(b"}")
    wire.close_socket()


def test_stop_while_it_waits(waiting):
    """Without a decision it ends with the server, in its time, with an answer or none."""
    w = waiting(**{"shutdown.timeout": 1})
    wire = w.shake("s")
    w.server.signal(signal.SIGTERM)
    try:
        rest = wire.take_eof()
    except (Closed, OSError):
        rest = b""
    assert rest == b"" or rest.startswith(b"HTTP/1.1 503"), rest
    w.server.wait()


def test_many_that_wait_hold_up_nobody(waiting):
    w = waiting()
    wires = [w.shake("many") for _ in range(200)]
    with Socket(w.server.address, **w.how) as ws:
        ws.expect(user="ann")
        ws.bye()
    w.go("many")
    answers = []
    threads = [threading.Thread(target=lambda wire=wire: answers.append(Response(wire).status)) for wire in wires]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert answers == [101] * 200
    for wire in wires:
        wire.close_socket()


FACTS = """
local tide = require "moontide"
local app = {}
function app.on_connect(req)
  local headers, tls = {}, req.tls
  for name, value in pairs(req.headers) do headers[name] = value end
  return { data = { path = req.path, query = req.query, headers = headers, cookies = req.cookies, protocols = req.protocols, ip = req.ip,
    params = req.params, version = tls and tls.version, cipher = tls and tls.cipher, sni = tls and tls.sni, client = tls and tls.client,
    secure = tls ~= nil, origin = req.origin, method = req.method, body = req.body } }
end
function app.on_open(conn) conn:send(conn.data) end
app.routes = { ["/"] = app, ["/room/:name/*"] = app }
return app
"""


def test_what_a_request_says(serve, transport):
    flags, how = transport
    server = serve(FACTS, *flags)
    with Socket(server.address, "/room/a%20b/c/d?x=1&y=%C3%A9+z&x=2&=e&f", protocols=["one", "two"], headers={
            "Cookie": "a=1; b=\"2\"; a=3", "X-Many": "1, 2", "X-Empty": ""}, **how) as ws:
        heard = ws.json()
        ws.bye()
    assert heard["path"] == "/room/a b/c/d" and heard["params"]["name"] == "a b" and heard["method"] == "GET" and heard["body"] == ""
    assert heard["query"]["x"] == "2" and heard["query"]["y"] == "é z" and heard["query"]["f"] == ""
    assert heard["protocols"] == ["one", "two"] and heard["ip"] == "127.0.0.1"
    assert heard["cookies"]["a"] == "1" and heard["headers"]["x-many"] == "1, 2" and heard["headers"]["x-empty"] == ""
    assert heard["secure"] == bool(how) and ("client" not in heard)
    if how:
        assert heard["version"] == "TLSv1.3" and heard["cipher"].startswith("TLS_") and "sni" not in heard


@pytest.mark.parametrize("target, headers, status", [
    ("/%00", {}, (400, 404)), ("/%ff", {}, (400, 404)), ("/%zz", {}, (400, 404)), ("/room/%ff/x", {}, (400,)), ("/room/%00/x", {}, (400,)), ("/../..//", {}, (101, 404, 400)),
    ("/?%00=%00&%ff=%zz&" + "&".join(f"k{i}" for i in range(500)), {}, (101,)), ("/?" + "a" * 8000, {}, (101,)),
    ("/?" + "a" * 20000, {}, (414, 431)), ("/", {"Cookie": "=;;=a; \"; b=\x7f; c=\xff"}, (101, 400)),
    ("/", {"Sec-WebSocket-Protocol": ",,, ,"}, (101, 400)), ("/", {"Sec-WebSocket-Protocol": "a b"}, (101, 400)),
    ("/", {"X-A": "a\x00b"}, (400,)), ("/", {"X-A\x00": "b"}, (400,)), ("/", {"X-A": "\xff\xfe"}, (101,)), ("/", {"Host": ""}, (101, 400)),
    ("/", {"X-A": "x" * 20000}, (431,)), ("/", {f"X-{i}": "y" for i in range(200)}, (431,)),
    ("/", {"Origin": "null"}, (101, 403)), ("/", {"Content-Length": "-1"}, (400,)), ("/", {"Content-Length": "5"}, (400,)),
    ("/", {"Transfer-Encoding": "chunked"}, (400,)),
])
def test_hostile_requests(serve, transport, target, headers, status):
    """An answer that fits, and a server that goes on."""
    flags, how = transport
    server = serve(FACTS.replace("conn:send(conn.data)", "conn:send 'in'"), *flags)
    with Wire(server.address, **how) as wire:
        wire.send(upgrade_head(target, headers))
        got = Response(wire)
        assert got.status in status, got
    with Socket(server.address, **how) as ws:
        ws.expect("in")
        ws.bye()
    with Wire(server.address, **how) as wire:
        wire.send(head("/"))
        assert Response(wire).status == 404
