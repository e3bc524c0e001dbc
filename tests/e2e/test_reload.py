"""A saved script is live, with every connection open and all state kept; a broken one never goes live and says why."""
import os
import signal
import time

import pytest

COUNTER = """
local tide = require "moontide"
local app = {{}}
function app.on_open(conn) conn:join "all" end
function app.on_message(conn, text)
  tide.state.n = (tide.state.n or 0) + 1
  conn.data.n = (conn.data.n or 0) + 1
  conn:send {{ version = {version}, total = tide.state.n, mine = conn.data.n, rooms = conn:rooms() }}
end
{more}
return app
"""


def version(number, more=""):
    return COUNTER.format(version=number, more=more)


def save(server, text):
    server.script.write_text(text)


def ask(ws):
    ws.text("?")
    return ws.json()


def test_connection_data_state_and_rooms_stay(serve, connect, until):
    server = serve(version(1), watch=True)
    ws = connect(server)
    for n in range(1, 4):
        assert ask(ws) == {"version": 1, "total": n, "mine": n, "rooms": ["all"]}
    save(server, version(2))
    begin = time.monotonic()
    until(lambda: ask(ws)["version"] == 2, what="the reload")
    assert time.monotonic() - begin < 4
    last, again = ask(ws), ask(ws)
    assert again["total"] == last["total"] + 1 and again["mine"] == again["total"] and again["rooms"] == ["all"]


def test_save_by_rename_as_editors_do(serve, connect, until):
    server = serve(version(1), watch=True)
    ws = connect(server)
    for number in range(2, 6):
        draft = server.script.with_suffix(".tmp")
        draft.write_text(version(number))
        os.replace(draft, server.script)
        until(lambda: ask(ws)["version"] == number, what=f"version {number}")


def test_deleted_and_written_again(serve, connect, until):
    server = serve(version(1), watch=True)
    ws = connect(server)
    server.script.unlink()
    assert ask(ws)["version"] == 1
    save(server, version(2))
    until(lambda: ask(ws)["version"] == 2, what="the new file")


def test_a_burst_of_saves_ends_with_the_last(serve, connect, until):
    server = serve(version(1), watch=True)
    ws = connect(server)
    for number in range(2, 30):
        save(server, version(number))
    until(lambda: ask(ws)["version"] == 29, what="the last of the burst")


def test_hangup_reloads_without_watching(serve, connect, until):
    server = serve(version(1))
    ws = connect(server)
    save(server, version(2))
    assert ask(ws)["version"] == 1
    server.signal(signal.SIGHUP)
    until(lambda: ask(ws)["version"] == 2, what="the reload")


def test_module_beside_the_script(serve, connect, until, tmp_path):
    module = tmp_path / "greeting.lua"
    module.write_text('local n = 0; return function() n = n + 1; return "hello " .. n end')
    server = serve('local greet = require "greeting"\nreturn { on_message = function(conn) conn:send(greet()) end }', watch=True)
    ws = connect(server)
    ws.text("?")
    ws.expect("hello 1")
    module.write_text('local n = 0; return function() n = n + 1; return "moin " .. n end')

    def changed():
        ws.text("?")
        return ws.data() == "moin 1"  # a version has its own copies of modules: its count starts anew
    until(changed, what="the module's reload")


def test_broken_module_that_is_mended(serve, connect, until, tmp_path):
    """Saving the module alone brings the app back, though the script did not change."""
    module = tmp_path / "part.lua"
    module.write_text('return "one"')
    server = serve('local part = require "part"\nreturn { on_message = function(conn) conn:send(part) end }', watch=True)
    ws = connect(server)
    module.write_text("return (")
    server.log.wait(r"part\.lua:1")
    ws.text("?")
    ws.expect("one")
    module.write_text('return "two"')

    def mended():
        ws.text("?")
        return ws.data() == "two"
    until(mended, what="the mended module")


