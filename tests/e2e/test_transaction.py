"""A reload is a transaction over all workers: prepared everywhere, switched everywhere or nowhere, watched, and taken back."""
import re
import signal
import time

import pytest
from support.control import Control, control

WORKERS = pytest.mark.parametrize("workers", [1, 3])

APP = """
local tide = require "moontide"
local app = {{ version = {number} }}
function app.on_message(conn, text)
  if text == "fail" then error "as asked" end
  if text == "count" then tide.state.n = (tide.state.n or 0) + 1 end
  if text == "sleep" then conn:send "sleeping"; tide.sleep(0.4) end
  conn:send {{ version = {number}, worker = tide.worker, n = tide.state.n, hash = tide.version }}
end
function app.on_start(reason) tide.log.info("started by " .. reason .. " {number}") end
{more}
return app
"""


def app(number, more=""):
    return APP.format(number=number, more=more)


def ask_control(server, word):
    client = Control(control(server))
    try:
        return client.ask(word)
    finally:
        client.close()


def ask(ws, text="?"):
    ws.text(text)
    return ws.json()


def everywhere(server, connect, workers):
    """One connection on each worker."""
    found = {}
    for _ in range(200):
        ws = connect(server)
        found.setdefault(ask(ws)["worker"], ws)
        if len(found) == workers:
            return [found[w] for w in sorted(found)]
    raise AssertionError(f"connections came to the workers {sorted(found)} only")


def reload_to(server, text):
    server.script.write_text(text)
    return ask_control(server, "reload")


@WORKERS
def test_all_workers_change_together(serve, connect, workers):
    server = serve(app(1), settings={"workers": workers})
    clients = everywhere(server, connect, workers)
    hashes = {ask(ws)["hash"] for ws in clients}
    assert len(hashes) == 1
    for number in range(2, 12):
        answer = reload_to(server, app(number))
        assert answer["ok"] and answer["changed"]
        answers = [ask(ws) for ws in clients]
        assert {a["version"] for a in answers} == {number} and {a["hash"] for a in answers} == {answer["version"]}
    status = ask_control(server, "status")
    assert status["workers"] == workers and status["silent_workers"] == 0 and status["reloads"]["ok"] == 10
    assert 0 < status["reloads"]["pause_ms"] < 250


@WORKERS
def test_a_version_that_fails_in_one_place_goes_live_nowhere(serve, connect, workers):
    server = serve(app(1), settings={"workers": workers})
    clients = everywhere(server, connect, workers)
    last = f"if require('moontide').worker == {workers} then error 'not here' end\n"
    for text, why in ((last + app(2), "not here"), ("return {", "app.lua:1"), ("while true do end", "reload.timeout"),
                      (app(2, "function app.on_mesage() end"), "on_message")):
        answer = reload_to(server, text)
        assert not answer["ok"] and why in answer["error"], answer
        assert {ask(ws)["version"] for ws in clients} == {1}
    assert reload_to(server, app(3))["ok"]
    assert {ask(ws)["version"] for ws in clients} == {3}


@WORKERS
def test_on_upgrade_gets_a_copy_and_its_result_is_the_state(serve, connect, workers):
    server = serve(app(1), settings={"workers": workers})
    clients = everywhere(server, connect, workers)
    for ws in clients:
        assert ask(ws, "count")["n"] == 1
    doubles = "function app.on_upgrade(state, from) assert(from == 1); state.n = state.n * 10; return state end"
    assert reload_to(server, app(2, doubles))["ok"]
    assert [ask(ws)["n"] for ws in clients] == [10] * workers
    for broken, why in (("function app.on_upgrade(s) s.n = nil; error 'no way' end", "no way"),
                        ("function app.on_upgrade(s) s.n = 99 end", "on_upgrade"),
                        ("function app.on_upgrade(s) while true do end end", "on_upgrade")):
        answer = reload_to(server, app(3, broken))
        assert not answer["ok"] and why in answer["error"], answer
        assert [(ask(ws)["version"], ask(ws)["n"]) for ws in clients] == [(2, 10)] * workers


