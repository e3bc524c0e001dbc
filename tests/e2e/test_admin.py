"""The control socket and `moontide status`, `reload`, `versions`: who may reach it, what it says, and what it stands."""
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.control import Control, control
from support.server import BIN, WORKERS, clean_environment, refuses, sanitized

APP = """
local tide = require "moontide"
local app = {{ on = {{}} }}
function app.on_connect(req) return {{ user = req.query.name }} end
function app.on_message(conn, text)
  if text == "join" then conn:join "room" end
  if text == "fail" then error "on purpose" end
  if text == "wait" then conn:send "waiting" tide.sleep(60) end
  conn:send("{version}:" .. text)
end
return app
"""


def app(version=1):
    return APP.format(version=version)


@pytest.fixture
def runtime(tmp_path):
    """A folder for control sockets as a login makes it."""
    folder = tmp_path / "run"
    folder.mkdir(mode=0o700)
    return folder


def tide(*args, env=None):
    """Run a command: (exit code, stdout, stderr)."""
    done = subprocess.run([BIN, *map(str, args)], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30,
                          check=False,
                          env={**clean_environment(), **(env or {})})
    return done.returncode, done.stdout, done.stderr


def ask(server, *words):
    code, out, err = tide(*words, "--json", "--control", control(server))
    assert (code, err) == (0, ""), err
    return json.loads(out)


@pytest.fixture
def raw():
    clients = []

    def make(path):
        clients.append(Control(path))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


# ---- where it is, and for whom ----

def test_socket_is_for_its_owner_whatever_the_umask(serve, runtime):
    server = serve(app(), wrap=("sh", "-c", 'umask 0; exec "$0" "$@"'), env={"XDG_RUNTIME_DIR": str(runtime)})
    info = (runtime / f"moontide-{server.port}.sock").lstat()
    assert stat.S_ISSOCK(info.st_mode) and stat.S_IMODE(info.st_mode) == 0o600 and info.st_uid == os.getuid()
    server.__exit__(None, None, None)
    assert list(runtime.iterdir()) == []


def test_without_a_runtime_folder_it_is_in_a_private_one_of_tmp(serve, tmp_path):
    server = serve(app(), env={"XDG_RUNTIME_DIR": ""})
    folder = Path(f"/tmp/moontide-{os.geteuid()}")
    path = folder / f"moontide-{server.port}.sock"
    assert stat.S_IMODE(folder.lstat().st_mode) == 0o700 and folder.lstat().st_uid == os.geteuid()
    assert stat.S_IMODE(path.lstat().st_mode) == 0o600
    assert json.loads(tide("status", "--json", "--control", path)[1])["pid"] == server.process.pid
    server.__exit__(None, None, None)
    assert not path.exists()


def test_a_runtime_folder_that_others_may_enter_is_not_used(serve, runtime):
    runtime.chmod(0o770)
    server = serve(app(), env={"XDG_RUNTIME_DIR": str(runtime)})
    assert list(runtime.iterdir()) == []
    assert Path(f"/tmp/moontide-{os.geteuid()}/moontide-{server.port}.sock").exists()


def test_a_path_of_choice_and_none_at_all(serve, tmp_path, runtime):
    path = tmp_path / "here.sock"
    server = serve(app(), settings={"control.path": path}, env={"XDG_RUNTIME_DIR": str(runtime)})
    assert json.loads(tide("status", "--json", env={"MOONTIDE_CONTROL_PATH": str(path)})[1])["pid"] == server.process.pid
    assert list(runtime.iterdir()) == []
    serve(app(), settings={"admin": "false"}, env={"XDG_RUNTIME_DIR": str(runtime)})
    assert list(runtime.iterdir()) == []


def test_a_server_of_unix_sockets_is_named_by_its_process(serve, tmp_path, runtime):
    server = serve(app(), listen=(f"unix:{tmp_path}/tide:1.sock",), env={"XDG_RUNTIME_DIR": str(runtime)})
    assert [p.name for p in runtime.iterdir()] == [f"moontide-{server.process.pid}.sock"]


