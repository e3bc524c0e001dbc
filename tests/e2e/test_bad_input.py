"""Wrong flags, broken scripts, hostile clients: a clear error, and a server that goes on or refuses to start."""
import random
import re
import signal
import subprocess
import time

import pytest
from support.server import BIN, Lines, clean_environment, refuses, sanitized
from support.wire import CONT, TEXT, Closed, Response, Socket, Wire, fetch, frame

APP = """
local tide = require "moontide"
local app = { on = {} }
function app.on.join(conn, msg) return { got = { conn:join(msg.room) } } end
function app.on.long_room(conn) return { got = { pcall(conn.join, conn, ("r"):rep(10 * 1024 * 1024)) } } end
function app.on.closed(conn)
  conn:close(4000, "bye")
  local sent = { conn:send "late" }
  local joined = { conn:join "room" }
  tide.log.info("after close", { send = tostring(sent[3]), join = tostring(joined[3]) })
end
function app.on.bad_send(conn) conn:send "\\255 is not UTF-8" end
function app.on.raise() error { "a table" } end
function app.on.raise_nil() error(nil) end
function app.on.fine() return { ok = true } end
function app.on.deep()
  local value = {}
  for _ = 1, 10000 do value = { value } end
  return value
end
function app.on.cycle(conn) local t = {} t.t = t conn:send(t) end
function app.on.wrong_field(conn) return { got = conn.pth } end
return app
"""


@pytest.fixture
def server(serve):
    return serve(APP)


def fine(ws):
    ws.text({"type": "fine", "id": "f"})
    ws.expect(type="reply", id="f", data={"ok": True})


def still_serves(server):
    with Socket(server.address) as ws:
        fine(ws)
        ws.bye()


# ---- at the start ----

@pytest.mark.parametrize("args,why", [
    (["--lisen", "127.0.0.1:0"], "--listen"), (["--listen"], "--listen"), (["--set", "nonsense"], "nonsense"),
    (["--set", "limits.mesage=5"], "limits.message"), (["--set", "limits.message=many"], "limits.message"),
    (["--set", "limits.message=-1"], "limits.message"),
    (["--set", "script.time=soon"], "script.time"), (["--set", "log.format=xml"], "json"),
    (["--tls", "only-one-file"], "only-one-file"),
    (["--tls", "/no/cert.pem,/no/key.pem"], "/no/"), (["--config", "/no/such.conf.lua"], "/no/such.conf.lua"),
    (["extra.lua"], "extra.lua"),
])
def test_wrong_flags(apps, args, why):
    _, text = refuses("run", apps / "echo.lua", "--listen", "127.0.0.1:0", *args)
    assert why in text and len(text.splitlines()) <= 6, text


def test_wrong_commands(apps):
    assert "run" in refuses("rnu", apps / "echo.lua")[1]
    assert "nowhere.lua" in refuses("run", "nowhere.lua")[1]
    refuses("run")


@pytest.mark.parametrize("text,why", [
    ("return { limits = { mesage = 5 } }", "limits.message"), ("return { lisen = '127.0.0.1:0' }", "listen"),
    ("return 5", "(?i)table"),
    ("return { limits = { message = 'many' } }", "limits.message"), ("return {", "conf.lua:1"),
    ("while true do end", "conf.lua"), ("error 'x'", "conf.lua:1"),
])
def test_wrong_configuration_file(tmp_path, apps, text, why):
    path = tmp_path / "moontide.conf.lua"
    path.write_text(text)
    _, said = refuses("run", apps / "echo.lua", "--listen", "127.0.0.1:0", "--config", path)
    assert re.search(why, said), said