@WORKERS
def test_a_version_that_raises_is_taken_back_by_itself(serve, connect, until, workers):
    server = serve(app(1), settings={"workers": workers})
    good = ask(connect(server))["hash"]
    assert reload_to(server, app(2).replace("function app.on_message(conn, text)", "function app.on_message(conn, text) oops()"))["ok"]
    ws = connect(server)
    for _ in range(5):
        ws.text("x")
        assert ws.json()["code"] == "internal"
    server.log.wait("rolled back from version")
    assert ask(ws)["version"] == 1
    versions = ask_control(server, "versions")["versions"]
    assert [v["result"] for v in versions] == ["live", "rolled back", "replaced"] and versions[0]["version"] == good
    assert "events failed" in versions[1]["reason"]
    assert ask_control(server, "status")["reloads"]["rolled_back"] == 1
    until(lambda: re.search("started by rollback 1", server.log.text()), what="on_start")


def test_what_clients_do_wrong_takes_nothing_back(serve, connect):
    shape = 'app.on = { take = function() end }\napp.accepts = { take = { n = "integer" } }\napp.on_message = nil'
    server = serve(app(1))
    assert reload_to(server, app(2, shape))["ok"]
    ws = connect(server)
    for _ in range(20):
        ws.text('{"type":"take","n":"x"}')
        assert ws.json()["code"] == "invalid"
    assert ask_control(server, "status")["reloads"]["rolled_back"] == 0


def test_few_failures_among_many_events_take_nothing_back(serve, connect):
    server = serve(app(1))
    assert reload_to(server, app(2))["ok"]
    ws = connect(server)
    for _ in range(200):
        assert ask(ws)["version"] == 2
    for _ in range(5):
        ws.text("fail")
        assert ws.json()["code"] == "internal"
    assert ask(ws)["version"] == 2 and ask_control(server, "status")["reloads"]["rolled_back"] == 0


@WORKERS
def test_rollback_by_hand_keeps_what_was_written_since(serve, connect, workers):
    server = serve(app(1), settings={"workers": workers})
    clients = everywhere(server, connect, workers)
    for ws in clients:
        ask(ws, "count")
    assert reload_to(server, app(2))["ok"]
    for ws in clients:
        ask(ws, "count")
    answer = ask_control(server, "rollback")
    assert answer["ok"] and answer["changed"]
    assert [(ask(ws)["version"], ask(ws)["n"]) for ws in clients] == [(1, 2)] * workers
    assert not ask_control(server, "rollback")["ok"]


def test_rollback_after_on_upgrade_brings_the_state_from_before(serve, connect):
    server = serve(app(1))
    ws = connect(server)
    ask(ws, "count")
    assert reload_to(server, app(2, "function app.on_upgrade(s) return { n = 100 } end"))["ok"]
    assert ask(ws, "count")["n"] == 101
    assert ask_control(server, "rollback")["ok"]
    assert ask(ws)["n"] == 1
    server.log.wait("on_upgrade")


def test_rollback_after_probation_loads_the_old_sources(serve, connect, until):
    server = serve(app(1), settings={"reload.probation": "0"})
    ws = connect(server)
    for number in (2, 3):
        assert reload_to(server, app(number))["ok"]
    until(lambda: ask_control(server, "status")["reloads"]["fallback"] is None, what="the end of the probation")
    for number in (2, 1):
        assert ask_control(server, "rollback")["ok"]
        assert ask(ws)["version"] == number
    answer = ask_control(server, "rollback")
    assert not answer["ok"] and "no version to go back to" in answer["error"]
    assert ask_control(server, "reload")["ok"] and ask(ws)["version"] == 3  # what is in the files


def test_a_handler_that_waits_ends_in_its_own_version(serve, connect):
    server = serve(app(1))
    waiting, other = connect(server), connect(server)
    waiting.text("sleep")
    waiting.expect("sleeping")
    assert reload_to(server, app(2))["ok"]
    assert ask(other)["version"] == 2
    old = ask_control(server, "status")["reloads"]["old"]
    assert [(v["tasks"], v["worker"]) for v in old] == [(1, 1)]
    assert waiting.json()["version"] == 1
    assert ask(waiting)["version"] == 2


def test_an_endless_chunk_stalls_nobody(serve, connect):
    server = serve(app(1), settings={"reload.timeout": "1s"})
    ws = connect(server)
    server.script.write_text("while true do end")
    server.signal(signal.SIGHUP)
    longest, end = 0, time.monotonic() + 1.2
    while time.monotonic() < end:
        begin = time.monotonic()
        assert ask(ws)["version"] == 1
        longest = max(longest, time.monotonic() - begin)
    server.log.wait("was not reloaded.*reload.timeout")
    assert longest < 0.5