def test_new_module_and_script_through_a_link(serve, connect, until, tmp_path):
    folder = tmp_path / "releases"
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        (folder / name / "part.lua").write_text(f'return "{name}"')
        (folder / name / "app.lua").write_text('local part = require "part"\n'
                                               'return { on_message = function(conn) conn:send(part) end }')
    link = tmp_path / "current"
    link.symlink_to(folder / "a")
    server = serve(link / "app.lua", watch=True)
    ws = connect(server)
    ws.text("?")
    ws.expect("a")
    fresh = tmp_path / "next"
    fresh.symlink_to(folder / "b")
    os.replace(fresh, link)  # as a deployment switches
    server.signal(signal.SIGHUP)

    def switched():
        ws.text("?")
        return ws.data() == "b"
    until(switched, what="the other folder")


def test_configuration_file_reloads_with_the_script(serve, connect, until, tmp_path):
    path = tmp_path / "moontide.conf.lua"
    path.write_text("return { limits = { message = 10 } }")
    server = serve("return { on_message = function(c, t) c:send(t) end }", "--config", path)
    old = connect(server)
    path.write_text("return { limits = { message = 'broken' } }")
    server.signal(signal.SIGHUP)
    server.log.wait("limits.message")
    path.write_text("return { limits = { message = 100 } }")
    server.signal(signal.SIGHUP)

    def larger():
        ws = connect(server)
        ws.text("x" * 50)
        got = ws.frame()
        return got.payload == b"x" * 50
    until(larger, what="the new limit")
    old.text("0123456789")
    old.expect("0123456789")