def test_a_dead_servers_socket_is_replaced_and_a_living_ones_is_not(serve, tmp_path):
    path = tmp_path / "tide.sock"
    first = serve(app(), settings={"control.path": path})
    first.kill()
    first.codes = {-signal.SIGKILL}
    assert path.exists()
    code, out, err = tide("status", "--control", path)
    assert code == 1 and out == "" and "no server answers" in err
    second = serve(app(), settings={"control.path": path})
    assert json.loads(tide("status", "--json", "--control", path)[1])["pid"] == second.process.pid
    code, text = refuses("run", second.script, "--listen", "127.0.0.1:0", "--set", f"control.path={path}")
    assert code == 1 and "control.path" in text and str(path) in text
    assert json.loads(tide("status", "--json", "--control", path)[1])["pid"] == second.process.pid


def test_no_other_file_is_removed(tmp_path, apps):
    path = tmp_path / "precious"
    path.write_text("data")
    code, text = refuses("run", apps / "echo.lua", "--listen", "127.0.0.1:0", "--set", f"control.path={path}")
    assert code == 1 and "control.path" in text and path.read_text() == "data"
    link = tmp_path / "link"
    link.symlink_to(path)
    code, text = refuses("run", apps / "echo.lua", "--listen", "127.0.0.1:0", "--set", f"control.path={link}")
    assert code == 1 and link.is_symlink() and path.read_text() == "data"
    code, text = refuses("run", apps / "echo.lua", "--listen", "127.0.0.1:0", "--set", f"control.path={tmp_path}/{'x' * 120}")
    assert code == 1 and "107 bytes" in text


def test_a_socket_that_was_replaced_is_not_removed_at_the_end(serve, tmp_path):
    path = tmp_path / "tide.sock"
    server = serve(app(), settings={"control.path": path})
    path.unlink()
    path.write_text("somebody else's")
    server.__exit__(None, None, None)
    assert path.read_text() == "somebody else's"


def test_the_only_server_needs_no_option_and_several_are_listed(serve, runtime):
    env = {"XDG_RUNTIME_DIR": str(runtime)}
    others = Path(f"/tmp/moontide-{os.geteuid()}")  # other servers of this user may be there, come and go
    code, out, err = tide("status", env=env)
    assert code == 0 or "no running server" in err or str(others) in err
    assert str(runtime) not in out + err or "no running server" in err
    first = serve(app(), env=env)
    code, out, err = tide("status", env=env)
    if code == 0:
        assert f"pid {first.process.pid}," in out and first.url in out
    else:
        assert str(others) in err and str(control(first)) in err
    second = serve(app(), env=env)
    code, out, err = tide("status", env=env)
    assert code == 1 and out == "" and "several servers" in err
    assert f"--control {control(first)}\n" in err and f"--control {control(second)}" in err


def test_a_dead_socket_is_no_server(serve, runtime):
    env = {"XDG_RUNTIME_DIR": str(runtime)}
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(runtime / "moontide-1.sock"))
    left.close()
    serve(app(), env=env)
    assert "moontide-1.sock" not in tide("status", env=env)[2]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_another_user_is_refused_even_where_the_file_lets_him(serve, tmp_path):
    path = tmp_path / "open.sock"
    server = serve(app(), settings={"control.path": path})
    path.chmod(0o666)
    client = """if 1:
        import os, socket, sys
        s = socket.socket(socket.AF_UNIX)
        os.chdir(os.path.dirname(sys.argv[1]))  # the folders on the way let nobody else in
        os.setgroups([]); os.setgid(65534); os.setuid(65534)
        s.settimeout(10)
        try:
            s.connect(os.path.basename(sys.argv[1]))
            s.sendall(b"status\\n")
            sys.exit(len(s.recv(10)))
        except (ConnectionResetError, BrokenPipeError):
            sys.exit(0)
    """
    tmp_path.chmod(0o755)
    assert subprocess.run([sys.executable, "-c", client, str(path)], check=False).returncode == 0
    assert json.loads(tide("status", "--json", "--control", path)[1])["pid"] == server.process.pid


# ---- what it says ----