def test_files_that_are_written_while_they_are_read_give_one_consistent_version(serve, connect, until, tmp_path):
    """Ten modules that must all say the same number are written one after the other, again and again."""
    names = [f"part{i}" for i in range(10)]

    def write(number):
        for name in names:
            (tmp_path / f"{name}.lua").write_text(f"return {number}")

    write(0)
    check = "\n".join(f'assert(require "{n}" == require "{names[0]}", "mixed")' for n in names)
    server = serve(f'{check}\nlocal n = require "part0"\nreturn {{ on_message = function(c) c:send(tostring(n)) end }}', watch=True)
    ws = connect(server)
    for number in range(1, 60):
        write(number)

    def last():
        ws.text("?")
        return ws.data() == "59"
    until(last, what="the last set")


def test_a_worker_that_is_busy_puts_it_off(serve, connect, until):
    busy = 'local tide = require "moontide"\nlocal app = {}\nfunction app.on_message(conn, text)\n' \
           '  if text == "work" then conn:send "working"; local t = tide.now() + 0.6; while tide.now() < t do end end\n' \
           '  conn:send "%s" end\nreturn app'
    server = serve(busy % "one", settings={"workers": 3, "reload.pause": "50ms"})
    clients = [connect(server) for _ in range(12)]
    clients[0].text("work")
    clients[0].expect("working")
    server.script.write_text(busy % "two")
    answer = ask_control(server, "reload")
    clients[0].expect("one")
    assert answer["ok"], answer
    for ws in clients:
        ws.text("?")
        ws.expect("two")


def test_a_worker_that_does_not_answer_aborts_it(serve, connect, until):
    """os.execute stalls its worker in C, where no budget reaches it."""
    text = 'local app = {}\nfunction app.on_message(conn, text)\n' \
           '  if text == "stall" then conn:send "stalling"; conn:drain(); os.execute "sleep 4" end\n' \
           '  conn:send { worker = require("moontide").worker, version = %d } end\nreturn app'
    server = serve(text % 1, settings={"workers": 3, "sandbox.allow": "process", "script.time": "50ms", "reload.timeout": "50ms"})
    clients = everywhere(server, connect, 3)
    clients[2].text("stall")
    clients[2].expect("stalling")
    answer = reload_to(server, text % 2)
    assert not answer["ok"] and "1 of 3 workers did not prepare" in answer["error"], answer
    assert [ask(ws)["version"] for ws in clients[:2]] == [1, 1]
    status = ask_control(server, "status")
    assert status["silent_workers"] in (0, 1)
    assert clients[2].json()["version"] == 1  # awake again
    answer = ask_control(server, "reload")
    assert answer["ok"] and [ask(ws)["version"] for ws in clients] == [2, 2, 2]


@WORKERS
def test_connections_whose_route_is_gone_are_told_to_come_again(serve, connect, workers):
    routes = 'local here = {{ on_message = function(c) c:send {{ worker = require("moontide").worker, n = {0} }} end }}\n' \
             'return {{ routes = {{ ["/a"] = here{1} }} }}'
    server = serve(routes.format(1, ', ["/b/:id"] = here'), settings={"workers": workers})
    stay = [connect(server, "/a") for _ in range(6)]
    go = [connect(server, "/b/7") for _ in range(6)]
    for ws in stay + go:
        assert ask(ws)["n"] == 1
    assert reload_to(server, routes.format(2, ""))["ok"]
    for ws in go:
        ws.expect_close(1012)
    assert {ask(ws)["n"] for ws in stay} == {2}


def test_the_log_file_follows_who_rotates_it(serve, connect, tmp_path, until):
    log, old = tmp_path / "server.log", tmp_path / "server.log.1"
    server = serve(app(1), settings={"log.file": str(log)})
    assert "serving" in log.read_text()
    log.rename(old)
    server.signal(signal.SIGHUP)
    until(lambda: log.exists() and "reloaded" in log.read_text(), what="the new file")
    assert "reloaded" not in old.read_text() and len(server.log) == 0
    log.unlink()
    log.mkdir()  # cannot be opened: the one that is open goes on
    answer = ask_control(server, "reload")
    assert not answer["ok"] and "log file" in answer["error"] and str(log) in answer["error"]
    assert ask(connect(server))["version"] == 1
