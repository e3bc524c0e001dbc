"""Every waiting call, held up by what it waits for: cancelled, cut by tide.timeout, its connection gone, over a reload, past
reload.age, and at the stop of the server. All calls that wait for one cause are tried side by side, each on its own connection."""
import re
import signal
import threading
import time

import pytest
from support.control import status as status_of
from support.redis import Redis
from support.server import WORKERS, sanitized
from support.wire import Closed, Response, Wire, head, upgrade_head
from test_files import Gate

SLOW = "on_http slow"  # ends without a word when nobody reads it any more
KEYS = '{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}'
ANSWER = '{"type": "reply", "id": "%s", "data": "yes"}'


class Cause:
    """What calls wait for. `calls` are messages to the app, unless `start` is another one."""
    calls, settings, env = (), {}, {}
    tasks = True  # a script can call them in tasks of its own, and so cancel them
    stops = True  # the process ends while the cause is still there; else threads wait for it that cannot be cut

    def __init__(self, folder):
        self.folder = folder

    def prepare(self, rig):
        """Before the calls; the server runs."""

    def release(self, rig):
        raise NotImplementedError

    def close(self):
        pass


class Go(Cause):
    calls = "tide.sleep", "task:join", "tide.timeout"

    def release(self, rig):
        rig.other.text({"type": "go"})


class Client(Cause):
    """Clients that neither read nor answer: their receive buffers are small."""
    calls = "conn:drain", "conn:request", "tide.conn:request", "tide.user:request"
    settings = {"limits.outbox": "32m"}

    def prepare(self, rig):
        rig.other.text({"type": "other", "id": 1})
        rig.other.expect(type="reply")

    def release(self, rig):
        def answer():
            try:
                while True:
                    got = rig.other.json()
                    if got.get("type") == "please":
                        rig.other.text(ANSWER % got["id"])
            except (OSError, Closed, AssertionError):
                pass  # the end of the test
        threading.Thread(target=answer, daemon=True).start()


class Http(Cause):
    calls = "http.get", "http.post", "http.request", "res:lines", "res:chunks", "jwt.verify"
    settings = {"http.private": "true"}

    def __init__(self, folder):
        super().__init__(folder)
        self.go = threading.Event()

    def handle(self, peer):
        while got := peer.request():
            if "/stream" in got[0]:
                peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\none\n\r\n")
                self.go.wait()
                peer.send("4\r\ntwo\n\r\n0\r\n\r\n")
            else:
                self.go.wait()
                peer.answer(KEYS if "/keys" in got[0] else "whole")

    def release(self, rig):
        self.go.set()

    def close(self):
        self.go.set()


class Disk(Cause):
    """A disk that hangs; passwords hang by the same gate."""
    stops = False

    def __init__(self, folder):
        super().__init__(folder)
        self.gate = Gate(folder)
        self.env = {**self.gate.env, "WITH": self.name}

    def prepare(self, rig):
        self.gate.shut()

    def release(self, rig):
        self.gate.open()

    def close(self):
        self.gate.open()


class StoreFile(Disk):
    name, calls = "store", ("store:get", "store:set", "store:delete", "store:incr", "store:update", "store:scan")

    @property
    def settings(self):
        return {"store.file": self.folder / "store.db", "store.cache": 0}


class Sql(Disk):
    name, calls = "sql", ("db:query", "db:row", "db:transaction")


class Files(Disk):
    name, calls = "files", ("file:read", "file:write", "file:size", "files.open", "files.rename", "files.delete", "files.list")

    @property
    def settings(self):
        (self.folder / "files").mkdir(exist_ok=True)
        return {"files.folder": self.folder / "files"}


class Password(Disk):
    name, calls = "password", ("password.hash", "password.verify")


class StoreRedis(Cause):
    calls, env = StoreFile.calls, {"WITH": "store"}

    def __init__(self, folder):
        super().__init__(folder)
        self.redis = Redis(folder).start()

    @property
    def settings(self):
        return {"store.url": self.redis.url}

    def prepare(self, rig):
        self.redis.signal(signal.SIGSTOP)

    def release(self, rig):
        self.redis.signal(signal.SIGCONT)

    def close(self):
        self.redis.__exit__()


class Door(Cause):
    """on_connect and on_http, which no connection has called."""
    calls, tasks = ("on_connect", "on_http", "on_http stream", SLOW), False
    release = Go.release


CAUSES = [Go, Client, StoreFile, StoreRedis, Sql, Http, Files, Password, Door]


