"""tide.files: uploads as a client does them, names that want out of the folder, and disks that are full, gone or slow."""
import hashlib
import os
import random
import struct
import threading
import time
from pathlib import Path

import pytest
from support.server import REPO, WORKERS, refuses, sanitized

SLOW_DISK = os.environ.get("MOONTIDE_SLOW_DISK") or str(REPO / "build" / "tests" / "e2e" / "libslow_disk.so")


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "files"
    path.mkdir()
    return path


@pytest.fixture
def uploads(serve, apps, folder):
    """A server with uploads.lua, whose files are in `folder`."""
    return lambda **options: serve(apps / "uploads.lua", settings={"files.folder": folder, **options.pop("settings", {})}, **options)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def begin(ws, name, data, digest=None):
    """The offset where the server wants the upload to go on."""
    ws.text({"type": "begin", "name": name, "size": len(data), "sha256": digest or sha256(data), "id": 1})
    return ws.expect(type="reply", id=1)["data"]["offset"]


def piece(ws, offset, data):
    ws.binary(struct.pack(">Q", offset) + data)


def wait_progress(ws, offset):
    while ws.expect(type="progress")["offset"] != offset:
        pass


def finish(ws):
    ws.text({"type": "finish", "id": 2})
    got = ws.json()
    while got["type"] == "progress":
        got = ws.json()
    assert got["id"] == 2, got
    return got


def upload(ws, name, data, size=65536):
    at = begin(ws, name, data)
    for offset in range(at, len(data), size):
        piece(ws, offset, data[offset:offset + size])
    wait_progress(ws, len(data))
    return finish(ws)


# ---- uploads ----

def test_the_app_as_it_is_written(serve, connect, apps, folder):
    server = serve(apps / "f_files.lua", settings={"files.folder": folder})
    digest = sha256(b"hello world")
    a = connect(server)
    assert begin(a, "x.bin", b"hello world") == 0
    piece(a, 0, b"hello ")
    a.expect(type="progress", offset=6)
    piece(a, 3, b"xx")
    a.expect(type="error", code="invalid")
    a.bye()
    a = connect(server)
    assert begin(a, "x.bin", b"hello world") == 6
    piece(a, 6, b"world")
    a.expect(type="progress", offset=11)
    a.text({"type": "finish", "id": 2})
    a.expect(type="reply", id=2, data={"stored": "x.bin"})
    assert (folder / "x.bin").read_bytes() == b"hello world"
    a.text({"type": "begin", "name": "../etc", "size": 11, "sha256": digest})
    a.expect(type="error", code="invalid")
    assert [p.name for p in folder.iterdir()] == ["x.bin"]


def test_dropped_resumed_and_checked(uploads, connect, folder):
    server, data = uploads(), random.Random(1).randbytes(1 << 20)
    ws = connect(server, "/?name=ann")
    assert begin(ws, "a.bin", data) == 0
    piece(ws, 0, data[:100000])
    piece(ws, 100000, data[100000:300000])
    wait_progress(ws, 300000)
    ws.reset()
    ws = connect(server, "/?name=ann")
    assert begin(ws, "a.bin", data) == 300000
    piece(ws, 300000, b"\0" * (len(data) - 300000))
    wait_progress(ws, len(data))
    assert finish(ws)["code"] == "corrupt"
    assert not (folder / "a.bin").exists()
    ws.text({"type": "finish", "id": 2})
    ws.expect(type="error", code="corrupt")
    (folder / "ann.a.bin.part").write_bytes(data[:300000])  # as somebody who mends it
    ws = connect(server, "/?name=ann")
    assert upload(ws, "a.bin", data)["data"] == {"stored": "a.bin"}
    assert (folder / "a.bin").read_bytes() == data
    assert (folder / "a.bin").stat().st_mode & 0o027 == 0


def test_two_connections_see_the_same_file(uploads, connect):
    server = uploads()
    one, two = connect(server, "/?name=ann"), connect(server, "/?name=ann")
    assert begin(one, "x", b"abcdef") == 0 and begin(two, "x", b"abcdef") == 0
    piece(one, 0, b"abc")
    one.expect(type="progress", offset=3)
    piece(two, 0, b"xyz")
    two.expect(type="error", code="invalid")
    piece(two, 3, b"def")
    two.expect(type="progress", offset=6)
    assert finish(one)["data"] == {"stored": "x"}


