"""What one user may take, over all connections and workers: limits.user_connections and limits.rate.user_messages."""
import signal
import threading
import time

import pytest
from support.control import status
from support.wire import Refused, Socket

APP = """
local tide = require "moontide"
local app = { on = {} }
function app.on_connect(req) if req.query.name then return { user = req.query.name } end end
function app.on.login(conn, msg)
  conn.user = msg.name
  tide.log.info("after login", { is = conn.user or "nobody" })
  return { user = conn.user }
end
function app.on.echo(conn, msg) return msg.n end
function app.on.kick(_, msg) return tide.user(msg.name):close(4000, "kicked") end
return app
"""


def ann(connect, server):
    return connect(server, "/?name=ann")


def echo(ws, n=0):
    ws.text({"type": "echo", "id": 1, "n": n})


def rate(per_second, burst, **more):
    return {"limits.rate.user_messages": f"{per_second}/s burst {burst}", **more}


def answers(ws, *numbers):
    for n in numbers:
        ws.expect(type="reply", id=1, data=n)


# ---- connections ----

def test_one_more_is_refused(serve, connect, until):
    server = serve(APP, settings={"limits.user_connections": 2})
    first, _ = ann(connect, server), ann(connect, server)
    with pytest.raises(Refused) as refused:
        ann(connect, server)
    answer = refused.value.response
    assert answer.status == 429 and int(answer.headers["retry-after"]) > 0 and answer.body == b"too many connections"
    for _ in range(3):
        connect(server)  # who is not logged in is nobody's
    connect(server, "/?name=bob")
    assert status(server)["limits"]["user_connections"] == 1
    server.log.wait(r"WARN +limits\.user_connections: the handshake was refused .*user=ann")

    first.bye()

    def is_there():
        try:
            return ann(connect, server)
        except Refused:
            return None
    until(is_there, what="a place")


def test_what_is_refused_very_often_is_told_now_and_then(serve, connect):
    server = serve(APP, settings={"limits.user_connections": 1})
    ann(connect, server)
    for _ in range(50):
        with pytest.raises(Refused):
            ann(connect, server)
    assert status(server)["limits"]["user_connections"] == 50
    assert 1 <= server.log.text().count("the handshake was refused") <= 3 * status(server)["workers"]


