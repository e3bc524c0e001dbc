"""Fixtures: start servers on port 0, stop them by their pid at the end of the test, and check how they ended."""
import os
import sys
import time
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
pytest.register_assert_rewrite("support.wire", "support.server", "support.control")
from support import certs, wire  # noqa: E402
from support.backend import Backend, Nginx  # noqa: E402
from support.server import BIN, WORKERS, Server  # noqa: E402


def pytest_sessionstart(session):
    if not os.access(BIN, os.X_OK):
        pytest.exit(f"there is no program at {BIN}: build it, or name it by MOONTIDE_BIN", 2)


def pytest_collection_modifyitems(config, items):
    """Slow tests run only when they are asked for, and then alone. With several workers those of one worker do not run."""
    wanted = os.environ.get("MOONTIDE_SLOW") == "1"
    keep = [i for i in items if (i.get_closest_marker("slow") is not None) == wanted]
    if WORKERS > 1:
        keep = [i for i in keep if i.get_closest_marker("one_worker") is None]
    if len(keep) < len(items):
        config.hook.pytest_deselected(items=[i for i in items if i not in keep])
        items[:] = keep


def pytest_sessionfinish(session, exitstatus):
    """A file that has only slow tests, or none, is no failure when the others are wanted."""
    if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and session.testscollected == 0:
        session.exitstatus = pytest.ExitCode.OK


@pytest.fixture
def serve(tmp_path):
    """serve(script, *flags, **options) -> Server. script: a path, or Lua text that is written to app.lua."""
    running = []

    def start(script, *flags, **options):
        if not isinstance(script, Path):
            path = tmp_path / "app.lua"
            path.write_text(script)
            script = path
        server = Server(script, *flags, **options)
        server.script = script
        running.append(server.start())
        return server

    yield start
    for server in running:
        server.__exit__(None, None, None)


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """A certificate authority for the whole run."""
    return certs.Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def connect():
    """connect(server, target="/", **options) -> Socket, closed at the end whatever happens."""
    open_sockets = []

    def make(server, target="/", **options):
        address = options.pop("address", None) or server.address
        ws = wire.Socket(address, target, **options)
        open_sockets.append(ws)
        return ws

    yield make
    for ws in open_sockets:
        ws.close_socket()


@pytest.fixture
def backend():
    """backend(handle, **options) -> Backend, closed at the end."""
    running = []

    def make(handle, kind=Backend, **options):
        running.append(kind(handle, **options))
        return running[-1]

    yield make
    for b in running:
        b.close()


@pytest.fixture
def start_nginx(tmp_path):
    """start_nginx(**options) -> Nginx, stopped at the end."""
    running = []

    def make(**options):
        running.append(Nginx(tmp_path / f"nginx{len(running)}", **options))
        return running[-1].start()

    yield make
    for server in running:
        server.stop()


@pytest.fixture
def http_caller(serve, connect, apps):
    """http_caller(**options of serve) -> call(url, **message), which lets the app http.lua do a request and gives what came of it.
    call.ws is its connection, call.server its server."""
    def make(script=apps / "http.lua", **options):
        server = serve(script, **options)
        ws = connect(server)

        def call(url, type="fetch", **fields):  # pylint: disable=redefined-builtin
            ws.text({"type": type, "id": 1, "url": url, **fields})
            return ws.expect(type="reply", id=1).get("data")

        call.ws, call.server = ws, server
        return call

    return make


@pytest.fixture
def client(http_caller):
    return http_caller()


def until(check, timeout=5.0, what="it"):
    """Call `check` until it gives something true, which is returned."""
    end = time.monotonic() + timeout
    while True:
        got = check()
        if got:
            return got
        assert time.monotonic() < end, f"{what} did not happen in {timeout} s"
        time.sleep(0.005)


@pytest.fixture(name="until")
def until_fixture():
    return until


@pytest.fixture
def apps():
    return HERE / "apps"


@pytest.fixture
def shipped():
    return HERE.parents[1] / "scripts"
