"""Which version a rollback brings back, and that nothing of it gets lost between workers, probation and the next save."""
from support.control import Control, control
from test_transaction import WORKERS, app, ask, ask_control, everywhere, reload_to

KEEP = {"on_error": "keep"}


def fail(ws):
    assert "version" not in ask(ws, "fail")


@WORKERS
def test_a_version_that_failed_in_one_worker_is_kept_by_none(serve, connect, workers):
    server = serve(app(1), settings=KEEP | {"workers": workers})
    clients = everywhere(server, connect, workers)
    assert reload_to(server, app(2))["ok"]
    fail(clients[-1])
    assert reload_to(server, app(3))["ok"]
    assert ask_control(server, "rollback")["ok"]
    assert [ask(ws)["version"] for ws in clients] == [1] * workers


def test_a_version_that_failed_on_probation_is_never_gone_back_to_later(serve, connect, until):
    server = serve(app(1), settings=KEEP | {"reload.probation": "1s"})
    ws = connect(server)
    assert reload_to(server, app(2))["ok"]
    fail(ws)
    assert reload_to(server, app(3))["ok"]
    until(lambda: ask_control(server, "status")["reloads"]["fallback"] is None, what="the end of the probation")
    assert ask_control(server, "rollback")["ok"]
    assert ask(ws)["version"] == 1


@WORKERS
def test_the_same_sources_once_more_are_nothing_to_go_back_to(serve, connect, until, workers):
    server = serve(app(1), settings=KEEP | {"workers": workers})
    clients = everywhere(server, connect, workers)
    assert reload_to(server, app(2))["ok"]
    assert ask_control(server, "reload")["ok"]
    for _ in range(5):
        fail(clients[0])
    until(lambda: [ask(ws)["version"] for ws in clients] == [1] * workers, what="the rollback")


@WORKERS
def test_what_fails_as_it_begins_counts_for_the_new_version(serve, connect, until, workers):
    server = serve(app(1), settings={"workers": workers})
    clients = everywhere(server, connect, workers)
    spawns = "local tide = require 'moontide'\nfor _ = 1, 5 do tide.spawn(function() error 'at once' end) end\n"
    assert reload_to(server, app(2, spawns))["ok"]
    until(lambda: ask_control(server, "status")["reloads"]["rolled_back"] == 1, what="the rollback")
    assert [ask(ws)["version"] for ws in clients] == [1] * workers


def test_a_rollback_that_waits_for_a_worker_outlasts_the_probation(serve, connect, until):
    busy = "function app.on.busy(conn) conn:send 'now'; local t = os.clock(); while os.clock() - t < 0.9 do end end"
    server = serve(app(1), settings={"workers": 3, "reload.pause": "20ms", "reload.probation": "600ms", "sandbox.allow": "os"})
    clients = everywhere(server, connect, 3)
    text = app(2, "app.on = {}\n" + busy)
    assert reload_to(server, text)["ok"]
    clients[2].text('{"type":"busy"}')
    answer = ask_control(server, "rollback")
    assert answer["ok"], answer
    assert [ask(ws)["version"] for ws in clients[:2]] == [1, 1]


def test_two_rollbacks_at_once_go_back_twice(serve, connect, until):
    server = serve(app(1), settings={"reload.probation": "0"})
    for number in 2, 3:
        assert reload_to(server, app(number))["ok"]
        until(lambda: ask_control(server, "status")["reloads"]["fallback"] is None, what="the end of the probation")
    both = [Control(control(server)) for _ in range(2)]
    for client in both:
        client.send(b"rollback\n")
    assert all(client.line()["ok"] for client in both)
    assert ask(connect(server))["version"] == 1


def test_a_module_of_a_version_that_fails_in_the_switch_is_watched(serve, connect, until, tmp_path):
    server = serve(app(1), watch=True)
    module = tmp_path / "moving.lua"
    module.write_text("return function(state) error 'not yet' end")
    server.script.write_text(app(2, "app.on_upgrade = require 'moving'"))
    until(lambda: "not yet" in server.log.text(), what="the failure")
    module.write_text("return function(state) return state end")
    ws = connect(server)
    until(lambda: ask(ws)["version"] == 2, what="the reload")


@WORKERS
def test_an_on_upgrade_that_does_not_end_in_one_worker_is_named(serve, workers):
    server = serve(app(1), settings={"workers": workers})
    endless = "function app.on_upgrade(state) while require('moontide').worker == 1 do end return state end"
    answer = reload_to(server, app(2, endless))
    assert not answer["ok"] and "on_upgrade" in answer["error"], answer


WRITE = "local f <close> = io.open('%s', 'w'); f:write([[%s]])"


def test_a_save_before_the_script_is_watched_is_not_missed(serve, connect, until, tmp_path):
    script = tmp_path / "app.lua"
    server = serve(WRITE % (script, app(2)) + app(1), watch=True, settings={"sandbox.allow": "io"})
    ws = connect(server)
    until(lambda: ask(ws)["version"] == 2, what="the reload")


def test_a_save_during_the_switch_to_a_new_module_is_not_missed(serve, connect, until, tmp_path):
    server = serve(app(1), watch=True, settings={"sandbox.allow": "io"})
    module = tmp_path / "lib" / "helper.lua"  # a folder that was not watched so far
    module.parent.mkdir()
    module.write_text("return 'old'")
    more = "function app.on_upgrade(state) " + WRITE % (module, "return 'new'") + " return state end\n" \
           "local word = require 'lib.helper'\nfunction app.on.word(conn) conn:send { word = word } end"
    server.script.write_text(app(2, "app.on = {}\n" + more))
    ws = connect(server)
    until(lambda: ask(ws, '{"type":"word"}').get("word") == "new", what="the reload")