def test_status_counts_what_clients_did(serve, connect, until):
    server = serve(app(), settings={"on_error": "keep"})
    a, b, c = connect(server, "/?name=ann"), connect(server, "/?name=ann"), connect(server, "/")
    for ws in (a, b, c):
        ws.text("join")
        ws.expect("1:join")
    for n in range(5):
        a.text("x" * 10)
        a.expect("1:" + "x" * 10)
    b.text("fail")
    c.text("wait")
    c.expect("waiting")
    status = until(lambda: (s := ask(server, "status"))["handlers"]["errors"] == 1 and s, what="the failure")
    assert status["now"] == {"connections": 3, "sessions": 3, "people": 2, "rooms": 1, "in_line": 0}
    net = status["net"]
    assert (net["accepted"], net["upgraded"], net["closed"]) == (3, 3, 0)
    assert net["messages_in"] == 3 + 5 + 2 and net["messages_out"] == 3 + 5 + 2  # "internal" for b, "waiting" for c
    assert net["bytes_in"] > 5 * (6 + 10) and net["bytes_out"] > 5 * 14
    assert status["handlers"]["events"] >= 3 + 10 and status["handlers"]["waiting"] >= 1
    assert status["handlers"]["memory"] > 10000
    assert status["pid"] == server.process.pid and status["workers"] == WORKERS and status["addresses"] == server.urls
    assert status["script"] == str(server.script.resolve()) and not status["stopping"]
    assert 0 < status["uptime"] < 60 and abs(status["started"] + status["uptime"] - time.time()) < 5
    assert re.fullmatch("[0-9a-f]{8}", status["version"]) and abs(status["live_since"] - status["started"]) < 10
    assert status["reloads"] == {"ok": 0, "failed": 0, "rolled_back": 0, "pause_ms": 0, "fallback": None, "old": [],
                                 "last_failure": None}
    a.bye()
    until(lambda: ask(server, "status")["net"]["closed"] == 1, what="the end of a connection")
    assert ask(server, "status")["now"]["people"] == 2  # ann has another tab
    b.bye()
    until(lambda: ask(server, "status")["now"]["people"] == 1, what="the end of a person")


def test_status_counts_what_runs_in_old_versions(serve, connect):
    server = serve(app(1))
    ws = connect(server)
    ws.text("wait")
    ws.expect("waiting")
    server.script.write_text(app(2))
    ask(server, "reload")
    handlers = ask(server, "status")["handlers"]
    assert handlers["old_versions"] == 1 and handlers["old_tasks"] == 1


def test_status_for_people(serve, connect):
    server = serve(app())
    connect(server, "/?name=ann")
    code, out, err = tide("status", "--control", control(server))
    assert (code, err) == (0, "")
    assert re.search(rf"^moontide \S+, pid {server.process.pid}, up \d+ s$", out, re.M)
    assert re.search(r"^version         [0-9a-f]{8}, live since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d$", out, re.M)
    assert f"\naddresses       {server.url}\n" in out and f"\nscript          {server.script.resolve()}\n" in out
    assert "\nconnections     1\n" in out and "\npeople          1\n" in out and "\nbytes in        " in out


def test_reload_tells_how_it_went(serve, connect):
    server = serve(app(1))
    first = ask(server, "status")
    ws = connect(server)
    code, out, _ = tide("reload", "--control", control(server))
    assert code == 0 and out == f"version {first['version']} is live; nothing has changed\n"
    server.script.write_text(app(2))
    code, out, _ = tide("reload", "--control", control(server))
    second = ask(server, "status")
    assert code == 0 and second["version"] != first["version"] and out == f"version {second['version']} is live\n"
    assert second["live_since"] > first["live_since"]
    ws.text("a")
    ws.expect("2:a")
    server.script.write_text("return {")
    assert tide("reload", "--control", control(server))[0] == 1
    server.script.write_text('local function deep() error "at load" end\nlocal function outer() deep() end\nouter()\nreturn {}')
    code, out, err = tide("reload", "--control", control(server))
    assert code == 1 and out == "" and err.startswith("moontide: ") and second["version"] in err
    assert "app.lua:1: at load" in err and "stack traceback:" in err and "app.lua:3:" in err
    ws.text("b")
    ws.expect("2:b")
    status = ask(server, "status")
    assert status["version"] == second["version"] and status["live_since"] == second["live_since"]
    assert (status["reloads"]["ok"], status["reloads"]["failed"]) == (2, 2)
    failure = status["reloads"]["last_failure"]
    assert "app.lua:1: at load" in failure["error"] and "traceback" in failure["error"] and abs(failure["time"] - time.time()) < 20
    shown = tide("status", "--control", control(server))[1]
    assert "\nfailed reloads  2\nrolled back     0\n" in shown and "\nlast failure    " in shown and "\n    stack traceback:" in shown
    code, out, _ = tide("reload", "--json", "--control", control(server))
    answer = json.loads(out)
    assert code == 1 and not answer["ok"] and answer["version"] == second["version"] and "at load" in answer["error"]