def test_many_at_once(uploads, connect, folder):
    server, rng = uploads(), random.Random(2)
    people = [(f"p{i}", rng.randbytes(rng.randrange(1, 400000))) for i in range(100)]
    sockets = [connect(server, f"/?name={name}", timeout=60) for name, _ in people]
    for ws, (name, data) in zip(sockets, people):
        assert begin(ws, f"{name}.bin", data) == 0
    for turn in range(0, 400000, 65536):  # all of them in turn, so that they are at work side by side
        for ws, (_, data) in zip(sockets, people):
            if turn < len(data):
                piece(ws, turn, data[turn:turn + 65536])
    for ws, (name, data) in zip(sockets, people):
        wait_progress(ws, len(data))
        assert finish(ws)["data"] == {"stored": f"{name}.bin"}
        assert (folder / f"{name}.bin").read_bytes() == data


def test_killed_in_the_middle(uploads, connect, folder):
    """What was acknowledged is there after kill -9; the upload goes on from there."""
    rng = random.Random(3)
    data = rng.randbytes(4 << 20)
    for _ in range(8):
        server = uploads()
        ws = connect(server, "/?name=ann")
        at = told = begin(ws, "k.bin", data)
        assert (folder / "ann.k.bin.part").read_bytes() == data[:at]
        for i in range(rng.randrange(2, 20)):
            piece(ws, at, data[at:at + 16384])
            at += 16384
            if i % 2:
                told = ws.expect(type="progress")["offset"]
        server.kill()  # one or more pieces are on their way
        server.codes = {-9}
        assert (folder / "ann.k.bin.part").stat().st_size >= told
    ws = connect(uploads(), "/?name=ann")
    assert upload(ws, "k.bin", data)["data"] == {"stored": "k.bin"}
    assert (folder / "k.bin").read_bytes() == data


# ---- one call after the other, as the client wants them ----

CALLS = """
local tide = require "moontide"
local app, held = { on = {}, limits = { message_bytes = 1 << 20 } }, {}
local function pack(...) return { n = select("#", ...), ... } end
local function answer(...)
  local got = pack(...)
  if got[1] == nil and got.n > 1 then return nil, got[2], got[3] end
  return { got = got[1] }
end
function app.on.call(conn, msg) return answer(tide.files[msg.name](table.unpack(msg.args))) end
function app.on.open(conn, msg)
  local file, why, name = tide.files.open(msg.name, msg.mode)
  if not file then return nil, why, name end
  conn.data.files = conn.data.files or {}
  table.insert(conn.data.files, file)
  return { got = #conn.data.files }
end
function app.on.on(conn, msg) local f = conn.data.files[msg.file] return answer(f[msg.name](f, table.unpack(msg.args))) end
function app.on.drop(conn) conn.data.files = nil end
function app.on_message(conn, text) conn:send(text) end
function app.on_binary(conn, name)                                    -- names that no JSON can have
  local results = {}
  for i, mode in ipairs { "r", "w" } do results[i] = select(3, tide.files.open(name, mode)) end
  results[3] = select(3, tide.files.delete(name)) results[4] = select(3, tide.files.rename(name, "a"))
  results[5] = select(3, tide.files.rename("a", name))
  conn:send(results)
end
return app
"""


class Caller:
    """A connection that has the server call tide.files."""

    def __init__(self, ws):
        self.ws, self.next = ws, 0

    def send(self, kind, **fields):
        self.next += 1
        self.ws.text({"type": kind, "id": self.next, **fields})

    def answer(self):
        """What came out, or the name of the failure."""
        got = self.ws.json()
        assert got["type"] in ("reply", "error"), got
        return got["data"].get("got") if got["type"] == "reply" else got["code"]

    def ask(self, kind, **fields):
        self.send(kind, **fields)
        return self.answer()

    def call(self, name, *args):
        return self.ask("call", name=name, args=args)

    def open(self, name, mode="w"):
        return self.ask("open", name=name, mode=mode)

    def on(self, file, name, *args):
        return self.ask("on", file=file, name=name, args=args)


