"""Questions of the server: conn:request and tide.user(id):request over real sockets, HTTP and several workers."""
import json
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from support.control import status
from support.wire import Response, Wire, fetch, head

APP = """
local tide = require "moontide"
local app = { on = {} }
function app.on_connect(req) return { user = req.query.user } end
function app.on.worker() return tide.worker end
function app.on.id(conn) return conn.id end
function app.on.say(conn, msg) conn:send { said = msg.n } end
function app.on.ask(conn, msg)                                 -- the connection that is asked is the handler's own
  local data, why, name = conn:request({ type = "q" }, { timeout = msg.timeout })
  return { data = data, why = why, name = name }
end
app.routes = {
  ["/"] = app,
  ["/user/:id"] = { on_http = function(req)
    local data, why, name = tide.user(req.params.id):request({ command = "status" }, { timeout = tonumber(req.query.timeout or "10") })
    if data == nil then return name == "timeout" and 504 or 404, { why = why, name = name } end
    return 200, { data = data, worker = tide.worker }
  end },
  ["/conn/:id"] = { on_http = function(req)
    local data, why, name = tide.conn(req.params.id):request { command = "status" }
    return data == nil and 404 or 200, { data = data, name = name }
  end },
}
return app
"""


def call(ws, kind, **fields):
    ws.text({"type": kind, "id": 1, **fields})
    return ws.expect(type="reply", id=1).get("data")


def ask(server, target):
    """A request whose answer comes when a client has given one; .result() is status and value."""
    pool = ThreadPoolExecutor(1)

    def run():
        got = fetch(server.address, target)
        return got.status, json.loads(got.body)
    future = pool.submit(run)
    pool.shutdown(wait=False)
    return future


def question(ws, **fields):
    got = ws.expect(**fields)
    assert got["id"].startswith("tide-") and len(got["id"]) == 21
    return got["id"]


def test_a_device_answers_an_operator(serve, connect):
    server = serve(APP)
    device = connect(server, "/?user=dev-1")
    for n in range(20):  # by several workers, where there are several
        answer = ask(server, "/user/dev-1")
        device.text({"type": "reply", "id": question(device, command="status"), "data": {"n": n}})
        status, body = answer.result()
        assert status == 200 and body["data"] == {"n": n}
    answer = ask(server, "/conn/" + call(device, "id"))
    device.text({"type": "reply", "id": question(device, command="status")})
    assert answer.result() == (200, {"data": True})
    answer = ask(server, "/user/dev-1")
    device.text({"type": "error", "id": question(device), "code": "busy", "message": "not now"})
    assert answer.result() == (404, {"why": "not now", "name": "busy"})


def test_nobody_answers(serve, connect):
    server = serve(APP)
    assert ask(server, "/user/dev-2").result() == (404, {"why": "nobody there", "name": "offline"})
    assert ask(server, "/conn/c1").result() == (404, {"name": "offline"})
    device = connect(server, "/?user=dev-1")
    device.fence()
    begin = time.monotonic()
    answer = ask(server, "/user/dev-1?timeout=0.2")
    late = question(device)
    assert answer.result() == (504, {"why": "timeout", "name": "timeout"})
    assert 0.19 < time.monotonic() - begin < 9
    device.text({"type": "reply", "id": late, "data": "late"})
    device.expect_nothing()
    answer = ask(server, "/user/dev-1")
    question(device)
    device.reset()
    assert answer.result() == (404, {"why": "closed", "name": "closed"})


def test_late_answers_are_counted(serve, connect, until):
    server = serve(APP)
    device = connect(server, "/?user=dev-1")
    device.fence()
    answer = ask(server, "/user/dev-1?timeout=0")
    late = question(device)
    assert answer.result()[0] == 504
    for _ in range(3):
        device.text({"type": "reply", "id": late})
    device.expect_nothing()
    until(lambda: status(server)["handlers"]["late_answers"] == 3, what="the count")


def test_the_first_of_many_connections_counts(serve, connect, until):
    server = serve(APP)
    tabs = [connect(server, "/?user=ann") for _ in range(6)]
    workers = {call(ws, "worker") for ws in tabs}
    other = connect(server, "/?user=bob")
    call(other, "worker")
    for first in range(6):
        answer = ask(server, "/user/ann")
        ids = {question(ws, command="status") for ws in tabs}
        assert len(ids) == 1, f"on workers {workers}"
        number = ids.pop()
        other.text({"type": "reply", "id": number, "data": "forged"})
        assert other.json()["code"] == "unknown_type"
        tabs[first - 1].text({"type": "error", "id": number, "code": "no"})
        tabs[first - 1].fence()
        tabs[first].text({"type": "reply", "id": number, "data": first})
        assert answer.result()[1]["data"] == first
        for ws in tabs:
            ws.text({"type": "reply", "id": number, "data": "late"})
            ws.expect_nothing()
    # nobody is left who could still reply: the first error, or that they have gone
    answer = ask(server, "/user/ann")
    ids = [question(ws) for ws in tabs]
    tabs[0].text({"type": "error", "id": ids[0], "code": "no", "message": "first"})
    tabs[0].fence()
    for ws in tabs[1:]:
        ws.bye()
    assert answer.result() == (404, {"why": "first", "name": "no"})


