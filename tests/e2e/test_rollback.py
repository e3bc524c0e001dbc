"""Which version a rollback brings back, and that nothing of it gets lost between workers, probation and the next save."""
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