def test_reload_reads_the_settings_too(serve, tmp_path, connect):
    conf = tmp_path / "moontide.conf.lua"
    conf.write_text('return { limits = { message = "1k" } }')
    server = serve(app(), "--config", conf)
    conf.write_text('return { limits = { message = "1x" } }')
    code, _, err = tide("reload", "--control", control(server))
    assert code == 1 and "limits.message" in err and "the old ones go on" in err
    conf.write_text('return { limits = { message = "2k" } }')
    assert tide("reload", "--control", control(server))[0] == 0
    ws = connect(server)
    ws.text("x" * 2000)
    ws.expect("1:" + "x" * 2000)


def test_versions_in_order_with_what_failed(serve, tmp_path):
    (tmp_path / "part.lua").write_text("return 1")
    server = serve('require "part"\n' + app(1))
    only = ask(server, "versions")["versions"]
    assert [(v["result"], v["file_count"]) for v in only] == [("live", 2)]
    assert [Path(f).name for f in only[0]["files"]] == ["app.lua", "part.lua"]
    server.script.write_text("return {")
    assert tide("reload", "--control", control(server))[0] == 1
    server.log.wait("was not reloaded")
    seen = len(server.log)
    server.signal(signal.SIGHUP)
    server.log.wait("was not reloaded", since=seen)
    server.script.write_text(app(2))
    ask(server, "reload")
    versions = ask(server, "versions")["versions"]
    assert [v["result"] for v in versions] == ["live", "failed", "failed", "replaced"]
    assert versions[0]["version"] == ask(server, "status")["version"] and versions[3]["version"] == only[0]["version"]
    assert versions[0]["file_count"] == 1 and versions[3]["replaced"] == versions[0]["time"]
    assert "app.lua:1" in versions[1]["reason"] and "\n" not in versions[1]["reason"]
    assert versions[1]["version"] not in (None, versions[0]["version"], versions[3]["version"])
    assert [v["time"] for v in versions] == sorted((v["time"] for v in versions), reverse=True)
    lines = tide("versions", "--control", control(server))[1].splitlines()
    assert lines[0].split() == ["VERSION", "SINCE", "FILES", "RESULT"] and len(lines) == 5
    assert lines[1].endswith("      1  live") and "  failed: app.lua" in lines[2] and lines[4].endswith("      2  replaced")


def test_the_last_twenty_versions_are_kept_and_the_live_one_always(serve, raw):
    server = serve(app(0))
    live = ask(server, "status")["version"]
    client = raw(control(server))
    for n in range(25):
        server.script.write_text(f"error 'number {n}'")
        client.send(b"reload\n")
        assert not client.line()["ok"]
    versions = ask(server, "versions")["versions"]
    assert len(versions) == 20 and "number 24" in versions[0]["reason"]
    assert versions[-1]["version"] == live and versions[-1]["result"] == "live"
    server.script.unlink()
    assert tide("reload", "--control", control(server))[0] == 1
    assert ask(server, "versions")["versions"][0]["version"] is None


# ---- what it stands ----

def test_garbage_gets_an_error_and_the_socket_lives(serve, raw):
    server = serve(app())
    for junk in (b"x" * 10000, b"\0\xff{}[]" * 2000, b"\n" * 10000, b"status" * 2000):
        client = raw(control(server))
        try:
            client.send(junk)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it was cut off in the middle
        answer = client.line()
        assert answer["ok"] is False and answer["error"]
    client = raw(control(server))
    client.send(b"frobnicate\n")
    assert "status, versions, reload and rollback" in client.line()["error"]
    client.send(b"status\r\nversions\n")
    assert client.line()["pid"] == server.process.pid
    assert client.line()["versions"]
    client.send(b"x" * 65 + b"\n")
    assert "unknown" in client.line()["error"]
    client.send(b"x" * 66)
    assert "one word" in client.line()["error"] and client.closed()