def test_the_answer_stands_behind_many_messages(serve, connect):
    """The handler that asks holds up the very connection that is to answer, and more messages come than may wait as a rule."""
    server = serve(APP)
    ws = connect(server)
    ws.text({"type": "ask", "id": 7})
    number = question(ws, type="q")
    for n in range(900):
        ws.text({"type": "say", "n": n})
    ws.text({"type": "reply", "id": number, "data": "yes"})
    assert ws.expect(type="reply", id=7)["data"] == {"data": "yes"}
    for n in range(900):
        ws.expect(said=n)
    # beyond that bound it is not read, and the question runs out of time; nothing else is lost
    ws.text({"type": "ask", "id": 8, "timeout": 0.5})
    number = question(ws, type="q")
    sender = threading.Thread(target=lambda: [ws.text({"type": "say", "n": n}) for n in range(20000)])
    sender.start()
    assert ws.expect(type="reply", id=8)["data"]["name"] == "timeout"
    for n in range(20000):
        ws.expect(said=n)
    sender.join()


def test_the_connection_goes_while_its_handler_asks_it(serve, connect):
    server = serve("""
    local tide = require "moontide"
    local app = {}
    function app.on_open(conn) if conn.path == "/log" then conn:join "log" end end
    function app.on_message(conn) tide.room "log":send { asked = select(3, conn:request { type = "q" }) } end
    function app.on_close(conn) tide.room "log":send { closed = select(3, conn:request { type = "q" }) } end
    return app""")
    log, ws = connect(server, "/log"), connect(server)
    log.fence()
    ws.text("ask")
    question(ws, type="q")
    ws.bye()
    log.expect(asked="closed")
    log.expect(closed="closed")


VERSION = """
local tide = require "moontide"
local app, name = {}, "%s"
function app.on_connect(req) return { user = req.query.user } end
function app.on_http(req)
  if req.path == "/version" then return 200, { version = name } end
  local data, why, code = tide.user "ann":request({ type = "q" }, { timeout = 30 })
  return 200, { version = name, data = data, name = code }
end
return app
"""


def test_reload_while_it_is_asked(serve, connect, until):
    server = serve(VERSION % "old", watch=True)
    ws = connect(server, "/?user=ann")
    ws.fence()
    answer = ask(server, "/ask")
    number = question(ws, type="q")
    server.script.write_text(VERSION % "new")
    until(lambda: ask(server, "/version").result()[1]["version"] == "new", what="the reload")
    ws.text({"type": "reply", "id": number, "data": 1})
    assert answer.result()[1] == {"version": "old", "data": 1}


def test_shutdown_while_it_is_asked(serve, connect):
    server = serve(VERSION % "x", settings={"shutdown.timeout": 1})
    ws = connect(server, "/?user=ann")
    ws.fence()
    with Wire(server.address) as wire:
        wire.send(head("/ask"))
        question(ws, type="q")
        begin = time.monotonic()
        server.signal(signal.SIGTERM)
        ws.expect_close(1001)  # the one who was asked goes, which ends the wait
        got = Response(wire)
        assert got.status == 200 and got.json()["name"] == "closed"
    assert server.wait() == 0
    assert time.monotonic() - begin < 15


def test_shutdown_cuts_what_still_waits(serve, connect):
    server = serve(VERSION % "x", settings={"shutdown.timeout": 0.5})
    ws = connect(server, "/?user=ann")  # which does not answer the close either
    ws.fence()
    with Wire(server.address) as wire:
        wire.send(head("/ask"))
        question(ws, type="q")
        server.signal(signal.SIGTERM)
        assert server.wait() == 0


MANY = """
local tide = require "moontide"
local app = { on = {} }
function app.on_connect(req) return { user = req.query.user } end
function app.on.go(conn, msg)
  local tasks, sum, gone = {}, 0, 0
  for round = 1, 5 do
    for n = 1, msg.devices do tasks[#tasks + 1] = tide.spawn(function() return tide.user("d" .. n):request { n = n * round } end) end
  end
  for _, task in ipairs(tasks) do
    local data, why, name = task:join()
    if data then sum = sum + data elseif name == "closed" or name == "offline" then gone = gone + 1 else error(name) end
  end
  return { sum = sum, gone = gone }
end
function app.on.stop() tide.broadcast { stop = true } end
return app
"""


def test_many_questions_at_once(serve, connect):
    """All workers ask devices of all workers; every third device goes when it has answered fifteen times."""
    server, devices = serve(MANY), 30
    sockets = [connect(server, f"/?user=d{n}") for n in range(1, devices + 1)]
    for ws in sockets:
        ws.fence()

    def device(n, ws):
        answered = 0
        while answered < 15 or n % 3:
            got = ws.json()
            if "stop" in got:
                return answered
            ws.text({"type": "reply", "id": got["id"], "data": got["n"]})
            answered += 1
        ws.close_socket()
        return answered

    operators = [connect(server) for _ in range(6)]
    all_of_them = sum(n * r for n in range(1, devices + 1) for r in range(1, 6))
    third = sum(n * r for n in range(3, devices + 1, 3) for r in range(1, 6))
    with ThreadPoolExecutor(devices) as pool:
        answers = [pool.submit(device, n, ws) for n, ws in enumerate(sockets, 1)]
        for some, sum_, gone in ((operators[:3], all_of_them, 0), (operators[3:], all_of_them - third, 5 * (devices // 3))):
            for o in some:
                o.text({"type": "go", "id": 1, "devices": devices})
            for o in some:
                assert o.expect(type="reply", id=1)["data"] == {"sum": sum_, "gone": gone}
        operators[0].text({"type": "stop"})
        assert [a.result() for a in answers] == [30 if n % 3 else 15 for n in range(1, devices + 1)]