def test_run_is_the_default_command(apps, tmp_path):
    """`moontide SCRIPT` is `moontide run SCRIPT`, and check tests without starting."""
    running = subprocess.Popen([BIN, str(apps / "echo.lua"), "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, env=clean_environment())
    try:
        Lines(running.stdout).wait("^moontide: ready http://127.0.0.1:")
    finally:
        running.terminate()
        assert running.wait(10) == 0
    checked = subprocess.run([BIN, "check", str(apps / "chat.lua")], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             env=clean_environment(), check=False)
    assert checked.returncode == 0, checked.stdout
    bad = tmp_path / "bad.lua"
    bad.write_text("return { on_message = 5 }")
    assert "on_message" in refuses("check", bad)[1]


def test_wrong_environment(apps):
    assert "MOONTIDE_LIMITS_MESSAGE" in refuses("run", apps / "echo.lua", env={"MOONTIDE_LIMITS_MESAGE": "5"})[1]


def test_configuration_file_and_precedence(serve, tmp_path, connect):
    path = tmp_path / "moontide.conf.lua"
    path.write_text("return { limits = { message = 1000 }, log = { format = 'json' } }")
    server = serve(APP, "--config", path, settings={"limits.message": 2000})
    ws = connect(server)
    ws.text("x" * 1500)
    ws.expect(type="error", code="bad_json")
    ws.text("x" * 2001)
    ws.expect_close(1009)


@pytest.mark.parametrize("text,why", [
    ("local app = {\nreturn app", "app.lua:2"), ("return", "table"), ("return 'text'", "table"),
    ("return { on_message = 5 }", "on_message"),
    ("return { on_mesage = print }", "on_message"), ("return { on = { chat = true } }", "chat"),
    ("error 'at load'", "app.lua:1: at load"),
    ("return { rooms = 5 }", "rooms"), ("return { protocols = 'chat' }", "protocols"),
    ("return { accepts = { x = 'integr' }, on = { x = print } }", "integr"),
    ("require 'no.such.module' return {}", "no.such.module"), ("x = 1 return {}", "app.lua:1"),
    ("os.execute 'true' return {}", "app.lua:1"),
    ("\x1bLua", "app.lua"), ("", "table"),
    # metamethods would run while the table is checked: without end, with wrong types, changing what is being walked
    ("return setmetatable({}, { __index = function() while true do end end })", "metatable"),
    ("return setmetatable({}, { __index = { on = 5 } })", "metatable"),
    ("return { on = setmetatable({}, { __index = {} }) }", "app.on: "),
    ("local app = { routes = {} } app.routes['/a'] = setmetatable({}, { __index = function() for i = 1, 100 do app.routes['/x' .. i] = {} end end }) return app",
     "app.routes['/a']: "),
])
def test_wrong_scripts(tmp_path, text, why):
    script = tmp_path / "app.lua"
    script.write_text(text)
    _, said = refuses("run", script, "--listen", "127.0.0.1:0")
    assert why in said, said


# ---- while it runs ----

def test_handlers_that_raise(server, connect):
    ws = connect(server)
    for kind in ("raise", "raise_nil"):
        ws.text({"type": kind, "id": 1})
        ws.expect(type="error", id=1, code="internal")
    fine(ws)
    ws.text({"type": "bad_send", "id": 2})
    ws.expect(type="error", id=2, code="internal")
    ws.text({"type": "wrong_field", "id": 3})
    ws.expect(type="error", id=3, code="internal")
    fine(ws)
    for kind in ("deep", "cycle"):
        ws.text({"type": kind, "id": 4})
        ws.expect(type="error", id=4, code="internal")
    fine(ws)
    server.log.wait("path")  # the nearest name of a wrong field


def test_sends_to_a_closed_connection(server, connect):
    ws = connect(server)
    ws.text({"type": "closed"})
    ws.expect_close(4000, "bye")
    got = server.log.wait(r"after close.*")
    assert got.group(0).count("closed") >= 1
    still_serves(server)


def test_room_with_a_name_of_10_mb(server, connect):
    ws = connect(server)
    ws.text({"type": "long_room", "id": 1})
    got = ws.expect(type="reply", id=1)["data"]["got"]
    assert got[0] is False or got[1] in (None, False), got
    ws.text({"type": "join", "room": "x" * 60000, "id": 2})
    got = ws.json()
    assert got["type"] == "error" or got["data"]["got"][0] is None, got
    ws.text({"type": "join", "room": "", "id": 3})
    ws.json()
    fine(ws)


@pytest.mark.parametrize("text", ["[" * 10000, "[" * 10000 + "]" * 10000, '{"type":' * 5000 + "1" + "}" * 5000,
                                  '{"type":"fine","x":' + "[" * 10000 + "]" * 10000 + "}"])
def test_json_nested_10000_deep(server, connect, text):
    ws = connect(server)
    ws.text(text)
    ws.expect(type="error", code="bad_json")
    fine(ws)


@pytest.mark.parametrize("text", ["", "{", "nul", "[1,]", '{"a":1,}', "{'a':1}", '"\\ud800"', '{"type":"fine"} x', "NaN", "01",
                                  "\ufeff{}", '"\x01"', "1e999999", "{\"type\":\"fine\",\"n\":-}"])
def test_bad_json(server, connect, text):
    ws = connect(server)
    ws.text(text)
    assert ws.expect(type="error")["code"] in ("bad_json", "unknown_type")
    fine(ws)


@pytest.mark.parametrize("text", ["null", "5", "true", '"text"', "[]", "{}", '{"type":5}', '{"type":null}', '{"type":"__index"}',
                                  '{"type":"nope"}', '{"type":["fine"]}'])
def test_json_that_no_handler_takes(server, connect, text):
    ws = connect(server)
    ws.text(text)
    assert ws.expect(type="error")["code"] in ("unknown_type", "bad_json")
    fine(ws)


@pytest.mark.parametrize("number", ["5", "1.5", '"text"', "9007199254740993", "-1", "0"])
def test_ids_come_back_as_they_were(server, connect, number):
    ws = connect(server)
    ws.text('{"type":"fine","id":%s}' % number)
    assert f'"id":{number}' in ws.data()


@pytest.mark.parametrize("strange", ["null", "true", "{}", "[]", '{"a":1}', "false"])
def test_strange_ids(server, connect, strange):
    """Answered or refused, but never a fault of the script."""
    ws = connect(server)
    ws.text('{"type":"fine","id":%s}' % strange)
    for got in ws.fence():
        assert b"internal" not in got.payload
    fine(ws)


def test_garbage(server):
    source = random.Random(7)
    for size in (1, 2, 10, 100, 5000, 60000):
        with Wire(server.address) as wire:
            wire.send(bytes(source.randrange(256) for _ in range(size)))
            wire.sock.shutdown(1)
            wire.take_eof()
        with Socket(server.address) as ws:
            ws.send(b"\xff" + bytes(source.randrange(256) for _ in range(size)))
            ws.expect_close(1002)
    still_serves(server)


def test_half_a_handshake(serve):
    server = serve(APP, settings={"handshake.timeout": 0.3})
    begin = time.monotonic()
    silent, half, dribble = Wire(server.address), Wire(server.address), Wire(server.address)
    half.send(b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websock")
    silent.take_eof()
    half.take_eof()
    with pytest.raises((OSError, AssertionError)):  # a byte now and then does not keep it open
        for byte in b"GET / HTTP/1.1\r\n" + b"X-Header: slow\r\n" * 20:
            dribble.send(bytes([byte]))
            assert time.monotonic() - begin < 20
            time.sleep(0.02)
        pytest.fail("a dribbling client was kept")
    assert time.monotonic() - begin < 20
    still_serves(server)


def test_a_gigabyte_header(server):
    """It is refused at its first 16 KiB, what follows is dropped for a moment, and the memory does not grow."""
    before, begin = server.rss(), time.monotonic()
    with Wire(server.address) as wire:
        wire.send(b"GET / HTTP/1.1\r\nHost: x\r\nX: ")
        with pytest.raises(OSError):
            while time.monotonic() - begin < 30:
                wire.send(b"x" * 65536)
    with Wire(server.address) as wire:
        wire.send(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 16384)
        assert Response(wire).status == 431
    if not sanitized():
        assert server.rss() - before < 8 << 20
    still_serves(server)


def test_an_endless_fragmented_message(server, connect):
    before = server.rss()
    ws = connect(server)
    try:
        ws.send(frame(TEXT, "x" * 100, fin=False))
        for _ in range(20000):
            ws.send(frame(CONT, "x" * 1000, fin=False))
    except OSError:
        pass
    got = ws.frame()
    assert got.code == 1009, got
    if not sanitized():
        assert server.rss() - before < 8 << 20
    still_serves(server)


def test_a_client_that_never_reads(server, connect):
    """It is served until its outbox is full, then it is closed; its pings do not pile up for ever."""
    before = server.rss()
    deaf = connect(server, rcvbuf=4096)
    deaf.set_timeout(1)
    try:
        for _ in range(3000):
            deaf.send(frame(TEXT, '{"type":"nope","id":"%s"}' % ("i" * 60)) * 50 + frame(9, "p" * 125) * 50)
    except (OSError, Closed):
        pass
    still_serves(server)
    if not sanitized():
        assert server.rss() - before < 24 << 20


def test_many_clients_that_break_off(server):
    for n in range(200):
        ws = Socket(server.address)
        ws.text({"type": "fine", "id": n})
        ws.reset()
    still_serves(server)


def test_hangups_and_garbage_together(server, connect):
    ws = connect(server)
    for n in range(30):
        server.signal(signal.SIGHUP)
        ws.text('{"type":"fine","id":1}')
        ws.expect(type="reply")
        fetch(server.address, "/" + "x" * n)
    ws.binary(b"no handler for these")
    ws.expect_close(1003)
    still_serves(server)