def test_a_storm_of_handshakes(serve):
    """Whatever worker they come to at the same moment: never one too many, and none too few."""
    server = serve(APP, settings={"limits.user_connections": 5})
    sockets, refused, others, lock = [], [], [], threading.Lock()
    begin = threading.Barrier(40)

    def storm():
        begin.wait()
        try:
            ws = Socket(server.address, "/?name=ann")
            with lock:
                sockets.append(ws)
        except Refused as why:
            with lock:
                (refused if why.status == 429 else others).append(why)

    threads = [threading.Thread(target=storm) for _ in range(40)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert (len(sockets), len(refused), others) == (5, 35, [])
    for ws in sockets:
        ws.close_socket()


def test_a_login_that_is_one_too_many(serve, connect):
    """conn.user stays as it was, and the connection is closed: the handler goes on as it does when its client has gone."""
    server = serve(APP, settings={"limits.user_connections": 1})
    first, second = ann(connect, server), connect(server, "/?name=bob")
    second.text({"type": "login", "name": "ann"})
    second.expect_close(1008, "too many connections")
    server.log.wait("after login.*is=bob")
    server.log.wait(r"WARN +limits\.user_connections: conn\.user was not set.*user=ann")
    assert status(server)["handlers"]["errors"] == 0 and status(server)["limits"]["user_connections"] == 1
    first.text({"type": "login", "id": 1, "name": "ann"})  # it is already
    first.expect(type="reply", data={"user": "ann"})
    third = connect(server)
    third.text({"type": "login", "id": 1, "name": "cid"})
    third.expect(type="reply", data={"user": "cid"})


# ---- messages ----

def test_too_many_are_read_more_slowly(serve, connect):
    """All of them are answered, each connection's in order, and no faster than the rate."""
    server = serve(APP, settings=rate(20, 5))
    sockets = [ann(connect, server) for _ in range(3)]
    began = time.monotonic()
    for n in range(10):
        for ws in sockets:
            echo(ws, n)
    for ws in sockets:
        answers(ws, *range(10))
    # the burst at once, and one of each connection before it is paused
    assert time.monotonic() - began >= (30 - 5 - 3) / 20 * 0.95
    said = status(server)["limits"]
    assert said["user_delays"] > 0 and said["user_closes"] == 0
    server.log.wait(r"WARN +limits\.rate\.user_messages: the user is read more slowly.*user=ann")


def test_others_are_not_slowed_down(serve, connect):
    server = serve(APP, settings=rate(0.01, 2))
    slow, bob, nobody = ann(connect, server), connect(server, "/?name=bob"), connect(server)
    for n in range(4):
        echo(slow, n)
    answers(slow, 0, 1, 2)
    for n in range(20):
        echo(nobody, n)
    answers(nobody, *range(20))
    echo(bob, 1)
    answers(bob, 1)
    bob.text({"type": "kick", "id": 2, "name": "ann"})  # who is paused can be closed; what was not read never is
    bob.expect(type="reply", id=2)
    slow.expect_close(4000, "kicked")


def test_a_paused_connection_is_not_silent(serve, connect):
    """Its pongs are not read, and that is not its fault."""
    server = serve(APP, settings=rate(1, 1, **{"ping.interval": 0.1, "ping.timeout": 0.1}))
    ws = ann(connect, server)
    for n in range(4):
        echo(ws, n)
    answers(ws, 0, 1, 2, 3)
    ws.bye()


def test_too_many_close(serve, connect):
    server = serve(APP, settings=rate(0.01, 3, **{"limits.rate.exceeded": "close"}))
    one, two = ann(connect, server), ann(connect, server)
    echo(one, 1)
    answers(one, 1)
    for n in range(5):
        echo(two, n)
    answers(two, 0, 1)  # what came before is answered; nothing behind it is
    two.expect_close(1008, "too many messages")
    one.expect_nothing()
    again = ann(connect, server)  # to come back is no way around
    echo(again)
    again.expect_close(1008, "too many messages")
    said = status(server)["limits"]
    assert said["user_closes"] == 2 and said["user_delays"] == 0
    server.log.wait(r"WARN +limits\.rate\.user_messages: the connection is closed.*user=ann")


def test_who_logs_in_takes_from_that_users_bucket(serve, connect):
    server = serve(APP, settings=rate(0.01, 3, **{"limits.rate.exceeded": "close"}))
    one, two = connect(server), ann(connect, server)
    for n in range(10):
        echo(one, n)
    answers(one, *range(10))
    one.text({"type": "login", "id": 1, "name": "ann"})
    one.expect(type="reply")
    for n in range(3):
        echo(one, n)
    answers(one, *range(3))
    echo(two)
    two.expect_close(1008)


def test_who_becomes_somebody_else_does_not_wait_for_the_one_before(serve, connect):
    app = APP.replace("return app", """
    function app.on.later(conn, msg)
      tide.sleep(0.2)
      conn.user = msg.name
    end
    return app""")
    server = serve(app, settings=rate(0.001, 1))
    ws = ann(connect, server)
    ws.text({"type": "later", "name": "bob"})
    echo(ws, 1)  # into debt
    echo(ws, 2)
    answers(ws, 1, 2)


def test_a_stop_does_not_wait_for_the_rate(serve, connect):
    server = serve(APP, settings=rate(0.001, 1))
    ws = ann(connect, server)
    for n in range(5):
        echo(ws, n)
    answers(ws, 0, 1)
    server.signal(signal.SIGTERM)
    ws.expect_close(1001)
    assert server.wait() == 0


# ---- settings ----

def test_settings_are_live(serve, connect, until, tmp_path):
    conf = tmp_path / "moontide.conf.lua"

    def write(connections, messages):
        conf.write_text(f"return {{ limits = {{ user_connections = {connections}, rate = {{ user_messages = '{messages}' }} }} }}")

    def is_refused():
        try:
            ann(connect, server).bye()
        except Refused:
            return True
        return False

    write(0, "off")
    server = serve(APP, "--config", conf)
    sockets = [ann(connect, server) for _ in range(3)]
    write(2, "0.001/s burst 2")
    server.signal(signal.SIGHUP)
    until(is_refused, what="the limit of connections")
    for n in range(6):
        echo(sockets[0], n)  # and all three are still there
    answers(sockets[0], 0, 1, 2)
    until(lambda: status(server)["limits"]["user_delays"] == 1, what="the pause")
    write(0, "off")
    server.signal(signal.SIGHUP)
    answers(sockets[0], 3, 4, 5)  # instead of an hour later
    until(lambda: not is_refused(), what="no limit of connections")


def test_a_higher_rate_ends_pauses(serve, connect, tmp_path):
    conf = tmp_path / "moontide.conf.lua"
    conf.write_text("return { limits = { rate = { user_messages = '0.001/s burst 2' } } }")
    server = serve(APP, "--config", conf)
    ws = ann(connect, server)
    for n in range(6):
        echo(ws, n)
    answers(ws, 0, 1, 2)
    conf.write_text("return { limits = { rate = { user_messages = '1000/s' } } }")
    server.signal(signal.SIGHUP)
    answers(ws, 3, 4, 5)  # instead of an hour later