class Rig:
    def __init__(self, serve, connect, backend, cause):
        self.connect, self.cause = connect, cause
        env = {**cause.env, **({"BACKEND": backend(cause.handle).url} if isinstance(cause, Http) else {})}
        self.serve = lambda **settings: self.begin(serve, env, settings)

    def begin(self, serve, env, settings):
        text = (serve.apps / "matrix.lua").read_text()
        self.server = serve(text, env=env, settings={"reload.probation": 0, "shutdown.timeout": "500ms", **self.cause.settings,
                                                     **settings})
        self.text, seen = text, 0
        for _ in range(WORKERS):
            self.server.log.wait("prepared;", since=seen)
            seen = 1 + next(n for n, line in enumerate(self.server.log.lines) if n >= seen and "prepared;" in line)
        self.other = self.connect(self.server, "/?user=other")
        self.other.fence()
        self.cause.prepare(self)
        return self

    # ---- the log ----
    def log(self, what, call=None, timeout=20):
        self.server.log.wait(re.escape(what + (" " + call if call else "") + ";"), timeout)

    def count(self, what, call):
        return self.server.log.text().count(f"{what} {call};")

    def none_is_done(self):
        for call in self.cause.calls:
            assert self.count("done", call) == 0, f"{call} did not wait\n{self.server.log.text()}"

    # ---- calls ----
    def start(self, call, kind="call"):
        """The call waits when this returns."""
        if self.cause.tasks:
            wire = self.connect(self.server, rcvbuf=16384)
            wire.text({"type": kind, "name": call, "id": 1})
        else:
            wire = Wire(self.server.address, rcvbuf=16384)
            path = "/" + call.split(" ")[-1]
            wire.send(upgrade_head(path) if call == "on_connect" else head(path))
        self.log("waits", call)
        return wire

    def answer(self, ws):
        """The reply, behind all that comes before it; who is asked answers."""
        while True:
            text = ws.data()
            if not text.startswith("{"):
                continue
            if '"please"' in text:
                ws.text(ANSWER % text.split('"id":"')[1].split('"')[0])
            elif '"reply"' in text or '"error"' in text:
                got = re.search('"(?:data|code)":"?([^",}]*)', text).group(1)
                return got

    def version(self, call, wire):
        """Of what answered."""
        if self.cause.tasks:
            return self.answer(wire)
        got = Response(wire)
        if call == "on_connect":
            assert got.status == 101
            return got.headers["x-version"]
        assert got.status == 200
        return got.body.decode()[-3:]

    def reload(self):
        since = len(self.server.log)
        self.server.script.write_text(self.text.replace('"old"', '"new"', 1))
        self.server.signal(signal.SIGHUP)
        self.server.log.wait("reloaded", since=since)

    def settle(self, until):
        """Nothing is left of it."""
        status = {}

        def settled():
            status.update(status_of(self.server))
            counts = status["open"]
            under_way = [counts[n] for n in ("store", "sql", "http", "passwords")]
            return status["handlers"]["tasks"] == 0 and status["handlers"]["old_versions"] == 0 and not any(under_way)
        until(settled, timeout=20, what="the end of all tasks")
        assert status["handlers"]["errors"] == 0, self.server.log.text()


def name_of(cause):
    return cause.__name__


@pytest.fixture(params=CAUSES, ids=name_of)
def rig(request, serve, connect, backend, apps, tmp_path):
    cause = request.param(tmp_path)
    serve.apps = apps
    yield Rig(serve, connect, backend, cause)
    cause.close()


@pytest.mark.parametrize("rig", [c for c in CAUSES if c.tasks], ids=name_of, indirect=True)
def test_cancelled(rig, until):
    """By task:cancel and by tide.timeout; when what they waited for comes it is too late, and they can be called again."""
    rig.serve()
    sockets = {call: rig.start(call, "start") for call in rig.cause.calls}
    limited = {call: rig.start(call, "limited") for call in rig.cause.calls}
    for call, ws in sockets.items():
        assert rig.answer(ws) == "true"
        ws.text({"type": "cancel", "id": 2})
        until(lambda c=call: rig.count("cut", c) == 2, what="the end of both")  # before anything is read: drain waits for that
        assert rig.answer(ws) == "cancelled"
        assert rig.answer(limited[call]) == "timeout"
    rig.none_is_done()
    rig.cause.release(rig)
    for call in sockets:
        for ws in (sockets[call], limited[call]):
            ws.text({"type": "call", "name": call, "id": 3})
            assert rig.answer(ws) == "old", call
    rig.settle(until)


def test_its_connection_goes(rig, until):
    """A handler goes on to its end; what conn:spawn began is cut at once."""
    rig.serve()
    handlers = {call: rig.start(call) for call in rig.cause.calls}
    if rig.cause.tasks:
        for call in rig.cause.calls:
            rig.start(call, "own").reset()
            rig.log("cut", call)
    for wire in handlers.values():
        wire.reset()
    rig.cause.release(rig)
    for call in rig.cause.calls:
        if call != SLOW:
            rig.log("done", call)
    rig.settle(until)


def test_a_reload(rig, until):
    """All of them end in the version that called them."""
    rig.serve()
    wires = {call: rig.start(call) for call in rig.cause.calls}
    rig.reload()
    rig.none_is_done()
    rig.cause.release(rig)
    for call, wire in wires.items():
        assert rig.version(call, wire) == "old", call
    wires = {call: rig.start(call) for call in rig.cause.calls}
    for call, wire in wires.items():
        assert rig.version(call, wire) == "new", call
        wire.close_socket()
    rig.settle(until)


def test_the_age_of_an_old_version(rig, until):
    rig.serve(**{"reload.age": "300ms"})
    wires = {call: rig.start(call) for call in rig.cause.calls}
    rig.reload()
    for call in wires:
        if call != SLOW:
            rig.log("cut", call)
    rig.none_is_done()
    rig.cause.release(rig)
    for wire in wires.values():
        wire.close_socket()
    rig.settle(until)


def test_the_stop(rig):
    """It cuts what still waits when shutdown.timeout is over, and ends well."""
    rig.serve()
    wires = [rig.start(call) for call in rig.cause.calls]
    begin = time.monotonic()
    rig.server.signal(signal.SIGTERM)
    rig.server.log.wait("stopped", 20)
    assert time.monotonic() - begin < (10 if sanitized() else 4)
    if not rig.cause.stops:
        rig.cause.release(rig)
    assert rig.server.wait() == 0
    for call in rig.cause.calls:  # the last ones are cut after that line
        if call != SLOW:
            assert rig.count("cut", call) + rig.count("done", call) == 1, call
    for wire in wires:
        wire.close_socket()