BROKEN = {
    "syntax": ("local app = {\nreturn app", r"app\.lua:2"),
    "raises": ('error("no such luck")', r"app\.lua:1: no such luck"),
    "returns nothing": ("local app = {}", r"(?i)table"),
    "returns a number": ("return 42", r"(?i)table"),
    "handler is no function": ("return { on_message = 5 }", r"(?i)on_message.*function|function.*on_message"),
    "unknown handler": ("return { on_mesage = print }", r"on_mesage.*on_message"),
    "missing module": ('require "nowhere"\nreturn {}', r"nowhere"),
    "undeclared global": ("counter = 1\nreturn {}", r"app\.lua:1.*counter"),
    "bad shape": ('return { on = { a = print }, accepts = { a = { b = "strnig" } } }', r"strnig"),
    "acts while loading": ('require "moontide".broadcast "x"\nreturn {}', r"not while loading"),
    "endless": ("while true do end", r"app\.lua:1"),
    "endless behind pcall": ("while true do pcall(function() while true do end end) end", r"app\.lua"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_version_keeps_the_old(serve, connect, until, name):
    text, why = BROKEN[name]
    server = serve(version(1), watch=True)
    ws = connect(server)
    first = ask(ws)
    seen = len(server.log)
    save(server, text)
    server.log.wait(why, since=seen)
    assert ask(ws) == {**first, "total": 2, "mine": 2}
    save(server, version(3))  # mended: it goes on
    until(lambda: ask(ws)["version"] == 3, what="the mended version")


@pytest.mark.one_worker
def test_waiting_handler_finishes_in_its_own_version(serve, connect, until):
    text = """
    local tide = require "moontide"
    local app, name = {}, "%s"
    function app.on_message(conn, text)
      if text == "wait" then
        while not tide.state.go do tide.sleep(0.01) end
        conn:send("waited in " .. name)
      elseif text == "go" then tide.state.go = true
      else conn:send(name) end
    end
    return app"""
    server = serve(text % "old", watch=True)
    waiting, other = connect(server), connect(server)
    waiting.text("wait")
    waiting.fence()
    save(server, text % "new")

    def changed():
        other.text("?")
        return other.data() == "new"
    until(changed, what="the reload")
    other.text("go")
    waiting.expect("waited in old")
    waiting.text("?")
    waiting.expect("new")


def test_timers_over_a_reload(serve, connect, until):
    """every ends with its version; after(name) calls the live version; after(function) fires in the version that made it."""
    text = """
    local tide = require "moontide"
    local app, name = {}, "%s"
    function app.on_start(reason)
      tide.broadcast { start = reason, by = name }
      tide.every(0.02, function() tide.broadcast { tick = name } end)
    end
    function app.named() tide.broadcast { named = name } end
    function app.on_message(conn, text)
      tide.after(1.0, "named")
      tide.after(1.0, function() tide.broadcast { plain = name } end)
      conn:send { armed = name }
    end
    return app"""
    server = serve(text % "old", watch=True)
    ws = connect(server)
    until(lambda: ws.json() == {"tick": "old"}, what="a tick")  # on_start of another worker may be later
    ws.text("arm")
    until(lambda: ws.json() == {"armed": "old"}, what="arming")
    save(server, text % "new")
    until(lambda: ws.json() == {"start": "reload", "by": "new"}, what="on_start")
    rest = []
    while {"named": "new"} not in rest or {"plain": "old"} not in rest:
        rest.append(ws.json())
    assert {"tick": "old"} not in rest and {"named": "old"} not in rest and {"tick": "new"} in rest


def test_protocols_change_by_reload(serve, connect, until):
    server = serve('return { protocols = { "one" }, on_message = function(c, t) c:send(t) end }', watch=True)
    first = connect(server, protocols=["one", "two"])
    assert first.protocol == "one"
    save(server, 'return { protocols = { "two", "one" }, on_message = function(c, t) c:send(t) end }')
    until(lambda: connect(server, protocols=["one", "two"]).protocol == "two", what="the new list")
    first.text("still")
    first.expect("still")


def test_limits_change_by_reload(serve, connect, until):
    """For connections that are opened from then on: what an open one may send was settled by its handshake."""
    text = 'return { limits = { message_bytes = %d }, on_message = function(c, t) c:send { version = %d, length = #t } end }'

    def answers(ws, version):
        ws.text("")
        return ws.json()["version"] == version

    server = serve(text % (100, 1), watch=True)
    old = connect(server)
    old.text("x" * 100)
    old.expect(length=100)
    save(server, text % (1000, 2))
    until(lambda: answers(old, 2), what="the larger limit")
    new = connect(server)
    new.text("x" * 1000)
    new.expect(length=1000)
    old.text("x" * 101)
    assert old.frame().code == 1009
    save(server, text % (10, 3))
    until(lambda: answers(new, 3), what="the smaller limit")
    new.text("x" * 1000)
    new.expect(length=1000)
    newest = connect(server)
    newest.text("x" * 11)
    assert newest.frame().code == 1009


def test_messages_are_not_lost_over_many_reloads(serve, connect):
    server = serve(version(0), watch=True)
    ws = connect(server)
    count = 0
    for number in range(1, 21):
        save(server, version(number))
        for _ in range(50):
            ws.text("?")
        for _ in range(50):
            count += 1
            assert ws.json()["total"] == count


@pytest.mark.one_worker
def test_every_of_a_handler_that_outlives_its_version(serve, connect, until):
    """tide.every ends with its version, so it does not begin when that has ended before."""
    text = """
    local tide = require "moontide"
    local app, name = {}, "%s"
    function app.on_message(conn, text)
      if text == "arm" then
        while not tide.state.go do tide.sleep(0.01) end
        local timer = tide.every(0.01, function() tide.broadcast { tick = name } end)
        tide.broadcast { armed = name, ahead = timer:cancel() }
        tide.every(0.01, function() tide.broadcast { tick = name } end)
      elseif text == "go" then tide.state.go = true
      elseif text == "wait" then tide.sleep(0.1) conn:send { waited = name }
      else conn:send { live = name }
      end
    end
    return app"""
    server = serve(text % "old", watch=True, settings={"reload.probation": "0"})
    waiting, other = connect(server), connect(server)
    waiting.text("arm")
    waiting.fence()
    save(server, text % "new")

    def changed():
        other.text("?")
        return other.json() == {"live": "new"}
    until(changed, what="the reload")
    other.text("go")
    other.expect(armed="old", ahead=False)
    other.text("wait")
    other.expect(waited="new")