def test_a_request_in_pieces_and_an_end_behind_it(serve, raw):
    server = serve(app())
    client = raw(control(server))
    for byte in b"status":
        client.send(bytes([byte]))
    client.send(b"\n")
    client.sock.shutdown(socket.SHUT_WR)
    assert client.line()["pid"] == server.process.pid
    assert client.closed()


def test_fifty_silent_clients_harm_nobody(serve, connect, raw):
    server = serve(app())
    silent = [raw(control(server)) for _ in range(50)]
    assert ask(server, "status")["pid"] == server.process.pid
    ws = connect(server)
    ws.text("a")
    ws.expect("1:a")
    silent[0].send(b"status\n")
    assert silent[0].line()["pid"] == server.process.pid


def test_past_the_limit_the_oldest_goes(serve, raw):
    server = serve(app())
    clients = [raw(control(server)) for _ in range(70)]
    clients[69].send(b"status\n")
    assert clients[69].line()["ok"]
    assert clients[0].closed() and clients[5].closed()
    clients[6].send(b"status\n")
    assert clients[6].line()["ok"]


def test_a_client_that_never_reads_costs_one_answer(serve, connect, raw):
    server = serve(app())
    client = raw(control(server))
    client.sock.settimeout(0.5)
    sent = 0
    with pytest.raises(TimeoutError):
        while sent < 50_000_000:
            sent += client.sock.send(b"status\n" * 1000)
    before = server.rss()
    ws = connect(server)
    for _ in range(20):
        ws.text("a")
        ws.expect("1:a")
    assert ask(server, "status")["ok"]
    assert sanitized() or server.rss() - before < 5_000_000
    used = server.cpu()
    time.sleep(0.3)
    assert server.cpu() - used < 0.15  # nothing turns round for it


def test_clients_that_wait_hear_the_end(serve, raw, connect):
    server = serve(app(), settings={"shutdown.timeout": 1})
    path = control(server)
    client = raw(path)
    ws = connect(server)
    ws.text("wait")
    ws.expect("waiting")
    client.send(b"status\n")
    assert not client.line()["stopping"]
    server.signal(signal.SIGTERM)
    server.log.wait("stopping")
    assert not path.exists()  # a successor on the same port may have it
    client.send(b"status\n")
    assert client.line()["stopping"]
    client.send(b"reload\n")
    assert "stopping" in client.line()["error"]
    assert client.closed()
    assert server.wait() == 0


def test_a_server_that_hangs_up_is_an_error(tmp_path):
    path = tmp_path / "fake.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        run = subprocess.Popen([BIN, "status", "--control", str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               env=clean_environment())
        other, _ = listener.accept()
        assert other.recv(100) == b"status\n"
        other.close()
        out, err = run.communicate(timeout=20)
    assert run.returncode == 1 and out == "" and "went away" in err


@pytest.mark.parametrize("answer", [b"\n", b"{\n", b"[]\n", b'{"ok":tru\n', b'{"ok":false}\n', b"\xff\0\n",
                                    b'{"ok":true,"x":"\n'])
def test_an_answer_that_is_none_is_an_error(tmp_path, answer):
    path = tmp_path / "fake.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        run = subprocess.Popen([BIN, "versions", "--control", str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True,
                               env=clean_environment())
        other, _ = listener.accept()
        other.recv(100)
        other.sendall(answer)
        out, err = run.communicate(timeout=20)
        other.close()
    assert run.returncode == 1 and err.startswith("moontide: ")


def test_wrong_flags():
    assert "takes no --listen" in refuses("status", "--listen", "1")[1]
    assert "takes no --json" in refuses("run", "x.lua", "--json")[1]
    assert "unexpected argument" in refuses("reload", "x.lua")[1]
    assert "did you mean moontide status" in refuses("statis")[1]
    assert refuses("versions", "--control")[0] == 2