@pytest.fixture
def caller(serve, connect, folder):
    """caller(**options) -> Caller; its server is caller.server."""
    def make(settings=None, **options):
        make.server = serve(CALLS, settings={"files.folder": folder, **(settings or {})}, **options)
        return Caller(connect(make.server))
    return make


def test_names_that_want_out(caller, folder, tmp_path):
    (tmp_path / "secret").write_text("secret")
    c = caller()
    hostile = [b"", b".", b"..", b"../secret", b"a/../../secret", b"/etc/passwd", str(tmp_path / "secret").encode(), b"a\0b", b"\0",
               b"../secret\0.txt", b"x" * 300, b"x/" * 600 + b"y", b"\xff\xfe", b"a\xc0\xae", b".hidden", b"a/", b"a//b", b"a\\..\\b",
               b"a\nb", b"\x1b[2Jx", b"/" * 2000]
    for name in hostile:
        c.ws.binary(name)
        assert c.ws.json() == ["invalid"] * 5, name
    for prefix in ("../", "/", "..", "/etc/", "a/../"):
        assert c.call("list", prefix) == "invalid"
    assert list(folder.iterdir()) == [] and (tmp_path / "secret").read_text() == "secret"


def test_links_pipes_and_devices(caller, folder, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    (folder / "link").symlink_to(outside / "secret")
    (folder / "dangling").symlink_to(outside / "made")
    (folder / "way").symlink_to(outside)
    (folder / "magic").symlink_to("/proc/self/root")
    os.mkfifo(folder / "pipe")
    (folder / "sub").mkdir()
    names = ["link", "dangling", "way/secret", "way/new", "magic/etc/passwd", "pipe", "sub"]
    if os.geteuid() == 0:
        os.mknod(folder / "device", 0o600 | 0o20000, os.makedev(1, 3))
        names.append("device")
    c = caller()
    assert c.open("plain") == 1
    for name in names:
        assert c.open(name, "r") == "denied", name
        assert c.open(name, "w") == "denied", name
        assert c.call("delete", name) == "denied", name
        assert c.call("rename", name, "taken") == "denied", name
        assert c.call("rename", "plain", name) == "denied", name
    assert [e["name"] for e in c.call("list")] == ["plain"]
    assert (outside / "secret").read_text() == "secret" and len(list(outside.iterdir())) == 1


def test_a_link_that_is_put_there_meanwhile(caller, folder, tmp_path):
    """A folder on the way is exchanged for a link out of it, again and again, while clients read and write."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "f").write_text("secret")
    way, kept, ended = folder / "way", folder / "kept", threading.Event()
    way.mkdir()
    (way / "f").write_text("inside")

    def turn_round():
        while not ended.is_set():
            way.rename(kept)
            way.symlink_to(outside)
            way.unlink()
            kept.rename(way)
            time.sleep(random.random() / 1000)  # else it is hardly ever there
    turner = threading.Thread(target=turn_round)
    c = caller()
    turner.start()
    outcomes, deadline = set(), time.monotonic() + 2
    try:
        # on a machine that is busy with other things it takes longer until both were seen
        while time.monotonic() < deadline or (not {"read", "not_found"} <= outcomes and time.monotonic() < deadline + 30):
            got = c.open("way/f", "r")
            if isinstance(got, int):
                assert c.on(got, "read", 0, 100) == "inside"
                assert c.on(got, "close") is None
            outcomes.add("read" if isinstance(got, int) else got)
            assert c.call("delete", "way/g") in (False, "denied")
    finally:
        ended.set()
        turner.join()
    assert {"read", "not_found"} <= outcomes <= {"read", "denied", "not_found"}, outcomes
    assert (outside / "f").read_text() == "secret" and len(list(outside.iterdir())) == 1


def test_so_many_open_files(caller):
    c = caller(settings={"files.open": 5})
    assert [c.open(f"f{i}") for i in range(5)] == [1, 2, 3, 4, 5]
    assert c.open("f5") == "limited"
    assert c.call("delete", "f0") is True  # what needs no file of its own goes on
    c.on(2, "close")
    assert c.open("f5") == 6
    assert c.open("f6") == "limited"
    c.on(3, "close")
    assert c.open("f6") == 7


def test_files_that_nobody_holds_are_closed(caller, connect):
    """Connections that go without closing: the collector is called where the limit is met."""
    c = caller(settings={"files.open": 50})
    for i in range(120):
        other = Caller(connect(caller.server))
        assert other.open(f"f{i}") == 1
        other.ws.close_socket()
    fds = Path(f"/proc/{caller.server.process.pid}/fd")
    opened = [p for p in fds.iterdir() if "/files/f" in os.readlink(p)]
    assert len(opened) <= 50 * WORKERS
    assert c.open("last") == 1


def test_where_no_folder_is_set(serve, connect):
    c = Caller(connect(serve(CALLS)))
    assert c.open("a") == "denied" and c.call("delete", "a") == "denied" and c.call("list", "") == "denied"


def test_settings_that_cannot_be(shipped, tmp_path):
    missing = tmp_path / "none"
    code, text = refuses("run", shipped / "echo.lua", "--set", f"files.folder={missing}")
    assert code == 1 and f'files.folder = "{missing}": no such folder' in text
    code, text = refuses("check", shipped / "echo.lua", "--set", f"files.folder={shipped / 'echo.lua'}")
    assert code == 1 and "no such folder" in text
    code, text = refuses("check", shipped / "echo.lua", "--set", "files.foldr=x")
    assert code == 2 and "did you mean files.folder?" in text
    assert refuses("check", shipped / "echo.lua", "--set", "files.open=0")[0] == 2


# ---- disks ----

def in_namespace(commands):
    """A wrapper that runs the program after shell commands as root of a mount namespace of its own."""
    return ("unshare", "-rm", "sh", "-c", commands + ' && exec "$@"', "sh")


def test_a_full_disk(caller, folder):
    c = caller(wrap=in_namespace(f"mount -t tmpfs -o size=1m none '{folder}'"))
    f = c.open("a")
    assert c.on(f, "write", 0, "x" * 600000) is True
    assert c.on(f, "write", 600000, "y" * 600000) == "full"
    assert c.on(f, "read", 599990, 10) == "x" * 10
    g = c.open("b")  # what needs no room goes on
    assert c.on(g, "size") == 0
    assert c.call("delete", "a") is True
    c.on(f, "close")
    for _ in range(100):  # the room is free when the last one has closed it, which happens off the loop
        if c.on(g, "write", 0, "z" * 600000) is True:
            break
    assert c.on(g, "size") == 600000


def test_a_file_that_the_system_lets_grow_no_more(caller):
    c = caller(wrap=("bash", "-c", 'ulimit -f 100; exec "$@"', "bash"))
    f = c.open("a")
    assert c.on(f, "write", 0, "x" * 50000) is True
    assert c.on(f, "write", 100000, "x" * 5000) == "too_large"
    assert c.on(f, "write", 200000, "x") == "too_large"
    assert c.on(f, "read", 0, 3) == "xxx"


def test_a_folder_that_is_read_only(caller, folder):
    (folder / "a").write_text("text")
    c = caller(wrap=in_namespace(f"mount --bind '{folder}' '{folder}' && mount -o remount,ro,bind '{folder}'"))
    assert c.on(c.open("a", "r"), "read", 0, 100) == "text"
    assert c.open("a", "w") == "denied" and c.open("b", "w") == "denied"
    assert c.call("delete", "a") == "denied" and c.call("rename", "a", "b") == "denied"
    assert (folder / "a").read_text() == "text"


def test_a_folder_that_is_removed(caller, folder):
    c = caller()
    f = c.open("a")
    assert c.on(f, "write", 0, "text") is True
    (folder / "a").unlink()
    folder.rmdir()
    assert c.on(f, "read", 0, 100) == "text"  # who has it open
    assert c.open("a", "r") == "not_found" and c.open("a", "w") == "io" and c.call("list") == []
    folder.mkdir()  # another one
    assert c.open("a", "w") == "io"


class Gate:
    """A disk that hangs while the gate is shut."""

    def __init__(self, tmp_path):
        self.path = tmp_path / "gate"
        self.env = {"LD_PRELOAD": SLOW_DISK, "SLOW_DISK": str(self.path), "ASAN_OPTIONS": "verify_asan_link_order=0"}

    def shut(self):
        self.path.touch()

    def open(self):
        self.path.unlink(missing_ok=True)


@pytest.fixture
def gate(tmp_path):
    """Opened at the end, so that the server can stop."""
    it = Gate(tmp_path)
    yield it
    it.open()


@pytest.fixture
def slow(caller, gate):  # in this order: the gate is open when the server is to stop
    """A server whose disk hangs from now on, and the file `a` that was written before."""
    def make(**options):
        c = caller(env=gate.env, **options)
        file = c.open("a")
        c.on(file, "write", 0, "before")
        gate.shut()
        return c, file
    return make


def test_a_disk_that_hangs_delays_nobody_else(caller, gate, slow, connect):
    """Not even with more writes than the disk has threads: others are served, and scripts load."""
    c, _ = slow(watch=True)
    gate.open()
    writers = [Caller(connect(caller.server)) for _ in range(12)]
    for i, w in enumerate(writers):
        assert w.open(f"w{i}") == 1
    gate.shut()
    for i, w in enumerate(writers):
        w.send("on", file=1, name="write", args=[0, f"text {i}"])
    quick = connect(caller.server)
    for _ in range(50):
        quick.text("x")
        quick.expect("x")
    caller.server.script.write_text(CALLS.replace("conn:send(text)", "conn:send(text .. '!')"))
    deadline = time.monotonic() + 10
    while True:
        quick.text("x")
        if quick.data() == "x!":
            break
        assert time.monotonic() < deadline, "the reload waits for the disk"
    for w in writers:
        w.ws.expect_nothing()
    gate.open()
    for i, w in enumerate(writers):
        assert w.answer() is True
        assert w.on(1, "read", 0, 100) == f"text {i}"
    assert c.call("delete", "a") is True


def test_a_reload_while_it_waits(caller, gate, slow, connect):
    """The handler ends in its version; the file that it holds is there in the next one."""
    c, file = slow(watch=True)
    c.send("on", file=file, name="write", args=[0, "BEFORE"])
    c.ws.expect_nothing()
    caller.server.script.write_text(CALLS.replace("conn:send(text)", "conn:send(text .. '!')"))
    quick, deadline = connect(caller.server), time.monotonic() + 10
    while True:
        quick.text("x")
        if quick.data() == "x!":
            break
        assert time.monotonic() < deadline
    gate.open()
    assert c.answer() is True
    assert c.on(file, "read", 0, 100) == "BEFORE"


def test_a_client_that_goes_while_it_waits(caller, gate, slow, connect, folder, until):
    c, file = slow()
    c.send("on", file=file, name="write", args=[6, " and after"])
    c.ws.expect_nothing()
    c.ws.reset()
    other = connect(caller.server)
    other.text("still here")
    other.expect("still here")
    gate.open()
    until(lambda: (folder / "a").read_text() == "before and after", what="the write")


def test_the_end_while_it_waits(caller, gate, slow):
    c, file = slow(settings={"shutdown.timeout": "300ms"})
    for name, args in (("write", [0, "x"]), ("write", [1, "y"]), ("size", [])):
        c.send("on", file=file, name=name, args=args)
    c.ws.expect_nothing()
    caller.server.signal(15)
    caller.server.log.wait("stopped")  # all handlers have ended; the threads wait for the disk
    gate.open()
    assert caller.server.wait() == 0


def test_the_room_of_what_is_under_way_is_bounded(caller, gate, slow, connect):
    """A hundred writers of a megabyte each while the disk hangs: what waits for its turn is held once, by Lua."""
    slow()
    gate.open()
    before = caller.server.rss()
    writers = [Caller(connect(caller.server, timeout=60)) for _ in range(100)]
    for i, w in enumerate(writers):
        assert w.open(f"w{i}") == 1
    gate.shut()
    for w in writers:
        w.send("on", file=1, name="write", args=[0, "x" * 1000000])
        w.ws.expect_nothing()
    grown = caller.server.rss() - before
    assert grown < (250 << 20) or sanitized(), grown
    gate.open()
    for w in writers:
        assert w.answer() is True
        assert w.on(1, "size") == 1000000
